"""Certificates and kubeconfigs of the local cluster, made once with openssl and kept with its state."""

import base64
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from cluster import settings
from cluster.commands import run
from cluster.settings import Paths

DAYS = "3650"
API_SERVER = f"https://{settings.NODE_IP}:{settings.API_PORT}"
API_SERVER_NAMES = (
    "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,"
    f"DNS:localhost,IP:127.0.0.1,IP:{settings.NODE_IP},IP:{settings.KUBERNETES_SERVICE_IP}"
)
NODE_SUBJECT = f"/O=system:nodes/CN=system:node:{settings.NODE}"

# Clients of the API server, each with the subject by which RBAC knows it.
CLIENTS = {
    "admin": "/O=system:masters/CN=kubernetes-admin",
    "controller-manager": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
    "kube-proxy": "/CN=system:kube-proxy",
    "kubelet": NODE_SUBJECT,
}


def ensure(paths: Paths) -> None:
    """Make what is missing: two authorities, server and client certificates, token keys, kubeconfigs."""
    pki = paths.pki
    pki.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority(pki, "ca", "firebreak-ca")
    authority(pki, "front-proxy-ca", "firebreak-front-proxy-ca")
    _server(pki, "apiserver", "/CN=kube-apiserver", API_SERVER_NAMES)
    node_names = f"DNS:{settings.NODE},IP:{settings.NODE_IP},IP:127.0.0.1"
    _server(pki, "kubelet-server", NODE_SUBJECT, node_names)
    _client(pki, "apiserver-kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client")
    _client(pki, "front-proxy-client", "/CN=front-proxy-client", authority="front-proxy-ca")
    for name, subject in CLIENTS.items():
        _client(pki, name, subject)
    _token_keys(pki)
    paths.conf.mkdir(parents=True, exist_ok=True)
    for name in CLIENTS:
        file = paths.kubeconfig if name == "admin" else paths.conf / f"{name}.kubeconfig"
        write_once(file, _kubeconfig(pki, name))


def authority(pki: Path, name: str, common_name: str) -> None:
    """Make an authority, NAME.crt and NAME.key, unless it is there."""
    if (pki / f"{name}.crt").exists():
        return
    _key(pki, name)
    usage = "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"
    extensions = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", usage]
    request = ["openssl", "req", "-x509", "-new", "-sha256", "-days", DAYS, "-subj", f"/CN={common_name}"]
    run([*request, *extensions, "-key", str(pki / f"{name}.key"), "-out", str(pki / f"{name}.crt")])


def _server(pki: Path, name: str, subject: str, alternative_names: str) -> None:
    certificate(pki, name, subject, "ca", f"extendedKeyUsage=serverAuth\nsubjectAltName={alternative_names}\n")


def _client(pki: Path, name: str, subject: str, authority: str = "ca") -> None:
    certificate(pki, name, subject, authority, "extendedKeyUsage=clientAuth\n")


def certificate(pki: Path, name: str, subject: str, authority: str, extensions: str) -> None:
    """Make a certificate, NAME.crt and NAME.key, signed by an authority of the same folder, unless it is there."""
    if (pki / f"{name}.crt").exists():
        return
    _key(pki, name)
    with TemporaryDirectory() as temporary:
        request, extension_file = Path(temporary) / "csr", Path(temporary) / "ext"
        usage = "basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\n"
        extension_file.write_text(usage + extensions)
        run(["openssl", "req", "-new", "-key", str(pki / f"{name}.key"), "-subj", subject, "-out", str(request)])
        signer = ["-CA", str(pki / f"{authority}.crt"), "-CAkey", str(pki / f"{authority}.key"), "-CAcreateserial"]
        sign = ["openssl", "x509", "-req", "-in", str(request), "-sha256", "-days", DAYS, *signer]
        run([*sign, "-extfile", str(extension_file), "-out", str(pki / f"{name}.crt")])


def _key(pki: Path, name: str) -> None:
    run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(pki / f"{name}.key")])


def _token_keys(pki: Path) -> None:
    """The pair that signs and checks ServiceAccount tokens."""
    private, public = pki / "sa.key", pki / "sa.pub"
    if public.exists():
        return
    run(["openssl", "genrsa", "-out", str(private), "2048"])
    run(["openssl", "rsa", "-in", str(private), "-pubout", "-out", str(public)])


def _kubeconfig(pki: Path, user: str) -> str:
    def embedded(file: str) -> str:
        return base64.b64encode((pki / file).read_bytes()).decode()

    credentials = {
        "client-certificate-data": embedded(f"{user}.crt"),
        "client-key-data": embedded(f"{user}.key"),
    }
    cluster = {"server": API_SERVER, "certificate-authority-data": embedded("ca.crt")}
    return json.dumps(  # JSON is YAML
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "firebreak-local", "cluster": cluster}],
            "users": [{"name": user, "user": credentials}],
            "contexts": [{"name": "firebreak-local", "context": {"cluster": "firebreak-local", "user": user}}],
            "current-context": "firebreak-local",
        },
        indent=2,
    )


def write_once(file: Path, text: str) -> None:
    """Write a file that has a secret, unless it is so already."""
    if not file.exists() or file.read_text() != text:
        file.touch(mode=0o600)
        file.write_text(text)
