"""A Debian with a real systemd as its first process, in a network namespace of the lab. Nothing of it outlives it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from tests.lab.netns import NETNS_DIR
from tests.lab.wait import wait_until
from tests.packaging import cgroups
from tests.packaging.tree import debian

_BOOT_S: Final = 120.0
_END_S: Final = 30.0
# systemd-nspawn(1): with --keep-unit it ends with this status when the machine inside wants to boot again.
_REBOOT: Final = 133
# The mounts are in a mount namespace that ends with the container. nspawn needs a /run/systemd/nspawn that it may share.
# A cgroup of its own parts it from other containers. A machine that boots has lost its firewall and its tunnels.
_SCRIPT: Final = """
for cgroup in $CGROUPS; do mkdir "$cgroup"; echo $$ >"$cgroup/cgroup.procs"; done
mount -t tmpfs -o mode=755 tmpfs "$WORK/machine"
cd "$WORK/machine"
mkdir upper work root
mount -t overlay overlay -o "lowerdir=$TREE,upperdir=$PWD/upper,workdir=$PWD/work" root
cp -a "$WORK/own/." root/
mkdir -p /run/systemd/nspawn
mount -t tmpfs tmpfs /run/systemd/nspawn
while :; do
    status=0
    systemd-nspawn --directory="$PWD/root" --boot --machine="$NAME" --network-namespace-path="$NETNS" \
        --capability=CAP_NET_ADMIN --register=no --keep-unit --console=pipe --quiet || status=$?
    [ "$status" = "$REBOOT" ] || exit "$status"
    nsenter --net="$NETNS" -- nft flush ruleset
    nsenter --net="$NETNS" -- sysctl -q -w net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0
done
"""


class Container:
    """One container; boots on entering, powers off on leaving. `files`: what it has of its own, by path: content, mode.

    `tree`: what it boots, which stays as it is; None: the tests' Debian."""

    def __init__(
        self,
        name: str,
        namespace: str,
        files: Mapping[str, tuple[bytes, int]] | None = None,
        tree: Path | None = None,
    ) -> None:
        self._tree = tree
        self._name = name
        self._namespace = namespace
        self._files = files or {}
        self._stack = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def __enter__(self) -> Container:
        with contextlib.ExitStack() as stack:
            work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mpic-container-")))
            (work / "machine").mkdir()
            for path, (content, mode) in self._files.items():
                file = work / "own" / path.lstrip("/")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
                file.chmod(mode)
            (work / "own").mkdir(exist_ok=True)
            log = stack.enter_context((work / "log").open("wb"))
            groups = cgroups.below(f"mpic-{self._name}-{os.getpid()}")
            stack.callback(cgroups.remove, groups)
            self._process = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "slave", "sh", "-ec", _SCRIPT],
                env={
                    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                    "CGROUPS": " ".join(map(str, groups)),
                    "WORK": str(work),
                    "TREE": str(self._tree or debian()),
                    "NAME": self._name,
                    "NETNS": str(NETNS_DIR / self._namespace),
                    "REBOOT": str(_REBOOT),
                    # mpic-tunneld and mpic-egress set network sysctls, as on a machine of their own.
                    "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "yes",
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            stack.callback(self._end, self._process)
            self.wait_until_booted(0)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Powers it off; none booted is fine."""
        self._stack.close()

    @property
    def leader(self) -> int:
        """The pid of its systemd, as this machine counts."""
        return self._leader

    def wait_until_booted(self, before: int) -> None:
        """Returns once a systemd other than `before` is its first process and all that it starts at boot is started."""
        wait_until(lambda: self._find_leader(before), _BOOT_S, f"container {self._name} starts its systemd", 0.2)
        wait_until(self._booted, _BOOT_S, f"container {self._name} boots", 0.5)

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

    def _find_leader(self, before: int) -> bool:
        process = self._process
        assert process is not None
        if process.poll() is not None:
            raise AssertionError(f"systemd-nspawn ended with {process.returncode}")
        for leader in _systemds(process.pid):
            if leader != before:
                self._leader = leader
                return True
        return False

    def _booted(self) -> bool:
        return self.state() in {"running", "degraded"}

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        for leader in _systemds(process.pid):
            # systemd(1): SIGRTMIN+4 powers off.
            os.kill(leader, signal.SIGRTMIN + 4)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_END_S)
        if process.poll() is None:
            for pid in [*_systemds(process.pid), *_children(process.pid), process.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        process.wait()


def _systemds(pid: int) -> list[int]:
    """The first process of the container that the script with this pid runs: the child of its nspawn."""
    found = []
    for nspawn in _children(pid):
        for child in _children(nspawn):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    found.append(child)
    return found


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
