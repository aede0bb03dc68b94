"""The demo in order: what is told, what is done, what is claimed."""

import asyncio
import shlex

from cluster.provider import S3, ClusterInfo
from demo import attack, checks, evidence, firebreak, response, shop
from demo.attack import Loot
from demo.cleaning import SCRATCH
from demo.response import NAME, PLAYBOOK, Response
from demo.shop import SHOP, Shop
from demo.story import Story
from firebreak.cli.failure import Exit

KEPT = ("KUBECONFIG", "PATH", "STOLEN", "FIREBREAK_STORE", "AWS_")  # variables that who looks around afterwards needs


def tell(story: Story, info: ClusterInfo, s3: S3, *, already_installed: bool) -> int:
    """Play all chapters; 0 when every claim held."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    _cluster(story, info)
    _installation(story, info, already_installed=already_installed)
    opened = _shop(story)
    loot = _attack(story, opened)
    answer = _incident(story, loot)
    _proof(story, opened, loot, answer)
    _status(story)
    _evidence(story, s3, loot, answer)
    return _end(story, loot)


def _cluster(story: Story, info: ClusterInfo) -> None:
    story.chapter("1. A cluster")
    words = {"local": "A real Kubernetes, started on this machine", "kind": "A Kubernetes in containers, by kind"}
    story.tell(f"{words.get(info.provider, 'Your own cluster')}:")
    story.run("kubectl get nodes")


def _installation(story: Story, info: ClusterInfo, *, already_installed: bool) -> None:
    story.chapter("2. Firebreak")
    if already_installed:
        story.tell("Firebreak is installed already, and left as it is.")
        firebreak.require_installed(story)
    else:
        story.tell(
            "Installed as on any cluster: a Secret with the keys of the object store that evidence goes to, the "
            "manifests, and a playbook."
        )
        firebreak.install(story, info)
    story.run("kubectl get pods -n firebreak")
    story.tell(
        "A policy that was accepted is no packet that was dropped. So Firebreak has tried, with two pods of its own, "
        "whether this cluster enforces NetworkPolicies; and whether the API server refuses to Firebreak itself what is "
        "not its to do. It warns that the keys of this trial's store could delete evidence: let yours not be able to."
    )
    seen = story.run_in_terminal("firebreak preflight --no-probe", warns=Exit.UNPROVEN)
    story.claim("enforcement is proven here", "proven" in seen and "unproven" not in seen)
    guards = [line.split()[1:3] for line in seen.splitlines() if line.startswith("guards ")]
    fenced = [["contain", "ok"], ["preserve", "ok"], ["eradicate", "ok"], ["people", "ok"]]
    story.claim("Firebreak's own account is fenced, tier by tier, and so is what people may do", guards == fenced)


def _shop(story: Story) -> Shop:
    story.chapter("3. A shop, open for business")
    story.tell("Two replicas behind a Service, an account, a password. And a customer, who never stops.")
    return shop.open_shop(story)


def _attack(story: Story, opened: Shop) -> Loot:
    story.chapter("4. The break-in")
    return attack.carry_out(story, opened, SCRATCH)


def _incident(story: Story, loot: Loot) -> Response:
    story.chapter("5. The Incident")
    story.tell(
        f"Somebody noticed. All that is written is which pod. The playbook `{PLAYBOOK}` says `approval: Never`: do "
        "everything without asking. The default playbook would cut the pod off and preserve the evidence, and then "
        "wait for a person, because the account and the password are used by other pods too. Nobody sits here to "
        "say yes, so this demo takes the other one."
    )
    response.declare(story, loot)
    return response.finish(story)


def _proof(story: Story, opened: Shop, loot: Loot, answer: Response) -> None:
    story.chapter("6. Is it so?")
    checks.network(story, opened, loot, answer)
    checks.identity(story, opened, loot)
    checks.workload(story, loot)
    checks.lock(story, loot)
    checks.customers(story, answer)


def _status(story: Story) -> None:
    story.chapter("7. What Firebreak says itself")
    story.run_in_terminal(f"firebreak status {NAME} -n {SHOP}")
    checks.record(story, response.read(story))


def _evidence(story: Story, s3: S3, loot: Loot, answer: Response) -> None:
    story.chapter("8. The evidence, in the object store")
    found = asyncio.run(evidence.fetch(s3, answer))
    evidence.show(story, found)
    evidence.check(story, found, loot)


def _end(story: Story, loot: Loot) -> int:
    story.chapter("What now")
    settings = SCRATCH / "environment"
    settings.touch(mode=0o600)
    kept = {name: value for name, value in story.environment.items() if name.startswith(KEPT)}
    settings.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in kept.items()))
    story.tell("Everything is still there. Look around in a shell of your own:")
    story.show_command("source .build/demo/environment")
    story.show_command(f"kubectl describe incident {NAME} -n {SHOP}")
    story.show_command(f"firebreak plan {NAME} -n {SHOP}   # each Change: why, risk, undo")
    story.tell(
        "When you know enough, close the incident, and let the kept pod go with it. Its quarantine stays until a "
        "person with the right to do so releases it; `--rights` gives the account its rights back as well:"
    )
    story.show_command(f"firebreak close {NAME} -n {SHOP} --verdict Exercise --delete-pods")
    story.show_command(f"kubectl wait pod/{loot.pod} -n {SHOP} --for=delete")
    story.show_command(f"firebreak release {NAME} -n {SHOP} --rights")
    story.tell("README.md has the rest. All of this goes away with:")
    story.show_command("make demo-clean")
    return story.end()
