"""People and machines with rights of their own: real tokens and certificates, and what they are refused."""

import base64
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import yaml

from cluster.commands import run
from cluster.provider import ClusterError, ClusterInfo
from cluster.waiting import wait_until
from conftest import Kubectl

ROLES = Path(__file__).parents[2] / "manifests" / "samples" / "roles.yaml"
# What each role lets its holder do, to see that a binding is in force.
KNOWN_BY = {
    "edit": ("create", "pods/eviction"),
    "firebreak-viewer": ("list", "incidents.firebreak.dev"),
    "firebreak-alert-source": ("create", "incidents.firebreak.dev"),
    "firebreak-responder": ("respond", "incidents.firebreak.dev"),
    "firebreak-approver": ("create", "approvals.firebreak.dev"),
    "firebreak-releaser": ("release", "incidents.firebreak.dev"),
}


@dataclass(frozen=True)
class Person:
    """Who has a token, and what it allows in one namespace."""

    namespace: str
    user: str
    kubectl: Path
    kubeconfig: Path

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as this person. Raises ClusterError with the API server's words."""
        command = [str(self.kubectl), "--kubeconfig", str(self.kubeconfig), "--namespace", self.namespace]
        return run([*command, *arguments], stdin=stdin, timeout=60)

    def refused(self, *arguments: str, stdin: str | None = None) -> str:
        """Run what has to be refused; return the words."""
        with pytest.raises(ClusterError) as refusal:
            self(*arguments, stdin=stdin)
        return " ".join(str(refusal.value).partition("\n")[2].split())

    def firebreak(self, *arguments: str) -> str:
        """Run the `firebreak` command as this person. Raises ClusterError when it fails."""
        general = ["--kubeconfig", str(self.kubeconfig), "--namespace", self.namespace]
        return run([sys.executable, "-m", "firebreak", *general, *arguments], timeout=120)

    def may(self, verb: str, resource: str) -> bool:
        """Ask the API server."""
        try:
            return self("auth", "can-i", verb, resource).strip() == "yes"
        except ClusterError:
            return False


@dataclass(frozen=True)
class Registry:
    """Where people get their accounts: in one namespace, with kubeconfigs in a folder."""

    cluster: ClusterInfo
    kubectl: Kubectl
    namespace: str
    folder: Path

    def person(self, name: str, *roles: str) -> Person:
        """A new account, bound to these ClusterRoles here; returns when the bindings are in force."""
        where = ("--namespace", self.namespace)
        self.kubectl("create", "serviceaccount", name, *where)
        subject = f"--serviceaccount={self.namespace}:{name}"
        for role in roles:
            self.kubectl("create", "rolebinding", f"{name}-{role}", *where, f"--clusterrole={role}", subject)
        found = self.bearer(name, self.kubectl("create", "token", name, *where).strip())
        for role in roles:
            wait_until(partial(found.may, *KNOWN_BY[role]), timeout=10, otherwise=f"{name} did not get {role}")
        return found

    def bearer(self, name: str, token: str) -> Person:
        """Whoever has this token of the account `name`."""
        return self._with(name, {"token": token}, f"system:serviceaccount:{self.namespace}:{name}")

    def _with(self, name: str, credentials: dict[str, str], user_name: str) -> Person:
        config = yaml.safe_load(self.cluster.kubeconfig.read_text())
        for user in config["users"]:
            user["user"] = credentials
        path = self.folder / f"{name}.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        path.chmod(0o600)
        return Person(self.namespace, user_name, self.cluster.bin / "kubectl", path)

    def certified(self, name: str, role: str) -> Person:
        """A person with a client certificate, bound to a ClusterRole here; returns when the binding is in force."""
        asked = f"{self.namespace}-{name}"
        self.kubectl("create", "--filename", "-", stdin=json.dumps(signing_request(asked, name, self.folder)))
        self.kubectl("certificate", "approve", asked)
        jsonpath = "jsonpath={.status.certificate}"
        self.kubectl("wait", f"csr/{asked}", f"--for={jsonpath}", "--timeout=20s")
        signed = self.kubectl("get", "csr", asked, "--output", jsonpath)
        self.kubectl("delete", "csr", asked)
        key = base64.b64encode((self.folder / f"{name}.key").read_bytes()).decode()
        self.kubectl("create", "rolebinding", name, "-n", self.namespace, f"--clusterrole={role}", f"--user={name}")
        found = self._with(name, {"client-certificate-data": signed, "client-key-data": key}, name)
        wait_until(partial(found.may, *KNOWN_BY[role]), timeout=10, otherwise=f"{name} did not get {role}")
        return found


def signing_request(called: str, user: str, folder: Path) -> dict[str, object]:
    """What asks for a client certificate; its key is left in the folder, as USER.key."""
    key, asked = folder / f"{user}.key", folder / f"{user}.csr"
    pair = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(key))
    run(["openssl", "req", "-new", *pair, "-subj", f"/CN={user}", "-out", str(asked)])
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": called},
        "spec": {
            "request": base64.b64encode(asked.read_bytes()).decode(),
            "signerName": "kubernetes.io/kube-apiserver-client",
            "usages": ["client auth"],
        },
    }


@contextmanager
def sample_roles(kubectl: Kubectl) -> Iterator[None]:
    """The roles that Firebreak ships as samples."""
    kubectl("apply", "--filename", str(ROLES))
    try:
        yield
    finally:
        kubectl("delete", "--filename", str(ROLES), "--ignore-not-found")


def eviction(pod: str, *, dry_run: bool = False) -> str:
    """What `kubectl drain` posts for a pod."""
    options = {"dryRun": ["All"]} if dry_run else {}
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}, "deleteOptions": options}
    return json.dumps(body)
