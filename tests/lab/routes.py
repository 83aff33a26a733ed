"""Where packets go: the kernel's own answer in every namespace, followed from machine to machine."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from tests.lab import topology

_HOP_LIMIT: Final = 16
_LAN_NAMESPACE: Final = {topology.SYSTEM_BY_NAME[lan.router].namespace: lan.namespace for lan in topology.LANS}
_GATEWAY_NAMESPACE: Final = {host: router for router, host in _LAN_NAMESPACE.items()}

IPAddress = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Forwarding:
    """What every namespace does with packets to some addresses: (namespace, address) -> next namespace.

    A namespace that holds the address itself has itself as the next one; no entry: no route.
    """

    next_hop: dict[tuple[str, IPAddress], str]

    @classmethod
    def read(cls, addresses: Iterable[IPAddress]) -> Forwarding:
        """Ask every kernel now."""
        wanted = tuple(addresses)
        return cls({key: hop for name in topology.namespaces() for key, hop in _ask(name, wanted)})

    def path(self, source: str, address: IPAddress) -> tuple[str, ...]:
        """The namespaces that a packet from `source` crosses, ending where it is answered; () when it is lost."""
        path = [source]
        while (hop := self.next_hop.get((path[-1], address))) is not None:
            if hop == path[-1]:
                return tuple(path)
            path.append(hop)
            if len(path) > _HOP_LIMIT:
                break
        return ()


def _ask(namespace: str, addresses: tuple[IPAddress, ...]) -> list[tuple[tuple[str, IPAddress], str]]:
    lines = "".join(f"route get {address}\n" for address in addresses)
    argv = ["ip", "-n", namespace, "-force", "-oneline", "-batch", "-"]
    answer = subprocess.run(argv, input=lines, capture_output=True, text=True, timeout=10, check=False).stdout
    found = []
    by_text = {str(address): address for address in addresses}
    for line in answer.splitlines():
        words = line.split()
        local = words[:1] == ["local"]
        address = by_text.get(words[1 if local else 0])
        if address is not None and "dev" in words:
            device = words[words.index("dev") + 1]
            found.append(((namespace, address), namespace if local else _behind(namespace, device)))
    return found


def _behind(namespace: str, device: str) -> str:
    if device == "uplink0":
        return _GATEWAY_NAMESPACE[namespace]
    if device == "lan0":
        return _LAN_NAMESPACE[namespace]
    return f"{device}-lab"
