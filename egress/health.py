"""How the node is beyond what its file says: clock, updates, connection table. Looks only; nothing here is set right."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from egress import wireguard
from egress.config import EgressConfig
from egress.errors import CommandFailed
from egress.system import run, sysctl

_ROOT = Path("/")
_PACKAGE_STATE = ("var/lib/apt/lists", "var/lib/dpkg/status")
_LISTS_OLD_S = 3 * 86400
# Beyond this there is little left for a burst; the kernel drops new connections when the table is full.
_CONNTRACK_FULL_PERMILLE = 800
# linux/timex.h
_TIME_ERROR = 5
_TIMEX_BYTES = 208
_APT_LIMIT_S = 60


@dataclass(frozen=True, slots=True)
class Updates:
    """`security`: packages with a security update pending; None where apt could not say. `as_of_s`: of what apt knows."""

    security: int | None
    as_of_s: int


@dataclass(frozen=True, slots=True)
class Health:
    """`clock_synchronised`: None where the kernel does not tell. `backends`: by interface, None where it is not there."""

    clock_synchronised: bool | None
    updates: Updates
    lists_age_s: int | None
    reboot_required: bool
    conntrack_count: int | None
    conntrack_max: int | None
    backends: dict[str, str | None]


def look(config: EgressConfig, now_s: int, known: Updates | None = None, root: Path = _ROOT) -> Health:
    """The node now. `known`: updates found before, which are asked for anew only where apt's files changed since."""
    changed_s = _package_state_s(root)
    fresh = known is not None and known.security is not None and known.as_of_s == changed_s
    lists_s = _changed_s(root / _PACKAGE_STATE[0])
    return Health(
        clock_synchronised=clock_synchronised(),
        updates=known if fresh and known is not None else Updates(_security_updates(), changed_s),
        lists_age_s=None if lists_s == 0 else max(0, now_s - lists_s),
        reboot_required=(root / "run/reboot-required").exists(),
        conntrack_count=_number("net/netfilter/nf_conntrack_count"),
        conntrack_max=_number("net/netfilter/nf_conntrack_max"),
        backends={interface.name: wireguard.backend_of(interface.name) for interface in config.interfaces},
    )


def warnings(health: Health) -> Iterator[str]:
    """What needs a look, a line for each. Pure."""
    if health.clock_synchronised is not True:
        yield "clock: not synchronised" if health.clock_synchronised is False else "clock: the kernel does not tell"
    if health.updates.security is None:
        yield "updates: apt does not tell"
    elif health.updates.security:
        yield f"updates: {health.updates.security} with security fixes pending"
    if health.lists_age_s is None:
        yield "updates: the package lists were never fetched"
    elif health.lists_age_s > _LISTS_OLD_S:
        yield f"updates: the package lists are {health.lists_age_s // 86400} days old"
    if health.reboot_required:
        yield "updates: a restart of the machine is required"
    used = conntrack_permille(health)
    if used is not None and used >= _CONNTRACK_FULL_PERMILLE:
        yield f"connection table: {health.conntrack_count} of {health.conntrack_max} entries are in use"
    for name, backend in health.backends.items():
        if backend not in {None, "kernel"}:
            yield f"interface {name}: WireGuard in user space ({backend}), which is slower than the kernel's"


def conntrack_permille(health: Health) -> int | None:
    """How full the connection table is; None where there is none."""
    if health.conntrack_count is None or not health.conntrack_max:
        return None
    return health.conntrack_count * 1000 // health.conntrack_max


def clock_synchronised() -> bool | None:
    """By adjtimex(2), which sets nothing here; None where a filter of system calls forbids to ask."""
    state: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return None if state < 0 else state != _TIME_ERROR


def count_security(simulation: str) -> int:
    """Of `apt-get --simulate upgrade`: `Inst NAME [OLD] (NEW ORIGIN [ARCHITECTURE])`, one line for each package. Pure."""
    lines = (line for line in simulation.splitlines() if line.startswith("Inst "))
    return sum("security" in line.partition("(")[2].lower() for line in lines)


def _security_updates() -> int | None:
    try:
        options = ("-o", "Debug::NoLocking=true", "-o", "APT::Get::Show-User-Simulation-Note=false")
        return count_security(run("apt-get", *options, "--simulate", "dist-upgrade", limit_s=_APT_LIMIT_S))
    except CommandFailed:
        return None


def _package_state_s(root: Path) -> int:
    return max(_changed_s(root / name) for name in _PACKAGE_STATE)


def _changed_s(path: Path) -> int:
    """When it last changed, or what it holds did; 0 where there is nothing."""
    try:
        if path.is_dir():
            return max(
                (int(entry.stat().st_mtime) for entry in os.scandir(path) if "_Packages" in entry.name), default=0
            )
        return int(path.stat().st_mtime)
    except OSError:
        return 0


def _number(key: str) -> int | None:
    value = sysctl(key)
    return int(value) if value is not None and value.isdecimal() else None
