"""stdin into an object, as a responder without Firebreak would keep what `kubectl exec tar` prints.

`python -m benchmarks.piping URL KEY`; the store's keys come from the environment, patience and parts are Firebreak's.
"""

import sys

import obstore

from firebreak.evidence.backend import PART_BYTES
from firebreak.evidence.location import connect

if __name__ == "__main__":
    url, key = sys.argv[1:]
    obstore.put(connect(url, {}).streaming, key, sys.stdin.buffer, use_multipart=True, chunk_size=PART_BYTES)
