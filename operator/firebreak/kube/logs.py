"""Stream the log of one container as the API server gives it."""

from collections.abc import AsyncGenerator

import aiohttp

from firebreak.kube.source import Connection, ContainerRef, Limits, Reason, Source, StreamEnded, describe, refusal

MAX_REFUSAL = 64 * 1024
CHUNK = 64 * 1024
INLINE_ERROR = b"unable to retrieve container logs"
"""What a kubelet writes in place of a log that it cannot find, with status 200 (kubelet 1.35, kuberuntime)."""


class LogSource(Source):
    """The log of a container, each line with its RFC 3339 time; of the terminated one before it, if `previous`.

    Complete means that the API server ended the stream properly. It serves the newest file of a rotated log only,
    and a previous log only while the dead container exists. Needs the right `get` on pods/log.
    """

    def __init__(
        self, connection: Connection, target: ContainerRef, limits: Limits | None = None, *, previous: bool = False
    ) -> None:
        super().__init__(limits or Limits())
        self._connection, self._target, self._previous = connection, target, previous

    def _praise(self) -> str:
        return "Read to its end; of a rotated log the API serves the newest file only."

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        answer = await self._open()
        try:
            async for chunk in self._body(answer):
                yield chunk
        finally:
            answer.close()  # not release(), which would read on

    async def _open(self) -> aiohttp.ClientResponse:
        connection, target = self._connection, self._target
        url = f"{connection.base}/api/v1/namespaces/{target.namespace}/pods/{target.pod}/log"
        params = {"container": target.container, "timestamps": "true"}
        if self._previous:
            params["previous"] = "true"
        try:
            answer = await connection.session.get(
                url,
                params=params,
                headers=await connection.headers(),
                ssl=connection.ssl or True,
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=self.limits.connect_seconds, sock_read=self.limits.idle_seconds
                ),
            )
        except (aiohttp.ClientError, OSError) as error:
            text = f"Could not read the log of {target}: {describe(error)}."
            raise StreamEnded(Reason.UNREACHABLE, text) from error
        if answer.status == 200:  # noqa: PLR2004 - HTTP OK
            return answer
        try:
            raise refusal(answer.status, await answer.content.read(MAX_REFUSAL))
        finally:
            answer.close()

    async def _body(self, answer: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
        first = True
        while chunk := await self._read(answer):
            if first and chunk.startswith(INLINE_ERROR):  # a real line would begin with its time
                text = f"The node no longer has the log of {self._target}."
                raise StreamEnded(Reason.LOGS_GONE, text)
            first = False
            yield chunk

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        self._patience()
        try:
            return await answer.content.read(CHUNK)
        except TimeoutError:
            raise self._too_slow() from None
