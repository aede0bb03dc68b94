"""What a pod's containers answer: logs and exec, programmable by the test."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

from .errors import ApiError, bad_request
from .resources import Obj

EXEC_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
STDOUT, STDERR, STATUS = 1, 2, 3


@dataclass(frozen=True)
class ExecSession:
    """One exec stream, from the side of the container."""

    pod: Obj
    container: str
    command: tuple[str, ...]
    socket: web.WebSocketResponse

    async def stdout(self, data: bytes) -> None:
        await self.socket.send_bytes(bytes([STDOUT]) + data)

    async def stderr(self, data: bytes) -> None:
        await self.socket.send_bytes(bytes([STDERR]) + data)

    async def exit(self, code: int) -> None:
        """Say how the command ended, on channel 3; without it the stream was cut."""
        status: Obj = {"metadata": {}, "status": "Success"}
        if code:
            message = f"command terminated with non-zero exit code: exit status {code}"
            causes = [{"reason": "ExitCode", "message": str(code)}]
            status |= {"status": "Failure", "message": message, "reason": "NonZeroExitCode"}
            status |= {"details": {"causes": causes}}
        await self.socket.send_bytes(bytes([STATUS]) + json.dumps(status).encode())


ExecHandler = Callable[[ExecSession], Awaitable[None]]


async def no_such_command(session: ExecSession) -> None:
    """The default: a container without any programs."""
    await session.stderr(f"exec: {session.command[0]!r}: not found in this fake container\n".encode())
    await session.exit(127)


@dataclass
class Containers:
    """logs: bytes by (namespace, pod, container, previous); `on_exec` answers every exec."""

    logs: dict[tuple[str, str, str, bool], bytes] = field(default_factory=dict)
    on_exec: ExecHandler = no_such_command

    def log(self, pod: Obj, query: dict[str, str]) -> web.Response:
        """The log asked for; no content while the pod has no node. Raises ApiError as the real ones word it."""
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        container = chosen_container(pod, query.get("container", ""))
        previous = query.get("previous") in {"true", "1"}
        data = self.logs.get((namespace, name, container, previous))
        if data is None and previous:
            raise bad_request(f'previous terminated container "{container}" in pod "{name}" not found')
        if data is None and not (pod.get("spec") or {}).get("nodeName"):
            return web.Response(status=204)
        return web.Response(body=data or b"", content_type="text/plain")

    async def exec(self, pod: Obj, request: web.Request) -> web.StreamResponse:
        container = chosen_container(pod, request.query.get("container", ""))
        if not (pod.get("spec") or {}).get("nodeName"):
            raise bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")
        socket = web.WebSocketResponse(protocols=EXEC_PROTOCOLS)
        if not socket.can_prepare(request):
            raise ApiError(400, "BadRequest", "Upgrade request required")
        await socket.prepare(request)
        command = tuple(request.query.getall("command", []))
        await self.on_exec(ExecSession(pod, container, command, socket))
        await socket.close()
        return socket


def chosen_container(pod: Obj, asked: str) -> str:
    """The container meant; raises ApiError when it is not in the pod or not clear."""
    spec, pod_name = pod.get("spec") or {}, pod["metadata"]["name"]
    main = [container["name"] for container in spec.get("containers") or []]
    others = [c["name"] for kind in ("initContainers", "ephemeralContainers") for c in spec.get(kind) or []]
    if asked:
        if asked not in main + others:
            raise bad_request(f"container {asked} is not valid for pod {pod_name}")
        return asked
    if len(main) != 1:
        names = " ".join(main)
        raise bad_request(f"a container name must be specified for pod {pod_name}, choose one of: [{names}]")
    return str(main[0])
