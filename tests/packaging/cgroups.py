"""Control groups for containers, so that the systemd of one does not meet that of another in the same group."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from tests.lab.wait import wait_until

_ROOT: Final = Path("/sys/fs/cgroup")
_END_S: Final = 60.0


def below(name: str) -> list[Path]:
    """Where a group `name` below this process's own belongs, in each hierarchy that systemd uses (systemd-nspawn(1))."""
    found = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "name=systemd":
            found.append(_ROOT / "systemd" / path.lstrip("/") / name)
        elif not controllers:
            root = _ROOT / "unified" if (_ROOT / "unified").is_dir() else _ROOT
            found.append(root / path.lstrip("/") / name)
    return found


def remove(groups: Sequence[Path]) -> None:
    """Kills what is in these groups, and removes them with all below."""
    for group in groups:
        wait_until(partial(_emptied, group), _END_S, f"the processes in {group} end", 0.05)
        for directory, _, _ in os.walk(group, topdown=False):
            Path(directory).rmdir()


def _emptied(group: Path) -> bool:
    pids = [
        int(pid) for file in group.rglob("cgroup.procs") for pid in file.read_text().split() if int(pid) != os.getpid()
    ]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return not pids
