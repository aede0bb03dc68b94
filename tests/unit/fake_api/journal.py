"""Every request, in the order it began, with the order it ended."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

WRITES = frozenset({"create", "update", "patch", "delete"})


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request.

    n counts from 1. `began` and `ended` are ticks of one counter. `ended` and `status` are None while the call
    is under way; `status` stays None when the caller got no answer. `verb` is as in audit events; `resource`
    includes the subresource (`pods/log`); `body` is the parsed JSON and not to be changed. `user` is who was
    impersonated, if anybody was.
    """

    n: int
    verb: str
    method: str
    path: str
    query: dict[str, str]
    content_type: str
    accept: str
    body: Any
    resource: str
    namespace: str
    name: str
    user: str
    began: int
    status: int | None = None
    ended: int | None = None

    @property
    def line(self) -> str:
        """As one would write it down: `PATCH /api/v1/namespaces/shop/pods/web`."""
        return f"{self.method} {self.path}"

    @property
    def is_write(self) -> bool:
        """Whether it is meant to change something: not a question (review), not a dry run."""
        return self.verb in WRITES and not self.resource.endswith("reviews") and self.query.get("dryRun") != "All"

    def overlaps(self, other: "Call") -> bool:
        """Whether both were under way at one moment."""
        return _before(self.began, other.ended) and _before(other.began, self.ended)


def _before(began: int, ended: int | None) -> bool:
    return ended is None or began < ended


class Journal:
    """Calls as they begin and end; tests wait on it instead of sleeping."""

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self._ticks = 0
        self._changed = asyncio.Condition()

    @property
    def calls(self) -> tuple[Call, ...]:
        return tuple(self._calls)

    async def begin(self, raw_body: bytes, **fields: Any) -> Call:
        call = Call(n=len(self._calls) + 1, body=_parsed(raw_body), began=self._tick(), **fields)
        self._calls.append(call)
        async with self._changed:
            self._changed.notify_all()
        return call

    def answered(self, call: Call, status: int) -> None:
        """The answer's status is known; a watch goes on after that."""
        self._calls[call.n - 1] = replace(self._calls[call.n - 1], status=status)

    def end(self, call: Call) -> None:
        self._calls[call.n - 1] = replace(self._calls[call.n - 1], ended=self._tick())

    async def wait_for(self, when: Callable[[Call], bool], times: int) -> list[Call]:
        """Wait until so many such calls have begun."""

        def found() -> list[Call]:
            calls = [call for call in self._calls if when(call)]
            return calls if len(calls) >= times else []

        async with self._changed:
            return await self._changed.wait_for(found)

    def _tick(self) -> int:
        self._ticks += 1
        return self._ticks


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw) if raw else None
    except ValueError:
        return raw
