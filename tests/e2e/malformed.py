"""Requests that are wrong, each in its own way: not HTTP, not JSON, not I-JSON, not of the API's form, too large, elsewhere."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.e2e.asking import caa, dns_01, http_01

CALLERS: Final = ("/mpic", "/v1/mpic", "/mpic/draft-00", "/perspectives/ams/check")
OPERATORS: Final = (
    *CALLERS, "/drain", "/undrain", "/key-rotation", "/evidence/prune", "/callers", "/callers/revoke", "/rov/measure",
)  # fmt: skip
_CHECK: Final[dict[str, Any]] = {
    "request_id": "r",
    "perspective": "ams",
    "deadline_ms": 1000,
    "identifier": {"type": "dns", "value": "free.example", "wildcard": False, "requested": "free.example"},
    "check": {"method": "acme-http-01", "token": "t", "key_authorization": "t.k"},
}
_WHOLE: Final = (caa("free.example"), http_01("free.example"), dns_01("free.example"), _CHECK)
_VALUES: Final[tuple[Any, ...]] = (
    None,
    True,
    -1,
    0,
    2**63,
    1e308,
    "",
    "\0",
    "é",
    "a" * 4096,
    [],
    {},
    [[]],
    {"": {}},
    "../..",
    "*",
    "0x7f.1",
)
Chance = random.Random


def request(chance: Chance, paths: tuple[str, ...]) -> bytes:
    """One request, whole, that deserves a 4xx and nothing else."""
    make: Callable[[Chance, tuple[str, ...]], bytes] = chance.choice(
        (_of_bytes, _of_text, _mutated, _mutated, _elsewhere, _http)
    )
    return make(chance, paths)


def _post(path: str, body: bytes, *head: bytes) -> bytes:
    lines = [b"POST %s HTTP/1.1" % path.encode(), b"host: mpic", b"content-length: %d" % len(body), *head]
    return b"\r\n".join((*lines, b"", body))


def _of_bytes(chance: Chance, paths: tuple[str, ...]) -> bytes:
    return _post(chance.choice(paths), b"\xff" + chance.randbytes(chance.randrange(200)))


def _of_text(chance: Chance, paths: tuple[str, ...]) -> bytes:
    whole = json.dumps(chance.choice(_WHOLE))
    texts = (
        whole[: chance.randrange(len(whole))],
        whole + chance.choice("{}[],x"),
        whole.replace("{", '{"check_type": "caa", "check_type": "dcv", ', 1),
        whole.replace("free", chance.choice(("\\ud800", "\\u0000", "\n"))),
        whole.replace("{", '{"extra": ' + chance.choice(("NaN", "Infinity", "-", "1" * 5000)) + ", ", 1),
        "[" * chance.randrange(1, 60_000),
        '{"a":' * 9000,
        json.dumps([chance.choice(_WHOLE)]),
    )
    return _post(chance.choice(paths), chance.choice(texts).encode())


def _mutated(chance: Chance, paths: tuple[str, ...]) -> bytes:
    """A request in order but for a member that does not exist, and others that are something else."""
    document = json.loads(json.dumps(chance.choice(_WHOLE)))
    inner = [document, *(value for value in document.values() if isinstance(value, dict))]
    for part in chance.sample(inner, chance.randrange(1, len(inner) + 1)):
        part[chance.choice(list(part))] = chance.choice(_VALUES)
    if "check" in document:
        document["perspective"] = "nyc"  # which the path does not name: members that are unknown would be left aside
    document["".join(chance.choices(string.ascii_letters + "é\u2028", k=chance.randrange(1, 200)))] = chance.choice(
        _VALUES
    )
    return _post(chance.choice(paths), json.dumps(document, ensure_ascii=chance.random() < 0.5).encode())


def _elsewhere(chance: Chance, paths: tuple[str, ...]) -> bytes:
    whole = json.dumps(chance.choice(_WHOLE)).encode()
    path = chance.choice(paths)
    word = "x" + "".join(chance.choices(string.ascii_lowercase + "/.%0", k=chance.randrange(1, 300)))
    return chance.choice(
        (
            _post(f"/{word}x", whole),
            _post(f"{path}/", whole),
            _post(path, whole, b"content-type: text/xml"),
            _post("/evidence", whole),
            b"DELETE %s HTTP/1.1\r\nhost: x\r\n\r\n" % path.encode(),
            b"GET /evidence?after=%s HTTP/1.1\r\nhost: x\r\n\r\n" % word.replace("%", "").encode(),
            b"GET /perspectives/%s HTTP/1.1\r\nhost: x\r\n\r\n" % word.replace("%", "").encode(),
        )
    )


def _http(chance: Chance, paths: tuple[str, ...]) -> bytes:
    path = chance.choice(paths).encode()
    return chance.choice(
        (
            b"\x16\x03\x01" + chance.randbytes(100),
            b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % (path, chance.randrange(65_537, 2**62)),
            b"POST %s HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n" % (path, 2**40) + b" " * 70_000,
            b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n" % path,
            b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n" % path,
            b"GET %s HTTP/1.1\r\nx: %s\r\n\r\n" % (path, b"a" * chance.randrange(17_000, 40_000)),
            b"%s %s HTTP/1.1\r\n\r\n" % (bytes(chance.choices(b"ABC\0\xff ", k=9)), path),
        )
    )


class Wire:
    """A client of the Unix socket at `path` that sends bytes as they are, one request after the other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def send(self, data: bytes) -> int:
        """The status of the answer to `data`; on a new connection where the last one was closed."""
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.settimeout(30)
            self._socket.connect(str(self._path))
        # Refused before all of it was sent: the answer is there.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(data)
        return self._answer(self._socket)

    def close(self) -> None:
        """Ends the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _answer(self, sock: socket.socket) -> int:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more(sock, data)
        head, _, body = data.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        while len(body) < int(fields.get(b"content-length", 0)):
            body += self._more(sock, data)
        status = int(head.split(b" ", 2)[1])
        if fields.get(b"connection") == b"close":
            self.close()
        return status

    @staticmethod
    def _more(sock: socket.socket, before: bytes) -> bytes:
        chunk = sock.recv(65536)
        assert chunk, f"no whole answer, only {before!r}"
        return chunk
