"""`make demo`: a shop is broken into on a real cluster, and Firebreak answers; every claim is asserted.

`python -m demo` tells and does it, `python -m demo --clean` removes it. `story.py` owns the terminal, `chapters.py` is
what is told in order, `shop.py` and `attack.py` are what happens, `checks.py` and `evidence.py` ask the world.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

# The test cluster and the installation are shared with the end-to-end tests, which are no installed package.
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
