"""An ssh client without manners: any bytes as user name, any text as key id; and Debian's sshd to receive it."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import os
import socket
import struct
import subprocess
import time
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.needs import need
from tests.parsers.own_syslog import OwnSyslog

CERTIFICATE: Final = b"ssh-ed25519-cert-v01@openssh.com"
_KEXINIT, _NEWKEYS, _ECDH, _SERVICE, _REQUEST, _REFUSED = 20, 21, 30, 5, 50, 51
_WANTED: Final = (b"curve25519-sha256", b"ssh-ed25519", *[b"aes128-ctr"] * 2, *[b"hmac-sha2-256"] * 2, *[b"none"] * 2, b"", b"")
_ports = itertools.count(14722)


def text(data: bytes) -> bytes:
    """A string of RFC 4251."""
    return struct.pack(">I", len(data)) + data


class Client:
    """One connection, encrypted, before any login. It trusts whoever answers: here that is our own sshd."""

    def __init__(self, host: str, port: int, source: str) -> None:
        self._socket = socket.create_connection((host, port), timeout=10, source_address=(source, 0))
        self._file, self._sent, self._received = self._socket.makefile("rb"), 0, 0
        self._out: Any = None
        self._in: Any = None
        self._meet()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def password(self, user: bytes, secret: bytes = b"wrong") -> bool:
        """Guess; False if refused."""
        return self._ask(user, b"password", b"\0" + text(secret))

    def certificate(self, user: bytes, key_id: bytes) -> bool:
        """Offer a certificate that its owner signed himself, with this key id."""
        return self._ask(user, b"publickey", b"\0" + text(CERTIFICATE) + text(_certificate(key_id)))

    def _ask(self, user: bytes, method: bytes, rest: bytes) -> bool:
        self._send(bytes([_REQUEST]) + text(user) + text(b"ssh-connection") + text(method) + rest)
        return self._next()[0] != _REFUSED

    def _meet(self) -> None:
        ours = b"SSH-2.0-hostile"
        self._socket.sendall(ours + b"\r\n")
        theirs = self._file.readline().rstrip(b"\r\n")
        offer = bytes([_KEXINIT]) + os.urandom(16) + b"".join(map(text, _WANTED)) + b"\0" * 5
        self._send(offer)
        answer = self._next()
        key = X25519PrivateKey.generate()
        public = key.public_key().public_bytes_raw()
        self._send(bytes([_ECDH]) + text(public))
        host_key, their_public, _ = _strings(self._next()[1:], 3)
        number = key.exchange(X25519PublicKey.from_public_bytes(their_public)).lstrip(b"\0")
        shared = text(b"\0" * (number[0] >> 7) + number)
        said = b"".join(map(text, (ours, theirs, offer, answer, host_key, public, their_public)))
        session = hashlib.sha256(said + shared).digest()
        self._send(bytes([_NEWKEYS]))
        self._next()
        made = {
            letter: hashlib.sha256(shared + session + letter + session).digest()
            for letter in (b"A", b"B", b"C", b"D", b"E", b"F")
        }
        self._out = _cipher(made[b"C"], made[b"A"]).encryptor(), made[b"E"]
        self._in = _cipher(made[b"D"], made[b"B"]).decryptor(), made[b"F"]
        self._send(bytes([_SERVICE]) + text(b"ssh-userauth"))
        self._next()

    def _send(self, payload: bytes) -> None:
        padding = 16 - (len(payload) + 5) % 16
        padding += 16 if padding < 4 else 0
        packet = struct.pack(">IB", len(payload) + padding + 1, padding) + payload + b"\0" * padding
        if self._out:
            cipher, key = self._out
            packet = cipher.update(packet) + hmac.digest(key, struct.pack(">I", self._sent) + packet, "sha256")
        self._sent += 1
        self._socket.sendall(packet)

    def _next(self) -> bytes:
        """The next message, without those that a client may ignore."""
        first = self._plain(16)
        (length,) = struct.unpack(">I", first[:4])
        packet = first + self._plain(length - 12)
        if self._in:
            self._file.read(32)
        self._received += 1
        payload = packet[5 : 4 + length - packet[4]]
        return payload if payload[0] not in (2, 4, 7, 53) else self._next()

    def _plain(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise ConnectionError("sshd closed the connection")
        return bytes(self._in[0].update(data)) if self._in else data


def _strings(data: bytes, number: int) -> list[bytes]:
    found = []
    for _ in range(number):
        (size,) = struct.unpack(">I", data[:4])
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return found


def _cipher(key: bytes, iv: bytes) -> Cipher[Any]:
    return Cipher(algorithms.AES(key[:16]), modes.CTR(iv[:16]))


def _certificate(key_id: bytes) -> bytes:
    """PROTOCOL.certkeys; the owner is his own authority, which nobody has to trust for sshd to log it."""
    owner, authority = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    public = [one.public_key().public_bytes_raw() for one in (owner, authority)]
    signer = text(text(b"ssh-ed25519") + text(public[1]))
    body = (
        text(CERTIFICATE) + text(os.urandom(32)) + text(public[0]) + struct.pack(">QI", 0, 1) + text(key_id) + text(text(b"root"))
    )
    body += struct.pack(">QQ", 0, 2**64 - 1) + text(b"") * 3 + signer
    return body + text(text(b"ssh-ed25519") + text(authority.sign(body)))


# The server ---------------------------------------------------------------------------------------------------------------

_CONFIG: Final = """\
Port {port}
ListenAddress {host}
HostKey {place}/host_key
PidFile none
UsePAM no
PasswordAuthentication yes
MaxAuthTries 20
MaxStartups 100
LogLevel VERBOSE
"""


class Sshd:
    """Debian's sshd, as it logs on any host: through syslog(3), or, with `-e` among the options, to its standard error."""

    def __init__(self, place: Path, host: str = "127.0.0.1", *more: str, stderr: Any = subprocess.DEVNULL) -> None:
        self.host, self.port, self.syslog = host, next(_ports), OwnSyslog(place)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / "host_key"], check=True, timeout=10)
        (place / "sshd_config").write_text(_CONFIG.format(host=host, port=self.port, place=place))
        sshd = [need("/usr/sbin/sshd", "openssh-server"), "-D", "-f", str(place / "sshd_config"), *more]
        command = self.syslog.alone("sh", "-c", 'mkdir -m 755 /run/sshd && exec "$@"', "sh", *sshd)
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=stderr)
        self._wait()
        if "-e" not in more:
            self.syslog.said(rb"\AConnection closed by")  # that was us

    def _wait(self) -> None:
        until = time.monotonic() + 10
        while True:
            try:
                socket.create_connection((self.host, self.port), timeout=1).close()
            except OSError:
                assert self._process.poll() is None, "sshd ended"
                assert time.monotonic() < until, "sshd does not listen"
                time.sleep(0.02)
            else:
                return

    def guess(self, source: str, user: bytes) -> None:
        """A wrong password by this user from this address."""
        with Client(self.host, self.port, source) as client:
            assert not client.password(user)

    def offer(self, source: str, user: bytes, key_id: bytes) -> None:
        """A certificate nobody trusts."""
        with Client(self.host, self.port, source) as client:
            assert not client.certificate(user, key_id)

    def said(self) -> list[bytes]:
        """Everything it logged of one connection; the last of it is that it was closed."""
        return self.syslog.said(rb"\AConnection closed by")

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=10)
        self.syslog.close()
