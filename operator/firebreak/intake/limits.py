"""What one sender may take: requests a second, and bytes that are held at once. All of it bounded in memory itself."""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

MOST_SENDERS = 1000  # remembered; without authentication addresses are senders, and an attacker may have many
SHARE = 2  # one sender may hold one part in so many of the bytes


@dataclass
class _Bucket:
    tokens: float
    at: float


class Rates:
    """Token buckets, one for each sender. `clock` counts seconds and never goes back."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, sender: str) -> bool:
        """Whether another request of this sender is within its rate."""
        now = self._clock()
        bucket = self._buckets.pop(sender, None) or _Bucket(self._burst, now)
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.at) * self._rate)
        bucket.at = now
        self._buckets[sender] = bucket
        if len(self._buckets) > MOST_SENDERS:
            self._buckets.popitem(last=False)
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True


class Budget:
    """Bytes that are held at once: bodies that are being read, and what waits to be worked on."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._of: Counter[str] = Counter()
        self.held = 0

    def claim(self, sender: str, size: int) -> bool:
        """Whether there is room for so many more bytes of this sender; they are held then, until given back."""
        if self.held + size > self._total or self._of[sender] + size > self._total // SHARE:
            return False
        self.held += size
        self._of[sender] += size
        return True

    def give_back(self, sender: str, size: int) -> None:
        """Say that so many bytes of this sender are held no more."""
        self.held -= size
        self._of[sender] -= size
        if not self._of[sender]:
            del self._of[sender]
