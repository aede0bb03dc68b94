"""What tells the time: handed to whoever needs it, so that a test decides what time it is."""

from collections.abc import Callable
from datetime import datetime

Clock = Callable[[], datetime]
"""Returns the time, with its time zone."""
