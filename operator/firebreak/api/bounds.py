"""The bounds of an incident's status. The API server refuses what exceeds them, so whoever writes cuts to them first.

Texts are counted in characters, collections in entries.
"""

MESSAGE = 4096
"""One message: of a condition, of a step, of the whole incident."""

CHANGE_OBJECT = 600
"""The object of a Change: kind, namespace and name."""

CHANGE_WORDS = 1024
"""One thing said of a Change: why, undo, risk, what happened."""

CELL = 320
"""A cell of the table that `kubectl get` prints."""

OBJECT_NAME = 253
"""The name of an object, by Kubernetes' own rules."""

OWNER = 320
"""A pod's controller, kind and name."""

USER = 256
"""The name of a user, as the API server authenticates it."""

UID = 64
"""A uid of the API server; its own are shorter."""

ESCAPE = 120
"""One way from a pod to its node."""

ESCAPES = 4
"""Ways from one pod to its node; one is enough to suspect it."""

CLOUD = 600
"""One cloud identity: what it is, and its name."""

CLOUDS = 50
"""Cloud identities on record, of all pods together."""

WAYS = 512
"""The ways from a pod to one secret."""

GAP = 512
"""One gap of the evidence, in words."""

CHANGES = 200
"""Changes of one step; which are left out, `model.record.dump` decides."""

PODS = 500
"""Pods on record; further ones are cut off and not captured."""

SECRETS = 200
"""Secrets on record of all pods together, one entry of each pod besides that says how many found no room."""

APPROVERS = 10
"""Names of who approved a step."""

GAPS = 50
"""Gaps named; the manifest has all."""
