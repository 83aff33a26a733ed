"""The egress node against a real kernel: what it lets through, what it refuses, and that a second apply changes nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.capture import NEIGHBOURLY
from tests.system.small_config import NETS, Files, egress_link, netns
from tests.system.small_fixtures import egress, files, net
from tests.system.small_net import (
    EGRESS,
    EGRESS4,
    EGRESS6,
    OPERATOR4,
    TARGET4,
    TARGET6,
    WAN,
    SmallNet,
    ask,
    backends,
    inside,
    pings,
    program,
    run,
    wait_for,
)

pytestmark = pytest.mark.system
__all__ = ["egress", "files", "net"]

# What the node refuses, it says; what it drops, the client waits for in vain.
REFUSED = {"EHOSTUNREACH", "EACCES", "ECONNREFUSED"}
# The kernel sends few ICMP errors in a row (icmp(7), icmp_ratelimit); the SYN comes again after 1 s and 3 s.
PATIENCE_S = 6


@pytest.fixture
def open_net(net: SmallNet, egress: Path, files: Files) -> SmallNet:
    """Tunnels up, and the appliance's own prohibitions taken away, so that the egress node alone refuses."""
    net.start(files.appliance())
    net.wait_up("ams", "fra")
    net.stop()
    for code in ("ams", "fra"):
        for family in ("-4", "-6"):
            run("ip", family, "-n", netns(code), "route", "flush", "type", "prohibit")
    return net


def egress_command(command: str, path: Path) -> subprocess.CompletedProcess[str]:
    return inside(EGRESS, program("mpic-egress"), command, "--config", str(path), check=False)


def counted(counter: str) -> int:
    text = inside(EGRESS, "nft", "list", "counter", "inet", "mpic_egress", counter).stdout
    found = re.search(r"packets (\d+)", text)
    assert found is not None
    return int(found[1])


def test_what_it_forwards_bears_its_own_address(open_net: SmallNet) -> None:
    capture = open_net.capture(EGRESS, "up0")
    for protocol in ("tcp", "udp"):
        assert ask(netns("ams"), protocol, TARGET4) == EGRESS4
        assert ask(netns("ams"), protocol, TARGET6) == EGRESS6
    assert pings(netns("fra"), TARGET4)
    assert pings(netns("fra"), TARGET6)
    capture.end()
    inner = "net 10.0.0.0/8 or net fd00::/8"
    assert capture.lines(inner) == []
    assert len(capture.lines(f"host {TARGET4} or host {TARGET6}")) >= 12


@pytest.mark.parametrize(
    "address",
    [
        *("10.9.9.9", "192.168.1.1", "169.254.169.254", "100.64.0.1", "203.0.113.1", "240.0.0.1"),
        *("fd00::9", "64:ff9b::a09:909", "2002:a09:909::1", "2001::1", "fec0::1", "::a09:909"),
    ],
)
def test_special_purpose_destinations_are_refused(open_net: SmallNet, address: str) -> None:
    capture = open_net.capture(EGRESS, "up0")
    before = counted("refused_special_purpose")
    assert ask(netns("ams"), "tcp", address, limit_s=PATIENCE_S) in REFUSED
    assert counted("refused_special_purpose") > before
    capture.end()
    assert capture.lines(f"dst host {address}") == []


def test_without_the_rule_the_special_purpose_target_would_answer(net: SmallNet, egress: Path) -> None:
    """The positive control of the refusals: the node itself reaches what it does not forward to."""
    assert ask(EGRESS, "tcp", "10.9.9.9") == EGRESS4


@pytest.mark.parametrize("port", [25, 465, 587])
def test_mail_is_refused(open_net: SmallNet, port: int) -> None:
    before = counted("refused_mail")
    assert ask(netns("ams"), "tcp", TARGET4, port, limit_s=PATIENCE_S) in REFUSED
    assert ask(netns("ams"), "tcp", TARGET6, port, limit_s=PATIENCE_S) in REFUSED
    assert counted("refused_mail") >= before + 2


def test_one_client_does_not_reach_another(open_net: SmallNet) -> None:
    run("ip", "-n", netns("fra"), "route", "replace", NETS["ams"][0] + ".2/32", "dev", netns("fra"))
    capture = open_net.capture(netns("ams"), netns("ams"))
    assert ask(netns("fra"), "tcp", NETS["ams"][0] + ".2", limit_s=PATIENCE_S) in REFUSED
    assert ask(netns("fra"), "udp", NETS["ams"][1] + ":2", limit_s=PATIENCE_S) in REFUSED
    capture.end()
    assert counted("refused_between_peers") >= 2
    assert capture.lines("port 8080") == []


def test_a_spoofed_source_is_dropped(open_net: SmallNet) -> None:
    run("ip", "-n", netns("ams"), "addr", "add", "198.18.52.77/32", "dev", netns("ams"))
    capture = open_net.capture(EGRESS, "up0")
    assert inside(netns("ams"), "ping", "-c1", "-W1", "-I", "198.18.52.77", TARGET4, check=False).returncode == 1
    capture.end()
    assert capture.lines("host 198.18.52.77") == []


def test_a_source_that_does_not_belong_on_the_uplink_is_dropped(open_net: SmallNet) -> None:
    before = counted("refused_spoofed")
    run("ip", "-n", WAN, "addr", "add", NETS["ams"][0] + ".2/32", "dev", "lo")
    inside(WAN, "ping", "-c1", "-W1", "-I", NETS["ams"][0] + ".2", EGRESS4, check=False)
    assert counted("refused_spoofed") > before


def test_the_node_itself_is_closed_but_for_the_tunnel_and_the_operator(open_net: SmallNet) -> None:
    # The file says that ssh is on the witness's port, and whose address may come there.
    open_net.serve(EGRESS, EGRESS4, NETS["ams"][0] + ".1")
    assert ask(netns("ams"), "tcp", NETS["ams"][0] + ".1", limit_s=1) == "TIMEOUT"
    assert ask(netns("ams"), "tcp", EGRESS4, limit_s=1) == "TIMEOUT"
    assert ask(WAN, "tcp", EGRESS4, limit_s=1) == "TIMEOUT"
    run("ip", "-n", WAN, "route", "replace", f"{EGRESS4}/32", "dev", "e0", "src", OPERATOR4)
    assert ask(WAN, "tcp", EGRESS4) == OPERATOR4
    assert pings(netns("ams"), NETS["ams"][0] + ".1")
    assert pings(netns("ams"), NETS["ams"][1] + ":1")


def test_the_maximum_segment_is_clamped_to_the_tunnel(open_net: SmallNet) -> None:
    capture = open_net.capture(WAN, "e0")
    assert ask(netns("ams"), "tcp", TARGET4) == EGRESS4
    assert ask(netns("ams"), "tcp", TARGET6) == EGRESS6
    capture.end()
    syns = [*capture.lines("tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn"), *capture.lines("ip6 and ip6[53] == 2")]
    assert sorted(re.findall(r"mss (\d+)", " ".join(syns))) == ["1220", "1240"]


def test_connections_at_once_are_limited(net: SmallNet, files: Files) -> None:
    path = files.egress("limits = { connections_per_peer = 3 }")
    assert egress_command("apply", path).returncode == 0
    net.start(files.appliance())
    net.wait_up("ams")
    script = (
        "import socket; opened = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(8)]\n"
        f"for one in opened: one.settimeout(1); one.connect(('{TARGET4}', 8080)); one.send(b'?')\n"
        "answered = 0\n"
        "for one in opened:\n"
        "    try: one.recv(99); answered += 1\n"
        "    except OSError: pass\n"
        "print(answered)"
    )
    assert inside(netns("ams"), "python3", "-c", script).stdout.strip() == "3"
    assert counted("refused_over_limit") >= 5


def test_a_second_apply_changes_nothing_and_flows_survive(open_net: SmallNet, egress: Path) -> None:
    assert ask(netns("ams"), "tcp", TARGET4) == EGRESS4
    before = inside(EGRESS, "nft", "-a", "-t", "-s", "list", "table", "inet", "mpic_egress").stdout, backends()
    entered = ["nsenter", f"--net=/run/netns/{netns('ams')}"]
    stream = open_net.background([*entered, "ping", "-q", "-i", "0.05", "-c", "40", TARGET4])
    again = egress_command("apply", egress)
    assert (again.returncode, again.stdout) == (0, "nothing to change\n")
    assert (
        inside(EGRESS, "nft", "-a", "-t", "-s", "list", "table", "inet", "mpic_egress").stdout,
        backends(),
    ) == before
    assert "40 received, 0% packet loss" in open_net.output_of(stream)
    assert egress_command("check", egress).stdout.startswith("all as configured\n")


def test_a_changed_file_is_applied_under_running_flows(open_net: SmallNet, egress: Path, files: Files) -> None:
    entered = ["nsenter", f"--net=/run/netns/{netns('ams')}"]
    stream = open_net.background([*entered, "ping", "-q", "-i", "0.05", "-c", "60", TARGET4])
    changed = files.egress("limits = { connections_per_peer = 77 }", "changed.toml")
    assert egress_command("check", changed).returncode == 1
    assert "nftables" in egress_command("apply", changed).stdout
    assert egress_command("check", changed).returncode == 0
    assert "60 received, 0% packet loss" in open_net.output_of(stream)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (["nft", "flush", "chain", "inet", "mpic_egress", "forward"], "nftables"),
        (["nft", "add", "element", "inet", "mpic_egress", "operators", "{ 198.51.100.1 }"], "nftables"),
        (["sysctl", "-qw", "net.ipv4.ip_forward=0"], "ip_forward"),
        (["ip", "addr", "flush", "dev", egress_link("ams")], "addresses"),
        (["ip", "link", "set", egress_link("ams"), "down"], "up"),
        (["wg", "set", egress_link("ams"), "listen-port", "1234"], "keys, port and peers"),
        (["ip", "link", "del", egress_link("ams")], f"interface {egress_link('ams')}"),
    ],
)
def test_check_tells_what_is_wrong_and_apply_sets_it_right(
    net: SmallNet, egress: Path, files: Files, spoil: list[str], told: str
) -> None:
    inside(EGRESS, *spoil)
    wait_for(lambda: told in egress_command("check", egress).stdout)
    assert egress_command("apply", egress).returncode == 0
    assert egress_command("check", egress).returncode == 0
    net.start(files.appliance())
    net.wait_up("ams")
    assert ask(netns("ams"), "tcp", TARGET6) == EGRESS6


def test_status_shows_the_handshake_and_no_secret(open_net: SmallNet, egress: Path, files: Files) -> None:
    shown = egress_command("status", egress)
    assert shown.returncode == 0
    as_json = inside(EGRESS, program("mpic-egress"), "status", "--json", "--config", str(egress)).stdout
    peers = [peer for interface in json.loads(as_json)["interfaces"] for peer in interface["peers"]]
    assert {peer["name"] for peer in peers} == {"ams", "fra"}
    assert all(peer["latest_handshake_s"] > 0 for peer in peers)
    secret = (files.directory / "psk").read_text().strip()
    assert secret not in as_json + shown.stdout


def test_status_is_told_to_each_over_its_own_tunnel_alone(open_net: SmallNet, egress: Path, files: Files) -> None:
    file = str(files.directory / "status.json")
    inside(EGRESS, program("mpic-egress"), "status", "--write", "--file", file, "--config", str(egress))
    open_net.background(["nsenter", f"--net=/run/netns/{EGRESS}", program("mpic-egress"), "serve", "--file", file])
    for code in ("ams", "fra"):
        for own in (f"{NETS[code][0]}.1", f"{NETS[code][1]}:1"):
            told = json.loads(wait_for(lambda place=own, who=code: _status_at(who, place)))  # type: ignore[misc]
            assert told["problems"] == []
            assert told["tunnel"]["interface"] == egress_link(code)
            assert told["tunnel"]["latest_handshake_s"] > 0
            assert egress_link("fra" if code == "ams" else "ams") not in json.dumps(told)
    secrets = [path.read_text().strip() for path in (files.directory / "psk", *files.directory.glob("*.key"))]
    assert not any(secret in Path(file).read_text() for secret in secrets)
    # Neither at another's address, nor at the node's own from outside.
    assert _status_at("fra", f"{NETS['ams'][0]}.1") == ""
    assert ask(WAN, "tcp", EGRESS4, 51822, limit_s=1) not in {"", EGRESS4}


def _status_at(code: str, address: str) -> str:
    script = (
        "import socket, sys\ntry:\n opened = socket.create_connection((sys.argv[1], 51822), 2)\n"
        " print(opened.makefile().read())\nexcept OSError:\n pass"
    )
    return inside(netns(code), sys.executable, "-c", script, address).stdout.strip()


def test_down_removes_tunnels_table_and_forwarding(net: SmallNet, egress: Path) -> None:
    assert egress_command("down", egress).returncode == 0
    assert inside(EGRESS, "nft", "list", "ruleset").stdout == ""
    wait_for(lambda: backends() == {})
    assert inside(EGRESS, "sysctl", "-n", "net.ipv4.ip_forward").stdout.strip() == "0"


def test_a_name_that_another_node_holds_is_refused(net: SmallNet, egress: Path) -> None:
    refused = inside(WAN, program("mpic-egress"), "apply", "--config", str(egress), check=False)
    assert refused.returncode == 1
    assert "uplink up0" in refused.stderr


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("typo = 1", "typo: Extra inputs are not permitted"),
        ('special_purpose_exceptions = ["10.0.0.1/8"]', "not TOML"),
        ("limits = { connections_per_peer = 0 }", "limits.connections_per_peer"),
    ],
)
def test_a_bad_file_is_refused_and_nothing_made(net: SmallNet, files: Files, more: str, words: str) -> None:
    path = files.egress(more)
    refused = egress_command("apply", path)
    assert refused.returncode == 2
    assert words in refused.stderr
    assert str(path) in refused.stderr
    assert inside(EGRESS, "nft", "list", "ruleset").stdout == ""
    assert egress_link("ams") not in inside(EGRESS, "ip", "link").stdout


def test_nothing_but_wireguard_comes_in_from_the_uplink(open_net: SmallNet) -> None:
    capture = open_net.capture(netns("ams"), netns("ams"))
    run("ip", "-n", WAN, "route", "replace", NETS["ams"][0] + ".2/32", "via", EGRESS4)
    assert not pings(WAN, NETS["ams"][0] + ".2")
    capture.end()
    assert capture.lines(f"icmp and not {NEIGHBOURLY}") == []
    assert counted("refused_forward") >= 1
