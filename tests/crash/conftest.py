"""The crash matrix uses the doubles of the unit tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "unit"))
