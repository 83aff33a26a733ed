"""Network namespaces, links, addresses and kernel settings, by few and batched calls of `ip`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.lab import topology
from tests.lab.addresses import LAN_PREFIX_LENGTHS, LINK_PREFIX_LENGTHS, link_ends
from tests.lab.model import Address

NETNS_DIR: Final = Path("/run/netns")

# Set before any interface exists, so that addresses are usable at once (no duplicate address detection) and paths
# may be asymmetric, as a hijack makes them.
_SYSCTLS: Final = {
    "net/ipv6/conf/default/accept_dad": "0",
    "net/ipv6/conf/default/dad_transmits": "0",
    "net/ipv6/conf/default/accept_ra": "0",
    "net/ipv6/conf/all/accept_ra": "0",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv4/icmp_ratelimit": "0",
    "net/ipv6/icmp/ratelimit": "0",
}
_ROUTER_SYSCTLS: Final = {"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1"}


class CommandError(Exception):
    """A command failed; the message can be pasted into a shell."""


def ip_batch(lines: Iterable[str], namespace: str | None = None) -> None:
    """Run lines of `ip` in one process; `CommandError` with the first failing line."""
    argv = ["ip", *(("-n", namespace) if namespace else ()), "-batch", "-"]
    text = "\n".join(lines) + "\n"
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CommandError(f"{' '.join(argv)} <<'EOF'\n{text}EOF\n{done.stderr}")


def enter(namespace: str) -> list[str]:
    """The beginning of a command line that runs the rest in `namespace`."""
    return ["nsenter", f"--net={NETNS_DIR / namespace}", "--"]


def existing() -> set[str]:
    """Names of the machine's named network namespaces."""
    return {entry.name for entry in NETNS_DIR.iterdir()} if NETNS_DIR.is_dir() else set()


def inode(namespace: str) -> int | None:
    """The inode that /proc/PID/ns/net shows for a process inside; None when there is no such namespace."""
    try:
        return (NETNS_DIR / namespace).stat().st_ino
    except FileNotFoundError:
        return None


def create() -> None:
    """Make every namespace with its kernel settings, then links, then addresses and the machines' routes."""
    ip_batch(f"netns add {name}" for name in topology.namespaces())
    for name in topology.namespaces():
        _write_sysctls(name)
    ip_batch(_links())
    for namespace, lines in _addresses().items():
        ip_batch(lines, namespace)


def delete(names: Iterable[str]) -> None:
    """Delete these namespaces; those that do not exist are no error."""
    there = existing()
    lines = [f"netns del {name}" for name in names if name in there]
    if lines:
        ip_batch(lines)


def attach(namespace: str, *addresses: Address) -> None:
    """Let the machine answer at `addresses`."""
    ip_batch([f"addr replace {one} dev lo" for one in _on_loopback(addresses)], namespace)


def detach(namespace: str, *addresses: Address) -> None:
    """Undo `attach`."""
    ip_batch([f"addr del {one} dev lo" for one in _on_loopback(addresses)], namespace)


def _on_loopback(addresses: Iterable[Address]) -> list[str]:
    return [one for address in addresses for one in (f"{address.v4}/32", f"{address.v6}/128")]


def _write_sysctls(namespace: str) -> None:
    settings = dict(_SYSCTLS)
    if namespace not in {lan.namespace for lan in topology.LANS}:
        settings |= _ROUTER_SYSCTLS
    script = "; ".join(f"echo {value} > /proc/sys/{key}" for key, value in settings.items())
    subprocess.run([*enter(namespace), "sh", "-ec", script], check=True, env=os.environ)


def _links() -> list[str]:
    # An interface has its neighbour's name, so that a route's interface tells where the packet goes.
    systems = topology.SYSTEM_BY_NAME
    lines = [
        f"link add {link.b} netns {systems[link.a].namespace} type veth peer name {link.a} "
        f"netns {systems[link.b].namespace}"
        for link in topology.LINKS
    ]
    lines += [
        f"link add uplink0 netns {lan.namespace} type veth peer name lan0 netns {systems[lan.router].namespace}"
        for lan in topology.LANS
    ]
    return lines


def _addresses() -> dict[str, list[str]]:
    lines = {namespace: ["link set lo up"] for namespace in topology.namespaces()}
    for index, link in enumerate(topology.LINKS):
        for own, other, end in zip((link.a, link.b), (link.b, link.a), link_ends(index), strict=True):
            lines[topology.SYSTEM_BY_NAME[own].namespace] += _interface(other, end, LINK_PREFIX_LENGTHS)
    for system in topology.SYSTEMS:
        for address in dict.fromkeys((*system.addresses, *system.beacon_addresses)):
            lines[system.namespace] += [f"addr add {address.v4}/32 dev lo", f"addr add {address.v6}/128 dev lo"]
    for lan in topology.LANS:
        lines[topology.SYSTEM_BY_NAME[lan.router].namespace] += _interface("lan0", lan.gateway, LAN_PREFIX_LENGTHS)
        lines[lan.namespace] += _interface("uplink0", lan.host_address, LAN_PREFIX_LENGTHS)
        lines[lan.namespace] += [
            f"route add default via {lan.gateway.v4}",
            f"route add default via {lan.gateway.v6}",
        ]
    return lines


def _interface(name: str, address: Address, lengths: tuple[int, int]) -> list[str]:
    return [
        f"link set {name} up",
        f"addr add {address.v4}/{lengths[0]} dev {name}",
        f"addr add {address.v6}/{lengths[1]} dev {name} nodad",
    ]
