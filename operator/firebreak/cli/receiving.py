"""What `firebreak intake` does: settings checked, logs in one format, the intake until it is told to stop."""

import structlog

from firebreak.cli.failure import Failure
from firebreak.cli.logs import configure
from firebreak.cli.running import unknown_variables
from firebreak.detect.rules import RuleErrors
from firebreak.intake.routes import RoutesError
from firebreak.intake.runtime import StartError, receive
from firebreak.intake.settings import IntakeSettings
from firebreak.intake.tls import CertificateError

log = structlog.get_logger()


async def receive_until_told(settings: IntakeSettings, *, insecure: bool) -> None:
    """Run the intake. It ends at SIGTERM or SIGINT, with what it accepted opened. Raises Failure when set wrongly."""
    configure(settings.log_format)
    if unknown := unknown_variables(IntakeSettings):
        log.warning("unknown settings are ignored", variables=unknown)
    try:
        await receive(settings, insecure=insecure)
    except StartError as error:
        raise Failure(str(error), "all settings: firebreak intake --settings; to try it out: --insecure") from error
    except (RoutesError, RuleErrors, CertificateError) as error:
        raise Failure(str(error), "correct the file and start again") from error
