"""An incident as read from the API server, and the words for what is wrong with it."""

from dataclasses import dataclass, field

from pydantic import ValidationError

from firebreak.api.base import Json
from firebreak.api.incident import IncidentSpec, State
from firebreak.api.status import IncidentStatus, Phase
from firebreak.model.change import Ref
from firebreak.model.names import IncidentRef


class BadSpecError(ValueError):
    """The spec got past the API server's schema and is still wrong; the text names the field."""


@dataclass(frozen=True)
class Incident:
    """One incident: who it is, what is asked, what is reported so far."""

    id: IncidentRef
    spec: IncidentSpec
    status: IncidentStatus
    generation: int
    resource_version: str
    created_at: str
    raw: Json = field(repr=False)

    @property
    def ref(self) -> Ref:
        """The object."""
        return reference(self.raw)

    @property
    def pod_uids(self) -> frozenset[str]:
        """The uids that the named pod may have: the one that people wrote, else the one on record; empty is any."""
        return frozenset({self.spec.pod_uid} if self.spec.pod_uid else self.status.pods)

    @property
    def accounts(self) -> tuple[str, ...]:
        """The service accounts of its namespace that its pods run as, and the one that it names."""
        named = self.spec.target.service_account if self.spec.target else None
        return tuple(sorted(({record.account for record in self.status.pods.values()} | {named or ""}) - {""}))

    @property
    def closed(self) -> bool:
        """Whether people asked to close it."""
        return self.spec.state is State.CLOSED

    @property
    def over(self) -> bool:
        """Whether closing is done and reported."""
        return self.status.phase is Phase.CLOSED


def identify(raw: Json) -> IncidentRef:
    """Return which incident an object is."""
    metadata = raw["metadata"]
    return IncidentRef(metadata["namespace"], metadata["name"], metadata["uid"])


def lean(raw: Json) -> Json:
    """Return an Incident object without what is not read of it, and whoever opens one may fill."""
    unread = ("annotations", "labels", "managedFields")
    return {**raw, "metadata": {key: value for key, value in raw["metadata"].items() if key not in unread}}


def reference(raw: Json) -> Ref:
    """Return the reference to an Incident object, whatever its spec says."""
    incident = identify(raw)
    return Ref("Incident", incident.name, incident.namespace, incident.uid)


def read(raw: Json) -> Incident:
    """Parse an Incident object. Raises BadSpecError that names the fields."""
    metadata = raw["metadata"]
    try:
        spec = IncidentSpec.model_validate(raw.get("spec") or {})
    except ValidationError as error:
        raise BadSpecError(in_words(error)) from error
    return Incident(
        identify(raw),
        spec,
        read_status(raw),
        int(metadata.get("generation", 1)),
        str(metadata.get("resourceVersion", "")),
        str(metadata.get("creationTimestamp", "")),
        raw,
    )


def read_status(raw: Json) -> IncidentStatus:
    """Parse what is reported so far; a status that nobody of ours wrote counts as empty."""
    try:
        return IncidentStatus.model_validate(raw.get("status") or {})
    except ValidationError:
        return IncidentStatus()


def in_words(error: ValidationError) -> str:
    """Return what is wrong and where; never the value, which is somebody else's text."""
    problems = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        where = ".".join(["spec", *(str(part) for part in problem["loc"])])
        problems.append(f"{where}: {problem['msg'].removeprefix('Value error, ')}")
    return "; ".join(problems)
