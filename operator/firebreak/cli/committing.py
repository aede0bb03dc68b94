"""What `firebreak plan --git` does: print what to commit, so that Git and the cluster say the same."""

import asyncio
from collections.abc import Iterable

import yaml

from firebreak.api.base import Json
from firebreak.cli.cluster import connect
from firebreak.cli.session import Session
from firebreak.cli.terminal import Form, Terminal
from firebreak.kube.client import Api
from firebreak.kube.errors import Forbidden, NotFound
from firebreak.model.change import Ref
from firebreak.model.words import printable
from firebreak.steps.gitpatch import Commit, commits, touched

NOTHING = "# nothing to commit: no object that this incident changes is managed by Argo CD, Flux or Helm"


async def show_commits(session: Session, name: str) -> None:
    """Print one YAML document for each managed object of an incident. Raises Failure."""
    async with connect(session.options) as cluster:
        incident = await cluster.incident(name)
        refs = list(touched(incident))
        answers = await asyncio.gather(*(_metadata(cluster.api, ref, session.terminal) for ref in refs))
    found = list(commits(incident, dict(zip(refs, answers, strict=True))))
    if session.terminal.form is Form.TABLE:
        session.terminal.document(as_yaml(found))
    else:
        session.terminal.emit([as_json(each) for each in found], str)


async def _metadata(api: Api, ref: Ref, terminal: Terminal) -> Json:
    """Return an object without its data, empty when it is gone or may not be read: then it is said."""
    try:
        return await api.get(ref, metadata_only=True)
    except NotFound:
        return {}
    except Forbidden as error:
        terminal.note(f"who manages {ref} is unknown: {error}")
        return {}


def as_yaml(found: Iterable[Commit]) -> str:
    """Return the patches as YAML documents, each with a comment that says whose it is."""
    return "\n---\n".join(map(_document, found)) or NOTHING


def _document(commit: Commit) -> str:
    """Names are other people's text: in a comment they stay on its line, in YAML they are quoted."""
    head = f"# {printable(str(commit.managed))}: {printable(str(commit.target))}"
    if commit.patch is None:
        return f"{head}\n# {commit.note}"
    return f"{head}\n{yaml.safe_dump(commit.patch, sort_keys=False)}".rstrip("\n")


def as_json(commit: Commit) -> Json:
    """Return one for programs."""
    managed = {"tool": commit.managed.tool, "kind": commit.managed.kind, "name": commit.managed.name}
    return {"managedBy": managed, "object": str(commit.target), "patch": commit.patch, "note": commit.note}
