"""An API server in the test's own process: real HTTP on loopback, everything recorded, failing on request.

It keeps to the real server's behaviour for what Firebreak uses; tests/contract runs the same assertions on both.
What it does not have: authentication, admission, schemas, controllers, server-side apply, JSON patch, chunked
lists, collection deletes.
"""

from .containers import ExecSession
from .errors import ApiError
from .fake import FakeApi, running_fake
from .faults import Answer, Close, Expire, Fault, Hold, Meanwhile, Silence, Stale, always
from .journal import Call
from .resources import Obj

__all__ = [
    "Answer",
    "ApiError",
    "Call",
    "Close",
    "ExecSession",
    "Expire",
    "FakeApi",
    "Fault",
    "Hold",
    "Meanwhile",
    "Obj",
    "Silence",
    "Stale",
    "always",
    "running_fake",
]
