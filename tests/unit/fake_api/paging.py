"""Lists that are handed out page by page: all pages show the moment of the first, as on the real server."""

from . import errors
from .resources import Obj


class Pages:
    """What is left of each list that was not handed out whole. A token may be used again, as after a lost answer."""

    def __init__(self) -> None:
        self._left: dict[str, tuple[list[Obj], int]] = {}

    def left(self, token: str) -> tuple[list[Obj], int]:
        """The objects that follow, and the version of the list. Raises ApiError."""
        if token not in self._left:
            raise errors.bad_request(f"continue key is not valid: {token}")
        return self._left[token]

    def cut(self, objs: list[Obj], version: int, limit: int) -> tuple[list[Obj], str]:
        """One page of a list, and the token for the next, empty when there is none. A limit of 0 is none."""
        if not 0 < limit < len(objs):
            return objs, ""
        token = f"page-{len(self._left) + 1}"
        self._left[token] = objs[limit:], version
        return objs[:limit], token
