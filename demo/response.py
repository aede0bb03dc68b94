"""The Incident, and what becomes of it: applied, followed, and judged by the world."""

import time
from dataclasses import dataclass
from typing import Any

from demo.attack import Loot
from demo.shop import SHOP, objects
from demo.story import Story

NAME = "web-shell"
PLAYBOOK = "unattended"
FOLLOW_SECONDS = 60
LOOK_AGAIN = 0.15  # seconds
CONDITIONS = slice(2, 5)  # the columns CONTAINED, EVIDENCE and IDENTITY

Incident = dict[str, Any]


@dataclass(frozen=True)
class Response:
    """What the incident says when Firebreak is done."""

    incident: Incident

    @property
    def status(self) -> Incident:
        """The status, whole."""
        found: Incident = self.incident["status"]
        return found

    @property
    def cut_at(self) -> str:
        """When the last call of the first cut was answered, RFC 3339."""
        return str(self.status["timings"]["cutAt"])

    def condition(self, kind: str) -> str:
        """The status of a condition, empty when it was never observed."""
        found = [c["status"] for c in self.status["conditions"] if c["type"] == kind]
        return str(found[0]) if found else ""


def manifest(pod: str) -> str:
    """What a person writes."""
    return (
        "apiVersion: firebreak.dev/v1alpha1\n"
        "kind: Incident\n"
        f"metadata: {{name: {NAME}, namespace: {SHOP}}}\n"
        f"spec: {{playbook: {PLAYBOOK}, target: {{pod: {pod}}}}}\n"
    )


def declare(story: Story, loot: Loot) -> None:
    """Apply the Incident, and show its line in the table each time that it changes, until three conditions hold."""
    story.run("kubectl apply -f -", stdin=manifest(loot.pod))
    story.show_command(f"kubectl get incidents -n {SHOP}   # a line for each change")
    shown: list[str] = []
    deadline = time.monotonic() + FOLLOW_SECONDS
    while time.monotonic() < deadline and not _all_true(shown):
        lines = story.ask(f"kubectl get incidents -n {SHOP}").splitlines()
        row = lines[-1].rsplit(maxsplit=1)[0]  # without AGE, which always changes
        if len(row.split()) > 2 and row not in shown:  # noqa: PLR2004 - before that nobody has seen it
            story.show(lines, after=1 if shown else 0)
            shown.append(row)
        time.sleep(LOOK_AGAIN)


def _all_true(shown: list[str]) -> bool:
    return bool(shown) and shown[-1].split()[CONDITIONS] == ["True"] * 3


def finish(story: Story) -> Response:
    """Wait, as a script would, until everything that may be done is done."""
    story.run(f"kubectl wait incident/{NAME} -n {SHOP} --for=condition=Ready --timeout=120s")
    return read(story)


def read(story: Story) -> Response:
    """The incident as it is now."""
    return Response(objects(story, f"kubectl get incident {NAME} -n {SHOP}"))
