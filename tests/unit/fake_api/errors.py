"""Refusals, worded and shaped as the real API server's Status objects."""

from typing import Any

from .resources import Obj, Resource


class ApiError(Exception):
    """A refusal; `body` is the Status that goes over the wire."""

    def __init__(self, code: int, reason: str, message: str, details: Obj | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    @property
    def body(self) -> Obj:
        body: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        body["message"] = self.message
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details
        return body | {"code": self.code}


def _details(resource: Resource, name: str) -> Obj:
    group = {"group": resource.group} if resource.group else {}
    return {"name": name, **group, "kind": resource.plural}


def not_found(resource: Resource, name: str) -> ApiError:
    return ApiError(404, "NotFound", f'{resource.qualified} "{name}" not found', _details(resource, name))


def already_exists(resource: Resource, name: str) -> ApiError:
    message = f'{resource.qualified} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, _details(resource, name))


def conflict(resource: Resource, name: str, why: str) -> ApiError:
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return ApiError(409, "Conflict", message, _details(resource, name))


def precondition_failed(resource: Resource, name: str, why: str) -> ApiError:
    """A DELETE whose preconditions do not hold; the real server names the kind here."""
    error = conflict(resource, name, why)
    message = error.message.replace(resource.qualified, resource.qualified_kind, 1)
    return ApiError(409, "Conflict", message, {**_details(resource, name), "kind": resource.kind})


def modified(resource: Resource, name: str) -> ApiError:
    why = "the object has been modified; please apply your changes to the latest version and try again"
    return conflict(resource, name, why)


def invalid(resource: Resource, name: str, field: str, problem: str, *, reason: str = "FieldValueInvalid") -> ApiError:
    return _invalid(resource.kind, resource, name, {"reason": reason, "message": problem, "field": field})


def version_required(resource: Resource, name: str) -> ApiError:
    """A write that has to say which version it replaces; the real server names the plural here."""
    problem = "Invalid value: 0: must be specified for an update"
    cause = {"reason": "FieldValueInvalid", "message": problem, "field": "metadata.resourceVersion"}
    return _invalid(resource.plural, resource, name, cause)


def _invalid(kind: str, resource: Resource, name: str, cause: dict[str, str]) -> ApiError:
    details: Obj = {"name": name} if name else {}
    if resource.group:
        details["group"] = resource.group
    details |= {"kind": kind, "causes": [cause]}
    qualified = f"{kind}.{resource.group}" if resource.group else kind
    message = f'{qualified} "{name}" is invalid: {cause["field"]}: {cause["message"]}'
    return ApiError(422, "Invalid", message, details)


def forbidden(resource: Resource, name: str, why: str) -> ApiError:
    message = f'{resource.qualified} "{name}" is forbidden: {why}'
    return ApiError(403, "Forbidden", message, _details(resource, name))


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def not_acceptable(message: str) -> ApiError:
    return ApiError(406, "NotAcceptable", message)


def too_old(since: int, oldest: int) -> ApiError:
    return ApiError(410, "Expired", f"too old resource version: {since} ({oldest})")


def internal(message: str) -> ApiError:
    """What the real server did not foresee: 500 without a reason."""
    return ApiError(500, "", message)


def no_such_resource() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def too_large(limit: int) -> ApiError:
    return ApiError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}")


def method_not_allowed() -> ApiError:
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, {})


def unsupported_media(content_type: str) -> ApiError:
    message = (
        f"the fake API server does not take {content_type!r}: send application/json, or "
        "application/merge-patch+json for a PATCH"
    )
    return ApiError(415, "UnsupportedMediaType", message)
