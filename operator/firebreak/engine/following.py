"""What a follower does: it contains where the leader has not, and nothing else. It writes no status."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping

import structlog

from firebreak.api.base import Json
from firebreak.engine.case import Tools
from firebreak.engine.cutting import cut, grows, uncut
from firebreak.kube.errors import Forbidden, Invalid
from firebreak.kube.lanes import Lane, lane
from firebreak.model.incident import Incident, read, reference
from firebreak.model.loose import mapping

log = structlog.get_logger()

UNTIL_RECORDED = 5.0  # seconds between looks at what was cut and is not on record yet: nobody leads
MOMENTS = 3  # that a leader is left while much happens: within a second the pod is cut by somebody


class Following:
    """A replica's part while another one leads. `latest`: the open incidents by uid, as the watch shows them."""

    def __init__(self, tools: Tools, latest: Mapping[str, Json]) -> None:
        self._tools = tools
        self._latest = latest
        self._busy_at = -math.inf  # on the monotonic clock

    def saw(self, before: Json | None, raw: Json) -> None:
        """Note what keeps a leader busy: that an incident came, or was cut and is on record."""
        if before is None or (_cut_at(raw) and not _cut_at(before)):
            self._busy_at = time.monotonic()

    async def follow(self, uid: str, leading: Callable[[], bool]) -> float | None:
        """Leave the leader a moment, look, and contain if nobody has.

        Returns in how many seconds to look again, or None. Raises `ApiError`, and `BadSpecError` for an
        incident that cannot be understood.
        """
        await self._leave_a_moment()
        raw = self._latest.get(uid)
        if raw is None or not _ours(read(raw)):  # on record by now, as nearly always: no call
            return None
        with lane(Lane.CUT):
            fresh = read(await self._tools.api.get(reference(raw)))
        if leading() or not _ours(fresh):
            return None
        try:
            await cut(self._tools, fresh)
        except (Forbidden, Invalid) as error:
            log.warning("the cut was refused", error=str(error))
        return UNTIL_RECORDED if uncut(fresh) else None

    async def _leave_a_moment(self) -> None:
        """Wait, in a storm longer: all replicas would cut every pod, and the last one would be cut later for it."""
        moment = self._tools.settings.follower_seconds
        for _ in range(MOMENTS):
            await asyncio.sleep(moment)
            if time.monotonic() - self._busy_at >= moment:
                return


def _ours(incident: Incident) -> bool:
    return uncut(incident) or grows(incident)


def _cut_at(raw: Json) -> bool:
    return bool(mapping(mapping(raw.get("status")).get("timings")).get("cutAt"))
