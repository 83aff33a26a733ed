"""Runs in the emulated machine: its web servers. What they are asked is appended to a file, a line of JSON for each."""

from __future__ import annotations

import json
import socket
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from threading import Thread
from typing import Any

PLAN: dict[str, Any] = json.loads(Path("/srv/plan.json").read_text())
LOG = Path("/srv/requests")


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        source = self.client_address[0]
        if self.connection.getsockname()[0] in PLAN["servers"]["anchor"]:
            body = source
        else:
            with LOG.open("a") as log:
                log.write(json.dumps({"source": source, "path": self.path}) + "\n")
            body = PLAN["key_authorization"] if self.path.endswith(PLAN["token"]) else "here"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_request(self, *_: object) -> None:
        pass


# Not http.server's own, which asks for the name of the address.
class _Server4(ThreadingTCPServer):
    daemon_threads = True


class _Server6(_Server4):
    address_family = socket.AF_INET6


def main() -> None:
    addresses = (*PLAN["servers"]["web"], *PLAN["servers"]["anchor"])
    servers = [(_Server6 if ":" in address else _Server4)((address, 80), _Handler) for address in addresses]
    for server in servers:
        Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
