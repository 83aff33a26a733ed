"""The lab goes up from any state and leaves nothing behind: after `down`, after Ctrl-C, after kill -9."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import netns, state, topology, wait_until

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
NOBODY = 65534
COMMAND = [sys.executable, "-m", "tests.lab"]
HOLD = """\
import sys
from tests.lab import Lab
with Lab() as lab:
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def nothing_before_and_after() -> object:
    if state.STATE_DIR.exists():
        pytest.fail("a lab is up; take it down first: python -m tests.lab down")
    before = traces()
    yield
    subprocess.run([*COMMAND, "down"], cwd=ROOT, check=True, capture_output=True)
    assert traces() == before


def traces() -> dict[str, object]:
    """What a lab could leave on the machine."""
    rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    links = json.loads(subprocess.run(["ip", "-j", "link"], capture_output=True, text=True, check=True).stdout)
    return {
        "namespaces": {name for name in netns.existing() if name.endswith("-lab")},
        "links": {link["ifname"] for link in links},
        "rules": rules,
        "processes": lab_processes(),
        "files": state.STATE_DIR.exists(),
    }


def lab_processes() -> set[str]:
    """Command lines that mention the lab's files."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(state.STATE_DIR) in line:
            found.add(line)
    return found


def lab_command(*words: str, extra: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LAB_EXTRA": str(extra or "")}
    return subprocess.run(
        [*COMMAND, *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def start(*argv: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def end(process: subprocess.Popen[str], number: signal.Signals) -> int:
    process.send_signal(number)
    process.communicate(timeout=30)
    return process.returncode


def wait_for_line(process: subprocess.Popen[str], words: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return
    pytest.fail(f"it never said {words!r}")


def test_up_twice_status_and_down_twice() -> None:
    first = lab_command("up", "--json")
    assert first.returncode == 0, first.stderr
    assert re.search(r"lab +\d+\.\d\d s  up", first.stderr)
    told = json.loads(first.stdout)
    assert told["up"]
    assert [egress["code"] for egress in told["egresses"]] == ["ams", "nyc", "sin", "gru", "jnb", "syd"]
    second = lab_command("up")
    assert (second.returncode, "already up" in second.stderr) == (0, True)
    assert json.loads(lab_command("status", "--json").stdout) == told
    assert netns.existing() >= set(topology.namespaces())
    assert lab_command("down").returncode == 0
    assert traces()["namespaces"] == set()
    assert lab_command("down").returncode == 0
    assert lab_command("status").returncode == 1


@pytest.mark.parametrize("step", ["namespaces", "BIRD", "DNS", "web servers", "waiting"])
def test_killed_while_it_comes_up_then_down_leaves_nothing(step: str) -> None:
    process = start(*COMMAND, "up")
    wait_for_line(process, step)
    assert end(process, signal.SIGKILL) == -signal.SIGKILL
    assert state.STATE_DIR.exists()
    assert lab_command("down").returncode == 0
    assert not state.STATE_DIR.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", ["BIRD", "waiting"])
def test_interrupted_while_it_comes_up_leaves_nothing(step: str, number: signal.Signals) -> None:
    process = start(*COMMAND, "up")
    wait_for_line(process, step)
    assert end(process, number) == 130
    assert not state.STATE_DIR.exists()
    assert traces()["namespaces"] == set()
    assert lab_processes() == set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_holder_of_a_lab_takes_it_down_when_interrupted(number: signal.Signals) -> None:
    process = start(sys.executable, "-c", HOLD)
    wait_for_line(process, "  up")
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    refused = lab_command("up")
    assert refused.returncode == 0, "up finds it up"
    end(process, number)
    assert not state.STATE_DIR.exists()
    assert traces()["namespaces"] == set()


def test_up_cleans_after_a_holder_that_was_killed() -> None:
    process = start(sys.executable, "-c", HOLD)
    wait_for_line(process, "  up")
    end(process, signal.SIGKILL)
    assert state.STATE_DIR.exists()
    again = lab_command("up")
    assert again.returncode == 0, again.stderr
    assert "crashed" in again.stderr
    assert lab_command("status").returncode == 0


def test_up_cleans_namespaces_that_have_no_state_directory() -> None:
    netns.ip_batch(["netns add ams-lab"])
    stray = subprocess.Popen([*netns.enter("ams-lab"), "sleep", "600"])
    wait_until(lambda: Path(f"/proc/{stray.pid}/exe").readlink().name == "sleep", 5, "sleep")
    assert lab_command("up").returncode == 0
    assert stray.wait(5) == -signal.SIGTERM


@pytest.fixture
def extra(tmp_path: Path) -> Path:
    # As `mktemp -d` makes it: no access for others.
    directory = tmp_path / "extra"
    for name in ("zones", "www/shop.corp", "nginx"):
        (directory / name).mkdir(parents=True)
    directory.chmod(0o700)
    return directory


def test_extra_zones_content_and_configuration_are_served(extra: Path) -> None:
    address = topology.WEB_ADDRESSES["quay"].v4
    (extra / "zones" / "corp.zone").write_text(
        f"; a new TLD\n$TTL 60\n$ORIGIN shop.corp.\n@ SOA ns host 1 2 3 4 5\n@ NS ns\nns A {address}\n"
        f'@ A {address}\n@ CAA 0 issue "other.example"\n'
    )
    (extra / "zones" / "child.zone").write_text(
        f"$ORIGIN eu.shop.corp\n$TTL 60\n@ SOA a b 1 2 3 4 5\n@ NS ns.shop.corp.\n@ A {address}\n"
    )
    (extra / "www" / "shop.corp" / "hello").write_text("here")
    (extra / "nginx" / "r.conf").write_text(
        "server { listen 80; listen [::]:80; server_name go.shop.corp; return 302 http://shop.corp$request_uri; }\n"
    )
    # Somebody else's, in a directory that is root's alone.
    for path in (extra, *extra.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    extra.parent.chmod(0o700)
    up = lab_command("up", extra=extra)
    assert up.returncode == 0, up.stderr
    assert str(address) in up.stdout
    assert str(topology.WEB_ADDRESSES["quay"].v6) in up.stdout

    def syd(*argv: str) -> str:
        return subprocess.run(
            [*netns.enter("syd-lab"), *argv], capture_output=True, text=True, check=True, timeout=30
        ).stdout

    trace = syd("dig", f"@{topology.ROOT_ADDRESS.v4}", "+norecurse", "eu.shop.corp", "A")
    assert "a.nic.lab." in trace
    trace = syd("dig", f"@{topology.TLD_ADDRESS.v6}", "+norecurse", "eu.shop.corp", "A")
    assert "ns.quay.lab." in trace
    name_server = f"@{topology.DNS_ADDRESSES['quay'].v6}"
    assert syd("dig", name_server, "+short", "shop.corp", "CAA").strip() == '0 issue "other.example"'
    assert syd("dig", name_server, "+short", "eu.shop.corp", "A").strip() == str(address)
    for scheme in ("http", "https"):
        assert syd("curl", "-sk", "--connect-to", f"::{address}", f"{scheme}://shop.corp/hello") == "here"
    moved = syd(
        "curl", "-s", "-o", "/dev/null", "-w", "%{redirect_url}", "-H", "Host: go.shop.corp", f"http://{address}/x"
    )
    assert moved == "http://shop.corp/x"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("@ 60 A 198.18.20.80\n", "no $ORIGIN"),
        ("$ORIGIN a.corp.\n$TTL 60\n@ SOA a b 1 2 3 4 5\n@ NS a\na A 198.18.20\n", "line 5"),
        ("$ORIGIN a.corp.\n@ 60 A 198.18.20.80\n", "SOA"),
        ("$ORIGIN honest.example.\n$TTL 60\n@ SOA a b 1 2 3 4 5\n@ NS a\na A 198.18.20.80\n", "already served"),
        ("$ORIGIN a.corp.\n$INCLUDE /etc/passwd\n", "$INCLUDE"),
    ],
)
def test_a_bad_zone_is_named_and_leaves_nothing(extra: Path, text: str, reason: str) -> None:
    (extra / "zones" / "bad.zone").write_text(text)
    up = lab_command("up", extra=extra)
    assert up.returncode == 1
    assert str(extra / "zones" / "bad.zone") in up.stderr
    assert reason in up.stderr
    assert not state.STATE_DIR.exists()


def test_a_bad_nginx_file_is_named_and_leaves_nothing(extra: Path) -> None:
    (extra / "nginx" / "broken.conf").write_text("server { listen 80 }\n")
    up = lab_command("up", extra=extra)
    assert up.returncode == 1
    assert "broken.conf" in up.stderr
    assert traces()["namespaces"] == set()
