"""An S3 server for uploads in parts that keeps nothing: what a capture costs where the store costs no CPU.

`python -m benchmarks.discarding` prints its port and serves until it is ended.
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BLOCK = 1024 * 1024

_BEGUN = b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
_DONE = b'<CompleteMultipartUploadResult><ETag>"1"</ETag></CompleteMultipartUploadResult>'


class Discarding(BaseHTTPRequestHandler):
    """Answers what is needed to begin an upload, to take its parts and to end it."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Begin an upload, or end it."""
        self._drop()
        self._answer(_BEGUN if self.path.endswith("?uploads=") else _DONE)

    def do_PUT(self) -> None:
        """Take a part."""
        self._drop()
        self._answer(b"")

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _drop(self) -> None:
        left, block = int(self.headers.get("Content-Length") or 0), memoryview(bytearray(BLOCK))
        while left > 0:
            left -= self.rfile.readinto(block[:left]) or left

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Discarding)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
