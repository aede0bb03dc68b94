"""The names Firebreak gives: deterministic, so that doing a thing twice is doing it once."""

from dataclasses import dataclass

PREFIX = "firebreak.dev"
QUARANTINE_PREFIX = f"quarantine.{PREFIX}/"
QUARANTINE_LABEL = "quarantine"  # the guide's label, for people and their own selectors; goes with the last key
MANAGED_BY = {"app.kubernetes.io/managed-by": "firebreak"}

ORIGINAL_LABELS = f"{PREFIX}/original-labels"
INCIDENT = f"{PREFIX}/incident"
REPEATS, LAST_SEEN = f"{PREFIX}/repeats", f"{PREFIX}/last-seen"
"""How often the alert of an Incident came again, and the time of the last one: all that the intake changes of one."""
ROTATE_ANNOTATION = f"{PREFIX}/rotate"
ROTATED, RESTARTED = f"rotated.{PREFIX}/", f"restarted.{PREFIX}/"
MARKS = (ROTATED, RESTARTED)
"""Prefixes of annotations that hold a version or are made of versions: they differ whenever the object is written."""

# Node autoscalers must not drain the evidence away. Sources: the FAQ of cluster-autoscaler ("What types of pods can
# prevent CA from removing a node") and Karpenter's "Disruption" page (pod-level controls).
STAY = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}


@dataclass(frozen=True)
class IncidentRef:
    """Which incident: everything that names are derived from."""

    namespace: str
    name: str
    uid: str

    @property
    def label(self) -> str:
        """The label key of this incident alone, so that two incidents on one pod do not undo each other."""
        return QUARANTINE_PREFIX + self.uid

    @property
    def rotated(self) -> str:
        """The annotation of a Secret that this incident rotated; its value is the version that was replaced."""
        return ROTATED + self.uid

    @property
    def restarted(self) -> str:
        """The annotation of a pod template that this incident restarts; its value differs with every set of secrets."""
        return RESTARTED + self.uid

    @property
    def policy(self) -> str:
        """The name of this incident's deny-all policy."""
        return f"firebreak-{self.uid}"

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"
