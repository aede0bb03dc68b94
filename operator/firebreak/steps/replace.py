"""Replace: bring the workload back, beside the quarantined pod and never in its stead before it is sealed."""

from collections.abc import Iterator, Mapping

from firebreak.api.base import Json
from firebreak.model.change import Change, Ref, Risk, Verb
from firebreak.model.facts import Workload
from firebreak.model.gitops import put_back
from firebreak.model.loose import mapping, mappings, text
from firebreak.model.pod import Pod
from firebreak.model.verdict import RECOVERED, Verdict
from firebreak.steps.quarantine import strip

ROLLING = frozenset({"Deployment", "StatefulSet", "DaemonSet"})
REMAKING = ROLLING | {"ReplicaSet"}


def plan(facts: Workload, images: Mapping[str, str]) -> Iterator[Change]:
    """Give the workload its known-good image; without one, its controller has made a fresh pod already."""
    controller, words = facts.controller, obstacle(facts, images)
    if controller is None or words:
        yield _refusal(facts, words)
        return
    for pod in _attached(facts):  # a rollout would delete them; detached, they stay
        yield strip(pod, facts.incident)
    if images and not runs(controller["spec"]["template"], images):
        yield _roll_out(controller, images)


def obstacle(facts: Workload, images: Mapping[str, str]) -> str:
    """Say what keeps the workload from coming back without a person; empty when nothing does."""
    controller, attached = facts.controller, _attached(facts)
    if controller is None or controller["kind"] not in (ROLLING if images else REMAKING):
        return "no controller that could make a fresh pod owns it; create it anew from its manifest"
    # A StatefulSet needs the name, so that detaching gives it nothing; others only count what they still own.
    kept = facts.held if controller["kind"] == "StatefulSet" else attached
    if kept and controller["kind"] not in {"Deployment", "ReplicaSet"}:
        name = f"{controller['kind']} {controller['metadata']['name']}"
        return f"{name} makes no fresh pod while {kept[0].name} is kept; close the incident, then delete the pod"
    if attached and not images:
        words = "the whole workload is under quarantine and the playbook names no known-good image"
        return f"{words}; name it in the playbook's replace.images"
    if images and not _named(controller["spec"]["template"], images):
        words = f"replace.images of the playbook names no container of {controller['metadata']['name']}"
        return f"{words}; correct the names, or bring the workload back by hand"
    return ""


def _attached(facts: Workload) -> list[Pod]:
    """The quarantined pods that their controller still counts as its own."""
    return [pod for pod in facts.held if not pod.detached]


def runs(template: Json, images: Mapping[str, str]) -> bool:
    """Return whether a pod (template) runs the known-good image in every container that one is named for."""
    return all(c.get("image") == images[name] for name, c in _named(template, images))


def _named(template: Json, images: Mapping[str, str]) -> list[tuple[str, Json]]:
    """The containers that a known-good image is named for."""
    containers = mappings(mapping(template.get("spec")).get("containers"))
    return [(name, c) for c in containers if (name := text(c.get("name"))) in images]


def known_good(pod: Pod, images: Mapping[str, str]) -> bool:
    """Return whether a pod runs known-good images: it is the cure, and no quarantine is put on it."""
    return bool(_named(pod.raw, images)) and runs(pod.raw, images)


def judge(facts: Workload, images: Mapping[str, str], *, back: bool) -> Verdict | None:
    """Say whether the workload is back; None while it is on its way. `back` is its controller's own word."""
    if facts.controller is None:
        return Verdict(RECOVERED, "False", "NoController", "nothing owns the pod that could bring it back")
    if words := obstacle(facts, images):
        return Verdict(RECOVERED, "False", "ByHand", words)
    ours = {pod.uid for pod in facts.held}
    fresh = [pod for pod in facts.pods if pod.uid not in ours and not pod.metadata.get("deletionTimestamp")]
    if not back or not fresh or not all(pod.ready for pod in fresh):
        return None
    cut = [pod.name for pod in fresh if pod.quarantined]
    if cut:
        return Verdict(RECOVERED, "False", "UnderQuarantine", f"{', '.join(cut)} is under quarantine")
    wrong = [pod.name for pod in fresh if not _runs_digest(pod, images)]
    if wrong:
        return Verdict(
            RECOVERED, "False", "OtherImage", f"{', '.join(wrong)} does not run the image that was asked for"
        )
    name = f"{facts.controller['kind']} {facts.controller['metadata']['name']}"
    words = f"{name}: {len(fresh)} Ready, none quarantined"
    return Verdict(RECOVERED, "True", "Ready", words)


def _runs_digest(pod: Pod, images: Mapping[str, str]) -> bool:
    """Whether the wanted images run, by what the node reports where a digest was asked for."""
    if images and not known_good(pod, images):
        return False
    ids = {text(s.get("name")): text(s.get("imageID")) for s in pod.statuses()}
    digests = {name: image.partition("@")[2] for name, image in images.items() if "@" in image}
    return all(ids.get(name, "").endswith(digest) for name, digest in digests.items() if name in ids)


def _roll_out(controller: Json, images: Mapping[str, str]) -> Change:
    metadata = controller["metadata"]
    containers = controller["spec"]["template"]["spec"]["containers"]
    wanted = [{**c, "image": images[c["name"]]} if c["name"] in images else c for c in containers]
    before = {c["name"]: c.get("image", "") for c in containers}
    return Change(
        Verb.PATCH,
        Ref(controller["kind"], metadata["name"], metadata.get("namespace"), metadata.get("uid")),
        body={
            "metadata": {"resourceVersion": metadata["resourceVersion"]},
            "spec": {"template": {"spec": {"containers": wanted}}},
        },
        before={"images": before},
        why="rolls the workload out from the known-good image that the playbook names",
        undo=f"kubectl rollout undo {controller['kind'].lower()}/{metadata['name']} -n {metadata.get('namespace')}",
        risk=Risk(touches=(f"{controller['kind']} {metadata['name']}",), put_back=put_back(controller)),
        once=True,
    )


def _refusal(facts: Workload, words: str) -> Change:
    name = facts.held[0].name if facts.held else facts.incident.name
    return Change(
        Verb.PATCH,
        Ref("Pod", name, facts.incident.namespace),
        why="the workload has to come back",
        undo="",
        refusal=words,
    )


def rolled_out(workload: Json) -> bool:
    """Return whether a controller has brought all its pods to its newest template, and they are available.

    The rules of `kubectl rollout status` for each kind.
    """
    metadata, spec, status = workload["metadata"], workload.get("spec") or {}, workload.get("status") or {}
    if status.get("observedGeneration", 0) < metadata.get("generation", 0):
        return False
    if workload["kind"] == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        return bool(status.get("updatedNumberScheduled", 0) >= wanted <= status.get("numberAvailable", 0))
    wanted = spec.get("replicas", 1)
    updated = status.get("updatedReplicas", wanted if workload["kind"] == "ReplicaSet" else 0)
    ready = status.get("readyReplicas", 0)
    return bool(updated >= wanted and ready >= wanted and status.get("replicas", 0) == wanted)
