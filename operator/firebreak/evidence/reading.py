"""Read a source to its end, its break or a limit, and know afterwards what the bytes are worth."""

from collections.abc import AsyncGenerator

from firebreak.evidence.source import Source
from firebreak.model.outcome import Completeness, Outcome

MAX_ARTIFACT_BYTES = 64 * 1024**3
"""Bytes at most in one artifact: a hostile container can print for ever, and one S3 upload ends at 78 GiB here."""


class Reading:
    """One reading of one source. Errors of the source end it; they are a verdict, not a failure of ours."""

    def __init__(self, source: Source, limit: int = MAX_ARTIFACT_BYTES) -> None:
        self._source = source
        self._limit = limit
        self._bytes = 0
        self._verdict: Outcome | None = None

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """What comes, up to the limit. Closing this closes the source."""
        iterator = aiter(self._source)
        try:
            async for chunk in iterator:
                room = self._limit - self._bytes
                self._bytes += min(len(chunk), room)
                if len(chunk) > room:
                    self._verdict = self._cut()
                    yield chunk[:room]
                    return
                if chunk:
                    yield chunk
            self._verdict = self._source.outcome
        except Exception as error:  # noqa: BLE001 - whatever breaks a source, what was read is kept and the record says why
            self._verdict = Outcome(
                Completeness.PARTIAL,
                "SourceBroke",
                f"the source broke after {self._bytes} bytes: {type(error).__name__}: {error}",
            )
        finally:
            if (close := getattr(iterator, "aclose", None)) is not None:
                await close()

    @property
    def outcome(self) -> Outcome:
        """The verdict, made to agree with what was seen; RuntimeError while the reading has not ended."""
        if self._verdict is None:
            raise RuntimeError("the source has not been read to its end; read it before asking for its outcome")
        said = self._verdict
        if self._bytes and said.completeness is Completeness.MISSING:
            return Outcome(Completeness.PARTIAL, said.reason, said.message)
        if not self._bytes and said.completeness is Completeness.PARTIAL:
            return Outcome(Completeness.MISSING, said.reason, said.message)
        return said

    def _cut(self) -> Outcome:
        return Outcome(
            Completeness.PARTIAL, "TooLarge", f"cut after {self._limit} bytes, the most that one artifact may have"
        )
