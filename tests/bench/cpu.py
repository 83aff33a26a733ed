"""CPU time and memory of running processes, by what they are for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

GROUPS: Final = ("appliance", "resolvers", "tunnels", "targets", "other")
_TICK_MS: Final = 1000 / os.sysconf("SC_CLK_TCK")
_TARGETS: Final = ("nginx", "nsd", "knotd")


@dataclass(frozen=True, slots=True)
class Process:
    """One process and the group it counts in. `name` tells it from others of its group in a report."""

    pid: int
    group: str
    name: str


def group_of(arguments: list[str]) -> tuple[str, str]:
    """Group and name of a process, by its command line."""
    words = [Path(argument).name for argument in arguments[:3]]
    if "mpicd" in words or "memory_store.py" in words:
        return "appliance", "mpicd"
    if "mpic-perspective" in words:
        return "appliance", f"worker {arguments[words.index('mpic-perspective') + 1]}"
    if "unbound" in words:
        return "resolvers", "unbound"
    if "wireguard-go" in words or "mpic-tunneld" in words:
        return "tunnels", words[0] if "wireguard-go" in words else "mpic-tunneld"
    if words and words[0].rstrip(":") in _TARGETS:
        return "targets", words[0].rstrip(":")
    return "other", words[0] if words else "?"


def processes(pids: Iterable[int]) -> list[Process]:
    """What those of `pids` that still run are for."""
    found = []
    for pid in pids:
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        except OSError:
            continue
        words = [word for argument in arguments for word in argument.split()[:3] if argument]
        found.append(Process(pid, *group_of(words)))
    return found


def cpu_ms(process: Process) -> float:
    """User and system time of all its threads so far, in milliseconds; 0 when it is gone."""
    try:
        stat = Path(f"/proc/{process.pid}/stat").read_text()
    except OSError:
        return 0.0
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_MS


def resident_mb(process: Process) -> float:
    """Resident memory in MB; 0 when it is gone."""
    try:
        pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class Meter:
    """CPU used by each group between `start` and `stop`."""

    def __init__(self, measured: list[Process]) -> None:
        self._measured = measured
        self._before: dict[int, float] = {}

    def start(self) -> None:
        """Takes the first reading."""
        self._before = {process.pid: cpu_ms(process) for process in self._measured}

    def stop(self) -> Mapping[str, float]:
        """Milliseconds used since `start`, by group; every group is there."""
        used = dict.fromkeys(GROUPS, 0.0)
        for process in self._measured:
            used[process.group] += cpu_ms(process) - self._before[process.pid]
        return used
