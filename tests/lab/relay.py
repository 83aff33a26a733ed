"""Delays UDP as distance would: `python -m tests.lab.relay FILE`, one process with sockets in many namespaces.

FILE is JSON and is read again whenever it is replaced: `{"relays": […], "one_way_us": …}` as `tests.lab.places` writes it.
A relay of kind `tunnel` delays either direction by half of the site's round trip, and drops datagrams that are larger than
`largest`. One of kind `echo` delays answers by the round trip between the site and the network that asked.
"""

from __future__ import annotations

import contextlib
import ctypes
import heapq
import itertools
import json
import os
import selectors
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

_CLONE_NEWNET: Final = 0x40000000
_NONCE: Final = slice(8, 40)
_MOST_WAITING: Final = 100_000
_LOOK_S: Final = 0.05
Endpoint = tuple[str, int]


class Relays:
    """All relays, and the datagrams under way."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mtime_ns = 0
        self._table: dict[str, Any] = {}
        self._selector = selectors.DefaultSelector()
        self._waiting: list[tuple[float, int, socket.socket, bytes, Endpoint]] = []
        self._numbers = itertools.count()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._read()

    def open(self) -> None:
        """Makes every socket in its namespace, and comes back to this process's own."""
        own = os.open("/proc/self/ns/net", os.O_RDONLY)
        for relay in self._table["relays"]:
            namespace = os.open(f"/run/netns/{relay['namespace']}", os.O_RDONLY)
            self._enter(namespace)
            os.close(namespace)
            outside = _bound(tuple(relay["listen"]))
            if relay["kind"] == "tunnel":
                self._tunnel(relay, outside)
            else:
                self._echo(relay, outside, _bound(("0.0.0.0", 0)))
        self._enter(own)

    def run(self) -> None:
        """Until the process ends."""
        look_s = 0.0
        while True:
            now_s = time.monotonic()
            if now_s >= look_s:
                self._read()
                look_s = now_s + _LOOK_S
            due_s = min(look_s, self._waiting[0][0]) if self._waiting else look_s
            for key, _ in self._selector.select(max(0.0, due_s - now_s)):
                key.data()
            now_s = time.monotonic()
            while self._waiting and self._waiting[0][0] <= now_s:
                _, _, sender, data, to = heapq.heappop(self._waiting)
                with contextlib.suppress(OSError):
                    sender.sendto(data, to)

    def _tunnel(self, relay: dict[str, Any], outside: socket.socket) -> None:
        site, far = relay["site"], tuple(relay["to"])
        inside = _bound(("0.0.0.0", 0))
        near: list[Endpoint] = []

        def may_pass(data: bytes) -> bool:
            return len(data) <= int(self._table["largest"].get(site, 65535))

        def outward() -> None:
            for data, sender in _received(outside):
                near[:] = [sender]
                if may_pass(data):
                    self._later(self._table["tunnel_us"][site] / 2, inside, data, far)

        def inward() -> None:
            for data, _ in _received(inside):
                if near and may_pass(data):
                    self._later(self._table["tunnel_us"][site] / 2, outside, data, near[0])

        self._watch(outside, outward)
        self._watch(inside, inward)

    def _echo(self, relay: dict[str, Any], outside: socket.socket, inside: socket.socket) -> None:
        site, far = relay["site"], tuple(relay["to"])
        asked: dict[bytes, Endpoint] = {}

        def outward() -> None:
            for data, sender in _received(outside):
                if len(asked) < _MOST_WAITING:
                    asked[data[_NONCE]] = sender
                    inside.sendto(data, far)

        def inward() -> None:
            for data, _ in _received(inside):
                asker = asked.pop(data[_NONCE], None)
                network = None if asker is None else asker[0].rpartition(".")[0]
                delay_us = self._table["echo_us"][site].get(network)
                if asker is not None and delay_us is not None:
                    self._later(delay_us, outside, data, asker)

        self._watch(outside, outward)
        self._watch(inside, inward)

    def _later(self, delay_us: float, sender: socket.socket, data: bytes, to: Endpoint) -> None:
        if len(self._waiting) < _MOST_WAITING:
            entry = (time.monotonic() + delay_us / 1e6, next(self._numbers), sender, data, to)
            heapq.heappush(self._waiting, entry)

    def _watch(self, opened: socket.socket, ready: Callable[[], None]) -> None:
        self._selector.register(opened, selectors.EVENT_READ, ready)

    def _read(self) -> None:
        mtime_ns = self._path.stat().st_mtime_ns
        if mtime_ns != self._mtime_ns:
            self._table = json.loads(self._path.read_text())
            self._mtime_ns = mtime_ns

    def _enter(self, namespace: int) -> None:
        if self._libc.setns(namespace, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")


def _bound(address: Any) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    opened.bind(address)
    return opened


def _received(opened: socket.socket) -> list[tuple[bytes, Endpoint]]:
    found: list[tuple[bytes, Endpoint]] = []
    with contextlib.suppress(OSError):
        while len(found) < 64:
            found.append(opened.recvfrom(65535))
    return found


if __name__ == "__main__":
    relays = Relays(Path(sys.argv[1]))
    relays.open()
    relays.run()
