"""An audit event, as far as rules look at it. What a rule seldom looks into stays undecoded bytes.

Source: audit.k8s.io/v1 (k8s.io/apiserver/pkg/apis/audit/v1/types.go). Everything in an event that a caller wrote
(names, user agents, bodies) is hostile.
"""

import msgspec

RECEIVED = "RequestReceived"
STARTED = "ResponseStarted"  # of calls that last: watch, exec, attach, port-forward, proxy
COMPLETE = "ResponseComplete"


class User(msgspec.Struct, frozen=True, gc=False):
    """Who called, as the API server authenticated him."""

    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] | None = None
    extra: dict[str, tuple[str, ...]] | None = None


class ObjectRef(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What the call was about."""

    resource: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    api_group: str = ""
    api_version: str = ""
    subresource: str = ""


class Status(msgspec.Struct, frozen=True, gc=False):
    """How it was answered; `code` is HTTP's, 0 where nothing was recorded."""

    code: int = 0
    status: str = ""
    reason: str = ""
    message: str = ""


class Event(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """One audit event. Unknown keys are tolerated, for formats grow; a missing stage counts as complete."""

    audit_id: str = msgspec.field(default="", name="auditID")
    stage: str = COMPLETE
    level: str = ""
    verb: str = ""
    request_uri: str = msgspec.field(default="", name="requestURI")
    user: User = User()
    impersonated_user: User | None = None
    source_ips: tuple[str, ...] | None = msgspec.field(default=None, name="sourceIPs")
    user_agent: str = ""
    object_ref: ObjectRef | None = None
    response_status: Status | None = None
    request_object: msgspec.Raw = msgspec.Raw()
    response_object: msgspec.Raw = msgspec.Raw()
    request_received_timestamp: str = ""
    stage_timestamp: str = ""
    annotations: dict[str, str] | None = None
