"""The digests of the admission policies that this version ships, each with its binding: see `model.policies`.

Written by `make policies` from the manifests; a test compares.
"""

from collections.abc import Mapping

SHIPPED: Mapping[str, Mapping[str, str]] = {
    "people": {
        "firebreak-approvals": "sha256:a7082a48da31647cd224a9b0990cda24e76b2268edf4c6adc5e43825c13f1512",
        "firebreak-creators": "sha256:6d22eac6ce7b727ea7f62578a0619a1837c903b42748242572a2e03eb089d7b4",
        "firebreak-intake": "sha256:43ba83b8e190704c025057110dcfa0e29c3f858b2a2affae6fbcf67a6eeb9424",
        "firebreak-overrides": "sha256:11a6a7d31bc46cc983b872ad15d6ab988f930bff6183b237709c177a88a6b494",
        "firebreak-quarantine-forgery": "sha256:b35609ea83cbce7060efb5531ee6c279aad98338382aaafc19bf525ae0c8597d",
        "firebreak-quarantine-lock": "sha256:aa88111c65cc48bfcea3cf7593ccd14185ad0cbd9dc5d0a123986958dfa6a610",
        "firebreak-quarantine-marks": "sha256:de2a92d81f6f7564b98449d90292e2ff760c1fb8e8e1c60896379377d819b421",
        "firebreak-quarantine-policies": "sha256:63233495c85666e7067b86febbc6d663bfd6366e6f9821cb376f64ab8ca0f33d",
        "firebreak-quarantine-record": "sha256:908700c17422ab7de36306ccd91c617d50bce242619e698d5ce9629c5f9a1533",
        "firebreak-sources": "sha256:103ab97ac2fbfeb50b18857c80856c4582035a7102fdb1c254bc4543a019e046",
    },
    "contain": {
        "firebreak-contain-incidents": "sha256:313582fae2b64a57691ee860aa6378e1656822e0fd96348bd03114aaa0e82aed",
        "firebreak-contain-pods": "sha256:b7df06bba8943155da2de935055841f4dd1ab19dfaec4214240ef6d5e95493d3",
        "firebreak-contain-policies": "sha256:c23ed0ce4a639c99a89a26366dd7d01da4602b6e50a388a2e8a0f6cd1a84f19c",
        "firebreak-contain-probe": "sha256:9b6a46356282d3411a633c65012b2f60ef25db2308d5e93b6aa9f1fd7b6a8623",
        "firebreak-contain-records": "sha256:74c2a19a71370d0f04f41b190faf28737eb93981cb4cc28d74c51205a42739fd",
    },
    "preserve": {
        "firebreak-preserve-exec": "sha256:d8ba764a6979451fc786f697101e28d8ffb37d2cfa4e6bf9d14c6eeda2b3b90b",
    },
    "eradicate": {
        "firebreak-eradicate-bindings": "sha256:911a82bd15e60792f65fee872b722fdf772ad52e09f19efeca3026f5e36538ad",
        "firebreak-eradicate-secrets": "sha256:1004b18acfe49bb2cfcb44b725e84c170c21a94d442d31ec281de50183c0d279",
        "firebreak-eradicate-workloads": "sha256:0008771aa1002740a7b900e1f81d08d017c12fad2de6b4051e1a6e875945d929",
    },
    "node": {
        "firebreak-node-cordon": "sha256:351ab65df61043aa74f5344f92df2291e876d4b916386b517a304dbcd10409b2",
    },
}
