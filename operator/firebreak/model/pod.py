"""A pod as Firebreak reads it: typed access to the JSON that the API server sent. Hostile input: nothing is assumed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from firebreak.api.base import Json
from firebreak.model.change import Ref
from firebreak.model.names import ORIGINAL_LABELS, QUARANTINE, QUARANTINE_PREFIX

CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")
STATUS_LISTS = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")


@dataclass(frozen=True)
class Pod:
    """One pod object, read only."""

    raw: Json = field(repr=False)

    @property
    def metadata(self) -> Json:
        """Its metadata."""
        return self.raw.get("metadata") or {}

    @property
    def spec(self) -> Json:
        """Its spec."""
        return self.raw.get("spec") or {}

    @property
    def status(self) -> Json:
        """Its status."""
        return self.raw.get("status") or {}

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.metadata.get("name", ""))

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return str(self.metadata.get("namespace", ""))

    @property
    def uid(self) -> str:
        """Its uid."""
        return str(self.metadata.get("uid", ""))

    @property
    def ref(self) -> Ref:
        """This very pod, no namesake."""
        return Ref("Pod", self.name, self.namespace, self.uid)

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""
        return self.metadata.get("labels") or {}

    @property
    def annotations(self) -> Mapping[str, str]:
        """Its annotations."""
        return self.metadata.get("annotations") or {}

    @property
    def own_labels(self) -> dict[str, str]:
        """The labels that are not of a quarantine."""
        return {k: v for k, v in self.labels.items() if not k.startswith(QUARANTINE_PREFIX) and k != QUARANTINE}

    @property
    def quarantined(self) -> bool:
        """Whether any incident's key is on it."""
        return any(key.startswith(QUARANTINE_PREFIX) for key in self.labels)

    @property
    def detached(self) -> bool:
        """Whether its own labels were stripped."""
        return ORIGINAL_LABELS in self.annotations

    @property
    def node(self) -> str:
        """The node it runs on, empty while unscheduled."""
        return str(self.spec.get("nodeName", ""))

    @property
    def account(self) -> str:
        """The service account it runs as."""
        return str(self.spec.get("serviceAccountName") or "default")

    @property
    def controller(self) -> Json | None:
        """The ownerReference of its controller, if one still owns it."""
        owners = self.metadata.get("ownerReferences") or []
        return next((o for o in owners if o.get("controller")), None)

    @property
    def finished(self) -> bool:
        """Whether all its containers have ended for good."""
        return self.status.get("phase") in {"Succeeded", "Failed"}

    @property
    def ready(self) -> bool:
        """Whether it is Ready."""
        return any(c.get("type") == "Ready" and c.get("status") == "True" for c in self.status.get("conditions") or [])

    def containers(self) -> Iterator[tuple[str, Json]]:
        """Yield (list name, container) for containers of all kinds."""
        for kind in CONTAINER_LISTS:
            for container in self.spec.get(kind) or []:
                yield kind, container

    def statuses(self) -> Iterator[Json]:
        """Yield the status of containers of all kinds."""
        for kind in STATUS_LISTS:
            yield from self.status.get(kind) or []

    @property
    def container_ids(self) -> dict[str, str]:
        """The id of every container that has one: a new id is a new writable layer."""
        return {s["name"]: s["containerID"] for s in self.statuses() if s.get("name") and s.get("containerID")}

    @property
    def running(self) -> list[str]:
        """The names of the containers that run now."""
        return [s["name"] for s in self.statuses() if (s.get("state") or {}).get("running")]
