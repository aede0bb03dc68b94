"""Errors of the other rooms as failures of a command: what happened, to what, what to do next."""

from firebreak.cli.failure import Exit, Failure
from firebreak.evidence.errors import StoreError
from firebreak.kube.configuration import ConfigurationError
from firebreak.kube.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    TooLarge,
    Unauthorized,
    Unavailable,
)  # fmt: skip
from firebreak.model.incident import BadSpecError

AGAIN = "run the command again; if it stays so, look at the API server's log"
ACCESS = (
    (Unauthorized, "log in again: the API server does not know these credentials"),
    (Unavailable, "check that the API server is up and the context is right: kubectl version"),
    (Forbidden, "ask a cluster administrator for this right, or use a context that has it"),
)
HINTS = (
    (Invalid, "correct what the message names, and run the command again"),
    (TooLarge, "ask for less: one namespace (-n), or one incident by its name"),
    (NotFound, "check the name and the namespace (-n)"),
    (AlreadyExists, "choose another name with --name"),
    (Conflict, "somebody changed it at the same moment; run the command again"),
)
NO_KIND = "could not find the requested resource"


def translate(error: Exception) -> Failure | None:
    """Return the failure that an error means, or None when it was not expected."""
    match error:
        case ApiError():
            return _api(error)
        case StoreError():
            return Failure(
                str(error), "check the store's address, FIREBREAK_STORE_OPTIONS, the credentials in the environment"
            )
        case OSError():
            said = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            return Failure(said, "check the file or port that this is about, and your rights to it")
        case ConfigurationError():
            hint = "name a file with --kubeconfig, a context with --context, or run inside the cluster"
            return Failure(f"no cluster to talk to: {error}", hint, Exit.UNREACHABLE)
        case BadSpecError():
            return Failure(f"the incident cannot be read: {error}", "correct its spec and apply it again")
        case _:
            return None


def _api(error: ApiError) -> Failure:
    if NO_KIND in error.message:
        return Failure(f"{error}: Firebreak's CRDs are not installed", "firebreak crds | kubectl apply -f -")
    for kind, hint in ACCESS:
        if isinstance(error, kind):
            return Failure(str(error), hint, Exit.UNREACHABLE)
    return Failure(str(error), next((hint for kind, hint in HINTS if isinstance(error, kind)), AGAIN))
