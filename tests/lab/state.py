"""The lab's files: one directory that root owns, and that goes away with the lab.

Readable by all, since web servers and resolvers run without privileges; what is secret lies in directories of 0700.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.lab import runtime

STATE_DIR: Final = Path("/run/mpic-lab")
RUNTIME: Final = STATE_DIR / "runtime"
"""Where the product runs from; see `tests.lab.runtime`."""


class LabBusyError(Exception):
    """A lab is up already, or is being built by a living process."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that builds or holds the lab; `start_ticks` tells it from a later one with the same number."""

    pid: int
    start_ticks: int

    @classmethod
    def this_process(cls) -> Owner:
        return cls(os.getpid(), _start_ticks(os.getpid()) or 0)

    def alive(self) -> bool:
        return _start_ticks(self.pid) == self.start_ticks


def create() -> None:
    """Make the state directory for this process alone; `LabBusyError` when there is one."""
    try:
        STATE_DIR.mkdir(mode=0o755)
    except FileExistsError:
        raise LabBusyError(f"{STATE_DIR} exists: a lab is up or is being built") from None
    STATE_DIR.chmod(0o755)
    owner = Owner.this_process()
    write_text(STATE_DIR / "owner.json", json.dumps({"pid": owner.pid, "start_ticks": owner.start_ticks}))


def owner() -> Owner | None:
    """Who holds the lab; None: nobody, it stays up by itself (or there is none, or its maker died at once)."""
    try:
        return Owner(**json.loads((STATE_DIR / "owner.json").read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def disown() -> None:
    """Let the lab outlive this process."""
    (STATE_DIR / "owner.json").unlink(missing_ok=True)


def mark_ready() -> None:
    """Say that the lab is whole."""
    write_text(STATE_DIR / "ready", "")


def is_ready() -> bool:
    """Whether the lab was built to its end."""
    return (STATE_DIR / "ready").exists()


def remove() -> None:
    """Remove every file of the lab."""
    runtime.remove(RUNTIME)
    shutil.rmtree(STATE_DIR, ignore_errors=True)


def directory(*parts: str, mode: int = 0o755) -> Path:
    """A directory below the state directory, made when missing."""
    path = STATE_DIR.joinpath(*parts)
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    return path


def write_text(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a whole file at once: a reader sees the old or the new one."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, mode)
        file.write(text)
    temporary.replace(path)


def _start_ticks(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])
