"""Tests that feed what nobody vouches for to what reads it: some in `make unit`, for minutes in `make fuzz-input`."""

import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import pytest
from hypothesis import HealthCheck, settings

P = ParamSpec("P")
R = TypeVar("R")

EXAMPLES = 100 * int(os.environ.get("FIREBREAK_FUZZ", "1"))
FED = settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])


def hostile(test: Callable[P, R]) -> Callable[P, R]:
    """Mark a test of Hypothesis's as one of these."""
    return pytest.mark.hostile(FED(test))
