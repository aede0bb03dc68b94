"""What `firebreak run` does: settings checked, logs in one format, the operator until it is told to stop."""

import os

import structlog
from pydantic import ValidationError

from firebreak.cli.failure import TRACEBACK, Exit, Failure
from firebreak.cli.logs import configure
from firebreak.settings import Settings

PREFIX = "FIREBREAK_"
HINT = "correct these variables and start again; all settings: firebreak run --settings"
# A variable of the command itself, and those that Kubernetes sets for a Service named firebreak.
NOT_OURS = (TRACEBACK, "FIREBREAK_SERVICE_", "FIREBREAK_PORT_")

log = structlog.get_logger()


def read_settings(kubeconfig: str | None = None) -> Settings:
    """Read the settings from the environment. Raises Failure that names the variables which are wrong."""
    try:
        return Settings(kubeconfig=kubeconfig) if kubeconfig else Settings()
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        problems = [_in_words(problem["loc"], problem["msg"].removeprefix("Value error, ")) for problem in found]
        raise Failure("; ".join(problems), HINT, Exit.USAGE) from None


def _in_words(where: tuple[int | str, ...], what: str) -> str:
    """What is wrong, after its variable; what concerns several of them names them itself."""
    return f"{PREFIX}{str(where[0]).upper()}: {what}" if where else what


def unknown_variables(known: type[Settings] = Settings) -> list[str]:
    """Return variables that look like settings and are none: most often a slip of the pen."""
    names = {f"{PREFIX}{field}".upper() for field in known.model_fields}
    return sorted(v for v in os.environ if v.startswith(PREFIX) and v not in names and not v.startswith(NOT_OURS))


async def serve_until_told(settings: Settings) -> None:
    """Run the operator. It ends at SIGTERM or SIGINT, with its work on record."""
    configure(settings.log_format)
    from firebreak.operator import serve  # noqa: PLC0415 - kopf logs when imported: after logging is configured

    if unknown := unknown_variables():
        log.warning("unknown settings are ignored", variables=unknown)
    log.info("starting", namespace=settings.namespace, store=settings.store or None, replica=settings.pod)
    await serve(settings)
