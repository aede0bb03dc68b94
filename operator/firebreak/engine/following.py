"""What a follower does: it contains where the leader has not, and nothing else. It writes no status."""

import asyncio
from collections.abc import Callable

import structlog

from firebreak.api.base import Json
from firebreak.engine.case import Tools
from firebreak.engine.cutting import cut, grows, uncut
from firebreak.kube.errors import Forbidden, Invalid
from firebreak.kube.lanes import Lane, lane
from firebreak.model.incident import read, reference

log = structlog.get_logger()

UNTIL_RECORDED = 5.0  # seconds between looks at what was cut and is not on record yet: nobody leads


async def follow(tools: Tools, raw: Json, leading: Callable[[], bool]) -> float | None:
    """Leave the leader a moment, look, and contain if nobody has. Returns in how many seconds to look again, or None.

    Raises `ApiError`, and `BadSpecError` for an incident that cannot be understood.
    """
    await asyncio.sleep(tools.settings.follower_seconds)
    with lane(Lane.CUT):
        fresh = read(await tools.api.get(reference(raw)))
    first = uncut(fresh)
    if leading() or not (first or grows(fresh)):
        return None
    try:
        await cut(tools, fresh)
    except (Forbidden, Invalid) as error:
        log.warning("the cut was refused", error=str(error))
    return UNTIL_RECORDED if first else None
