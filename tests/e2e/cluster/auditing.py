"""Where the API server writes its audit events, and the receiver that it can be told to send them to: the intake.

The receiver has an address that no other Service is given. It is told so only for as long as somebody is there: an API
server keeps what nobody takes for a minute and a half, and takes as long to end.
"""

import json
import secrets
from pathlib import Path

import yaml

from cluster import pki, settings
from cluster.provider import AuditReceiver
from cluster.settings import Paths

HOST = "firebreak-intake.firebreak.svc"
SENDER = "kube-apiserver.audit"  # a token that may send to /audit only
SHIPPED = settings.PACKAGE.parents[2] / "manifests" / "audit" / "kubeadm.yaml"
BATCHES = ("audit-webhook-batch-", "audit-webhook-truncate-")


def receiver(paths: Paths) -> AuditReceiver:
    """Who the API server takes for the intake, and by what it proves itself."""
    return AuditReceiver(
        address=settings.INTAKE_IP,
        authority=paths.pki / "intake-ca.crt",
        authority_key=paths.pki / "intake-ca.key",
        sender=SENDER,
        token=_token(paths),
    )


def ensure(paths: Paths) -> None:
    """Make the receiver's authority if it is missing, and have the API server send nothing."""
    pki.authority(paths.pki, "intake-ca", "firebreak-intake-ca")
    hold_back(paths)


def send(paths: Paths) -> None:
    """Have the API server send its events from its next start on."""
    cluster = {
        "server": f"https://{settings.INTAKE_IP}/audit",
        "tls-server-name": HOST,  # the certificate's: an API server looks up no Service's name
        "certificate-authority": str(paths.pki / "intake-ca.crt"),
    }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "intake", "cluster": cluster}],
        "users": [{"name": "sender", "user": {"token": _token(paths)}}],
        "contexts": [{"name": "intake", "context": {"cluster": "intake", "user": "sender"}}],
        "current-context": "intake",
    }
    pki.write_once(_webhook(paths), json.dumps(config, indent=2))


def hold_back(paths: Paths) -> None:
    """Have it send none, from its next start on."""
    _webhook(paths).unlink(missing_ok=True)


def flags(paths: Paths) -> tuple[str, ...]:
    """The API server's flags for its log and, while it sends, for the receiver."""
    log = (
        f"--audit-policy-file={settings.AUDIT_POLICY}",
        f"--audit-log-path={paths.audit_log}",
        "--audit-log-maxsize=200",  # MiB
        "--audit-log-maxbackup=2",
    )
    webhook = (f"--audit-webhook-config-file={_webhook(paths)}", *_as_shipped())
    return log + webhook if _webhook(paths).exists() else log


def files(paths: Paths) -> tuple[Path, ...]:
    """What the API server reads of these at its start."""
    return (settings.AUDIT_POLICY, *filter(Path.exists, [_webhook(paths)]))


def _as_shipped() -> tuple[str, ...]:
    """The flags for batches, as administrators get them."""
    arguments = yaml.safe_load(SHIPPED.read_text())["apiServer"]["extraArgs"]
    return tuple(f"--{each['name']}={each['value']}" for each in arguments if each["name"].startswith(BATCHES))


def _webhook(paths: Paths) -> Path:
    return paths.conf / "audit-webhook.kubeconfig"


def _token(paths: Paths) -> str:
    """Made at random the first time, and kept with the cluster's state."""
    file = paths.pki / "audit-sender.token"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(32))
    return file.read_text()
