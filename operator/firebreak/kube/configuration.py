"""Where the API server is and who we are to it: by kubeconfig, or by the account of the pod that this runs in."""

import os
import ssl
from pathlib import Path

from kubernetes.aio import config as kube_config
from kubernetes.aio.client.configuration import Configuration

IN_CLUSTER_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


async def load_configuration(kubeconfig: str | None, context: str | None) -> Configuration:
    """Return host, certificates and credentials: in-cluster when there, unless a kubeconfig is named."""
    configuration = Configuration()
    named = kubeconfig or os.environ.get("KUBECONFIG")
    if named is None and IN_CLUSTER_TOKEN.exists():  # noqa: ASYNC240 - a local file, once
        kube_config.load_incluster_config(client_configuration=configuration)
    else:
        await kube_config.load_kube_config(
            config_file=named, context=context, client_configuration=configuration, persist_config=False
        )
    return configuration


def ssl_context(configuration: Configuration) -> ssl.SSLContext:
    """Return how TLS to the API server is checked, and by which certificate Firebreak shows itself."""
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
