"""Mutual TLS on the event loop that the daemon runs on: whoever is registered is answered, each time and at once."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop

from tests.unit.api.authority import Authority
from tests.unit.api.listeners import add_client, free_port, mutual_tls
from tests.unit.api.serving import serving

CALLS = 8
# A process of its own: its ClientHello is there before the server's loop comes to it.
CLIENT = """
import socket, ssl, sys
authority, certificate, key, port, calls = sys.argv[1:]
context = ssl.create_default_context(cafile=authority)
context.load_cert_chain(certificate, key)
context.check_hostname = False
for _ in range(int(calls)):
    with context.wrap_socket(socket.create_connection(("127.0.0.1", int(port)), timeout=10)) as tls:
        tls.sendall(b"GET /healthz HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n")
        assert b" 200 " in tls.recv(100)
print("answered")
"""


async def _answered(directory: Path) -> list[bytes]:
    authority = Authority(directory)
    partner, port = authority.issue("partner"), free_port()
    async with serving(directory, api=mutual_tls(directory, authority, port)) as on:
        await add_client(on, "partner", partner)
        arguments = [authority.certificate, partner.certificate, partner.key, port, CALLS]
        clients = [
            await asyncio.create_subprocess_exec(
                sys.executable, "-c", CLIENT, *map(str, arguments), stdout=asyncio.subprocess.PIPE
            )
            for _ in range(3)
        ]
        return [(await client.communicate())[0] for client in clients]


def test_no_handshake_is_lost(tmp_path: Path) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(_answered(tmp_path)) == [b"answered\n"] * 3
