"""What can go wrong with the API server.

ApiError
├── NotFound        404: the object, or the kind, is not there
├── Conflict        409: a precondition (uid, resourceVersion) no longer holds; read the world again
│   └── AlreadyExists   409 on create
├── Unauthorized    401: the API server does not know who we are; of what was asked it says nothing
├── Forbidden       403: a right is missing, or admission refused with that reason
├── Invalid         400, 422: the request is wrong and stays wrong
├── Gone            410: a watch's resourceVersion is too old; list again
└── Unavailable     429, 5xx, timeouts, broken connections, a start: passing, worth retrying
"""

from firebreak.api.base import Json

LONGEST_MESSAGE = 500

UNJUDGED = "failed to configure policy"
"""For half a minute after its start an API server does not know custom kinds that admission policies judge by, and
refuses with these words and 422 whatever such a policy is about (seen on 1.35: 30 s)."""


STRICT = "strict decoding error"
"""What an API server says of fields that a CRD does not know, after the whole object (seen on 1.35)."""


NO_ROLES = 'clusterrole.rbac.authorization.k8s.io "system:discovery" not found'
"""At first an API server has not read its roles and refuses everybody everything, with 403 and these words
among others (seen on 1.35). A role that every cluster has, so that one which somebody deleted is still a refusal."""


NO_RIGHT = '" cannot '
"""In how RBAC words a refusal (`User "x" cannot patch resource ...`), and in no admission policy's."""


class ApiError(Exception):
    """The API server did not do what was asked. The text says what happened, to what."""

    def __init__(self, what: str, message: str, status: int = 0, retry_after: float | None = None) -> None:
        self.what = what
        self.status = status
        self.message = message[:LONGEST_MESSAGE]
        self.retry_after = retry_after
        super().__init__(f"{what}: {self.message}")


class NotFound(ApiError):
    """The object, or its kind, is not there."""


class Conflict(ApiError):
    """A precondition no longer holds: read the world again before trying again."""


class AlreadyExists(Conflict):
    """An object of that name is there already."""


class Unauthorized(ApiError):
    """The API server does not know our credentials: no answer to what was asked, whatever that was."""


class Forbidden(ApiError):
    """A right is missing, or an admission policy refused."""


class Invalid(ApiError):
    """The request itself is wrong; repeating it does not help."""


class TooLarge(ApiError):
    """The answer is longer than may be read: whoever may create objects could fill a list without end."""


PERMANENT = (Forbidden, Invalid, TooLarge)
"""What repeating does not mend: it is said in the status, and looked at again slowly."""


class Gone(ApiError):
    """The resourceVersion of a watch is too old."""


class Unavailable(ApiError):
    """A passing fault: overload, restart, broken connection, timeout."""


_BY_STATUS: dict[int, type[ApiError]] = {
    400: Invalid, 401: Unauthorized, 403: Forbidden, 404: NotFound, 405: Invalid, 406: Invalid,
    409: Conflict, 410: Gone, 415: Invalid, 422: Invalid,
}  # fmt: skip


def error_from(what: str, status: int, body: Json, retry_after: str | None = None) -> ApiError:
    """Translate an answer of the API server. `body` is its Status object, or empty."""
    message = str(body.get("message") or f"the API server answered {status}")
    if STRICT in message:  # what stands before it quotes the whole object
        message = STRICT + message.rpartition(STRICT)[2]
    kind = _BY_STATUS.get(status, Unavailable)
    if body.get("reason") == "AlreadyExists":
        kind = AlreadyExists
    elif kind is Invalid and _names_uid(body):
        kind = Conflict  # a patch for another uid answers 422 "field is immutable" (seen on a real server)
    elif (kind is Invalid and UNJUDGED in message) or (kind is Forbidden and NO_ROLES in message):
        kind = Unavailable
    wait = float(retry_after) if retry_after and retry_after.isdigit() else None
    return kind(what, message, status, wait)


def _names_uid(body: Json) -> bool:
    causes = (body.get("details") or {}).get("causes") or []
    return any(cause.get("field") == "metadata.uid" for cause in causes)
