"""The names of the operator's background work."""

from enum import StrEnum


class Work(StrEnum):
    """What runs in the background, as logs and the metric name it."""

    LEADERSHIP = "leadership"
    RESYNC = "resync"
    INCIDENTS = "incidents"
    APPROVALS = "approvals"
    RAILS = "rails"
    ENFORCEMENT = "enforcement"
    GUARDS = "guards"
    WATCH = "watch"
    CREDENTIALS = "credentials"
    WEBHOOK = "webhook"
    SIEM = "siem"
