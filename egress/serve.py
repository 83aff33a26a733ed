"""`mpic-egress serve`: tells each appliance, over its own tunnel, how the node is. Needs no privilege and reads no request.

Whoever connects to an inner address gets one JSON object and the end of the connection. It has what concerns the whole
node, and of the tunnels the asker's own alone: appliances of several authorities may share a node.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any

from egress import report

_LOOK_S = 2.0
_SEND_S = 5.0
_MOST_AT_ONCE = 32
_NOT_TOLD = ("interfaces", "port", "updates_as_of_s")


def answer(document: dict[str, Any], client: str) -> bytes | None:
    """What `client`, an inner address, is told; None where it is nobody's. Pure."""
    for interface in document.get("interfaces", ()):
        for peer in interface["peers"]:
            if client in peer["addresses"]:
                own = {key: value for key, value in peer.items() if key != "addresses"}
                told = {key: value for key, value in document.items() if key not in _NOT_TOLD}
                told |= {kind: _lines_for(interface["name"], document, kind) for kind in ("problems", "warnings")}
                told["tunnel"] = {"interface": interface["name"], "backend": interface["backend"], **own}
                return json.dumps(told).encode() + b"\n"
    return None


def _lines_for(name: str, document: dict[str, Any], kind: str) -> list[str]:
    others = [interface["name"] for interface in document["interfaces"] if interface["name"] != name]
    return [line for line in document.get(kind, ()) if not any(other in line for other in others)]


class Server:
    """Listens at the inner addresses that the document in `path` names, as they come and go."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._document: dict[str, Any] = {}
        self._listening: dict[tuple[str, int], asyncio.Server] = {}
        self._open = 0

    async def run(self) -> None:
        """For ever."""
        while True:
            # An unreadable document is none: nothing old is told as if it were new.
            self._document = report.read(self._path)
            await self._follow()
            _notify(f"READY=1\nWATCHDOG=1\nSTATUS=listening at {len(self._listening)} inner addresses")
            await asyncio.sleep(_LOOK_S)

    async def _follow(self) -> None:
        port = int(self._document.get("port", 0))
        wanted = {
            (address, port) for interface in self._document.get("interfaces", ()) for address in interface["addresses"]
        }
        for gone in self._listening.keys() - wanted:
            self._listening.pop(gone).close()
        for place in wanted - self._listening.keys():
            # The address may not be there yet, or be gone for a moment.
            with suppress(OSError):
                self._listening[place] = await asyncio.start_server(self._tell, *place, backlog=_MOST_AT_ONCE)

    async def _tell(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        # Drained is sent: what a peer does not take in time is not kept.
        writer.transport.set_write_buffer_limits(high=0)
        try:
            told = answer(self._document, _plain(writer.get_extra_info("peername")[0]))
            if told is not None and self._open <= _MOST_AT_ONCE:
                writer.write(told)
                async with asyncio.timeout(_SEND_S):
                    await writer.drain()
        except (OSError, TimeoutError):
            writer.transport.abort()
        finally:
            self._open -= 1
            writer.close()


def main(path: Path) -> None:
    """Serves until SIGTERM or SIGINT."""

    async def until_told() -> None:
        serving = asyncio.create_task(Server(path).run())
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
        with suppress(asyncio.CancelledError):
            await serving

    asyncio.run(until_told())


def _plain(address: str) -> str:
    found = ip_address(address)
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return str(mapped or found)


def _notify(state: str) -> None:
    """sd_notify(3)."""
    place = os.environ.get("NOTIFY_SOCKET")
    if place:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(state.encode(), f"\0{place[1:]}" if place.startswith("@") else place)
