"""Records on their way to a SIEM: each output has a queue of its own, and whoever has something to tell never waits.

An output that fails is tried again for as long as this process runs, and said once; what finds no room meanwhile, or
is refused for good, is dropped, counted and told. So a record comes at most once to a file, and to a server once or,
when its answer is lost, again with the same id.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import aiohttp
import structlog
from prometheus_client import CollectorRegistry, Counter
from pydantic import SecretStr
from yarl import URL

from firebreak.api.base import Json
from firebreak.model.cloudevent import CONTENT_TYPE, cloud_event, source_of
from firebreak.model.ecs import Record
from firebreak.outward.lines import Lines
from firebreak.outward.posting import DEFAULT_LIMITS, PostError, PostLimits, PostUnavailable, post
from firebreak.service.supervise import growing_pause, supervise
from firebreak.settings import STDOUT, as_headers

log = structlog.get_logger()

MOST_WAITING: Final = 1000  # records of one output, of a few KiB each
GRACE: Final = 3.0  # seconds at the end, of the 30 that a process has, for what still waits
TELL: Final = 10.0  # seconds between two lines in the log about what was dropped
OUTPUTS = LINES, EVENTS = ("ecs", "cloudevents")
RESULTS = SENT, AGAIN, DROPPED = ("sent", "again", "dropped")


def counter(name: str, registry: CollectorRegistry) -> Counter:
    """Return what counts records, all of its series there from the start: an increase from no sample is none."""
    counted = Counter(name, "Records for the SIEM by output and result.", ("output", "result"), registry=registry)
    for output in OUTPUTS:
        for result in RESULTS:
            counted.labels(output, result)
    return counted


class Output(Protocol):
    """Where records go."""

    name: str
    place: str
    """Where that is, for the log; of a URL the host only."""

    async def send(self, record: Record) -> None:
        """Hand one over. Raises OSError and PostUnavailable for what may pass, PostError for what will not."""

    async def close(self) -> None:
        """Let go of what it holds."""


class EcsLines:
    """Documents of ECS, one a line, into a file or to stdout."""

    name = LINES

    def __init__(self, path: Path | None) -> None:
        self.place = str(path or "stdout")
        self._lines = Lines(path)

    async def send(self, record: Record) -> None:
        """Write one line. Raises OSError."""
        await asyncio.to_thread(self._lines.append, encoded(record.document))

    async def close(self) -> None:
        """Close the file."""
        self._lines.close()


class CloudEvents:
    """CloudEvents, each posted by itself in the structured mode: batches are only for who asked for them."""

    name = EVENTS

    def __init__(
        self, url: SecretStr, header: SecretStr | None, cluster: str, limits: PostLimits = DEFAULT_LIMITS
    ) -> None:
        self._url = URL(url.get_secret_value())
        self.place = str(self._url.host)
        self._headers = {**as_headers(header), "Content-Type": CONTENT_TYPE}
        self._source = source_of(cluster)
        self._limits = limits
        self._session: aiohttp.ClientSession | None = None

    async def send(self, record: Record) -> None:
        """Post one event. Raises PostError."""
        if self._session is None:
            self._session = aiohttp.ClientSession(trust_env=True)
        data = encoded(cloud_event(record, self._source))
        await post(self._session, self._url, lambda: (data, self._headers), self._limits)

    async def close(self) -> None:
        """Close the connections."""
        if self._session:
            await self._session.close()


class Destinations(Protocol):
    """What of the settings of a process says where records go."""

    @property
    def ecs_file(self) -> str:
        """A file, `-` for stdout, or nothing."""

    @property
    def cloudevents_url(self) -> SecretStr | None:
        """A server that takes CloudEvents."""

    @property
    def cloudevents_header(self) -> SecretStr | None:
        """What the server wants of whoever posts."""

    @property
    def cluster(self) -> str:
        """The cluster's name."""


def outputs(settings: Destinations) -> list[Output]:
    """Return the outputs that the settings name."""
    found: list[Output] = []
    if settings.ecs_file:
        found.append(EcsLines(None if settings.ecs_file == STDOUT else Path(settings.ecs_file)))
    if settings.cloudevents_url:
        found.append(CloudEvents(settings.cloudevents_url, settings.cloudevents_header, settings.cluster))
    return found


class Sink:
    """Takes records for all outputs, from the first that is offered until it is closed."""

    def __init__(self, outputs: Sequence[Output], work: StrEnum, records: Counter, failures: Counter) -> None:
        self._lanes = [_Lane(output, records) for output in outputs]
        self._work = work
        self._failures = failures
        self._tasks: list[asyncio.Task[None]] = []

    def __bool__(self) -> bool:
        return bool(self._lanes)

    def offer(self, record: Record) -> None:
        """Let a record wait for its turn. Never blocks."""
        if not self._tasks:
            runs = (supervise(self._work, lane.run, self._failures) for lane in self._lanes)
            self._tasks = [asyncio.create_task(run, name=self._work) for run in runs]
        for lane in self._lanes:
            lane.put(record)

    async def close(self, seconds: float = GRACE) -> None:
        """Give what waits so long to go out; of what does not, the number is told."""
        if self._tasks:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.gather(*(lane.empty() for lane in self._lanes)), seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        for lane in self._lanes:
            await lane.close()


class _Lane:
    """One output with what waits for it."""

    def __init__(self, output: Output, records: Counter) -> None:
        self._output = output
        self._named = {"output": output.name, "to": output.place}
        self._count = partial(records.labels, output.name)
        self._waiting: asyncio.Queue[Record] = asyncio.Queue(MOST_WAITING)
        self._failing = False
        self._in_hand = 0
        self._untold, self._told = 0, -TELL

    def put(self, record: Record) -> None:
        try:
            self._waiting.put_nowait(record)
        except asyncio.QueueFull:
            self._dropped(f"{MOST_WAITING} records wait already")

    async def run(self) -> None:
        """Hand over one record after the other, for ever."""
        while True:
            record = await self._waiting.get()
            self._in_hand = 1  # stays so when this is cancelled: `close` counts it
            try:
                await self._hand_over(record)
            except Exception as error:
                self._in_hand = 0
                self._dropped(type(error).__name__)
                raise
            finally:
                self._waiting.task_done()
            self._in_hand = 0

    async def empty(self) -> None:
        await self._waiting.join()

    async def close(self) -> None:
        if left := self._waiting.qsize() + self._in_hand:
            self._told = -TELL
            self._dropped("this process ended before they could go out", left)
            self._waiting, self._in_hand = asyncio.Queue(MOST_WAITING), 0
        await self._output.close()

    async def _hand_over(self, record: Record) -> None:
        failures = 0
        while True:
            try:
                await self._output.send(record)
            except (OSError, PostUnavailable) as error:
                self._count(AGAIN).inc()
                failures += 1
                self._turned(failing=True, why=str(error))
                await asyncio.sleep(growing_pause(failures))
            except PostError as error:
                self._dropped(str(error))
                return
            else:
                self._count(SENT).inc()
                self._turned(failing=False)
                return

    def _turned(self, *, failing: bool, why: str = "") -> None:
        """Say that the output fails, or works again; once."""
        if failing and not self._failing:
            log.error("output to the SIEM fails, records wait", **self._named, error=why)
        elif self._failing and not failing:
            log.info("output to the SIEM works again", **self._named)
        self._failing = failing

    def _dropped(self, why: str, number: int = 1) -> None:
        self._count(DROPPED).inc(number)
        self._untold += number
        if time.monotonic() - self._told >= TELL:
            log.error("records for the SIEM dropped", **self._named, number=self._untold, error=why)
            self._untold, self._told = 0, time.monotonic()


def encoded(document: Json) -> bytes:
    """Return a document as one line of JSON."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
