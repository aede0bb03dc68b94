"""What a pod could reach: every way to a secret, by name; and the pure core's patience with pods of any shape."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import INCIDENT, WEB, grant, pod, unhurried
from firebreak.api.playbook import Detach
from firebreak.model.enforcement import Enforcement
from firebreak.model.facts import Network, Secrets, Workload
from firebreak.model.pod import Pod
from firebreak.steps import capture, cloud, quarantine, replace, rotate, suspicion
from firebreak.steps.reach import readable, secret_mounts, secrets_of

Json = dict[str, Any]


def reader(verb: str = "get", *, names: tuple[str, ...] = (), group: str = "", resource: str = "secrets") -> Json:
    rule: Json = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
    return {**rule, "resourceNames": list(names)} if names else rule


# --- named by the pod and its account


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ({"volumes": [{"name": "keys", "secret": {"secretName": "tls"}}]}, [("tls", "volume keys")]),
        (
            {"volumes": [{"name": "all", "projected": {"sources": [{"secret": {"name": "a"}}, {"configMap": {}}]}}]},
            [("a", "volume all")],
        ),
        (
            {"volumes": [{"name": "vault", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "a"}}}]},
            [("a", "volume vault (CSI)")],
        ),
        (
            {"volumes": [{"name": "share", "azureFile": {"secretName": "a", "shareName": "s"}}]},
            [("a", "volume share (azureFile)")],
        ),
        ({"volumes": [{"name": "v", "cephfs": {"secretRef": {"name": "a"}}}]}, [("a", "volume v (cephfs)")]),
        ({"volumes": [{"name": "v", "flexVolume": {"secretRef": {"name": "a"}}}]}, [("a", "volume v (flexVolume)")]),
        ({"volumes": [{"name": "v", "iscsi": {"secretRef": {"name": "a"}}}]}, [("a", "volume v (iscsi)")]),
        ({"volumes": [{"name": "v", "rbd": {"secretRef": {"name": "a"}}}]}, [("a", "volume v (rbd)")]),
        ({"volumes": [{"name": "v", "scaleIO": {"secretRef": {"name": "a"}}}]}, [("a", "volume v (scaleIO)")]),
        ({"volumes": [{"name": "v", "storageos": {"secretRef": {"name": "a"}}}]}, [("a", "volume v (storageos)")]),
        (
            {"containers": [{"name": "web", "env": [{"name": "PW", "valueFrom": {"secretKeyRef": {"name": "db"}}}]}]},
            [("db", "env PW of container web")],
        ),
        (
            {"initContainers": [{"name": "setup", "envFrom": [{"secretRef": {"name": "db"}}, {"configMapRef": {}}]}]},
            [("db", "envFrom of container setup")],
        ),
        (
            {"ephemeralContainers": [{"name": "debug", "envFrom": [{"secretRef": {"name": "db"}}]}]},
            [("db", "envFrom of container debug")],
        ),
        ({"imagePullSecrets": [{"name": "registry"}]}, [("registry", "image pull secret of the pod")]),
        ({"volumes": [{"name": "v", "emptyDir": {}}], "containers": [{"name": "web"}]}, []),
    ],
)
def test_every_way_in_which_a_pod_names_a_secret_is_found(spec: Json, found: list[tuple[str, str]]) -> None:
    assert list(secrets_of(pod(**spec), None)) == found


def test_the_account_brings_pull_secrets_and_tokens_of_the_old_kind() -> None:
    account = {"imagePullSecrets": [{"name": "registry"}], "secrets": [{"name": "web-token-x2x9k"}]}
    assert list(secrets_of(pod(), account)) == [
        ("registry", "image pull secret of the account"),
        ("web-token-x2x9k", "token of the account"),
    ]


# --- readable by RBAC


@pytest.mark.parametrize("verb", ["get", "list", "watch", "patch", "deletecollection", "*"])
def test_a_verb_that_answers_with_the_object_reads_it(verb: str) -> None:
    assert list(readable((grant("web", rules=(reader(verb),)),))) == [("shop", None, "RBAC by RoleBinding shop/web")]


@pytest.mark.parametrize("verb", ["create", "delete", "update"])
def test_a_verb_that_tells_nothing_of_what_was_there_does_not(verb: str) -> None:
    assert list(readable((grant("web", rules=(reader(verb),)),))) == []


def test_named_secrets_are_in_reach_one_by_one() -> None:
    found = readable((grant("web", rules=(reader(names=("db", "tls")),)),))
    assert [(namespace, name) for namespace, name, _ in found] == [("shop", "db"), ("shop", "tls")]


def test_a_cluster_wide_binding_reaches_every_namespace() -> None:
    found = readable((grant("web", namespace=None, rules=(reader(group="*", resource="*", verb="*"),)),))
    assert list(found) == [(None, None, "RBAC by ClusterRoleBinding web")]


@pytest.mark.parametrize("rule", [reader(group="apps"), reader(resource="pods"), {}, {"nonResourceURLs": ["/metrics"]}])
def test_rights_on_other_things_reach_no_secret(rule: Json) -> None:
    assert list(readable((grant("web", rules=(rule,)),))) == []


# --- left out of evidence


def test_mounts_of_secrets_and_tokens_are_known_by_path_in_their_own_container() -> None:
    spec: Json = {
        "volumes": [
            {"name": "keys", "secret": {"secretName": "tls"}},
            {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
            {"name": "vault", "csi": {"driver": "secrets-store.csi.k8s.io"}},
            {"name": "certificate", "projected": {"sources": [{"podCertificate": {"signerName": "x/y"}}]}},
            {"name": "trust", "projected": {"sources": [{"clusterTrustBundle": {"path": "ca.pem"}}]}},
            {"name": "config", "configMap": {"name": "web"}},
        ],
        "initContainers": [{"name": "setup", "volumeMounts": [{"name": "keys", "mountPath": "/init/tls"}]}],
        "containers": [
            {
                "name": "web",
                "volumeMounts": [
                    {"name": "keys", "mountPath": "/etc/tls"},
                    {"name": "token", "mountPath": "/var/run/token"},
                    {"name": "vault", "mountPath": "/mnt/vault"},
                    {"name": "certificate", "mountPath": "/mnt/certificate"},
                    {"name": "trust", "mountPath": "/mnt/trust"},
                    {"name": "config", "mountPath": "/etc/web"},
                ],
            }
        ],
    }
    assert secret_mounts(pod(**spec), "web") == ["/etc/tls", "/mnt/certificate", "/mnt/vault", "/var/run/token"]
    assert secret_mounts(pod(**spec), "setup") == ["/init/tls"]
    assert secret_mounts(pod(**spec), "nobody") == []


def test_without_a_secret_mount_nothing_is_left_out() -> None:
    """A path that nothing is mounted at would be a place to hide files from evidence."""
    assert secret_mounts(pod(containers=[{"name": "web", "volumeMounts": []}]), "web") == []


# --- pods of any shape

FIELDS = (
    "metadata", "spec", "status", "name", "namespace", "uid", "labels", "annotations", "ownerReferences", "controller",
    "kind", "containers", "initContainers", "ephemeralContainers", "containerStatuses", "containerID", "imageID",
    "image", "state", "running", "restartCount", "conditions", "type", "phase", "nodeName", "serviceAccountName",
    "hostPID", "volumes", "secret", "secretName", "projected", "sources", "csi", "nodePublishSecretRef", "cephfs",
    "secretRef", "hostPath", "path", "env", "envFrom", "valueFrom", "secretKeyRef", "imagePullSecrets", "volumeMounts",
    "mountPath", "securityContext", "privileged", "firebreak.dev/original-labels", "quarantine",
)  # fmt: skip

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(["", "web", "../x", "\n"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=10,
)


def shaped(*names: str) -> st.SearchStrategy[Json]:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, anything))


def listed(*names: str) -> st.SearchStrategy[Any]:
    return st.lists(shaped(*names), max_size=2) | anything


odd_pods = st.fixed_dictionaries(
    {},
    optional={
        "metadata": shaped("name", "uid", "labels", "annotations", "ownerReferences", "deletionTimestamp") | anything,
        "spec": st.fixed_dictionaries(
            {},
            optional={
                "containers": listed("name", "image", "env", "envFrom", "securityContext", "volumeMounts"),
                "initContainers": listed("name", "env", "envFrom"),
                "volumes": listed("name", "secret", "projected", "csi", "hostPath", "cephfs"),
                "imagePullSecrets": listed("name"),
                "nodeName": anything,
                "serviceAccountName": anything,
            },
        )
        | anything,
        "status": st.fixed_dictionaries(
            {},
            optional={
                "containerStatuses": listed("name", "containerID", "imageID", "state", "restartCount"),
                "conditions": listed("type", "status"),
                "phase": anything,
            },
        )
        | anything,
    },
).map(Pod)


def all_that_reads(odd: Pod) -> Iterator[object]:
    images = {"web": "shop/web@sha256:0"}
    network = Network(INCIDENT, (odd,))
    template: Json = {"kind": "Deployment", "metadata": {"name": "web", "uid": "u"}, "spec": {"template": odd.raw}}
    yield list(quarantine.plan(network, detach=Detach.ALWAYS))
    yield quarantine.judge(network, Enforcement())
    yield capture.plan((odd,), files=True)
    yield (list(secrets_of(odd, odd.raw)), secret_mounts(odd, "web"))
    yield (
        list(suspicion.escapes(odd)),
        list(cloud.of_pod(odd)),
        list(cloud.of_account(WEB, odd.raw)),
        list(cloud.of_nodes([WEB], [odd.raw])),
    )
    yield (rotate.consumed(template), rotate.owns(template, odd))
    yield list(rotate.plan(Secrets(INCIDENT, workloads=(template,), held=(odd,))))
    yield (replace.known_good(odd, images), replace.runs(odd.raw, images))
    yield replace.judge(Workload(INCIDENT, None, pods=(odd,)), images, back=True)
    yield (odd.ref, odd.account, odd.controller, odd.finished, odd.container_ids, odd.quarantined, repr(odd))


@unhurried
@given(odd_pods)
def test_no_shape_of_a_pod_crashes_what_reads_it(odd: Pod) -> None:
    assert len(list(all_that_reads(odd))) == 10


@unhurried
@given(odd_pods)
def test_names_from_a_pod_are_text_and_never_empty(odd: Pod) -> None:
    named = (name for name, _ in secrets_of(odd, odd.raw))
    every = [*odd.running, *odd.container_ids, *named, *secret_mounts(odd, "web")]
    assert all(isinstance(name, str) and name for name in every)
