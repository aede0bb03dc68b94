"""Jobs by key: one at a time, never lost, retried."""

import asyncio

from firebreak.engine.jobs import JobKey, Jobs

ONE, TWO = JobKey("uid-1", "capture"), JobKey("uid-2", "capture")


async def settled(jobs: Jobs) -> None:
    """Turn the loop until no job is left."""
    async with asyncio.timeout(5):
        while len(jobs):  # noqa: ASYNC110 - jobs have no event for their end; nobody but tests waits for it
            await asyncio.sleep(0)


async def test_a_wake_during_a_run_makes_it_run_once_more() -> None:
    runs, hold = [], asyncio.Event()

    async def run(key: JobKey) -> None:
        runs.append(key)
        await hold.wait()

    jobs = Jobs(run)
    jobs.wake(ONE)
    await asyncio.sleep(0)
    for _ in range(5):
        jobs.wake(ONE)
    hold.set()
    await settled(jobs)
    assert runs == [ONE, ONE]


async def test_one_key_never_runs_twice_at_the_same_time() -> None:
    running = most = 0

    async def run(_: JobKey) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _round in range(3):
            await asyncio.sleep(0)
            if len(wakes) < 4:
                jobs.wake(ONE)
            wakes.append(1)
        running -= 1

    wakes: list[int] = []
    jobs = Jobs(run)
    jobs.wake(ONE)
    await settled(jobs)
    assert most == 1


async def test_a_job_that_fails_is_run_again_and_others_go_on() -> None:
    runs: list[JobKey] = []

    async def run(key: JobKey) -> None:
        runs.append(key)
        if key == ONE and runs.count(ONE) < 2:
            message = "the API server is away"
            raise RuntimeError(message)

    jobs = Jobs(run)
    jobs.wake(ONE)
    jobs.wake(TWO)
    await settled(jobs)
    assert runs == [ONE, TWO, ONE]


async def test_a_pause_ends_when_somebody_wakes_the_job() -> None:
    runs = 0

    async def run(_: JobKey) -> float | None:
        nonlocal runs
        runs += 1
        return 3600.0 if runs == 1 else None

    jobs = Jobs(run)
    jobs.wake(ONE)
    for _ in range(5):
        await asyncio.sleep(0)
    jobs.wake(ONE)
    await settled(jobs)
    assert runs == 2


async def test_a_job_may_end_its_siblings_and_goes_on_itself() -> None:
    ended: list[str] = []
    close, sibling = JobKey("uid-1", "close"), JobKey("uid-1", "capture")

    async def run(key: JobKey) -> None:
        if key == sibling:
            await asyncio.Event().wait()
        jobs.drop(lambda other: other.uid == key.uid and other != key)
        await asyncio.sleep(0)
        ended.append(key.job)

    jobs = Jobs(run)
    jobs.wake(sibling)
    await asyncio.sleep(0)
    jobs.wake(close)
    await settled(jobs)
    assert ended == ["close"]


async def test_no_job_begins_while_all_are_being_ended() -> None:
    runs: list[JobKey] = []

    async def run(key: JobKey) -> None:
        runs.append(key)
        try:
            await asyncio.Event().wait()
        finally:
            jobs.wake(TWO)  # a hint that comes meanwhile
            await asyncio.sleep(0)

    jobs = Jobs(run)
    jobs.wake(ONE)
    await asyncio.sleep(0)
    await jobs.close()
    assert (runs, len(jobs)) == ([ONE], 0)
