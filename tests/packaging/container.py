"""A Debian with a real systemd as its first process, in a network namespace of the lab. Nothing of it outlives it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from tests.lab.netns import NETNS_DIR
from tests.lab.wait import wait_until
from tests.packaging.tree import debian

_BOOT_S: Final = 60.0
_END_S: Final = 30.0
# The mounts are in a mount namespace that ends with the container. nspawn needs a /run/systemd/nspawn that it may share.
_SCRIPT: Final = """
mount -t tmpfs -o mode=755 tmpfs "$WORK"
mkdir "$WORK/upper" "$WORK/work" "$WORK/root"
mount -t overlay overlay -o "lowerdir=$TREE,upperdir=$WORK/upper,workdir=$WORK/work" "$WORK/root"
mkdir -p /run/systemd/nspawn
mount -t tmpfs tmpfs /run/systemd/nspawn
exec systemd-nspawn --directory="$WORK/root" --boot --machine="$NAME" --network-namespace-path="$NETNS" \
    --capability=CAP_NET_ADMIN --register=no --keep-unit --console=pipe --quiet
"""


class Container:
    """One container; boots on entering, powers off on leaving."""

    def __init__(self, name: str, namespace: str) -> None:
        self._name = name
        self._namespace = namespace
        self._stack = contextlib.ExitStack()
        self._leader = 0

    def __enter__(self) -> Container:
        with contextlib.ExitStack() as stack:
            work = stack.enter_context(tempfile.TemporaryDirectory(prefix="mpic-container-"))
            log = stack.enter_context((Path(work).with_suffix(".log")).open("wb"))
            stack.callback(Path(log.name).unlink)
            process = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "slave", "sh", "-ec", _SCRIPT],
                env={
                    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                    "WORK": work,
                    "TREE": str(debian()),
                    "NAME": self._name,
                    "NETNS": str(NETNS_DIR / self._namespace),
                    # mpic-tunneld and mpic-egress set network sysctls, as on a machine of their own.
                    "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "yes",
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            stack.callback(self._end, process)
            wait_until(lambda: self._find_leader(process), _BOOT_S, f"container {self._name} starts its systemd")
            wait_until(self._booted, _BOOT_S, f"container {self._name} boots", 0.2)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def run(self, *argv: str, check: bool = True, stdin: bytes = b"", timeout_s: float = 60.0) -> str:
        """Standard output of a command inside, as root; `AssertionError` with its complaint unless it exits with 0."""
        done = self.call(*argv, stdin=stdin, timeout_s=timeout_s)
        output = done.stdout.decode(errors="replace")
        if check and done.returncode != 0:
            complaint = done.stderr.decode(errors="replace")
            raise AssertionError(f"{' '.join(argv)}: exit status {done.returncode}\n{output}{complaint}")
        return output

    def call(self, *argv: str, stdin: bytes = b"", timeout_s: float = 60.0) -> subprocess.CompletedProcess[bytes]:
        """A command inside, whatever its exit status."""
        return subprocess.run(self._inside(argv), input=stdin, capture_output=True, check=False, timeout=timeout_s)

    def write(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Puts a file inside, and the directory that it is in."""
        self.run(
            "sh", "-ec", 'mkdir -p "$(dirname "$1")"; umask 077; cat >"$1"; chmod "$2" "$1"', "sh", path, f"{mode:o}",
            stdin=content,
        )  # fmt: skip

    def main_pid(self, unit: str) -> int:
        """The unit's main process, by its number inside; 0 where there is none."""
        return int(self.run("systemctl", "show", "--property=MainPID", "--value", unit))

    def state(self) -> str:
        """What `systemctl is-system-running` says."""
        return self.run("systemctl", "is-system-running", check=False).strip()

    def failures(self) -> str:
        """For a message: units that failed, and the end of the journal."""
        failed = self.run("systemctl", "--failed", "--plain", "--no-legend", check=False)
        return failed + self.run("journalctl", "--no-pager", "--lines=60", "--output=short-monotonic", check=False)

    def _inside(self, argv: Sequence[str]) -> list[str]:
        where = [f"--{kind}" for kind in ("mount", "uts", "ipc", "pid", "net")]
        return [
            "nsenter",
            f"--target={self._leader}",
            *where,
            "--",
            "env",
            "-i",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            *argv,
        ]

    def _find_leader(self, process: subprocess.Popen[bytes]) -> bool:
        if process.poll() is not None:
            raise AssertionError(f"systemd-nspawn ended with {process.returncode}")
        for child in _children(process.pid):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    self._leader = child
                    return True
        return False

    def _booted(self) -> bool:
        return self.state() in {"running", "degraded"}

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        if self._leader in set(_children(process.pid)):
            # systemd(1): SIGRTMIN+4 powers off.
            os.kill(self._leader, signal.SIGRTMIN + 4)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_END_S)
        for pid in (self._leader, process.pid):
            if process.poll() is None and pid:
                os.kill(pid, signal.SIGKILL)
        process.wait()


def _children(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        yield from map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
