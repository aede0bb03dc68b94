"""Label and field selectors, as list and watch take them."""

import re
from collections.abc import Callable

from .errors import bad_request
from .resources import ANY_FIELDS, Obj, Resource

Matches = Callable[[Obj], bool]

_SET_TERM = re.compile(r"(?P<key>\S+)\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)")
_EQUALS_TERM = re.compile(r"(?P<key>[^!=\s]+)\s*(?P<op>!=|==|=)\s*(?P<value>[^!=\s]*)")
_EXISTS_TERM = re.compile(r"(?P<absent>!?)\s*(?P<key>[^!=\s()]+)")


def parse_labels(selector: str) -> Matches:
    """A label selector: equality, in, notin, exists, !exists, joined by commas."""
    terms = [_label_term(term.strip(), selector) for term in re.split(r",(?![^()]*\))", selector) if term.strip()]

    def matches(obj: Obj) -> bool:
        labels = obj["metadata"].get("labels") or {}
        return all(term(labels) for term in terms)

    return matches


def _label_term(term: str, selector: str) -> Callable[[dict[str, str]], bool]:
    if found := _SET_TERM.fullmatch(term):
        key, values = found["key"], {value.strip() for value in found["values"].split(",")}
        if found["op"] == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if found := _EQUALS_TERM.fullmatch(term):
        key, value = found["key"], found["value"]
        if found["op"] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if found := _EXISTS_TERM.fullmatch(term):
        key, absent = found["key"], bool(found["absent"])
        return lambda labels: (key in labels) is not absent
    raise bad_request(f"unable to parse requirement in {selector!r}: {term!r}")


def parse_fields(resource: Resource, selector: str) -> Matches:
    """A field selector over the fields that the real server knows for this resource."""
    terms = [_field_term(resource, term.strip(), selector) for term in selector.split(",") if term.strip()]
    return lambda obj: all(term(obj) for term in terms)


def _field_term(resource: Resource, term: str, selector: str) -> Matches:
    found = _EQUALS_TERM.fullmatch(term)
    if not found:
        raise bad_request(f"invalid selector: '{selector}'; can't understand '{term}'")
    path, wanted, equal = found["key"], found["value"], found["op"] != "!="
    if path not in resource.fields | ANY_FIELDS:
        raise bad_request(f"field label not supported: {path}")
    stored_path = path.replace("regarding", "involvedObject")
    return lambda obj: (_field(obj, stored_path) == wanted) is equal


def _field(obj: Obj, path: str) -> str:
    """A missing field reads as the empty string; `source` of an event is its component."""
    value: object = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if path == "source" and isinstance(value, dict):
        value = value.get("component")
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
