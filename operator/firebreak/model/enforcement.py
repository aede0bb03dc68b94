"""Whether this cluster enforces NetworkPolicies: what the probe saw, and what follows from it.

A path is proven when traffic was seen on it before a deny-all policy, stopped under it, and was seen again after it.
The last matters: a pod that crashed is silent as well.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from firebreak.api.base import Json

NEVER_PROBED = "never probed; run `firebreak preflight`"
LONGEST_DETAIL, LONGEST_TIME = 1024, 40  # characters
AHEAD = timedelta(minutes=5)  # who ran the probe may have another clock than who reads its record
STEADY = 2  # rounds in a row that must agree: one lost packet is no verdict


class State(StrEnum):
    """What the probe could show."""

    PROVEN = "Proven"
    NOT_ENFORCED = "NotEnforced"
    UNPROVEN = "Unproven"


@dataclass(frozen=True)
class Enforcement:
    """The outcome of a probe: when (RFC 3339, UTC; empty when never), what in one sentence, and each path in words."""

    state: State = State.UNPROVEN
    at: str = ""
    detail: str = NEVER_PROBED
    directions: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the record as it is kept in the ConfigMap."""
        record = {"state": self.state, "at": self.at, "detail": self.detail, "directions": dict(self.directions)}
        return json.dumps(record, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Enforcement":
        """Read a record; one that cannot be understood proves nothing."""
        try:
            record = json.loads(text)
            return cls(
                State(record["state"]),
                str(record["at"])[:LONGEST_TIME],
                str(record["detail"])[:LONGEST_DETAIL],
                {str(path): str(words) for path, words in dict(record["directions"]).items()},
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            words = f"the recorded probe cannot be read ({type(error).__name__}); run `firebreak preflight`"
            return cls(detail=words)

    def counted(self, now: datetime, lasts: timedelta) -> "Enforcement":
        """Return what it is worth now: a proof that is too old, or of a time to come, proves nothing."""
        if self.state is not State.PROVEN:
            return self
        try:
            age = now - datetime.fromisoformat(self.at)
        except (ValueError, TypeError):  # the latter of a time without its zone
            doubt = "has no time that can be read"
        else:
            if -AHEAD <= age <= lasts:
                return self
            late = f"is too old, of {self.at}"
            doubt = late if age > lasts else f"is of {self.at}, a time to come: a clock is wrong, or somebody wrote it"
        return Enforcement(State.UNPROVEN, self.at, f"the proof {doubt}; run `firebreak preflight --probe`")


@dataclass(frozen=True)
class Round:
    """What one probe pod reports of one round: which traffic to its peer, and to its own node, went through."""

    number: int
    new: bool
    established: bool
    node: bool

    @classmethod
    def parse(cls, line: str, run: str) -> "Round | None":
        """Read a line of a probe pod's log; None for whatever is not a report of this run."""
        try:
            report: Json = json.loads(line)
            if report["run"] != run:
                return None
            return cls(
                int(report["round"]),
                report["new"] is True,
                report["established"] is True,
                report["node"] is True,
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            return None


TO, FROM = "into the cut pod", "out of the cut pod"
NEW, ESTABLISHED = "new connection", "established connection"


@dataclass(frozen=True)
class Sight:
    """The latest rounds of the two pods: `cut` is the one that the policy selects, `free` its peer."""

    cut: tuple[Round, ...] = ()
    free: tuple[Round, ...] = ()

    def since(self, other: "Sight") -> "Sight":
        """Return the rounds that began after all of `other`'s."""
        return Sight(_after(self.cut, other.cut), _after(self.free, other.free))

    @property
    def paths(self) -> Mapping[str, tuple[bool, ...]]:
        """Each path that must be cut, with what its rounds saw."""
        return {
            f"{NEW} {FROM}": tuple(r.new for r in self.cut),
            f"{ESTABLISHED} {FROM}": tuple(r.established for r in self.cut),
            f"{NEW} {TO}": tuple(r.new for r in self.free),
            f"{ESTABLISHED} {TO}": tuple(r.established for r in self.free),
        }

    @property
    def flows(self) -> bool:
        """Whether traffic goes through on every path, steadily."""
        return not self.silent

    @property
    def silent(self) -> tuple[str, ...]:
        """The paths on which traffic does not steadily go through."""
        return tuple(path for path, seen in self.paths.items() if not _steady(seen, wanted=True))

    @property
    def leaking(self) -> tuple[str, ...]:
        """The paths on which traffic was seen lately."""
        return tuple(path for path, seen in self.paths.items() if any(seen[-STEADY:]))

    @property
    def is_cut(self) -> bool:
        """Whether every path is reported as cut, steadily. A pod that reports nothing shows nothing."""
        return all(_steady(seen, wanted=False) for seen in self.paths.values())

    @property
    def node_from_cut(self) -> bool | None:
        """Whether the cut pod still reached its own node; None when it did not say."""
        return self.cut[-1].node if self.cut else None


def _after(rounds: tuple[Round, ...], earlier: tuple[Round, ...]) -> tuple[Round, ...]:
    last = earlier[-1].number if earlier else -1
    return tuple(r for r in rounds if r.number > last)


def _steady(seen: tuple[bool, ...], *, wanted: bool) -> bool:
    return len(seen) >= STEADY and all(value is wanted for value in seen[-STEADY:])


def judge(under: Sight, after: Sight, *, at: str, waited: float, nodes: tuple[str, ...]) -> Enforcement:
    """Say what a probe showed that saw every path flow before: `under` the policy and `after` it was removed.

    `waited`: seconds that the cluster was given to enforce the policy. `nodes`: where the pods ran.
    """
    directions = dict(_words(under, after))
    where = f"between {nodes[0]} and {nodes[1]}" if len(set(nodes)) > 1 else f"on {nodes[0]}"
    if under.leaking:
        detail = (
            f"{waited:.0f} s after a deny-all policy was applied this still got through {where}: "
            f"{', '.join(under.leaking)}"
        )
        return Enforcement(State.NOT_ENFORCED, at, detail, directions)
    if not under.is_cut:
        detail = "the probe's pods stopped reporting under the policy; run `firebreak preflight` again"
        return Enforcement(State.UNPROVEN, at, detail, directions)
    if after.silent:
        detail = (
            f"the probe went silent under the policy and did not come back after it ({', '.join(after.silent)}): "
            "something else may have cut it; run `firebreak preflight` again"
        )
        return Enforcement(State.UNPROVEN, at, detail, directions)
    detail = (
        f"a deny-all policy cut new and established connections {where}, in both directions; they came back after it"
    )
    return Enforcement(State.PROVEN, at, detail, directions)


def _words(under: Sight, after: Sight) -> Iterator[tuple[str, str]]:
    for path in under.paths:
        if path in under.leaking:
            yield path, "still flows"
        else:
            yield path, "cut, did not come back" if path in after.silent else "cut, came back"
    if under.node_from_cut is not None:
        reached = "reachable" if under.node_from_cut else "cut"
        yield "cut pod to its own node", f"{reached} (for information: a NetworkPolicy does not promise to cut this)"
