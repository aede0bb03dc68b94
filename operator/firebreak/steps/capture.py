"""Capture: what to preserve of a pod, in the order in which it vanishes."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from firebreak.api.base import Json
from firebreak.model.loose import mapping, text
from firebreak.model.pod import Pod


class Kind(StrEnum):
    """What kind of artifact is wanted, and so where it comes from."""

    VOLATILE = "volatile"
    POD = "pod"
    LOG = "log"
    DESCRIBE = "describe"
    SURROUNDINGS = "surroundings"
    FILES = "files"


@dataclass(frozen=True)
class Request:
    """One artifact to collect. `name` is its path in the bundle."""

    name: str
    kind: Kind
    media_type: str
    pod: Pod
    container: str | None = None
    previous: bool = False


def plan(pods: tuple[Pod, ...], *, files: bool) -> tuple[tuple[Request, ...], ...]:
    """Return the artifacts of all pods in waves: what dies first for all of them, then the rest, long copies last."""
    inside = tuple((pod, name) for pod in pods for name in _containers(pod))
    return (
        tuple(_of(pod, Kind.VOLATILE, f"volatile/{c}.txt", "text/plain", c) for pod, c in inside),
        tuple(request for pod in pods for request in _documents(pod)),
        tuple(_of(pod, Kind.FILES, f"files/{c}.tar", "application/x-tar", c) for pod, c in inside if files),
    )


def _containers(pod: Pod) -> list[str]:
    """The containers to look into, the running ones first.

    One that does not run now (it crashed, or has not started) is asked for all the same: what cannot be had is then on
    record as a gap, never left out in silence.
    """
    named = (text(container.get("name")) for kind, container in pod.containers() if _lasts(pod, kind, container))
    return sorted(filter(None, named), key=lambda name: name not in pod.running)


def _lasts(pod: Pod, kind: str, container: Json) -> bool:
    """Whether a container is there to stay; an init container counts while it is at work, and when it failed."""
    if kind != "initContainers" or container.get("restartPolicy") == "Always":
        return True
    status = next((s for s in pod.statuses() if s.get("name") == container.get("name")), {})
    ended = mapping(mapping(status.get("state")).get("terminated"))
    return bool(status.get("containerID")) and not (ended and ended.get("exitCode") == 0)


def _documents(pod: Pod) -> Iterator[Request]:
    yield _of(pod, Kind.POD, "pod.json", "application/json")
    yield from _logs(pod)
    yield _of(pod, Kind.DESCRIBE, "describe.txt", "text/plain")
    yield _of(pod, Kind.SURROUNDINGS, "surroundings.json", "application/json")


def _logs(pod: Pod) -> Iterator[Request]:
    """Logs of all containers: the previous one's die with the next restart, so they come first.

    One that never started is asked for all the same, so that the gap is on record.
    """
    for name in pod.restarted:
        yield _of(pod, Kind.LOG, f"logs/{name}.previous.log", "text/plain", name, previous=True)
    for name in dict.fromkeys((*pod.container_ids, *_containers(pod))):
        yield _of(pod, Kind.LOG, f"logs/{name}.current.log", "text/plain", name)


def _of(
    pod: Pod, kind: Kind, path: str, media: str, container: str | None = None, *, previous: bool = False
) -> Request:
    return Request(f"pods/{pod.name}-{pod.uid}/{path}", kind, media, pod, container, previous)
