"""The names of the intake's background work."""

from enum import StrEnum


class Work(StrEnum):
    """What runs in the background, as logs and the metric name it."""

    LISTEN = "listen"
    RELOAD = "reload"
    REPEATS = "repeats"
    DETECT = "detect"
    FOLLOW = "follow"
    GUARD = "guard"
    SIEM = "siem"
