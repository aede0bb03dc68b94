"""A finding in words: who did what to what, from where. Bodies are left out: they may hold secret values."""

import msgspec

from firebreak.detect.event import Event, User
from firebreak.detect.finding import Finding
from firebreak.model.words import bounded

NAME = 200  # characters of one name


class _Metadata(msgspec.Struct, frozen=True):
    name: str = ""
    uid: str = ""


class _Created(msgspec.Struct, frozen=True):
    metadata: _Metadata = _Metadata()


def object_name(event: Event) -> str:
    """Return the name of what a call was about; the one that the API server gave, where the caller asked for that.

    A Deployment's pods have such names, and only an event of level RequestResponse tells them (seen on 1.35).
    """
    if event.object_ref is None or event.object_ref.name:
        return event.object_ref.name if event.object_ref else ""
    return _answered(event).name


def object_uid(event: Event) -> str:
    """Return the uid of what a call was about, as far as the API server's answer tells it.

    Whoever makes a pod chooses its name, and could have the next one of that name taken for it: a StatefulSet's.
    """
    ref = event.object_ref
    return "" if ref is None else ref.uid or ("" if ref.subresource else _answered(event).uid)


def _answered(event: Event) -> _Metadata:
    try:
        return msgspec.json.decode(event.response_object, type=_Created).metadata
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Metadata()


def user_name(user: User) -> str:
    """Return a user's name, or words that say that there is none."""
    return bounded(user.username, NAME) or "nobody known"


def peer(event: Event) -> str:
    """Return the address of the connection's peer: the last; those before it are what the caller's headers say."""
    return (event.source_ips or ("",))[-1]


def summary(finding: Finding) -> str:
    """Return who did what, in one printable line."""
    last = finding.events[-1]
    ref, posing = last.object_ref, last.impersonated_user
    parts = [
        user_name(last.user) + (f" acting as {user_name(posing)}" if posing else ""),
        bounded(last.verb, NAME),
    ]
    if ref:
        kind = "/".join(filter(None, (bounded(ref.resource, NAME), bounded(ref.subresource, NAME))))
        parts += [kind, "/".join(filter(None, (bounded(ref.namespace, NAME), bounded(object_name(last), NAME))))]
    where = bounded(peer(last), NAME)
    said = " ".join(filter(None, parts)) + (f" from {where}" if where else "")
    several = f", the last of {len(finding.events)} events" if len(finding.events) > 1 else ""
    return f"{bounded(finding.title, NAME)}: {said}{several}"
