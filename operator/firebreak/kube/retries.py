"""How long and how often a call to the API server is tried."""

from dataclasses import dataclass

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_before_delay,
    wait_random_exponential,
)

from firebreak.kube.errors import Unavailable

REQUEST_TIMEOUT = 15.0  # seconds for one try
LONGEST_PAUSE = 5.0  # seconds between tries, whatever Retry-After asks for: a cut is waiting
RETRY_BUDGET = 30.0  # seconds for all tries of one call


@dataclass(frozen=True)
class CallLimits:
    """How long and how often one call is tried, in seconds."""

    timeout: float = REQUEST_TIMEOUT
    budget: float = RETRY_BUDGET


DEFAULT_LIMITS = CallLimits()


def retrying(limits: CallLimits) -> AsyncRetrying:
    """Return the tries of one call: again after passing faults, within the budget."""
    return AsyncRetrying(
        retry=retry_if_exception_type(Unavailable),
        wait=_pause,
        stop=stop_before_delay(limits.budget),
        reraise=True,
    )


def _pause(state: RetryCallState) -> float:
    """Wait as long as the server asks for, else a random, growing while."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, Unavailable) else None
    return min(asked, LONGEST_PAUSE) if asked is not None else _BACKOFF(state)


_BACKOFF = wait_random_exponential(multiplier=0.1, max=5)
