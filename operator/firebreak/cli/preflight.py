"""What `firebreak preflight` does: run every check, one after the other, and say what each saw."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial

import typer

from firebreak.cli import checks, grants
from firebreak.cli.checks import Check, Outcome
from firebreak.cli.cluster import open_api
from firebreak.cli.failure import Exit, Failure
from firebreak.cli.fences import guards, guards_of_intake, guards_of_people, policies
from firebreak.cli.running import read_settings
from firebreak.cli.session import Session
from firebreak.cli.terminal import stack, table, words
from firebreak.engine.runtime import open_store
from firebreak.evidence.errors import StoreError
from firebreak.kube.client import Api
from firebreak.kube.errors import ApiError
from firebreak.model.facts import Account
from firebreak.settings import Settings

FAILED = frozenset({Outcome.FAILED})
DOUBTFUL = frozenset({Outcome.UNKNOWN, Outcome.WARNING})


@dataclass(frozen=True)
class Wish:
    """What is to be checked beside the rest."""

    probe: bool
    image: str | None
    account: str


async def preflight_checks(session: Session, wish: Wish) -> None:
    """Run the checks and print them. Raises Failure when one failed, Exit when one is unknown or warns."""
    settings = read_settings(session.options.kubeconfig)
    if session.options.namespace:
        settings = settings.model_copy(update={"namespace": session.options.namespace})
    if wish.probe:
        session.terminal.note("the enforcement probe starts two pods and tries packets: a minute or two")
    async with await open_api(session.options) as api:
        done = [check async for check in _checks(api, settings, wish)]
    rows = [(c.name, c.outcome, c.detail) for c in done]
    remedies = [words(f"{c.name}: {c.remedy}") for c in done if c.remedy]
    session.terminal.emit(
        {"checks": [asdict(check) for check in done]},
        lambda: stack(
            table(("CHECK", "RESULT", "DETAIL"), rows), *([words(""), words("NEXT"), *remedies] if remedies else [])
        ),
    )
    match verdict(done):
        case Exit.REFUSED:
            raise Failure(f"not as it must be: {_names(done, FAILED)}", "see above for what to do")
        case Exit.UNPROVEN:
            session.terminal.note(f"nothing failed; unknown or warned of: {_names(done, DOUBTFUL)}")
            raise typer.Exit(Exit.UNPROVEN)


def _names(done: Sequence[Check], outcomes: frozenset[Outcome]) -> str:
    return ", ".join(check.name for check in done if check.outcome in outcomes)


def verdict(done: Sequence[Check]) -> Exit:
    """Say by an exit code what the checks come to; a tier that was left out is a choice."""
    seen = {check.outcome for check in done}
    if seen & FAILED:
        return Exit.REFUSED
    return Exit.UNPROVEN if seen & DOUBTFUL else Exit.OK


async def _checks(api: Api, settings: Settings, wish: Wish) -> AsyncIterator[Check]:
    """Yield the checks in the order in which they build on each other; no API server, no point in going on."""
    clock = partial(datetime.now, UTC)
    for check in await checks.server(api, clock):
        yield check
    for check in await checks.definitions(api):
        yield check
    left_out: set[str] = set()
    async for check in _guarded(
        "rights", grants.tiers(api, settings.namespace, wish.account, itself=_itself(settings))
    ):
        if check.outcome is Outcome.LEFT_OUT:
            left_out.add(check.name.removeprefix("rights "))
        yield check
    account = Account(settings.namespace, wish.account)
    async for check in _guarded("guards", guards(api, account, left_out, itself=_itself(settings))):
        yield check
    of_people = guards_of_people(api, settings.namespace, itself=_itself(settings))
    async for check in _guarded("guards people", of_people):
        yield check
    of_intake = guards_of_intake(api, settings.namespace, itself=_itself(settings))
    async for check in _guarded("guards intake", of_intake):
        yield check
    async for check in _guarded("policies", policies(api, left_out)):
        yield check
    yield await _store(settings)
    of_enforcement = checks.enforcement(api, settings, clock, image=wish.image, probe=wish.probe)
    async for check in _guarded("enforcement", of_enforcement):
        yield check


async def _guarded(name: str, found: AsyncIterator[Check]) -> AsyncIterator[Check]:
    """A check that the API server refuses is one that failed; the others go on."""
    try:
        async for check in found:
            yield check
    except ApiError as error:
        yield Check(name, Outcome.FAILED, str(error), "grant the right, or run this as somebody who has it")


def _itself(settings: Settings) -> bool:
    """FIREBREAK_POD is set where the operator runs: there its own account asks."""
    return "pod" in settings.model_fields_set


async def _store(settings: Settings) -> Check:
    try:
        store = open_store(settings)
        return await checks.evidence_store(store, settings.namespace)
    except StoreError as error:
        return Check(
            "store", Outcome.FAILED, str(error), "correct FIREBREAK_STORE, FIREBREAK_STORE_OPTIONS or the store"
        )
