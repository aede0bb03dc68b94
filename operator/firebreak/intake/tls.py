"""TLS from mounted files. What kubelet swaps is read again: new connections get the new certificate and authorities."""

import hashlib
import ssl
from pathlib import Path

CERTIFICATE, KEY = "tls.crt", "tls.key"


class CertificateError(Exception):
    """The mounted files make no server. The text says which, and quotes nothing of them."""


class Certificates:
    """The server's certificate and key, and who vouches for clients. Raises `CertificateError` for bad files."""

    def __init__(self, directory: Path, client_ca: Path | None) -> None:
        self._certificate, self._key = directory / CERTIFICATE, directory / KEY
        self._client_ca = client_ca
        self._seen = b""
        self.context = self._made()

    def refresh(self) -> bool:
        """Read the files again if they changed, and return whether they did.

        Raises `CertificateError`, and keeps what was good: half of a pair may be there already, half not yet.
        """
        if self._digest() == self._seen:
            return False
        self.context = self._made()
        return True

    def _digest(self) -> bytes:
        digest = hashlib.sha256()
        for file in (self._certificate, self._key, self._client_ca):
            try:
                found = file.read_bytes() if file else b""
            except FileNotFoundError:
                found = b""
            except OSError as error:
                message = f"{file} cannot be read ({error.strerror})"
                raise CertificateError(message) from None
            digest.update(hashlib.sha256(found).digest())
        return digest.digest()

    def _made(self) -> ssl.SSLContext:
        """A context of what the files hold now. A file of authorities that is not there vouches for nobody."""
        seen = self._digest()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._certificate, self._key)
        except (OSError, ssl.SSLError) as error:
            message = f"{self._certificate} and {KEY} are no certificate with its key ({_reason(error)})"
            raise CertificateError(message) from None
        if self._client_ca and self._client_ca.exists():
            try:
                context.load_verify_locations(cafile=self._client_ca)
            except (OSError, ssl.SSLError) as error:
                message = f"{self._client_ca} holds no authorities ({_reason(error)})"
                raise CertificateError(message) from None
            context.verify_mode = ssl.CERT_OPTIONAL  # who shows none may have a token
        self._seen = seen
        return context


def _reason(error: OSError) -> str:
    return str(getattr(error, "reason", "") or error.strerror or type(error).__name__)
