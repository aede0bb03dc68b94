"""Jobs by key: level-triggered, one at a time for each key, retried with a growing pause.

A key is (incident's uid, job). Waking a job that runs makes it run once more afterwards; waking one that pauses ends
the pause. So events may come twice, late or out of order: a job looks at the world, not at the event.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from firebreak.service.supervise import growing_pause

log = structlog.get_logger()


@dataclass(frozen=True)
class JobKey:
    """Which job: of an incident, a step by its name, or other work that is done for it."""

    uid: str
    job: str


@dataclass
class _Job:
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Jobs:
    """The running jobs. `run` does one job once and returns in how many seconds to do it again, or None."""

    def __init__(self, run: Callable[[JobKey], Awaitable[float | None]]) -> None:
        self._run = run
        self._jobs: dict[JobKey, _Job] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._jobs)

    def wake(self, key: JobKey) -> None:
        """Make the job run, soon and at least once after this call; none begins once these are closed."""
        if self._closed:
            return
        job = self._jobs.get(key)
        if job is None:
            job = self._jobs[key] = _Job()
            job.woken.set()
            job.task = asyncio.create_task(self._keep(key, job), name=f"{key.job} {key.uid}")
        job.woken.set()

    def __contains__(self, key: JobKey) -> bool:
        return key in self._jobs

    def drop(self, unwanted: Callable[[JobKey], bool]) -> None:
        """End the jobs of all keys that are not wanted any more; a job may so end its siblings, not itself."""
        for key in [key for key in self._jobs if unwanted(key)]:
            job = self._jobs.pop(key)
            if job.task:
                job.task.cancel()
                self._ending.add(job.task)
                job.task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """End all jobs, begin none any more, and wait for their end."""
        self._closed = True
        self.drop(lambda _: True)
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def _keep(self, key: JobKey, job: _Job) -> None:
        """Run until the job is settled and nobody woke it meanwhile."""
        failures = 0
        while job.woken.is_set():
            job.woken.clear()
            try:
                pause = await self._run(key)
                failures = 0
            except Exception:  # one incident's bug must not end the others; it is logged, counted and tried again
                failures += 1
                pause = growing_pause(failures)
                log.exception("job failed", uid=key.uid, job=key.job, failures=failures, next_try_in=pause)
            if pause is not None:
                await _wait(job.woken, pause)
        if self._jobs.get(key) is job:
            del self._jobs[key]


async def _wait(woken: asyncio.Event, seconds: float) -> None:
    """Pause, or less when woken; either way the job runs again."""
    try:
        async with asyncio.timeout(seconds):
            await woken.wait()
    except TimeoutError:
        woken.set()
