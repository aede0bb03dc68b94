"""What to commit to Git: small patches of what an incident changed, without secret values, from anybody's names."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from builders import account_subject, merge_patched
from cli_harness import Cli, write_kubeconfig
from fake_api import Answer, FakeApi, Fault
from firebreak.cli.committing import NOTHING, as_yaml
from firebreak.model.change import Ref
from firebreak.model.gitops import ManagedBy
from firebreak.steps.gitpatch import Commit

TRACKED = {"argocd.argoproj.io/instance": "shop"}
FLUX = {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}
ALICE = {"kind": "User", "name": "alice", "apiGroup": "rbac.authorization.k8s.io"}


@pytest.fixture
def cli(fake: FakeApi, tmp_path: Path) -> Cli:
    return Cli(write_kubeconfig(tmp_path, fake.url, "shop"))


def change(obj: str, state: str = "Waiting", **fields: Any) -> dict[str, Any]:
    return {"object": obj, "verb": "patch", "why": "w", "state": state, **fields}


def put_incident(fake: FakeApi, steps: dict[str, Any], images: dict[str, str] | None = None) -> None:
    spec = {"steps": [{"quarantine": {}}, {"replace": {"images": images or {}}}]}
    status = {
        "pods": {"u": {"name": "web-1", "account": "web"}},
        "playbook": {"name": "p", "digest": "d", "spec": spec},
        "steps": {name: {"state": "Waiting", "changes": changes} for name, changes in steps.items()},
    }
    fake.put({
        "apiVersion": "firebreak.dev/v1alpha1", "kind": "Incident", "metadata": {"name": "shell", "namespace": "shop"},
        "spec": {"target": {"pod": "web-1"}}, "status": status,
    })  # fmt: skip


def put(fake: FakeApi, api: str, kind: str, name: str, labels: dict[str, str], **rest: Any) -> None:
    fake.put({
        "apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": "shop", "labels": labels}, **rest
    })  # fmt: skip


SHRINK = change("RoleBinding shop/web-reader", before={"subjects": [account_subject(), ALICE], "roleRef": {}})
ROLL_OUT = change("Deployment shop/web", before={"images": {"web": "web:1", "log": "log:1"}})
RESTART = change("Deployment shop/api", state="Done")


def put_objects(fake: FakeApi, labels: dict[str, str]) -> None:
    rbac = "rbac.authorization.k8s.io/v1"
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}
    put(fake, rbac, "RoleBinding", "web-reader", labels, roleRef=role, subjects=[account_subject(), ALICE])
    put(fake, "apps/v1", "Deployment", "web", FLUX if labels else {}, spec={})
    put(fake, "apps/v1", "Deployment", "api", labels, spec={})
    put(fake, "v1", "Secret", "db", labels, data={"password": "c2VjcmV0LXZhbHVl"})


STEPS = {
    "revoke": {"a": SHRINK, "c": change("CloudIdentity shop/aws-irsa arn:aws:x of web", verb="call")},
    "rotate": {"b": change("Secret shop/db", state="Done"), "r": RESTART},
    "replace": {"d": ROLL_OUT},
}


async def test_each_managed_object_gets_a_patch_of_what_was_changed_and_no_value(fake: FakeApi, cli: Cli) -> None:
    put_objects(fake, TRACKED)
    put_incident(fake, STEPS, images={"web": "web@sha256:good", "sidecar": "x"})
    ran = await cli("plan", "shell", "--git")
    assert (ran.code, ran.err) == (0, "")
    assert (
        ran.out
        == """\
# Argo CD Application shop: RoleBinding shop/web-reader
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: web-reader
  namespace: shop
subjects:
- kind: User
  name: alice
  apiGroup: rbac.authorization.k8s.io
---
# Argo CD Application shop: Secret shop/db
# no patch: values of secrets are not for Git, and Firebreak does not have them. Change it where it comes from \
(SealedSecret, SOPS, ExternalSecret, the chart's values), or take it out of Git
---
# Argo CD Application shop: Deployment shop/api
# nothing to commit: a restart annotates the pods' template; if Git removes that, they restart once more
---
# Flux Kustomization flux-system/apps: Deployment shop/web
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
spec:
  template:
    spec:
      containers:
      - name: web
        image: web@sha256:good
"""
    )
    assert [document is not None for document in yaml.safe_load_all(ran.out)] == [True, False, False, True]


async def test_no_secret_value_is_asked_for(fake: FakeApi, cli: Cli) -> None:
    put_objects(fake, TRACKED)
    put_incident(fake, STEPS)
    await cli("plan", "shell", "--git")
    (read,) = [call for call in fake.calls if call.resource == "secrets"]
    assert "PartialObjectMetadata" in read.accept


async def test_what_may_not_be_read_is_said(fake: FakeApi, cli: Cli) -> None:
    put_incident(fake, {"revoke": {"a": SHRINK}})
    fake.faults.add(Fault(when=lambda call: call.resource == "rolebindings", how=Answer(403, message="no")))
    ran = await cli("plan", "shell", "--git")
    assert ran.out == NOTHING + "\n"
    assert "who manages RoleBinding shop/web-reader is unknown" in ran.err


async def test_programs_get_the_same_as_json(fake: FakeApi, cli: Cli) -> None:
    put_objects(fake, TRACKED)
    put_incident(fake, {"revoke": {"a": SHRINK}})
    (found,) = (await cli("plan", "shell", "--git", "-o", "json")).json
    assert found["managedBy"] == {"tool": "Argo CD", "kind": "Application", "name": "shop"}
    assert (found["object"], found["note"]) == ("RoleBinding shop/web-reader", "")
    assert merge_patched({"subjects": [account_subject(), ALICE]}, found["patch"])["subjects"] == [ALICE]


async def test_what_nobody_manages_and_what_firebreak_will_not_touch_needs_no_commit(fake: FakeApi, cli: Cli) -> None:
    put_objects(fake, {})
    put_incident(fake, {**STEPS, "cordon": {"n": change("Node n1", state="Manual")}})
    ran = await cli("plan", "shell", "--git")
    assert (ran.code, ran.out) == (0, NOTHING + "\n")


async def test_a_node_that_git_manages_stays_closed_by_a_patch(fake: FakeApi, cli: Cli) -> None:
    fake.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": TRACKED}, "spec": {}})
    put_incident(fake, {"cordon": {"n": change("Node n1")}})
    documents = list(yaml.safe_load_all((await cli("plan", "shell", "--git")).out))
    assert documents == [
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "spec": {"unschedulable": True}}
    ]


async def test_without_an_incident_there_is_nothing_to_commit_yet(cli: Cli) -> None:
    ran = await cli("plan", "pod/web-1", "--git")
    assert (ran.code, ran.out) == (2, "")
    assert "plan first, then: firebreak plan INCIDENT --git" in ran.err


def test_a_name_that_somebody_made_up_adds_nothing_to_what_is_committed() -> None:
    hostile = "x\n---\nkind: ClusterRoleBinding\nsubjects: [{kind: User, name: evil}]\n#"
    patch = {"kind": "RoleBinding", "metadata": {"name": hostile}, "subjects": []}
    text = as_yaml([Commit(Ref("RoleBinding", hostile, "shop"), ManagedBy("Helm", "release", "shop"), patch)])
    assert list(yaml.safe_load_all(text)) == [patch]
