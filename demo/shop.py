"""The little shop, a customer and the attacker's server: how they are set up, and how they are asked."""

import json
from dataclasses import dataclass
from typing import Any

from demo.story import DemoError, Story

SHOP, ATTACKER = "demo-shop", "demo-attacker"
NAMESPACES = (SHOP, ATTACKER)
LOST = "LOST"


@dataclass(frozen=True)
class Shop:
    """The shop as it was opened: its two pods, and the addresses of its Service and of the attacker's server."""

    pods: tuple[str, str]
    address: str
    c2: str


@dataclass(frozen=True)
class Line:
    """A line of a log, with the time at which the node read it (RFC 3339, sorts as text)."""

    at: str
    text: str


def open_shop(story: Story) -> Shop:
    """Create everything, and return when a customer was served."""
    remove_leftovers(story)
    story.run("kubectl apply -f demo/shop.yaml")
    story.run(f"kubectl rollout status deployment/web -n {SHOP} --timeout=60s", tail=1)
    story.run("kubectl apply -f demo/outside.yaml")
    story.run(f"kubectl wait pod/customer -n {SHOP} --for=condition=Ready --timeout=60s")
    story.run(f"kubectl wait pod/c2 -n {ATTACKER} --for=condition=Ready --timeout=60s")
    story.run(f"kubectl get pods -n {SHOP}")
    first, second = (pod["metadata"]["name"] for pod in web_pods(story))
    address = story.ask(f"kubectl get service web -n {SHOP} -o jsonpath='{{.spec.clusterIP}}'")
    c2 = story.ask(f"kubectl get pod c2 -n {ATTACKER} -o jsonpath='{{.status.podIP}}'")
    return Shop((first, second), address, c2)


def remove_leftovers(story: Story) -> None:
    """Remove what an earlier demo left; quietly, when there is nothing."""
    if story.ask(f"kubectl get namespace {' '.join(NAMESPACES)} --ignore-not-found -o name"):
        story.tell("An earlier demo left its namespaces; they go first.")
        story.run(f"kubectl delete namespace {' '.join(NAMESPACES)} --ignore-not-found --timeout=120s")


def web_pods(story: Story) -> list[dict[str, Any]]:
    """The shop's own pods: those that carry its label and are there to stay."""
    items = objects(story, f"kubectl get pods -n {SHOP} -l app=web")["items"]
    return [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]


def objects(story: Story, command: str) -> dict[str, Any]:
    """What a `kubectl get` finds, as JSON."""
    text = story.ask(f"{command} -o json")
    try:
        found: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise DemoError(f"`{command}` did not answer in JSON: {text[:300]}") from error
    return found


def beacons(story: Story) -> list[Line]:
    """What the attacker's server heard from its implants so far."""
    return [line for line in _log(story, ATTACKER, "c2") if line.text.startswith("beacon ")]


def visits(story: Story) -> list[Line]:
    """The customer's visits so far: the page that came, or LOST."""
    lines = _log(story, SHOP, "customer")
    return [line for line in lines if line.text == LOST or line.text.startswith("welcome ")]


def _log(story: Story, namespace: str, pod: str) -> list[Line]:
    text = story.ask(f"kubectl logs -n {namespace} {pod} --timestamps")
    return [Line(*line.split(" ", 1)) for line in text.splitlines() if " " in line]
