"""Where the API server is and who we are to it: by kubeconfig, or by the account of the pod that this runs in.

The official client reads kubeconfigs, with all their ways to log in. Inside a cluster it is not loaded: it is 19 MiB
and half a second of a start, for two files and two variables
(kubernetes.io/docs/tasks/run-application/access-api-from-pod).
"""

import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

IN_CLUSTER_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class ConfigurationError(Exception):
    """There is no way to an API server, or what names it cannot be used."""


async def _nobody() -> str:
    return ""


@dataclass(frozen=True)
class Configuration:
    """Where the API server is, how it is known, and how it knows us."""

    host: str
    ssl_ca_cert: str | None = None
    verify_ssl: bool = True
    cert_file: str | None = None
    key_file: str | None = None
    authorization: Callable[[], Awaitable[str]] = _nobody
    """The value of the header as it is to be now, empty without one: a login of a kubeconfig renews itself."""


async def load_configuration(kubeconfig: str | None, context: str | None) -> Configuration:
    """Return host, certificates and credentials: in-cluster when there, unless a kubeconfig is named.

    Raises `ConfigurationError`.
    """
    named = kubeconfig or os.environ.get("KUBECONFIG")
    if named is None and IN_CLUSTER_TOKEN.exists():  # noqa: ASYNC240 - a local file, once
        return in_cluster(IN_CLUSTER_TOKEN.parent, os.environ)
    return await _by_kubeconfig(named, context)


def in_cluster(account: Path, environment: Mapping[str, str]) -> Configuration:
    """Return the way to the API server by the account in a folder, as the kubelet mounts it.

    Raises `ConfigurationError`.
    """
    host, port = (environment.get(f"KUBERNETES_SERVICE_{part}") for part in ("HOST", "PORT"))
    try:
        token, ca = ((account / name).read_text().strip() for name in ("token", "ca.crt"))
    except OSError as error:
        message = f"the account mounted into this pod cannot be read: {error}"
        raise ConfigurationError(message) from error
    if not (host and port and token and ca):
        message = "the pod's account is incomplete: KUBERNETES_SERVICE_HOST, _PORT, its token or its CA is empty"
        raise ConfigurationError(message)

    async def authorization() -> str:
        return f"Bearer {token}"

    name = f"[{host}]" if ":" in host else host
    return Configuration(f"https://{name}:{port}", str(account / "ca.crt"), authorization=authorization)


async def _by_kubeconfig(named: str | None, context: str | None) -> Configuration:
    from kubernetes.aio import config  # noqa: PLC0415 - see above
    from kubernetes.aio.client.configuration import Configuration as Official  # noqa: PLC0415

    official = Official()
    try:
        await config.load_kube_config(
            config_file=named, context=context, client_configuration=official, persist_config=False
        )
    except config.ConfigException as error:
        raise ConfigurationError(str(error)) from error

    async def authorization() -> str:
        return await official.get_api_key_with_prefix("BearerToken", alias="authorization") or ""

    return Configuration(
        official.host, official.ssl_ca_cert, official.verify_ssl, official.cert_file, official.key_file, authorization
    )


def namespace_named(kubeconfig: str, context: str | None) -> str | None:
    """Return the namespace that a context of these kubeconfig files names, the current one if none is given.

    Raises `ConfigurationError`.
    """
    from kubernetes.aio import config  # noqa: PLC0415 - see above

    try:
        contexts, current = config.list_kube_config_contexts(kubeconfig)
    except config.ConfigException as error:
        raise ConfigurationError(str(error)) from error
    chosen = next((each for each in contexts if each["name"] == context), current) or {}
    return (chosen.get("context") or {}).get("namespace")


def ssl_context(configuration: Configuration) -> ssl.SSLContext:
    """Return how TLS to the API server is checked, and by which certificate Firebreak shows itself."""
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
