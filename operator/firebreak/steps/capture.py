"""Capture: what to preserve of a pod, in the order in which it vanishes."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from firebreak.model.pod import Pod


class Source(StrEnum):
    """Where an artifact comes from."""

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
    source: Source
    media_type: str
    pod: Pod
    container: str | None = None
    previous: bool = False


def plan(pods: tuple[Pod, ...], *, files: bool) -> Iterator[Request]:
    """Return the artifacts of all pods: what dies first for all of them, then the next, the long file copies last."""
    for pod in pods:
        for container in pod.running:
            yield _of(pod, Source.VOLATILE, f"volatile/{container}.txt", "text/plain", container)
    for pod in pods:
        yield _of(pod, Source.POD, "pod.json", "application/json")
        yield from _logs(pod)
        yield _of(pod, Source.DESCRIBE, "describe.txt", "text/plain")
        yield _of(pod, Source.SURROUNDINGS, "surroundings.json", "application/json")
    if files:
        for pod in pods:
            for container in pod.running:
                yield _of(pod, Source.FILES, f"files/{container}.tar", "application/x-tar", container)


def _logs(pod: Pod) -> Iterator[Request]:
    """Logs of all containers of all kinds: the previous one's die with the next restart, so they come first."""
    for previous in (True, False):
        for _, container in pod.containers():
            name = str(container.get("name", ""))
            which = "previous" if previous else "current"
            yield _of(pod, Source.LOG, f"logs/{name}.{which}.log", "text/plain", name, previous=previous)


def _of(
    pod: Pod, source: Source, path: str, media: str, container: str | None = None, *, previous: bool = False
) -> Request:
    return Request(f"pods/{pod.name}-{pod.uid}/{path}", source, media, pod, container, previous)
