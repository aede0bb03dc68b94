"""What the guard rails decide upon: what is protected, and the incidents that an alert source raised lately."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from firebreak.api.incident import Rail


@dataclass(frozen=True)
class Backend:
    """Pods that the cluster, or Firebreak, cannot work without: those that a Service selects."""

    namespace: str
    selector: Mapping[str, str]
    why: str
    """In words, e.g. `it answers admission webhook policy.example.com`."""


@dataclass(frozen=True)
class Size:
    """How many pods a workload is to have, and what people know it as, e.g. `Deployment web`."""

    workload: str
    pods: int


@dataclass(frozen=True)
class Protected:
    """What was protected when it was read last. Looked up without a call: only an automatic cut waits, for sizes."""

    namespaces: Mapping[str, str] = field(default_factory=dict)
    """Protected namespaces, and why. From the settings: never stale."""
    backends: tuple[Backend, ...] = ()
    pods: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """The pods of `backends` by namespace and name, and why."""
    sizes: Mapping[str, Mapping[str, Size]] = field(default_factory=dict)
    """Of each namespace that was read: sizes by the controller that names the pods, a ReplicaSet for a Deployment's."""


@dataclass(frozen=True)
class Limits:
    """What the breaker lets pass: counts within a window, and a share of a workload's pods."""

    window: timedelta
    namespace: int
    total: int
    reserve: int
    share: float


@dataclass(frozen=True)
class Alarm:
    """An open incident as the breaker counts it."""

    uid: str
    namespace: str
    created: datetime
    automatic: bool
    critical: bool
    pods: frozenset[str]
    """Names of the pods that it cuts, or would cut, as far as they are known."""


@dataclass(frozen=True)
class Held:
    """A cut that is held back: by which guard rail, and why, in words with what a person does."""

    rail: Rail
    why: str
    services: tuple[str, ...] = ()
    """The Services that would be left without a pod."""
