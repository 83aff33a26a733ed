"""A small Debian 12 tree with what the packages depend on, made once and kept: a container boots from a layer above it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

CACHE: Final = Path(os.environ.get("MPIC_LAB_CACHE", "/var/cache/mpic-lab"))
_SUITE: Final = "bookworm"
_PACKAGES: Final = (
    "ca-certificates", "dbus", "dns-root-data", "iproute2", "iputils-ping", "libsystemd0", "nftables", "openssh-server",
    "procps", "python3", "python3-apt", "systemd", "systemd-sysv", "systemd-timesyncd", "udev", "unattended-upgrades",
    "unbound", "util-linux", "wireguard-go", "wireguard-tools",
)  # fmt: skip


def debian(packages: Sequence[str] = _PACKAGES) -> Path:
    """The tree; made with debootstrap, from the sources that this machine's apt uses, where it is not there yet."""
    name = f"{_SUITE}-{hashlib.sha256(' '.join(packages).encode()).hexdigest()[:12]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    tree = CACHE / name
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tree.exists():
            _make(tree, packages)
    return tree


def _make(tree: Path, packages: Sequence[str]) -> None:
    partial = tree.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={','.join(packages)}", _SUITE, str(partial), _mirror()],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=600,
    )
    # What a real machine has anew at each installation.
    (partial / "etc/machine-id").write_text("")
    shutil.rmtree(partial / "var/cache/apt")
    (partial / "var/cache/apt/archives/partial").mkdir(parents=True)
    partial.rename(tree)


def _mirror() -> str:
    """Where this machine's apt has the suite from."""
    policy = subprocess.run(["apt-get", "indextargets"], capture_output=True, text=True, check=False).stdout
    for block in policy.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if fields.get("Codename", fields.get("Suite")) == _SUITE and fields.get("Identifier") == "Packages":
            return fields["Repo-URI"].rstrip("/")
    raise RuntimeError(f"apt on this machine knows no source of Debian {_SUITE}: run apt-get update, or add one")
