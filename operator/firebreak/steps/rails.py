"""Guard rails: what no incident cuts by itself, however it came in. Who may `override` incidents can have it cut."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from urllib.parse import urlsplit

from firebreak.api.incident import Rail
from firebreak.model.names import IncidentRef
from firebreak.model.pod import Pod
from firebreak.model.rails import Alarm, Held, Limits, Protected
from firebreak.model.words import listed

KUBE_SYSTEM = "kube-system"
SMALLEST = 3  # pods: of a workload with fewer, one is already more than a fair share
_SERVICE = 2  # labels of a host name that is a Service: NAME.NAMESPACE, then `svc` and the cluster's domain or nothing


def namespaces(own: str, further: Iterable[str]) -> Mapping[str, str]:
    """Return the protected namespaces and why each is."""
    named = dict.fromkeys(further, "its namespace is protected by FIREBREAK_PROTECTED_NAMESPACES")
    return {
        **named,
        KUBE_SYSTEM: f"the cluster itself runs in {KUBE_SYSTEM}, its DNS among it",
        own: "Firebreak itself runs there",
    }


def service_of(url: str) -> tuple[str, str] | None:
    """Return namespace and name of the Service that a URL leads to, None when its host is not a Service's name."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return None
    name, *rest = host.split(".")
    if not rest or (len(rest) + 1 > _SERVICE and rest[1] != "svc"):
        return None
    return rest[0], name


def protected(known: Protected, namespace: str, name: str, labels: Mapping[str, str] | None = None) -> str:
    """Return why a pod must not be cut by itself, empty when it may. Without labels its name alone has to tell."""
    if why := known.namespaces.get(namespace) or known.pods.get((namespace, name)):
        return why
    for backend in known.backends:
        mine = backend.selector.items() <= (labels or {}).items()
        if backend.namespace == namespace and backend.selector and mine:
            return backend.why
    return ""


def shield(incident: IncidentRef, spared: Mapping[str, str]) -> Held:
    """Say that pods were not cut, by name and why each."""
    words = listed([f"{name}: {why}" for name, why in spared.items()], 5, "; ")
    return Held(Rail.PROTECTED, f"not cut off, for it is protected: {words}. {_override(incident, Rail.PROTECTED)}")


def breaker(alarm: Alarm, passed: Iterable[Alarm], limits: Limits, known: Protected) -> str:
    """Return why the breaker holds an alarm back, empty when it passes. `passed`: the others that cut, or may.

    A person's is never held back. One of severity Critical has the reserve beyond the counts, and no bound of shares:
    what is left of a workload may matter less than what is in it.
    """
    if not alarm.automatic:
        return ""
    others = [other for other in passed if other.uid != alarm.uid]
    near = [o for o in others if o.automatic and abs(o.created - alarm.created) <= limits.window]
    here = sum(1 for other in near if other.namespace == alarm.namespace)
    more = limits.reserve if alarm.critical else 0
    minutes = f"within {limits.window.total_seconds() / 60:g} minutes"
    if here >= limits.namespace + more:
        return f"{here} automatic incidents of namespace {alarm.namespace} have cut pods off {minutes}"
    if len(near) >= limits.total + more:
        return f"{len(near)} automatic incidents have cut pods off {minutes}"
    return "" if alarm.critical else _too_large_a_share(alarm, others, limits, known)


def _too_large_a_share(alarm: Alarm, others: Iterable[Alarm], limits: Limits, known: Protected) -> str:
    sized = _by_workload(alarm.namespace, known)
    cut = {name for other in others if other.namespace == alarm.namespace for name in other.pods} | alarm.pods
    for workload, pods in sorted({size for name in alarm.pods if (size := sized(name))}):
        number = sum(1 for name in cut if sized(name) == (workload, pods))
        if pods >= SMALLEST and number > limits.share * pods:
            return f"{number} of the {pods} pods of {workload} would be under quarantine"
    return ""


def _by_workload(namespace: str, known: Protected) -> Callable[[str], tuple[str, int] | None]:
    """By a pod's name alone: controllers name their pods after themselves, and nothing more is known before a cut."""
    sizes = known.sizes.get(namespace, {})

    def sized(name: str) -> tuple[str, int] | None:
        size = sizes.get(name.rpartition("-")[0])
        return (size.workload, size.pods) if size else None

    return sized


def tripped(incident: IncidentRef, why: str) -> Held:
    """Say that the breaker holds an incident back."""
    words = f"{why}: evidence is preserved, nothing is cut until a person looks. Open an incident without spec.source"
    return Held(Rail.BREAKER, f"{words}, or: {_override(incident, Rail.BREAKER)}")


def emptied(pods: Iterable[Pod], behind: Mapping[str, Iterable[Pod]]) -> list[str]:
    """Return the Services, of those with the pods behind them, that would have none left if `pods` were cut.

    `behind`: without the pods that have ended.
    """
    cut = {pod.uid for pod in pods}
    serving = {name: [p for p in found if not p.quarantined] for name, found in behind.items()}
    return sorted(name for name, left in serving.items() if left and all(pod.uid in cut for pod in left))


def all_behind(services: Sequence[str]) -> Held:
    """Say that a cut waits because Services would be left without a pod."""
    named = f"Service{'s' if len(services) > 1 else ''} {listed(services)}"
    return Held(Rail.APPROVAL, f"every pod behind {named} would be cut off", tuple(services))


def _override(incident: IncidentRef, rail: Rail) -> str:
    patch = json.dumps({"spec": {"overrides": [rail]}}, separators=(",", ":"))
    command = f"kubectl patch incident {incident.name} -n {incident.namespace} --type=merge -p '{patch}'"
    return f"Who may `override` incidents can have it cut: {command}"
