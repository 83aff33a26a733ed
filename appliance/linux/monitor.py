"""Tells that something about a namespace's links, addresses or routes changed; what it was, the caller looks up."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

from appliance.linux import netns

# Links, addresses and routes of IPv4 and IPv6: RTMGRP_* in linux/rtnetlink.h.
_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400


class Monitor:
    """Calls `changed` from the running loop, once for each burst of notices. Close it: it keeps its namespace alive."""

    def __init__(self, changed: Callable[[], None], namespace: Path | None = None) -> None:
        self._changed = changed
        if namespace is None:
            self._socket = _open()
        else:
            with netns.inside(namespace):
                self._socket = _open()
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._drain)

    def _drain(self) -> None:
        while True:
            try:
                self._socket.recv(65536)
            except BlockingIOError:
                break
            except OSError:  # ENOBUFS: notices were lost, so something changed
                continue
        self._changed()

    def close(self) -> None:
        """Ends the watch."""
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()


def _open() -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
    opened.bind((0, _GROUPS))
    return opened
