"""The outgoing webhook: notices wait here, one for each incident, and are posted one after the other.

Nothing waits for it. Notices of one incident that are not posted yet become one, so that a slow or limited server gets
less and not later. What could not be posted is counted, logged, and gone, except that somebody is waited for: that is
offered again at the next look, also after a restart, until it was taken (see `Notices`).
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import aiohttp
import structlog
from yarl import URL

from firebreak.engine.metrics import FAILED, POSTED, Metrics
from firebreak.engine.work import Work
from firebreak.model.notice import Format, Notice, body
from firebreak.outward.posting import DEFAULT_LIMITS, PostError, PostLimits, post
from firebreak.service.supervise import supervise
from firebreak.settings import Settings, as_headers

log = structlog.get_logger()

MOST_WAITING = 500  # incidents with a notice that is not posted yet; the oldest is dropped beyond that
Taken = Callable[[bool], None]


@dataclass(frozen=True)
class Address:
    """Where notices go, and how they are put."""

    url: URL
    form: Format
    template: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def address(settings: Settings) -> Address | None:
    """Return where the settings send notices, None for nowhere."""
    if settings.notify_url is None:
        return None
    return Address(
        URL(settings.notify_url.get_secret_value()),
        settings.notify_format,
        settings.notify_template,
        as_headers(settings.notify_header),
    )


class Webhook:
    """Posts notices, from the first one that is offered until it is closed."""

    def __init__(self, address: Address, metrics: Metrics, limits: PostLimits = DEFAULT_LIMITS) -> None:
        self._address = address
        self._metrics = metrics
        self._limits = limits
        self._waiting: dict[str, tuple[Notice, list[Taken]]] = {}
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def offer(self, notice: Notice, taken: Taken) -> None:
        """Let a notice wait for its turn; `taken` is told whether it was posted. Never blocks."""
        earlier, told = self._waiting.get(notice.uid, (None, []))
        self._waiting[notice.uid] = (notice.after(earlier) if earlier else notice, [*told, taken])
        if len(self._waiting) > MOST_WAITING:
            self._failed(*self._waiting.pop(next(iter(self._waiting))), f"more than {MOST_WAITING} were waiting")
        self._woken.set()
        if self._task is None:
            self._task = asyncio.create_task(supervise(Work.WEBHOOK, self._work, self._metrics.background_failures))

    async def close(self) -> None:
        """Drop what is not posted yet."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        async with aiohttp.ClientSession(trust_env=True) as session:
            while True:
                while self._waiting:
                    await self._next(session)
                await self._woken.wait()
                self._woken.clear()

    async def _next(self, session: aiohttp.ClientSession) -> None:
        notice, told = self._waiting.pop(next(iter(self._waiting)))
        try:
            data = json.dumps(body(notice, self._address.form, self._address.template)).encode()
            await post(session, self._address.url, lambda: (data, self._address.headers), self._limits)
        except PostError as error:
            self._failed(notice, told, str(error))
        except Exception as error:  # a bug: whoever waits for this notice is told that it did not go out
            self._failed(notice, told, type(error).__name__)
            raise
        else:
            self._metrics.notifications.labels(POSTED).inc()
            for taken in told:
                taken(True)

    def _failed(self, notice: Notice, told: list[Taken], why: str) -> None:
        self._metrics.notifications.labels(FAILED).inc()
        log.warning("notification not posted", incident=f"{notice.namespace}/{notice.incident}", error=why)
        for taken in told:
            taken(False)
