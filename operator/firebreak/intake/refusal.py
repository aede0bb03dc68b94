"""A request that is not taken: the answer says why, the log does, a metric counts it. No secret is in any of them."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from prometheus_client import Counter

log = structlog.get_logger()

TOLD_AGAIN = 10.0  # seconds: whoever floods us with what is refused does not flood the log
MOST_TOLD = 1000  # pairs of reason and sender that are remembered
OVERLOAD, UNAVAILABLE = SERVERS_FAULT = ("overload", "unavailable")
"""Reasons that are none of the sender's making: what never comes again is lost by them."""
SOON = 5  # seconds after which a sender may try again what overload refused


@dataclass(eq=False)
class Refused(Exception):
    """Why a request is not taken. `reason` is one of few words, for the metric; `retry_after` is seconds."""

    status: int
    reason: str
    words: str
    retry_after: int | None = None

    def __str__(self) -> str:
        return self.words


def overloaded(words: str) -> Refused:
    """Return a refusal that senders repeat: Alertmanager and the API server try 503 again, and not 429."""
    return Refused(503, OVERLOAD, words, SOON)


@dataclass
class _Told:
    at: float
    since: int = 0


class Refusals:
    """Counts every refusal and logs it: at once, and then how many more came, every ten seconds."""

    def __init__(self, counter: Counter, clock: Callable[[], float] = time.monotonic) -> None:
        self._counter = counter
        self._clock = clock
        self._told: dict[tuple[str, str], _Told] = {}

    def note(self, sender: str, refused: Refused) -> None:
        """Count and log. `sender` is our word for who sent it, or its address."""
        self._counter.labels(refused.reason).inc()
        now, key = self._clock(), (refused.reason, sender)
        told = self._told.get(key)
        if told and now - told.at < TOLD_AGAIN:
            told.since += 1
            return
        if len(self._told) >= MOST_TOLD:
            self._told.clear()
        self._told[key] = _Told(now)
        more = {"like_it_before": told.since} if told and told.since else {}
        log.warning("request refused", sender=sender, reason=refused.reason, why=refused.words, **more)
