"""A pod as Firebreak reads it: typed access to the JSON that the API server sent. Hostile input: nothing is assumed."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from firebreak.api.base import Json
from firebreak.model.change import Ref
from firebreak.model.loose import controller, mapping, mappings, text
from firebreak.model.names import ORIGINAL_LABELS, QUARANTINE_LABEL, QUARANTINE_PREFIX

CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")
REVISION = "pod-template-hash"  # the label by which a Deployment tells its ReplicaSets, and their names, apart
OF_CRONJOB = re.compile(r"(.+)-\d{8}")  # its Jobs are named for the minute; source: getJobName in its controller
STATUS_LISTS = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")


@dataclass(frozen=True)
class Pod:
    """One pod object, read only."""

    raw: Json = field(repr=False)

    @property
    def metadata(self) -> Json:
        """Its metadata."""
        return mapping(self.raw.get("metadata"))

    @property
    def spec(self) -> Json:
        """Its spec."""
        return mapping(self.raw.get("spec"))

    @property
    def status(self) -> Json:
        """Its status."""
        return mapping(self.raw.get("status"))

    @property
    def name(self) -> str:
        """Its name."""
        return text(self.metadata.get("name"))

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return text(self.metadata.get("namespace"))

    @property
    def uid(self) -> str:
        """Its uid."""
        return text(self.metadata.get("uid"))

    @property
    def ref(self) -> Ref:
        """This very pod, no namesake."""
        return Ref("Pod", self.name, self.namespace, self.uid)

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""
        return mapping(self.metadata.get("labels"))

    @property
    def annotations(self) -> Mapping[str, str]:
        """Its annotations."""
        return mapping(self.metadata.get("annotations"))

    @property
    def own_labels(self) -> dict[str, str]:
        """The labels that are not of a quarantine."""
        return {k: v for k, v in self.labels.items() if not k.startswith(QUARANTINE_PREFIX) and k != QUARANTINE_LABEL}

    @property
    def quarantined(self) -> bool:
        """Whether any incident's key is on it."""
        return any(key.startswith(QUARANTINE_PREFIX) for key in self.labels)

    @property
    def detached(self) -> bool:
        """Whether its own labels were stripped. The annotation alone proves nothing: a pod template may carry it."""
        return ORIGINAL_LABELS in self.annotations and not self.own_labels

    @property
    def node(self) -> str:
        """The node it runs on, empty while unscheduled."""
        return text(self.spec.get("nodeName"))

    @property
    def account(self) -> str:
        """The service account it runs as."""
        return text(self.spec.get("serviceAccountName")) or "default"

    @property
    def controller(self) -> Json | None:
        """The ownerReference of its controller, if one still owns it."""
        return controller(self.metadata)

    @property
    def known_as(self) -> str:
        """What people know it by, the same while pods come and go: `Deployment web`; `Pod NAME` if nothing owns it."""
        owner = self.controller
        if owner is None or owner.get("kind") == "Deployment":  # one owns ReplicaSets only: who says so forged it
            return f"Pod {self.name}"
        kind, name, revision = text(owner.get("kind")), text(owner.get("name")), text(self.labels.get(REVISION))
        if kind == "ReplicaSet" and revision and name.endswith(f"-{revision}"):
            return f"Deployment {name.removesuffix(f'-{revision}')}"
        if kind == "Job" and (scheduled := OF_CRONJOB.fullmatch(name)):
            return f"CronJob {scheduled[1]}"
        return f"{kind} {name}"

    @property
    def finished(self) -> bool:
        """Whether all its containers have ended for good."""
        return text(self.status.get("phase")) in {"Succeeded", "Failed"}

    @property
    def ready(self) -> bool:
        """Whether it is Ready."""
        return any(
            c.get("type") == "Ready" and c.get("status") == "True" for c in mappings(self.status.get("conditions"))
        )

    def containers(self) -> Iterator[tuple[str, Json]]:
        """Yield (list name, container) for containers of all kinds."""
        for kind in CONTAINER_LISTS:
            for container in mappings(self.spec.get(kind)):
                yield kind, container

    def statuses(self) -> Iterator[Json]:
        """Yield the status of containers of all kinds."""
        for kind in STATUS_LISTS:
            yield from mappings(self.status.get(kind))

    @property
    def container_ids(self) -> dict[str, str]:
        """The id of every container that has one: a new id is a new writable layer."""
        ids = {text(s.get("name")): text(s.get("containerID")) for s in self.statuses()}
        return {name: container_id for name, container_id in ids.items() if name and container_id}

    @property
    def restarted(self) -> list[str]:
        """The names of the containers that had a life before this one."""
        return [name for s in self.statuses() if s.get("restartCount") and (name := text(s.get("name")))]

    @property
    def starting(self) -> bool:
        """Whether none of its containers has begun yet, and it is not over either."""
        return bool(self.spec) and not self.container_ids and not self.finished

    @property
    def running(self) -> list[str]:
        """The names of the containers that run now."""
        running = [text(s.get("name")) for s in self.statuses() if mapping(s.get("state")).get("running")]
        return [name for name in running if name]
