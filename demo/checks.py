"""What the demo claims, asked of the world: packets, answers of the API server, pages of the shop."""

from datetime import datetime

from demo.attack import IMPLANT, Loot, admin_page
from demo.response import Response
from demo.shop import LOST, SHOP, Shop, beacons, objects, visits, web_pods
from demo.story import Story

SLOW = 1.0  # seconds within which the last beacon must have come, counted from the cut
NOTICED = 4.0  # seconds: Services follow within one or two, and a customer gives up after one
MOST_LOST = 4  # requests of one customer


def network(story: Story, shop: Shop, loot: Loot, response: Response) -> None:
    """The implant runs and reaches nobody; its sibling reaches the same address and goes on serving."""
    heard = beacons(story)
    story.tell(
        "The implant still runs, for it is evidence. It tries to reach its master; so does the shop's other pod:"
    )
    running = story.run(f"kubectl exec -n {SHOP} {loot.pod} -- sh -c \"ps | grep '[s]h {IMPLANT}'\"", refused=True)
    cut = story.run(_knock(loot.pod, shop.c2), refused=True)
    free = story.run(_knock(_neighbour(story), shop.c2), refused=True)
    story.claim("the implant is still running", IMPLANT in running)
    story.claim("the attacked pod cannot open a connection to it any more", "no answer" in cut)
    story.claim("another pod of the shop can: it is the cut, not a server that is down", "connected" in free)
    story.claim("no beacon came meanwhile over the connection that was open", heard == beacons(story))
    late = _seconds(response.cut_at, heard[-1].at)
    seen = f"{len(heard)} before, the last one {_around(late)} the cut"
    story.claim("the beacons stopped with the cut", late < SLOW, seen)
    served = visits(story)
    others = [v for v in served if v.at > response.cut_at and v.text != LOST]
    story.claim("the shop went on serving", others, f"{len(others)} pages since the cut")
    story.claim("none of them by the attacked pod", not any(_late(v.text, v.at, loot, response) for v in others))


def customers(story: Story, response: Response) -> None:
    """How much of all this a customer noticed: the pod is cut a moment before its Service drops it."""
    asked = [visit for visit in visits(story) if visit.at > response.cut_at]
    lost = [_seconds(response.cut_at, visit.at) for visit in asked if visit.text == LOST]
    seen = f"{len(lost)} of {len(asked)} requests since the cut got no answer"
    story.claim("customers noticed little", len(lost) < MOST_LOST and all(late < NOTICED for late in lost), seen)


def identity(story: Story, shop: Shop, loot: Loot) -> None:
    """What was stolen opens nothing any more."""
    story.tell("The attacker tries again with what was stolen:")
    listed = story.run(f'kubectl --kubeconfig "$STOLEN" get secrets -n {SHOP}', refused=True)
    page = story.run(admin_page(shop, loot.password), refused=True)
    story.claim("the stolen token may not read secrets any more", "forbidden" in listed.lower())
    story.claim("the stolen password opens nothing any more", "401" in page and "orders" not in page)
    get = f"kubectl get secret admin -n {SHOP} -o jsonpath='{{.data.password}}' | base64 -d"
    fresh = story.ask(get)
    story.hidden[fresh] = "****"
    ours = story.ask(admin_page(shop, fresh))
    story.claim("the shop's owner gets in with the new one", "orders" in ours and fresh != loot.password)


def workload(story: Story, loot: Loot) -> None:
    """The shop runs on fresh pods; the attacked one is kept, apart from it."""
    story.run(f"kubectl get pods -n {SHOP}")
    pods = web_pods(story)
    ready = [pod["metadata"]["name"] for pod in pods if _ready(pod)]
    story.claim("two fresh pods are Ready behind the Service", len(ready) == len(pods) == 2, ", ".join(ready))  # noqa: PLR2004 - the replicas of shop.yaml
    kept = objects(story, f"kubectl get pod {loot.pod} -n {SHOP}")
    story.claim(
        "the attacked pod is kept, apart from the Service, for who investigates",
        loot.pod not in ready and kept["status"]["phase"] == "Running",
    )


def lock(story: Story, loot: Loot) -> None:
    """Who may change all that is in the namespace cannot do away with the pod, enter it or set it free."""
    story.tell("The attacker has the laptop of Jane as well, who may edit everything in the shop. So, as Jane:")
    tries = (
        f"delete pod {loot.pod}",
        f"exec {loot.pod} -- rm {IMPLANT}",
        f"label pod {loot.pod} quarantine- app=web",
        "delete networkpolicies --all",
    )
    answers = [story.run(f"kubectl --as=jane -n {SHOP} {words}", refused=True) for words in tries]
    refused = [answer for answer in answers if "firebreak:" in answer]
    story.claim("she may neither delete the pod, nor enter it, nor set it free", len(refused) == len(tries))


def record(story: Story, response: Response) -> None:
    """The record says the same as the world."""
    wanted = ("Contained", "EvidencePreserved", "IdentityContained", "SecretsRotated", "Recovered")
    other = [f"{kind} {response.condition(kind) or 'missing'}" for kind in wanted if response.condition(kind) != "True"]
    story.claim("its five conditions say the same", not other, ", ".join(other))


def _knock(pod: str, address: str) -> str:
    """The command that tries to connect to the attacker's server from a pod, and says how that went."""
    script = f"nc -w 2 {address} 4444 </dev/null && echo connected || echo no answer"
    return f"kubectl exec -n {SHOP} {pod} -- sh -c '{script}'"


def _neighbour(story: Story) -> str:
    return str(next(pod["metadata"]["name"] for pod in web_pods(story) if _ready(pod)))


def _ready(pod: dict[str, object]) -> bool:
    status = pod["status"]
    assert isinstance(status, dict)  # noqa: S101 - so says the API
    return any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))


def _late(text: str, at: str, loot: Loot, response: Response) -> bool:
    """Whether a page is the attacked pod's and came so long after the cut that it was not under way already."""
    return loot.pod in text and _seconds(response.cut_at, at) > SLOW


def _seconds(start: str, end: str) -> float:
    """Seconds between two RFC 3339 times. The node writes nine digits of a second, Python reads six."""
    return (_time(end) - _time(start)).total_seconds()


def _time(text: str) -> datetime:
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{fraction[:6].ljust(6, '0')}+00:00")


def _around(seconds: float) -> str:
    return f"{abs(seconds) * 1000:.0f} ms {'after' if seconds > 0 else 'before'}"
