"""Whether a worker is where it should be and has no more than it should. Pure, but for the functions that read `/proc`.

`excess` is what a worker must not have: it refuses to start with it. `lacking` is what it needs and what may come back.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec

from appliance.model.tunnel import TunnelReport, TunnelState, TunnelStatus
from appliance.perspective.assignment import Assignment
from appliance.perspective.links import Topology

_CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapAmb")


class Findings(msgspec.Struct, frozen=True):
    """Lines for people; both empty where the worker may answer."""

    excess: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()

    def __add__(self, other: Findings) -> Findings:
        return Findings(self.excess + other.excess, self.lacking + other.lacking)


class Credentials(msgspec.Struct, frozen=True):
    """From `/proc/self/status` (proc(5)). `uids`: real, effective, saved, file system. `capabilities`: set -> bits."""

    uids: tuple[int, ...]
    capabilities: Mapping[str, int]
    no_new_privileges: bool


def parse_credentials(status: str) -> Credentials:
    """Reads the text of `/proc/<pid>/status`. Raises `KeyError` or `ValueError` where it is not of that form."""
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return Credentials(
        uids=tuple(int(uid) for uid in fields["Uid"].split()),
        capabilities={name: int(fields[name], 16) for name in _CAPABILITY_SETS},
        no_new_privileges=fields["NoNewPrivs"].strip() == "1",
    )


def credential_findings(credentials: Credentials, expected_uid: int) -> Findings:
    """No root, no other user than the configured one, no capability, no way to gain any."""
    excess = [
        f"user id {uid}, must be {expected_uid}" for uid in dict.fromkeys(credentials.uids) if uid != expected_uid
    ]
    if 0 in credentials.uids:
        excess.insert(0, "runs as root")
    excess += [f"holds capabilities: {name} is {bits:#x}" for name, bits in credentials.capabilities.items() if bits]
    if not credentials.no_new_privileges:
        excess.append("no_new_privs is not set, so it could gain privileges")
    return Findings(excess=tuple(excess))


def socket_findings(families: Mapping[int, int]) -> Findings:
    """`families`: socket family by file descriptor, as inherited at start. A socket keeps the namespace it was made in."""
    return Findings(
        excess=tuple(
            f"inherited file descriptor {fd}, a socket of family {family}: it may lead out of the namespace"
            for fd, family in families.items()
            if family != socket.AF_UNIX
        )
    )


def topology_findings(topology: Topology, assignment: Assignment) -> Findings:
    """Interfaces are `lo` and the assigned one; it is up; every default route, one for each IP version, leaves by it."""
    excess, lacking = [], []
    names = {link.name for link in topology.links}
    excess += [
        f"interface {name}, must have none but {assignment.interface}" for name in sorted(names - _allowed(assignment))
    ]
    excess += [
        f"IPv{route.version} default route by {route.interface or 'several interfaces'}, must be by {assignment.interface}"
        for route in topology.default_routes
        if route.interface != assignment.interface
    ]
    if assignment.interface not in names:
        lacking.append(f"interface {assignment.interface} is missing")
    elif not all(link.is_up for link in topology.links if link.name == assignment.interface):
        lacking.append(f"interface {assignment.interface} is down")
    elif missing := assignment.versions - {route.version for route in topology.default_routes}:
        lacking += [f"no IPv{version} default route" for version in sorted(missing)]
    return Findings(tuple(excess), tuple(lacking))


def _allowed(assignment: Assignment) -> set[str]:
    return {"lo", assignment.interface}


def published_for(report: TunnelReport, code: str) -> TunnelStatus | None:
    """What the tunnel daemon published of `code`."""
    return next((tunnel for tunnel in report.tunnels if tunnel.code == code), None)


def namespace_findings(published: TunnelStatus | None, code: str, own_inode: int) -> Findings:
    """This process's network namespace is the one that the tunnel daemon published, and its tunnel is not down."""
    if published is None or published.netns_inode == 0:
        return Findings(excess=(f"the tunnel daemon has published no namespace for {code}",))
    if published.netns_inode != own_inode:
        return Findings(
            excess=(
                f"runs in network namespace {own_inode}, the published {published.netns} is {published.netns_inode}",
            )
        )
    if published.state is TunnelState.DOWN:
        return Findings(lacking=(f"tunnel down: {published.reason}",))
    return Findings()


def own_credentials() -> Credentials:
    """Those of this process."""
    return parse_credentials(Path("/proc/self/status").read_text(encoding="ascii", errors="replace"))


def own_namespace() -> int:
    """The inode number of this process's network namespace."""
    return Path("/proc/self/ns/net").stat().st_ino


def open_sockets() -> dict[int, int]:
    """The family of each open socket of this process by file descriptor."""
    families = {}
    for entry in os.listdir("/proc/self/fd"):  # noqa: PTH208 -- of names alone, as the listing's own descriptor is gone after
        fd = int(entry)
        try:
            is_socket = stat.S_ISSOCK(os.fstat(fd).st_mode)
        except OSError:
            continue
        if is_socket:
            families[fd] = _family(fd)
    return families


def _family(fd: int) -> int:
    duplicate = socket.socket(fileno=os.dup(fd))
    try:
        return int(duplicate.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN))
    finally:
        duplicate.close()
