"""What is responded to: the shop with everything that a step may act on, and who acts beside Firebreak.

Controllers and people here work on the fake directly: their reads and writes are no calls of Firebreak's.
"""

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field

from fake_api import ExecSession, FakeApi, Obj
from memory_store import MemoryBackend
from world import approval, incident, node, shop, web_pod

CURE = "web:2"
ROLE = "arn:aws:iam::123456789012:role/web"
POD_UIDS = {"web-1": "aaaaaaaa-0000-0000-0000-000000000001", "web-2": "aaaaaaaa-0000-0000-0000-000000000002"}


@dataclass(frozen=True)
class Scenario:
    """One incident, and what people do about it."""

    name: str
    spec: Obj = field(default_factory=dict)
    approval: str = "Never"
    phase: str = "Responded"

    @property
    def playbook(self) -> Obj:
        """All steps there are."""
        steps: list[Obj] = [{step: {}} for step in ("quarantine", "cordon", "capture", "revoke", "rotate")]
        steps.append({"replace": {"images": {"c": CURE}}})
        return {
            "apiVersion": "firebreak.dev/v1alpha1",
            "kind": "Playbook",
            "metadata": {"name": "all"},
            "spec": {"approval": self.approval, "steps": steps},
        }


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("unattended"),
        Scenario("approved", approval="WhenRisky"),
        Scenario("standard", {"playbook": "standard"}, approval="WhenRisky"),
        Scenario("preserve", {"mode": "Preserve"}),
        Scenario("plan", {"mode": "Plan"}, phase="Planned"),
    )
}


class Scene:
    """A scenario on a fake API server and a store, with controllers and people at work."""

    def __init__(self, scenario: Scenario, fake: FakeApi, backend: MemoryBackend) -> None:
        self.scenario, self.fake, self.backend = scenario, fake, backend
        self.captured_again: list[str] = []
        shop(fake)
        fake.put(scenario.playbook)
        for name, uid in POD_UIDS.items():
            fake.put(_pod(name, uid))
        fake.put(node("node2"))
        role = {"eks.amazonaws.com/role-arn": ROLE}
        fake.update("ServiceAccount", "shop", "web", {"metadata": {"annotations": role}})
        fake.containers.on_exec = self._exec
        fake.containers.logs["shop", "web-1", "c", False] = b"2026-11-21T11:00:00Z started\n"
        fake.settle()

    def opened(self) -> None:
        """Somebody opens the incident."""
        self.fake.put(incident(**{"playbook": "all", **self.scenario.spec}))

    async def controllers(self) -> None:
        """What the cluster does by itself: a Deployment's new template becomes its pod."""
        await self.fake.until(lambda: _image(self.fake.get("Deployment", "shop", "web")) == CURE)
        self.fake.put(_pod("web-2", POD_UIDS["web-2"], CURE))

    async def people(self) -> None:
        """Approve what waits, each plan once."""
        given: set[tuple[str, str]] = set()
        while True:
            await self.fake.until(lambda: bool(set(self._waiting()) - given))
            for step, digest in sorted(set(self._waiting()) - given):
                given.add((step, digest))
                self.fake.put(approval(digest, step=step))

    def _waiting(self) -> Iterator[tuple[str, str]]:
        status = (self.fake.find("Incident", "shop", "shell") or {}).get("status") or {}
        for name, step in status.get("steps", {}).items():
            if step["state"] == "Waiting" and step.get("digest"):
                yield name, step["digest"]

    async def _exec(self, session: ExecSession) -> None:
        """A container with a shell and tar; notes what is read although it was received before."""
        volatile = "firebreak-volatile" in session.command[2]
        kind = "/volatile/" if volatile else "/files/"
        if any(kind in key and "/receipts/" in key for key in self.backend.objects):
            self.captured_again.append(kind)
        if volatile:
            mark = session.command[-1]
            await session.stdout(f"firebreak-volatile 1 {mark}\n1 init\n{mark} end\n".encode())
        else:
            await session.stdout(b"firebreak-tar 1\nroot /etc\ncwd /\n\n" + _archive())
        await session.exit(0)


def _archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("./etc/passwd")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"root"))
    return buffer.getvalue()


def _pod(name: str, uid: str, image: str = "web:1") -> Obj:
    """A pod that has a way to its node."""
    pod = web_pod(name, uid=uid)
    container = pod["spec"]["containers"][0]
    pod["spec"] |= {"hostPID": True, "containers": [{**container, "image": image}]}
    return pod


def _image(deployment: Obj) -> str:
    image: str = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    return image
