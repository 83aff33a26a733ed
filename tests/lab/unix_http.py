"""HTTP on a Unix socket with the standard library, which closes what it opened also when nobody listens."""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Response:
    """One answer. `text` is its body."""

    status_code: int
    text: str

    def json(self) -> Any:
        """The body's JSON document."""
        return json.loads(self.text)


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("mpic", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(str(self._path))
        except OSError:
            self.close()
            raise


def request(path: Path, method: str, target: str, body: object = None, timeout_s: float = 30.0) -> Response:
    """One request on the socket at `path`, on a connection of its own. Raises `OSError`, `http.client.HTTPException`."""
    content = None if body is None else json.dumps(body).encode()
    connection = _Connection(path, timeout_s)
    try:
        connection.request(method, target, content, {"Content-Type": "application/json"} if content else {})
        answer = connection.getresponse()
        return Response(answer.status, answer.read().decode())
    finally:
        connection.close()
