"""A small HTTPS server on this machine that serves one file, well or badly, with an authority of its own."""

from __future__ import annotations

import ipaddress
import ssl
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ADDRESS = "127.0.0.1"


def make_authority(folder: Path) -> tuple[Path, Path]:
    """Write an authority's certificate, and a server's chain with its key; return both paths."""
    authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
    server_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test server")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(ADDRESS))])

    def builder(subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
            )
        )

    uses = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
    )
    signing = x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, decipher_only=False, **uses)
    authority = (
        builder(authority_name, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(signing, critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    server = builder(server_name, server_key).add_extension(address, critical=False)
    chain = server.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    key = server_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "authority.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    (folder / "server.pem").write_bytes(chain + key)
    return folder / "authority.pem", folder / "server.pem"


@dataclass
class Behavior:
    """What the server does; tests change it between requests."""

    content: bytes = b""
    etag: str | None = '"one"'
    ranges: bool = True
    content_range: str | None = None
    """In place of the true one."""
    cut_after: int | None = None
    """Close the connection after so many bytes of the body."""
    chunked: bool = False
    """Say no length, so that a client must count for itself."""
    encoding: str | None = None
    status: int | None = None
    redirects: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    """Path, Range and If-Range of each request."""


class HttpsServer:
    """Serves until the block ends."""

    def __init__(self, certificate: Path | None) -> None:
        self.behavior = behavior = Behavior()

        class Handler(_Handler):
            pass

        Handler.behavior = behavior
        self._server = ThreadingHTTPServer((ADDRESS, 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda request, address: None  # type: ignore[method-assign]
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'' if certificate is None else 's'}://{ADDRESS}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    behavior: Behavior

    def do_GET(self) -> None:
        b = self.behavior
        b.requests.append((self.path, self.headers.get("Range"), self.headers.get("If-Range")))
        self.close_connection = True
        if self.path in b.redirects:
            self.send_response(302)
            self.send_header("Location", b.redirects[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = self._start()
        if start >= len(b.content):
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(b.status or (206 if start else 200))
        if start:
            own = f"bytes {start}-{len(b.content) - 1}/{len(b.content)}"
            self.send_header("Content-Range", b.content_range or own)
        body = b.content[start:]
        if b.etag:
            self.send_header("ETag", b.etag)
        if b.encoding:
            self.send_header("Content-Encoding", b.encoding)
        if not b.chunked:
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body if b.cut_after is None else body[: b.cut_after])

    def _start(self) -> int:
        """Return where to begin: a range counts if we know them and the file is still the one that was begun."""
        asked, version = self.headers.get("Range"), self.headers.get("If-Range")
        if asked is None or not self.behavior.ranges or version not in (None, self.behavior.etag):
            return 0
        return int(asked.removeprefix("bytes=").partition("-")[0])

    def log_message(self, *_: object) -> None:
        """Say nothing."""
