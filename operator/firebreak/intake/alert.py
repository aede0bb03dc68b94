"""An alert, whatever format it came in: what fired, how bad, about what, and what makes another one a repeat of it.

Every text in it is the sender's, and may be an attacker's: it is never used as a path, a label, a command or markup.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Severity(StrEnum):
    """As in `spec.severity` of an Incident, lowest first."""

    LOW = "Low"
    MEDIUM = "Medium"
    HIGH = "High"
    CRITICAL = "Critical"


@dataclass(frozen=True, slots=True)
class Subject:
    """What an alert is about, as far as it says; empty where it does not.

    Values are valid names of Kubernetes (or ids of hex digits) or empty: what is neither is dropped by the adapter.
    """

    namespace: str = ""
    pod: str = ""
    pod_uid: str = ""
    service_account: str = ""
    container_id: str = ""
    """Without its runtime, possibly shortened to its first twelve digits as Falco does."""
    node: str = ""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert, decoded."""

    source: str
    """The format's name: `falco`, `falcosidekick`, `alertmanager`, `audit`, or `generic`. Becomes `spec.source`."""
    rule: str
    severity: Severity
    time: datetime
    """When it happened by the sender's clock, with its time zone."""
    identity: tuple[str, ...]
    """What makes two alerts of one source the same: the key of each format."""
    repeats: bool
    """Whether the same identity comes again while one thing goes on (Falco), so that a window has to bound it; else
    the identity names one occurrence (Alertmanager's fingerprint and startsAt, a finding's events)."""
    summary: str
    """What happened, in words, for `spec.reason`."""
    subject: Subject = Subject()
    fields: Mapping[str, str] = field(default_factory=dict)
    """Further flat fields, for the rules of the settings file to match: labels, output fields, tags. They may hold
    command lines, passwords included: nothing of them goes into an Incident."""
    origin: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    """What finds it again where it came from, e.g. `auditIDs` or `fingerprint`; stands in the Incident's annotation."""
    notes: tuple[str, ...] = ()
    """What the adapter left out or could not tell, in words for `spec.reason`."""
