"""Copy files out of a container: one exec of its tar, filtered and judged while it streams.

Shell and tar belong to whoever owns the container. What they say is kept as evidence, and the copy is called
complete only where the archive's end, the clean close and the exit status agree.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from firebreak.kube.exec import ExecSource
from firebreak.kube.source import Connection, ContainerRef, Limits, Reason, Source, StreamEnded, printable
from firebreak.kube.tarcommand import (
    MAX_PREAMBLE,
    PREAMBLE_END,
    PREAMBLE_START,
    Detours,
    Preamble,
    detours,
    direct_command,
    parse_preamble,
    tar_command,
)
from firebreak.kube.tarstream import ArchiveVerdict, TarFilter

NOT_FOUND_BY_SHELL = 127
"""POSIX: the shell's exit status for a command that is not there."""

_CHANGED = ("changed as we read it", "removed before we read it", "File shrank", "short read")
_UNREADABLE = ("Permission denied", "Operation not permitted")


class TarSource(Source):
    """The files under `paths`, and the main process's working directory, as one tar archive.

    Members under `excludes` (known secret mounts) never pass. Complete only when the archive's end was seen, the
    stream was closed cleanly, tar ended with success, and nothing the container chose by a link was left out.
    Afterwards `preamble` tells what was found where, and `verdict` what the archive was worth.
    """

    def __init__(
        self,
        connection: Connection,
        target: ContainerRef,
        paths: Sequence[str],
        excludes: Sequence[str] = (),
        limits: Limits | None = None,
    ) -> None:
        super().__init__(limits or Limits())
        self._connection, self._target = connection, target
        self._paths, self._excludes = tuple(paths), tuple(excludes)
        self._filter = TarFilter(excludes)
        self.preamble = Preamble()
        self._detours = Detours()

    @property
    def verdict(self) -> ArchiveVerdict:
        """What the archive itself shows so far."""
        return self._filter.finish()

    def _praise(self) -> str:
        return f"{self.verdict.message}{self._remarks()}"

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        scripted = self._exec(tar_command(self._paths, self._excludes))
        async for chunk in self._filtered(self._after_preamble(scripted)):
            yield chunk
        if scripted.outcome.reason is not Reason.NO_EXECUTABLE:
            self._judge(scripted)
            return
        direct = self._exec(direct_command(self._paths))
        async for chunk in self._filtered(aiter(direct)):
            yield chunk
        self._judge(direct)

    def _exec(self, command: Sequence[str]) -> ExecSource:
        limits = replace(self.limits, max_bytes=self.limits.max_bytes + MAX_PREAMBLE)
        return ExecSource(self._connection, self._target, command, limits)

    async def _after_preamble(self, scripted: ExecSource) -> AsyncGenerator[bytes, None]:
        """Read the preamble and yield what follows it."""
        head = b""
        async with aclosing(aiter(scripted)) as chunks:
            async for chunk in chunks:
                head += chunk
                if PREAMBLE_END in head:
                    break
                if len(head) > MAX_PREAMBLE or not head.startswith(PREAMBLE_START[: len(head)]):
                    text = "The container's shell did not answer as the script does; it may have been replaced."
                    raise StreamEnded(Reason.ARCHIVE_CORRUPT, text)
            else:
                return
            preamble, _, rest = head.partition(PREAMBLE_END)
            self.preamble = parse_preamble(preamble)
            self._detours = detours(self.preamble, self._excludes, self._paths)
            for path in self._detours.left_out:
                self._filter.exclude(path)
            if rest:
                yield rest
            async for chunk in chunks:
                yield chunk

    async def _filtered(self, chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        async with aclosing(chunks):
            async for chunk in chunks:
                if kept := self._filter.feed(chunk):
                    yield kept
                if self._filter.broken:
                    verdict = self.verdict
                    raise StreamEnded(verdict.reason, verdict.message)

    def _judge(self, tar: ExecSource) -> None:
        if not (tar.outcome.complete and self.verdict.whole):
            end = self._shortfall(tar)
        elif self._detours:
            end = StreamEnded(Reason.UNEXPECTED_EXCLUSION, self.verdict.message)
        else:
            return
        raise StreamEnded(end.reason, f"{end}{self._remarks()}")

    def _shortfall(self, tar: ExecSource) -> StreamEnded:
        outcome, verdict = tar.outcome, self.verdict
        if outcome.complete and not verdict.bytes_read:
            text = f"None of {', '.join(self._paths)} exists in {self._target}."
            return StreamEnded(Reason.NOTHING_TO_ARCHIVE, text)
        if outcome.complete:
            return StreamEnded(verdict.reason, verdict.message)
        code = tar.status.code if tar.status else None
        if outcome.reason is Reason.NO_EXECUTABLE or (code == NOT_FOUND_BY_SHELL and not verdict.bytes_read):
            text = f"{self._target} has no tar; copy its files from outside, with a helper container or on the node."
            return StreamEnded(Reason.NO_TAR, text)
        if outcome.reason is Reason.COMMAND_FAILED:
            return StreamEnded(_complaint(tar.stderr, verdict), f"{verdict.message} {outcome.message}.")
        return StreamEnded(outcome.reason, f"{outcome.message} {verdict.message}")

    def _remarks(self) -> str:
        """Say what a reader of the archive would miss."""
        remarks = []
        if places := self._detours.left_out:
            text = "links lead from known secret mounts to {}: left out too, look there from outside the container"
            remarks.append(text.format(", ".join(places)))
        if places := self._detours.kept:
            text = "the container calls {} a secret mount, which was asked for: not left out, it may hold secrets"
            remarks.append(text.format(", ".join(places)))
        if self.preamble.missing:
            remarks.append(f"not there: {', '.join(self.preamble.missing)}")
        if self.verdict.dropped:
            remarks.append(f"{self.verdict.dropped} members under known secret mounts left out")
        return f" ({printable('; '.join(remarks), 600)})" if remarks else ""


def _complaint(stderr: str, verdict: ArchiveVerdict) -> Reason:
    """Tell why tar ended with an error. The statuses differ between GNU (1 changed, 2 fatal) and busybox (always 1)."""
    if not verdict.whole:
        return Reason.TAR_FAILED
    if any(text in stderr for text in _UNREADABLE):
        return Reason.UNREADABLE_FILES
    return Reason.CHANGED_WHILE_READ if any(text in stderr for text in _CHANGED) else Reason.TAR_FAILED
