"""CustomResourceDefinitions, generated from the models: the models are the only source of the schema.

Structural schema rules: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import yaml
from pydantic import BaseModel

from firebreak.api import GROUP, VERSION
from firebreak.api.approval import APPROVAL_RULES, ApprovalSpec
from firebreak.api.base import Json
from firebreak.api.incident import SPEC_RULES, IncidentSpec
from firebreak.api.playbook import NAME_RULES, PLAYBOOK_RULES, PlaybookSpec
from firebreak.api.status import IncidentStatus

KEPT = (
    "type", "description", "enum", "default", "pattern", "format", "minimum", "maximum", "minLength", "maxLength",
    "minItems", "maxItems", "minProperties", "maxProperties", "required", "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
)  # fmt: skip


def structural(model: type[BaseModel]) -> Json:
    """Return the model's structural schema, as the API server accepts it: no `$ref`, no `anyOf`, no titles."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _structural(schema, schema.get("$defs", {}))


def _structural(schema: Json, definitions: Json) -> Json:
    node = _resolve(schema, definitions)
    result = {key: node[key] for key in KEPT if key in node and node[key] is not None}
    if "const" in node:
        result["enum"] = [node["const"]]
    if "properties" in node:
        result["properties"] = {name: _structural(sub, definitions) for name, sub in node["properties"].items()}
    if isinstance(node.get("additionalProperties"), dict):
        result["additionalProperties"] = _structural(node["additionalProperties"], definitions)
    if "items" in node:
        result["items"] = _structural(node["items"], definitions)
    if not result.get("default"):  # absent and empty mean the same; absent is quieter in Git
        result.pop("default", None)
    return result


def _without_defaults(schema: Json) -> Json:
    """Return the schema without defaults: a status says what was observed, the API server adds nothing to it."""
    return {
        key: _without_defaults(value) if isinstance(value, dict) else value
        for key, value in schema.items()
        if key != "default"
    }


def _resolve(schema: Json, definitions: Json) -> Json:
    """Follow references and optional types; a field's own description wins over its type's."""
    for key in ("allOf", "anyOf"):
        branches = [branch for branch in schema.get(key, ()) if branch.get("type") != "null"]
        if branches:
            rest = {k: v for k, v in schema.items() if k != key}
            return _resolve(branches[0] | rest, definitions)
    if "$ref" in schema:
        definition = definitions[schema["$ref"].rpartition("/")[2]]
        rest = {k: v for k, v in schema.items() if k != "$ref"}
        return _resolve(definition | rest, definitions)
    return schema


def render(crd: Json) -> str:
    """Return the definition as YAML, always the same text for the same models."""
    return yaml.dump(crd, Dumper=_Plain, sort_keys=False, width=120)


class _Plain(yaml.SafeDumper):
    """Writes everything out: anchors surprise people who read a manifest."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


def _rules(rules: Iterable[tuple[str, str]]) -> list[Json]:
    return [{"rule": rule, "message": message} for rule, message in rules]


def _column(name: str, path: str, description: str, *, kind: str = "string", priority: int = 0) -> Json:
    return {"name": name, "type": kind, "jsonPath": path, "description": description, "priority": priority}


def _condition(kind: str, field: str = "status") -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


INCIDENT_COLUMNS = [
    _column("Target", ".status.target", "What is compromised."),
    _column("Contained", _condition("Contained"), "Whether the pods are cut off, verified."),
    _column("Evidence", _condition("EvidencePreserved"), "Whether the evidence is sealed and complete."),
    _column("Identity", _condition("IdentityContained"), "Whether the account's rights are gone."),
    _column("Waiting-For", ".status.waitingFor", "What a person has to do."),
    _column("Age", ".metadata.creationTimestamp", "How long ago it was opened.", kind="date"),
    _column("Phase", ".status.phase", "Where the response stands.", priority=1),
    _column("Message", ".status.message", "The sentence to read first.", priority=1),
]

PLAYBOOK_COLUMNS = [
    _column("Approval", ".spec.approval", "Which Changes wait for a person."),
    _column("Age", ".metadata.creationTimestamp", "How old it is.", kind="date"),
]

APPROVAL_COLUMNS = [
    _column("Incident", ".spec.incident", "The incident."),
    _column("Step", ".spec.step", "The step whose plan is approved."),
    _column("Approver", ".spec.approver", "Who approved it."),
    _column("Age", ".metadata.creationTimestamp", "When.", kind="date"),
    _column("Digest", ".spec.digest", "The plan that is approved.", priority=1),
]


def incident_crd() -> Json:
    """Return the CustomResourceDefinition of `Incident`."""
    spec = structural(IncidentSpec)
    transition = [pair for pair in SPEC_RULES if "oldSelf" in pair[0]]
    always = [pair for pair in SPEC_RULES if "oldSelf" not in pair[0]]
    spec["x-kubernetes-validations"] = _rules([*always, *transition])
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "selectableFields": [{"jsonPath": ".status.phase"}],
        "additionalPrinterColumns": INCIDENT_COLUMNS,
        "schema": {
            "openAPIV3Schema": _root(
                "Somebody, or an alert, says: this is compromised.",
                spec,
                _without_defaults(structural(IncidentStatus)),
            )
        },
    }
    return _crd("Incident", "incidents", "Namespaced", ["inc"], version)


def playbook_crd() -> Json:
    """Return the CustomResourceDefinition of `Playbook`."""
    spec = structural(PlaybookSpec)
    spec["x-kubernetes-validations"] = _rules(PLAYBOOK_RULES)
    root = _root("The steps of a response, written by administrators.", spec, None)
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": PLAYBOOK_COLUMNS,
        "schema": {"openAPIV3Schema": {**root, "x-kubernetes-validations": _rules(NAME_RULES)}},
    }
    return _crd("Playbook", "playbooks", "Cluster", [], version)


def approval_crd() -> Json:
    """Return the CustomResourceDefinition of `Approval`."""
    spec = structural(ApprovalSpec)
    spec["x-kubernetes-validations"] = _rules(APPROVAL_RULES)
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "selectableFields": [{"jsonPath": ".spec.incident"}],
        "additionalPrinterColumns": APPROVAL_COLUMNS,
        "schema": {"openAPIV3Schema": _root("A person approves one plan of one step.", spec, None)},
    }
    return _crd("Approval", "approvals", "Namespaced", ["appr"], version)


CRDS: Mapping[str, Callable[[], Json]] = {
    "approvals.yaml": approval_crd,
    "incidents.yaml": incident_crd,
    "playbooks.yaml": playbook_crd,
}
"""Each definition by the file that keeps it."""


def _root(description: str, spec: Json, status: Json | None) -> Json:
    properties: dict[str, Any] = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": spec,
    }
    if status is not None:
        properties["status"] = status
    return {"type": "object", "description": description, "required": ["spec"], "properties": properties}


def _crd(kind: str, plural: str, scope: str, short: list[str], version: Json) -> Json:
    names: Json = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()}
    if short:
        names["shortNames"] = short
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}", "labels": {"app.kubernetes.io/part-of": "firebreak"}},
        "spec": {"group": GROUP, "names": names, "scope": scope, "versions": [version]},
    }
