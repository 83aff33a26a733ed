"""What cannot work on a machine is said before anything is installed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

REPOSITORY = Path(__file__).parents[2]
PREFLIGHT = REPOSITORY / ".ci" / "preflight"


def preflight(directory: Path, around: list[str], command: str = 'exec "$PREFLIGHT"') -> tuple[int, str]:
    """Exit status and messages. `around`: a command that runs `command`, of a shell, in surroundings of its own."""
    surroundings = os.environ | {"TMPDIR": str(directory), "PREFLIGHT": str(PREFLIGHT), "CLONE": str(REPOSITORY)}
    argv = [*around, "sh", "-ec", command]
    done = subprocess.run(argv, env=surroundings, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


USER = ["setpriv", "--reuid=64301", "--regid=64301", "--clear-groups"]
# The clone may lie where this user cannot go.
READS = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
MOUNTS = ["unshare", "--mount", "--propagation", "private"]


def test_nothing_is_missing_here(tmp_path: Path) -> None:
    status, said = preflight(tmp_path, [])
    assert (status, "MISSING" in said) == (0, False), said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("around", "command", "named"),
    [
        (["setpriv", "--bounding-set", "-net_admin"], 'exec "$PREFLIGHT"', "capabilities: CAP_NET_ADMIN\n"),
        (["setpriv", "--bounding-set", "-sys_admin"], 'exec "$PREFLIGHT"', "network and mount namespaces\n"),
        ([*USER, *READS], 'exec bash "$PREFLIGHT"', "MISSING: root\n"),
        (["unshare", "--user", "--map-root-user"], 'exec "$PREFLIGHT"', "users other than root\n"),
        (MOUNTS, 'mount -t tmpfs tmpfs /dev/net; exec "$PREFLIGHT"', "MISSING: /dev/net/tun\n"),
        (MOUNTS, 'mount --bind /dev/null /dev/net/tun; exec "$PREFLIGHT"', "MISSING: /dev/net/tun\n"),
        (MOUNTS, 'mount -t tmpfs -o noexec tmpfs "$TMPDIR"; exec "$PREFLIGHT"', "programs that run in"),
        (MOUNTS, 'mount -t tmpfs -o ro tmpfs "$TMPDIR"; exec "$PREFLIGHT"', "a writable"),
        (MOUNTS, 'mount -t tmpfs -o size=1m tmpfs "$TMPDIR"; exec "$PREFLIGHT"', "300 MiB free in"),
        (MOUNTS, 'mount -t tmpfs -o ro tmpfs /proc/sys/net; exec "$PREFLIGHT"', "a writable /proc/sys/net\n"),
        (
            MOUNTS,
            'mount --bind "$CLONE" "$CLONE"; mount -o remount,bind,noexec "$CLONE"; cd "$CLONE"; exec make setup',
            "programs that run in .\n",
        ),
    ],
    ids=[
        "net_admin",
        "sys_admin",
        "no root",
        "few users",
        "no tun",
        "another tun",
        "noexec",
        "read-only",
        "full",
        "sysctl",
        "clone",
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, around: list[str], command: str, named: str) -> None:
    status, said = preflight(tmp_path, around, command)
    assert status != 0
    assert named in said, said
    assert said.count("why:") == said.count("do:") == said.count("MISSING:")
