"""How a stored object looks on the wire: full, metadata only, list items, and the two event APIs."""

from .errors import not_acceptable
from .resources import Obj, Resource

# Core v1 names on the left, events.k8s.io/v1 names on the right: one storage, two spellings.
_EVENT_FIELDS = {
    "message": "note",
    "involvedObject": "regarding",
    "reportingComponent": "reportingController",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
}


def to_stored(resource: Resource, obj: Obj) -> Obj:
    """The object as it is stored."""
    if resource.group != "events.k8s.io":
        return obj
    renames = {new: old for old, new in _EVENT_FIELDS.items()}
    return {renames.get(key, key): value for key, value in obj.items()} | {"apiVersion": "v1"}


def from_stored(resource: Resource, obj: Obj) -> Obj:
    """The object as this API version spells it."""
    if resource.group != "events.k8s.io":
        return obj
    spelled = {_EVENT_FIELDS.get(key, key): value for key, value in obj.items() if value or value is None}
    return spelled | {"apiVersion": "events.k8s.io/v1"}


def wants_metadata(accept: str, *, many: bool) -> bool:
    """Whether Accept asks for metadata only; the first media type decides, as kopf and client-go send it."""
    first = accept.partition(",")[0]
    options = dict(part.strip().split("=", 1) for part in first.split(";")[1:] if "=" in part)
    kind = options.get("as", "")
    if options.get("g") != "meta.k8s.io" or not kind.startswith("PartialObjectMetadata"):
        return False
    if many and kind == "PartialObjectMetadata":
        raise not_acceptable("you requested PartialObjectMetadata, but the requested object is a list")
    if not many and kind == "PartialObjectMetadataList":
        raise not_acceptable("you requested PartialObjectMetadataList, but the requested object is not a list")
    return True


def metadata_only(obj: Obj) -> Obj:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def as_list(resource: Resource, objs: list[Obj], version: int, more: str, *, metadata: bool) -> Obj:
    """A list body; `more`: the token for the next page. Items of built-in lists carry neither kind nor apiVersion."""
    head = {"resourceVersion": str(version), **({"continue": more} if more else {})}
    if metadata:
        kind, api_version = "PartialObjectMetadataList", "meta.k8s.io/v1"
        items = [metadata_only(obj) for obj in objs]
    else:
        kind, api_version = f"{resource.kind}List", resource.api_version
        items = [from_stored(resource, obj) for obj in objs]
        if resource.typed:
            items = [{key: obj[key] for key in obj if key not in {"kind", "apiVersion"}} for obj in items]
    return {"kind": kind, "apiVersion": api_version, "metadata": head, "items": items}
