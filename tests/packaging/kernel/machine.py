"""A machine in qemu, its processor emulated: boots a kernel, and tells by its second serial port, in lines of JSON."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Final

# A /dev/kvm says little: inside some virtual machines one is there, and what it starts never runs.
_COMMAND: Final = (
    "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-machine", "pc", "-cpu", "max,la57=off", "-smp", "2", "-m", "2048",
    "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
)  # fmt: skip
_CMDLINE: Final = (
    "console=ttyS0 rdinit=/lib/systemd/systemd panic=-1 mitigations=off nokaslr audit=0 loglevel=4 "
    "systemd.show_status=0 systemd.default_timeout_start_sec=600"
)


class MachineFailed(AssertionError):
    """It did not come to its end; the text has the end of its console."""


def run(kernel: Path, initramfs: Path, directory: Path, limit_s: float) -> list[dict[str, Any]]:
    """Boots, waits until the machine powers itself off, and gives what it told. Raises `MachineFailed`."""
    console, told = directory / "console", directory / "told"
    argv = [
        *_COMMAND, "-kernel", str(kernel), "-initrd", str(initramfs), "-append", _CMDLINE,
        "-serial", f"file:{console}", "-serial", f"file:{told}",
    ]  # fmt: skip
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise MachineFailed(f"no end after {limit_s:g} s\n{_end(told)}\n{_end(console)}") from error
    if done.returncode != 0:
        raise MachineFailed(f"qemu: exit status {done.returncode}: {done.stderr.decode(errors='replace')}")
    lines = told.read_text(errors="replace").splitlines()
    steps = [json.loads(line) for line in lines if line.startswith("{")]
    if not steps or steps[-1]["step"] != "end":
        raise MachineFailed(f"it did not come to its end\n{_end(told)}\n{_end(console)}")
    return steps


def _end(file: Path) -> str:
    return file.read_text(errors="replace")[-6000:] if file.exists() else f"{file.name}: nothing"
