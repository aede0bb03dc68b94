"""Records for a SIEM as CloudEvents, in the JSON format. Pure.

Source: CloudEvents 1.0.2 (github.com/cloudevents/spec, `cloudevents/spec.md` and `formats/json-format.md`). `source`
and `id` together tell one event from all others; events of up to 64 KiB are taken everywhere.
"""

from typing import Final
from urllib.parse import quote

from firebreak.api.base import Json
from firebreak.model.ecs import Record

CONTENT_TYPE: Final = "application/cloudevents+json; charset=UTF-8"  # the structured mode of the HTTP binding


def source_of(cluster: str) -> str:
    """Return the `source` of all events of a cluster."""
    return f"https://firebreak.dev/clusters/{quote(cluster, safe='')}"


def cloud_event(record: Record, source: str) -> Json:
    """Return the event around a record's document."""
    return {
        "specversion": "1.0",
        "id": record.document["event"]["id"],
        "source": source,
        "type": record.type,
        "subject": record.subject,
        "time": record.document["@timestamp"],
        "datacontenttype": "application/json",
        "data": record.document,
    }
