"""What `firebreak verify` does: find the bundle and the seal that it must have, verify, show the findings."""

import shlex
from dataclasses import asdict
from pathlib import Path

from rich.console import RenderableType

from firebreak.cli.cluster import connect
from firebreak.cli.failure import Exit, Failure
from firebreak.cli.running import read_settings
from firebreak.cli.session import Session
from firebreak.cli.terminal import stack, table, words
from firebreak.cli.text import size
from firebreak.evidence.keys import Key, is_key
from firebreak.evidence.store import EvidenceStore
from firebreak.evidence.verify import Verification, verify
from firebreak.settings import Settings

FOLDER = "incidents"  # what every bundle's place in the store begins with, after the cluster's name
UNRELIABLE = (
    "leave the store as it is: its object versions and its access log tell who wrote what is listed above, and when; "
    "what is NotSealed may still be captured (firebreak status)"
)


async def verify_incident(session: Session, name: str, seal: str | None) -> None:
    """Verify the bundle of an incident by the seal in its status. Raises Failure.

    The store is the person's own, when FIREBREAK_STORE names one: who can write a status must not decide where this
    person's credentials are sent.
    """
    async with connect(session.options) as cluster:
        incident = await cluster.incident(name)
    report = incident.status.evidence
    if not report or not report.url:
        raise Failure(
            f"incident {incident.id} has no evidence yet", f"firebreak watch {name} -n {incident.id.namespace}"
        )
    settings = read_settings()
    wanted = seal or report.seal or None
    if settings.store:
        where = settings.store, inside(settings.store, report.url, wanted)
    else:
        session.terminal.note(f"FIREBREAK_STORE is not set; the address is the status's own: {report.url}")
        where = split(report.url)
    await _verify(session, settings, report.url, where, wanted)


async def verify_url(session: Session, url: str, seal: str | None) -> None:
    """Verify the bundle at an address. Raises Failure when it is not as it was sealed."""
    await _verify(session, read_settings(), url, split(url), seal)


async def _verify(session: Session, settings: Settings, url: str, where: tuple[str, Key], seal: str | None) -> None:
    root, prefix = where
    options = {name: secret.get_secret_value() for name, secret in settings.store_options.items()}
    result = await verify(EvidenceStore.open(root, options), prefix, expected_digest=seal)
    session.terminal.emit({"url": url, "ok": result.ok, **asdict(result)}, lambda: _drawn(url, result, seal))
    if not result.ok:
        raise Failure(f"{len(result.problems)} problems: this evidence cannot be relied on as sealed", UNRELIABLE)


def inside(store: str, url: str, seal: str | None) -> Key:
    """Return the bundle's place in a store. Raises Failure when its address lies outside.

    The place is never read as part of a URL: no `..` in it, however it is written, leads out of the store.
    """
    base = store.rstrip("/") + "/"
    key = url.rstrip("/").removeprefix(base)
    if not url.startswith(base) or not is_key(key):
        command = ["firebreak", "verify", "--url", url, *(["--seal", seal] if seal else [])]
        raise Failure(
            f"the status says that the evidence is at {url}, which is not in the store {store} (FIREBREAK_STORE)",
            f"find out who wrote that status; if you trust the address with your credentials: {shlex.join(command)}",
        )
    split(url)  # refuses what is in the store and yet no incident's evidence
    return Key(key)


def split(url: str) -> tuple[str, Key]:
    """Return the store's address and the bundle's place in it. Raises Failure."""
    scheme, separator, path = url.rstrip("/").partition("://")
    *root, folder, namespace, incident = ["", "", "", *path.split("/")]
    key = f"{folder}/{namespace}/{incident}"
    if not separator or folder != FOLDER or not is_key(key):
        hint = "copy it from `firebreak status INCIDENT`; it ends with incidents/NAMESPACE/INCIDENT-UID"
        raise Failure(f"{url} is not the address of an incident's evidence", hint, Exit.USAGE)
    where = "/".join(root[3:])
    if scheme == "file" and not Path(where).is_dir():
        raise Failure(f"there is no folder {where} on this machine", "a file:// store is where the operator runs")
    return f"{scheme}://{where}", Key(key)


def _drawn(url: str, result: Verification, seal: str | None) -> RenderableType:
    verdict = "as it was sealed" if result.ok else "NOT as it was sealed"
    rows = [("problem", f.kind, f.key, f.message) for f in result.problems]
    rows += [("remark", f.kind, f.key, f.message) for f in result.remarks]
    return stack(
        words(f"{url}: {verdict}", "bold"),
        words(f"{result.artifacts} artifacts, {size(result.bytes)} hashed, {result.manifests} manifests"),
        words(f"seal {result.digest}"),
        None
        if seal
        else words("no seal to compare with was given: whoever can write to the store could forge all of it"),
        table(("", "KIND", "KEY", "WHAT"), rows) if rows else None,
    )
