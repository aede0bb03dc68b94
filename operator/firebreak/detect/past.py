"""Which events came before: what delivers them may deliver them twice."""

from firebreak.detect.event import Event


class Past:
    """The events of late, in two generations: the older one is forgotten when the newer one is full.

    An event that comes again is the same by auditID, stage, and the stage's time to the microsecond. Not by auditID and
    stage alone, as the API's documentation suggests: a caller may choose the auditID (header Audit-ID, seen on 1.35),
    and all its calls but the first would be taken for repeats. The time is the API server's own.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        # Each event is 64 bits, keyed by this process, so that nobody outside can aim at another event's.
        self._new: set[int] = set()
        self._old: set[int] = set()

    def has(self, event: Event) -> bool:
        """Tell whether an event came before, and remember that it came; one without auditID never did."""
        audit_id, new = event.audit_id, self._new
        if not audit_id:
            return False
        mark = hash((audit_id, event.stage, event.stage_timestamp))
        if mark in new or mark in self._old:
            return True
        new.add(mark)
        if len(new) >= self._most:
            self._old, self._new = new, set()
        return False
