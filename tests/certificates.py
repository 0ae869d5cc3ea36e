"""Certificates made on the spot, and a TLS server that shows them."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def certificate(folder: Path, days: float, *, name: str = "localhost", issuer: Path | None = None) -> Path:
    """A certificate for `name` and 127.0.0.1 that ends in `days`, its key beside it; its own issuer unless one is named."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    by = x509.load_pem_x509_certificate(issuer.read_bytes()).subject if issuer else subject
    signed_with = serialization.load_pem_private_key(_key(issuer).read_bytes(), None) if issuer else key
    assert isinstance(signed_with, ec.EllipticCurvePrivateKey)
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(by, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=400))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .sign(signed_with, hashes.SHA256())
    )
    path = folder / f"{name}-{days}-{made.serial_number}.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.PKCS8
    _key(path).write_bytes(key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption()))
    return path


def server_context(shown: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown, _key(shown))
    return context


@contextmanager
def tls_server(shown: Path) -> Iterator[int]:
    """A server on a port of 127.0.0.1 that shakes hands and ends the connection."""
    context = server_context(shown)
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def serve() -> None:
            with suppress(OSError):  # the listening socket is closed at the end, and a client may refuse our certificate
                while True:
                    wire, _ = server.accept()
                    with wire, suppress(OSError):
                        wire.settimeout(5)
                        context.wrap_socket(wire, server_side=True).close()

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def _key(certificate: Path) -> Path:
    return certificate.with_suffix(".key")
