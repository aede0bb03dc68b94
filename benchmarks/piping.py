"""stdin into an object, as a responder without Firebreak would keep what `kubectl exec tar` prints.

`python -m benchmarks.piping URL KEY`; the store's keys come from the environment.
"""

import sys

import obstore
from obstore.store import from_url

if __name__ == "__main__":
    url, key = sys.argv[1:]
    obstore.put(from_url(url), key, sys.stdin.buffer, use_multipart=True)
