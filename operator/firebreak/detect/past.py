"""What came before: what delivers events may deliver them twice."""

from collections.abc import Hashable


class Past:
    """The keys of late, in two generations: the older one is forgotten when the newer one is full."""

    def __init__(self, most: int) -> None:
        self._most = most
        # Each key is 64 bits, hashed with this process's own secret, so that nobody outside can aim at another's.
        self._new: set[int] = set()
        self._old: set[int] = set()

    def __contains__(self, key: Hashable) -> bool:
        mark = hash(key)
        return mark in self._new or mark in self._old

    def add(self, key: Hashable) -> None:
        """Remember a key."""
        self._new.add(hash(key))
        if len(self._new) >= self._most:
            self._old, self._new = self._new, set()
