"""Waiting for a condition, with a deadline: the only place in this package that sleeps."""

import time
from collections.abc import Callable

from cluster.provider import ClusterError

POLL_SECONDS = 0.05


def wait_until(condition: Callable[[], object], *, timeout: float, otherwise: str | Callable[[], str]) -> None:
    """Return as soon as `condition()` is truthy; after `timeout` seconds raise ClusterError(otherwise)."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            text = otherwise if isinstance(otherwise, str) else otherwise()
            raise ClusterError(f"{text} (waited {timeout:.0f} s)")
        time.sleep(POLL_SECONDS)
