"""What the commands do that run until they are told to stop: settings checked, logs in one format, then the work."""

import os
from typing import TypeVar

import structlog
from pydantic import ValidationError
from pydantic_settings import BaseSettings

from firebreak.cli.failure import TRACEBACK, Exit, Failure
from firebreak.cli.logs import configure
from firebreak.settings import Settings

S = TypeVar("S", bound=BaseSettings)

# A variable of the command itself, and those that Kubernetes sets for Services named firebreak and firebreak-intake.
NOT_OURS = (TRACEBACK, "FIREBREAK_SERVICE_", "FIREBREAK_PORT_", "FIREBREAK_INTAKE_SERVICE_", "FIREBREAK_INTAKE_PORT_")

log = structlog.get_logger()


def read_settings(kubeconfig: str | None = None) -> Settings:
    """Read the operator's settings from the environment. Raises Failure that names the variables which are wrong."""
    return validated(Settings, kubeconfig, "firebreak run --settings")


def validated(kind: type[S], kubeconfig: str | None, listing: str) -> S:
    """Read settings from the environment; `listing` is the command that lists them all. Raises Failure."""
    try:
        return kind(kubeconfig=kubeconfig) if kubeconfig else kind()
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        prefix = prefix_of(kind)
        problems = [_in_words(prefix, each["loc"], each["msg"].removeprefix("Value error, ")) for each in found]
        hint = f"correct these variables and start again; all settings: {listing}"
        raise Failure("; ".join(problems), hint, Exit.USAGE) from None


def prefix_of(kind: type[BaseSettings]) -> str:
    """Return what the variables of these settings begin with."""
    return str(kind.model_config["env_prefix"])


def _in_words(prefix: str, where: tuple[int | str, ...], what: str) -> str:
    """What is wrong, after its variable; what concerns several of them names them itself."""
    return f"{prefix}{str(where[0]).upper()}: {what}" if where else what


def unknown_variables(known: type[BaseSettings] = Settings) -> list[str]:
    """Return variables that look like settings and are none: most often a slip of the pen."""
    prefix = prefix_of(known)
    names = {f"{prefix}{field}".upper() for field in known.model_fields}
    return sorted(v for v in os.environ if v.startswith(prefix) and v not in names and not v.startswith(NOT_OURS))


async def serve_until_told(settings: Settings) -> None:
    """Run the operator. It ends at SIGTERM or SIGINT, with its work on record."""
    configure(settings.log_format)
    from firebreak.operator import serve  # noqa: PLC0415 - kopf logs when imported: after logging is configured

    if unknown := unknown_variables():
        log.warning("unknown settings are ignored", variables=unknown)
    log.info("starting", namespace=settings.namespace, store=settings.store or None, replica=settings.pod)
    await serve(settings)
