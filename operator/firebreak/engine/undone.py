"""What others undo: done again, less and less eagerly, or left to a person; either way it is said who did it."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from firebreak.api.playbook import Drift
from firebreak.api.status import ChangeState
from firebreak.model.change import Change
from firebreak.model.record import step
from firebreak.steps.quarantine import MENDED

if TYPE_CHECKING:
    from firebreak.engine.case import Case

EAGER = 6  # times that a thing is put right at once
FIRST = 0.5  # seconds of the first pause after that; each next one is twice as long
CALM = 4  # longest pauses without a fight, after which it counts as over


@dataclass
class _Fight:
    times: int = 0
    last: float = 0.0


@dataclass
class Fights:
    """How often what this incident did was undone, by the Change's id. In memory: a new leader is eager again."""

    _fights: dict[str, _Fight] = field(default_factory=dict)

    def wait(self, change: str, longest: float) -> float:
        """Return the seconds until a Change that was undone may be made again; none for the first few times."""
        fight = self._fights.get(change)
        if fight is None or fight.times < EAGER:
            return 0.0
        pause = min(longest, FIRST * 2.0 ** (fight.times - EAGER))
        return max(0.0, fight.last + pause - asyncio.get_running_loop().time())

    def again(self, change: str, longest: float) -> int:
        """Count one more time; return how often in this fight."""
        fight, now = self._fights.setdefault(change, _Fight()), asyncio.get_running_loop().time()
        fight.times = 1 if now - fight.last > CALM * longest else fight.times + 1
        fight.last = now
        return fight.times


@dataclass(frozen=True)
class Split:
    """Changes to make now, and what is left undone: in words, and in how many seconds it is tried again, if at all."""

    now: tuple[Change, ...]
    left: tuple[str, ...] = ()
    pause: float | None = None

    @property
    def reason(self) -> str:
        """Why something is left, as a condition's reason."""
        return "KeepsChanging" if self.pause is not None else "Undone"

    @property
    def words(self) -> str:
        """What is left, for people."""
        why = "somebody undoes it again and again" if self.pause is not None else "the playbook says drift: Report"
        return f"{'; '.join(self.left[:5])} ({why})"


def split(
    case: "Case", name: str, changes: Iterable[Change], say: Callable[[Change], str], *, longest: float, late: str = ""
) -> Split:
    """Divide the Changes of a step into those to make now and those to leave; tell people of what was undone.

    `say` puts in words what was undone of a Change, and by whom; `late`: Changes of that part that are not on record
    are for pods that joined since, and count as drift too. `longest`: seconds between tries in an endless fight.
    """
    records, now, left, pauses = step(case.status, name).changes, [], [], []
    reports_only = case.playbook.drift is Drift.REPORT
    for change in changes:
        was = records.get(change.id)
        undone = change.part == MENDED or (was is not None and was.state is ChangeState.DONE)
        if reports_only and (undone or (was is None and late and change.part == late)):
            left.append(say(change))
        elif undone and (wait := case.fights.wait(change.id, longest)):
            left.append(say(change))
            pauses.append(wait)
        else:
            now.append(change)
            if undone:
                case.tools.metrics.undone.labels(name).inc()
                if case.fights.again(change.id, longest) <= EAGER:
                    case.tools.notices.undone(case.incident, say(change))
    return Split(tuple(now), tuple(left), min(pauses, default=None))
