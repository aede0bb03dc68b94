"""A client of the API server in forty lines of standard library: for readiness, and for the enforcer's watches."""

import http.client
import json
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.provider import ClusterError

OK = 200
ERROR_BODY = 300  # bytes of an answer that an error repeats


@dataclass(frozen=True)
class Api:
    """The API server, and the client certificate to use."""

    host: str
    port: int
    authority: Path
    certificate: Path
    key: Path

    @contextmanager
    def open(self, path: str, timeout: float) -> Iterator[http.client.HTTPResponse]:
        """The answer to a GET, its body unread; raises OSError or http.client.HTTPException."""
        context = ssl.create_default_context(cafile=self.authority)
        context.load_cert_chain(self.certificate, self.key)
        with closing(http.client.HTTPSConnection(self.host, self.port, context=context, timeout=timeout)) as connection:
            connection.request("GET", path, headers={"Accept": "application/json"})
            response = connection.getresponse()
            if response.status != OK:
                raise OSError(f"GET {path}: {response.status} {response.read(ERROR_BODY)!r}")
            yield response

    def get(self, path: str, timeout: float = 10) -> Any:
        """The JSON at this path; raises ClusterError."""
        try:
            with self.open(path, timeout) as response:
                return json.load(response)
        except (OSError, http.client.HTTPException, ValueError) as failed:
            raise ClusterError(f"the API server at {self.host}:{self.port} did not answer: {failed}") from failed

    def answers(self, path: str) -> bool:
        """Whether a GET succeeds, within a second."""
        try:
            with self.open(path, timeout=1):
                return True
        except (OSError, http.client.HTTPException):
            return False
