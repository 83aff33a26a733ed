"""`mpic-echo`: signs each nonce that it is sent, so that whoever asked knows how far away this machine can be at most.

A datagram is `magic (8) | nonce (32) | signature (64, zeroes in a request)`; the answer has the same size. Only requests are
answered: a signature is never all zeroes, so that no answer is ever answered, whatever source address was forged. The server
needs no privilege but to read its key.
"""

from __future__ import annotations

import argparse
import base64
import os
import signal
import socket
import stat
import sys
import time
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from egress.errors import ConfigError, EgressError

MAGIC = b"mpicech1"
NONCE_BYTES = 32
SIGNATURE_BYTES = 64
DATAGRAM_BYTES = len(MAGIC) + NONCE_BYTES + SIGNATURE_BYTES
DEFAULT_PORT = 51821
_KEY_BYTES = 32
_NO_SIGNATURE = bytes(SIGNATURE_BYTES)
# An appliance asks three times a round for each of its perspectives, so that many of them behind one address fit in.
PER_SECOND = 64
BURST = 128
MAX_SOURCES = 4096


def main() -> None:
    """The command. Exit status 1: the key or the address cannot be used."""
    parser = argparse.ArgumentParser(prog="mpic-echo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("keygen", help="make the key where there is none, and show its public half")
    serve_ = commands.add_parser("serve", help="answer until told to stop")
    serve_.add_argument("--address", type=ip_address, required=True, help="address to listen at")
    serve_.add_argument("--port", type=int, default=DEFAULT_PORT, help="UDP port (default: %(default)s)")
    for command in (make, serve_):
        command.add_argument(
            "--key-file", type=Path, required=True, help="private key, mode 0600, of the server's user"
        )
    arguments = parser.parse_args()
    try:
        if arguments.command == "keygen":
            print(keygen(arguments.key_file))
        else:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            serve(listening(str(arguments.address), arguments.port), read_key(arguments.key_file))
    except (EgressError, OSError) as error:
        print(f"mpic-echo: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(0)


def keygen(path: Path) -> str:
    """Makes the private key at `path` where there is none; the public one in base64. Raises `ConfigError`, `OSError`."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        pass
    else:
        with os.fdopen(descriptor, "wb") as file:
            if os.geteuid() == 0:
                # Its reader is whose directory this is; root only made it for him.
                os.fchown(descriptor, path.parent.stat().st_uid, path.parent.stat().st_gid)
            file.write(base64.b64encode(Ed25519PrivateKey.generate().private_bytes_raw()) + b"\n")
    return base64.b64encode(read_key(path).public_key().public_bytes_raw()).decode()


def read_key(path: Path) -> Ed25519PrivateKey:
    """The key in `path`. Raises `ConfigError` where it is none, or others could read it; `OSError`."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) or mode & 0o077:
        raise ConfigError([f"{path}: must be a regular file with mode 0600, has {stat.S_IMODE(mode):04o}"])
    try:
        raw = base64.b64decode(path.read_bytes().strip(), validate=True)
    except ValueError:
        raw = b""
    if len(raw) != _KEY_BYTES:
        raise ConfigError([f"{path}: not a key that mpic-echo keygen made"])
    return Ed25519PrivateKey.from_private_bytes(raw)


def listening(address: str, port: int) -> socket.socket:
    """A socket at exactly this address. Raises `OSError`."""
    opened = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    opened.bind((address, port))
    return opened


def serve(opened: socket.socket, key: Ed25519PrivateKey) -> None:
    """Answer for ever, one after the other, each source within its limit. The firewall limits all sources together."""
    sources = Sources()
    while True:
        datagram, sender = opened.recvfrom(DATAGRAM_BYTES + 1)
        # The cheap tests come first: only a request costs its source anything, and only within the limit is one signed.
        if not is_request(datagram) or not sources.admit(sender[0], time.monotonic()):
            continue
        reply = answer(datagram, key)
        if reply is not None:
            try:
                opened.sendto(reply, sender)
            except OSError:
                continue  # a sender that cannot be reached is its own loss


class Sources:
    """How much each source may still ask for: a token bucket per IPv4 address and per IPv6 /64, in bounded memory.

    Source addresses are forged easily, so the limit must not become a weapon against the appliance whose address is forged:
    - A refused request costs nothing. The source is served again 1/64 s after the flood ends, and gets its share during it.
    - A full table forgets the source that was silent for longest. A source that is not in the table is always served. So
      thousands of forged sources lock nobody out, and an attacker who wants more for one victim has to send thousands of
      datagrams for each 128 that the victim gets.
    """

    def __init__(self, per_second: int = PER_SECOND, burst: int = BURST, most: int = MAX_SOURCES) -> None:
        self._per_second = per_second
        self._burst = burst
        self._most = most
        self._buckets: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def admit(self, address: str, now_s: float) -> bool:
        """Whether the source at `address` may have one more answer at `now_s`, monotonic seconds."""
        source = source_of(address)
        left, since_s = self._buckets.pop(source, (float(self._burst), now_s))
        left = min(self._burst, left + (now_s - since_s) * self._per_second)
        admitted = left >= 1
        self._buckets[source] = (left - admitted, now_s)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return admitted


def source_of(address: str) -> bytes:
    """Whose limit counts: an IPv4 address, also where a socket shows it as IPv6; of an IPv6 address its /64."""
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address):
        return parsed.packed[:8] if parsed.ipv4_mapped is None else parsed.ipv4_mapped.packed
    return parsed.packed


def is_request(datagram: bytes) -> bool:
    """Whether this is a request: of the right size and magic, and without a signature."""
    return len(datagram) == DATAGRAM_BYTES and datagram.startswith(MAGIC) and datagram.endswith(_NO_SIGNATURE)


def answer(datagram: bytes, key: Ed25519PrivateKey) -> bytes | None:
    """The signed nonce, as long as the request; None for anything that is not a request, such as an answer."""
    if not is_request(datagram):
        return None
    signed = datagram[: len(MAGIC) + NONCE_BYTES]
    return signed + key.sign(signed)


if __name__ == "__main__":
    main()
