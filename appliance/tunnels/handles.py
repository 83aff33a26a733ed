"""Open handles on namespaces: netlink and change notices, renewed when a namespace was made anew under its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from appliance.errors import ApplianceError
from appliance.linux import netns
from appliance.linux.monitor import Monitor
from appliance.linux.netlink import Netlink


class NoNamespace(ApplianceError):
    """There is no network namespace at the path."""


@dataclass(frozen=True, slots=True)
class _Handle:
    inode: int
    netlink: Netlink
    monitor: Monitor

    def close(self) -> None:
        self.netlink.close()
        self.monitor.close()


class Handles:
    """Handles by namespace name. Each keeps its namespace alive, so the one of a removed namespace is to be dropped."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        self._changed = changed
        self._open: dict[str, _Handle] = {}

    def netlink(self, name: str) -> Netlink:
        """The netlink of namespace `name` as it is now. Raises `NoNamespace`, `OSError`."""
        path = netns.path_of(name)
        inode = netns.inode_of(path)
        handle = self._open.get(name)
        if handle is not None and handle.inode == inode:
            return handle.netlink
        self.drop(name)
        if netns.kind_of(path) is not netns.NetnsFile.NETNS:
            raise NoNamespace(f"{path}: no network namespace of its own")
        monitor = Monitor(lambda: self._changed(name), path)
        self._open[name] = _Handle(inode, Netlink(path), monitor)
        return self._open[name].netlink

    def outdated(self, name: str) -> Netlink | None:
        """The netlink still open on a namespace that is no longer the one under its name."""
        handle = self._open.get(name)
        if handle is None or handle.inode == netns.inode_of(netns.path_of(name)):
            return None
        return handle.netlink

    def drop(self, name: str) -> None:
        """Closes the handles of `name`, if any."""
        handle = self._open.pop(name, None)
        if handle is not None:
            handle.close()

    def close(self) -> None:
        """Closes all."""
        for name in list(self._open):
            self.drop(name)
