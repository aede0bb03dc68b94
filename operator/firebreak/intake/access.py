"""Who may send: by a bearer token from a mounted file, or by a client certificate with an allowed name.

Falco's http_output can send no header, so it needs a certificate; Alertmanager, Falcosidekick and the API server can do
either. Tokens are compared all of them and in constant time; several are good at once, so that one can be rotated.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from firebreak.intake.refusal import Refused

log = structlog.get_logger()

SHORTEST, LONGEST = 16, 4096  # characters of a token
BEARER = "bearer"
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="firebreak-intake"'}


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends, in our words; `only` bounds it to one path, without its slash."""

    name: str
    only: str = ""


@dataclass(frozen=True, slots=True)
class _Token:
    sender: Sender
    digest: bytes


class Tokens:
    """The tokens of a directory: one a file, the file's name is the sender's. `SENDER.PATH` may send to PATH only."""

    def __init__(self, directory: Path | None, paths: frozenset[str]) -> None:
        self._directory = directory
        self._paths = paths
        self._known: tuple[_Token, ...] = ()
        self._told: frozenset[tuple[str, str]] = frozenset()
        self.wanted = False
        """Whether there was a token once: when the last one goes, nobody is let in without."""
        self.refresh()

    def __len__(self) -> int:
        return len(self._known)

    def refresh(self) -> None:
        """Read all again. What cannot be read or is no good token counts as not there, and is said when it is new."""
        before = {token.sender.name for token in self._known}
        there = self._directory is not None and self._directory.is_dir()
        files = sorted(self._directory.iterdir()) if self._directory and there else []
        problems: set[tuple[str, str]] = set()
        self._known = tuple(token for file in files if (token := self._read(file, problems)))
        self.wanted = self.wanted or bool(self._known)
        for file, problem in sorted(problems - self._told):
            log.error("token not taken", file=file, problem=problem)
        self._told = frozenset(problems)
        now = {token.sender.name for token in self._known}
        if now != before:
            log.info("tokens read", senders=sorted(now), gone=sorted(before - now))

    def _read(self, file: Path, problems: set[tuple[str, str]]) -> _Token | None:
        if file.name.startswith(".") or not file.is_file():
            return None  # kubelet keeps its own links beside the files
        try:
            text = file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            problems.add((file.name, f"cannot be read ({type(error).__name__})"))  # the error may quote
            return None
        name, _, only = file.name.rpartition(".")
        if only and name and only not in self._paths:
            problems.add((file.name, f"there is no such path: want one of {', '.join(sorted(self._paths))}"))
            return None
        if not SHORTEST <= len(text) <= LONGEST:
            problems.add((file.name, f"want {SHORTEST} to {LONGEST} characters"))
            return None
        return _Token(Sender(f"token {file.name}", only if name else ""), _digest(text))

    def sender(self, presented: str) -> Sender | None:
        """Return whose token this is. Takes as long for a wrong one as for a right one."""
        digest = _digest(presented)
        found = None
        for token in self._known:
            if hmac.compare_digest(token.digest, digest):
                found = token.sender
        return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True)
class Access:
    """Decides who a request is from. `insecure`: where there never was a token, nor a name, everybody is let in."""

    tokens: Tokens
    names: frozenset[str]
    insecure: bool

    @property
    def open(self) -> bool:
        """Whether nobody has to show anything."""
        return self.insecure and not self.tokens.wanted and not self.names

    def sender(self, authorization: str, certificate: Mapping[str, Any] | None, address: str, path: str) -> Sender:
        """Return who sends. `certificate` is the peer's, checked by TLS, as `ssl` tells it. Raises `Refused`."""
        found = self._who(authorization, certificate, address)
        if found.only and found.only != path:
            raise Refused(403, "forbidden", f"{found.name} may send to /{found.only} only")
        return found

    def _who(self, authorization: str, certificate: Mapping[str, Any] | None, address: str) -> Sender:
        if authorization:
            scheme, _, presented = authorization.partition(" ")
            found = self.tokens.sender(presented.strip()) if scheme.lower() == BEARER else None
            if found is None:
                raise _unknown()
            return found
        if certificate:
            if known := sorted(names_of(certificate) & self.names):
                return Sender(f"certificate {known[0]}")
            raise Refused(403, "forbidden", "no name of this client certificate is allowed here")
        if self.open:
            return Sender(f"address {address}")
        raise _unknown()


def _unknown() -> Refused:
    return Refused(401, "unauthenticated", "send a bearer token that is known here, or a client certificate")


def names_of(certificate: Mapping[str, Any]) -> set[str]:
    """Return the names of a certificate: its DNS and URI names; its common name only if it has neither (RFC 6125)."""
    alternative = {value for kind, value in certificate.get("subjectAltName", ()) if kind in {"DNS", "URI"}}
    parts = (part for group in certificate.get("subject", ()) for part in group)
    return alternative or {value for kind, value in parts if kind == "commonName"}
