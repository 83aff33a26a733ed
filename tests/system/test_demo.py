"""`make demo` as a stranger runs it: to its end, and killed in the middle."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.lab import topology, wait_until
from tests.lab.state import STATE_DIR

pytestmark = pytest.mark.system

REPOSITORY = Path(__file__).parents[2]
DEMO = [sys.executable, "-m", "tests.demo"]
NOBODY = 65534
DOWN = [sys.executable, "-m", "tests.lab", "down"]


NOTHING: dict[str, list[str]] = {"namespaces": [], "sockets": [], "files": [], "mounts": []}


def left() -> dict[str, list[str]]:
    """What of the lab is there: namespaces, sockets of tunnels, files."""
    namespaces = {path.name for path in Path("/run/netns").iterdir()} if Path("/run/netns").is_dir() else set()
    sockets = {path.stem for path in Path("/run/wireguard").glob("*.sock")}
    return {
        "namespaces": sorted(name for name in namespaces if name.endswith("-lab")),
        "sockets": sorted(sockets & set(topology.wireguard_interfaces())),
        "files": [str(STATE_DIR)] if STATE_DIR.exists() else [],
        "mounts": [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(STATE_DIR) in line],
    }


def processes_of(namespaces: set[int]) -> list[int]:
    """Pids of every process in a namespace with one of these inodes."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "ns/net").stat().st_ino in namespaces:
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def ruleset() -> str:
    return subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def private_clone(tmp_path: Path) -> Path:
    """This tree as somebody else's clone, made under umask 077 in a private directory with a name that needs care.

    Its virtual environment has the packages of this one, so that nothing has to be fetched.
    """
    clone = tmp_path / "a private clône"
    left_out = shutil.ignore_patterns(".git", ".venv", "build", "dist", ".*_cache", ".hypothesis", "__pycache__")
    shutil.copytree(REPOSITORY, clone, ignore=left_out)
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", clone / ".venv"], check=True)
    (packages,) = (clone / ".venv" / "lib").glob("python3*/site-packages")
    (packages / "these.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    shutil.copy(Path(sys.prefix) / ".locked", clone / ".venv" / ".locked")
    for path in (clone, *clone.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o700)
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    tmp_path.chmod(0o700)
    return clone


@pytest.mark.timeout(600)
def test_the_story_ends_well_in_a_private_clone(private_clone: Path) -> None:
    before = ruleset()
    done = subprocess.run(["make", "demo"], cwd=private_clone, capture_output=True, text=True, check=False, umask=0o077)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((private_clone / "build" / "demo.json").read_text())
    decisions = [decision for scene in report["scenes"] for decision in scene["decisions"]]
    assert len(report["scenes"]) >= 6
    assert all(decision["is_valid"] is decision["expected"] for decision in decisions)
    assert {decision["check"] for decision in decisions} == {"acme-http-01", "acme-dns-01", "caa"}
    for decision in decisions:
        assert {part["code"] for part in decision["perspectives"]} == {egress.code for egress in topology.EGRESSES}
        if decision["is_valid"] and decision["quorum"] == "6/6":
            for egress, part in zip(topology.EGRESSES, decision["perspectives"], strict=True):
                assert part["seen_by_target"] in map(str, egress.address)
    uplink = report["uplink_capture"]
    assert uplink["other_packets"] == 0
    assert min(uplink["wireguard_packets"], uplink["primary_packets"], uplink["positive_control_packets"]) > 0
    assert left() == NOTHING
    assert ruleset() == before


@pytest.mark.timeout(300)
def test_nothing_is_left_of_a_killed_demo() -> None:
    before = ruleset()
    with subprocess.Popen(
        DEMO, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as demo:
        api = STATE_DIR / "appliance" / "run" / "api.sock"
        wait_until(api.exists, 120, "the appliance is up")
        inodes = {path.stat().st_ino for path in Path("/run/netns").iterdir() if path.name.endswith("-lab")}
        assert len(processes_of(inodes)) > 40
        demo.send_signal(signal.SIGKILL)
    assert left()["namespaces"], "positive control: a killed demo leaves its lab behind"
    subprocess.run(DOWN, cwd=REPOSITORY, check=True, capture_output=True)
    assert left() == NOTHING
    assert processes_of(inodes) == []
    assert ruleset() == before
