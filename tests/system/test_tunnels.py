"""The tunnel daemon against a real kernel, by what is on the wire, in the namespaces and in the report."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.system.capture import NEIGHBOURLY
from tests.system.small_config import ENDPOINTS, PORTS, Files, Variant, egress_link, netns
from tests.system.small_fixtures import egress, files, net
from tests.system.small_net import (
    EGRESS,
    EGRESS4,
    EGRESS6,
    HOST,
    HOST4,
    HOST6,
    PREFIX,
    PRIMARY4,
    PRIMARY6,
    TARGET4,
    TARGET6,
    UIDS,
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

TUNNEL_PACKETS = (
    f"(udp port 51820 or udp port 51821) and ((host {HOST4} and host {EGRESS4}) or (host {HOST6} and host {EGRESS6}))"
)
REFUSALS = {"EPERM", "EACCES", "ECONNREFUSED", "EHOSTUNREACH", "TIMEOUT"}
PRIMARY_PACKETS = f"(host {PRIMARY4} or host {PRIMARY6})"


@pytest.fixture
def config(net: SmallNet, egress: Path, files: Files) -> Path:
    """Both tunnels and the primary, up."""
    path = files.appliance()
    net.start(path)
    net.wait_up("home", "ams", "fra")
    return path


def test_a_perspective_leaves_by_its_tunnel_alone(net: SmallNet, config: Path) -> None:
    capture = net.capture(HOST, "up0")
    for code in ("ams", "fra"):
        for protocol in ("tcp", "udp"):
            assert ask(netns(code), protocol, TARGET4) == EGRESS4
            assert ask(netns(code), protocol, TARGET6) == EGRESS6
    capture.end()
    assert len(capture.lines(TUNNEL_PACKETS)) >= 16
    assert capture.lines(f"not ({TUNNEL_PACKETS}) and not {NEIGHBOURLY}") == []


def test_the_namespace_holds_the_tunnel_and_nothing_else(config: Path) -> None:
    links = inside(netns("ams"), "ip", "-br", "link").stdout.split()
    assert [word for word in links if word in {"lo", netns("ams")}] == ["lo", netns("ams")]
    assert inside(netns("ams"), "ip", "-br", "addr", "show", "dev", netns("ams")).stdout.split()[2:] == [
        "10.77.0.2/32",
        "fd77::2/128",
    ]


@pytest.mark.parametrize("code", ["ams", "home"])
@pytest.mark.parametrize(
    "address", ["10.9.9.9", "192.168.1.1", "169.254.169.254", "224.0.0.1", "64:ff9b::1", "fd00::1"]
)
def test_special_purpose_networks_are_closed(config: Path, code: str, address: str) -> None:
    assert ask(netns(code), "udp", address) in {"EACCES", "EHOSTUNREACH"}


def test_the_primary_is_seen_under_its_own_address(net: SmallNet, config: Path) -> None:
    capture = net.capture(HOST, "up0")
    assert ask(netns("home"), "tcp", TARGET4) == PRIMARY4
    assert ask(netns("home"), "udp", TARGET6) == PRIMARY6
    capture.end()
    others = capture.lines(f"not ({TUNNEL_PACKETS}) and not {PRIMARY_PACKETS} and not {NEIGHBOURLY}")
    assert others == []
    assert len(capture.lines(PRIMARY_PACKETS)) >= 4


def test_with_a_dead_backend_nothing_leaves_and_it_comes_back(net: SmallNet, config: Path) -> None:
    net.stop()
    os.kill(backends()[netns("ams")], signal.SIGKILL)
    wait_for(lambda: netns("ams") not in inside(netns("ams"), "ip", "link").stdout)
    capture = net.capture(HOST, "up0")
    for address in (TARGET4, TARGET6):
        for protocol in ("tcp", "udp"):
            assert ask(netns("ams"), protocol, address) == "ENETUNREACH"
    # The positive control: the host itself could have reached the target.
    assert ask(HOST, "tcp", TARGET4) == HOST4
    assert ask(HOST, "udp", TARGET6) == HOST6
    capture.end()
    own = f"((host {HOST4} and host {TARGET4}) or (host {HOST6} and host {TARGET6})) and port 8080"
    assert len(capture.lines(own)) >= 4
    assert capture.lines(f"not ({TUNNEL_PACKETS}) and not ({own}) and not {NEIGHBOURLY}") == []
    net.start(config)
    wait_for(lambda: ask(netns("ams"), "tcp", TARGET4) == EGRESS4)
    net.wait_up("ams")


def test_a_killed_backend_is_noticed_and_replaced(net: SmallNet, config: Path) -> None:
    before = backends()[netns("ams")]
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: backends().get(netns("ams"), before) != before)
    wait_for(lambda: pings(netns("ams"), TARGET6))
    net.wait_up("ams")
    assert inside(HOST, "wg", "show", netns("ams"), "listen-port").stdout.strip() == str(PORTS["ams"])


def test_a_hung_backend_is_replaced(net: SmallNet, config: Path) -> None:
    before = backends()[netns("ams")]
    os.kill(before, signal.SIGSTOP)
    wait_for(lambda: net.tunnels()["ams"]["state"] == "down")
    wait_for(lambda: backends().get(netns("ams"), before) != before, 30)
    net.wait_up("ams")


def test_a_second_start_changes_nothing_and_no_packet_is_lost(net: SmallNet, config: Path) -> None:
    def state() -> tuple[object, ...]:
        inodes = [Path(f"/run/netns/{netns(code)}").stat().st_ino for code in ("home", "ams", "fra")]
        ports = [inside(HOST, "wg", "show", netns(code), "listen-port").stdout for code in ("ams", "fra")]
        handshakes = [inside(HOST, "wg", "show", netns(code), "latest-handshakes").stdout for code in ("ams", "fra")]
        rules = inside(HOST, "nft", "-a", "list", "ruleset").stdout
        return backends(), inodes, ports, handshakes, rules

    before = state()
    log_before = net.log.read_text()
    with_pings = ["ping", "-q", "-i", "0.05", "-c", "40", TARGET4]
    entered = ["nsenter", f"--net=/run/netns/{netns('ams')}"]
    monitor = net.follow(netns("ams"))
    stream = net.background([*entered, *with_pings])
    net.stop()
    (net.directory / "run" / "tunnels.json").unlink()
    net.start(config)
    first_report = wait_for(net.tunnels)
    assert [tunnel["state"] for tunnel in first_report.values()] == ["up"] * 3
    assert "40 received, 0% packet loss" in net.output_of(stream)
    assert state() == before
    assert net.output_of(monitor, end=True) == ""
    assert "being set right" not in net.log.read_text().removeprefix(log_before)


@pytest.mark.parametrize("after_ms", range(300, 800, 40))
def test_killed_at_any_moment_of_set_up_it_still_gets_there(
    net: SmallNet, egress: Path, files: Files, after_ms: int
) -> None:
    path = files.appliance()
    net.start(path)
    net.kill_daemon_after(after_ms / 1000)
    net.start(path)
    net.wait_up("home", "ams", "fra")
    assert ask(netns("ams"), "tcp", TARGET6) == EGRESS6
    assert sorted(backends()) == sorted([netns("ams"), netns("fra"), egress_link("ams"), egress_link("fra")])


def test_link_down_and_up_restores_addresses_and_routes(net: SmallNet, config: Path) -> None:
    run("ip", "-n", netns("ams"), "link", "set", netns("ams"), "down")
    wait_for(lambda: ask(netns("ams"), "udp", TARGET6) == EGRESS6)
    wait_for(lambda: ask(netns("ams"), "udp", TARGET4) == EGRESS4)


def test_a_namespace_made_anew_under_its_name_is_filled_again(net: SmallNet, config: Path) -> None:
    before = net.tunnels()["ams"]["netns_inode"]
    with net.holding(netns("ams")):
        run("ip", "netns", "del", netns("ams"))
        run("ip", "netns", "add", netns("ams"))
        wait_for(lambda: net.tunnels()["ams"]["netns_inode"] not in {0, before} and pings(netns("ams"), TARGET4))
    assert sorted(backends()) == sorted([netns("ams"), netns("fra"), egress_link("ams"), egress_link("fra")])


def test_a_new_uplink_address_costs_less_than_the_keepalive(net: SmallNet, config: Path) -> None:
    run("ip", "-n", HOST, "addr", "del", f"{HOST4}/24", "dev", "up0")
    run("ip", "-n", HOST, "addr", "add", "198.18.50.77/24", "dev", "up0")
    run("ip", "-n", HOST, "route", "add", "default", "via", "198.18.50.1")
    wait_for(lambda: pings(netns("ams"), TARGET4), 3)


def test_a_perspective_no_longer_configured_is_removed_if_made_here(net: SmallNet, egress: Path, files: Files) -> None:
    run("ip", "netns", "add", netns("ams"))
    net.start(files.appliance())
    net.wait_up("home", "ams", "fra")
    net.stop()
    net.start(files.appliance(Variant(codes=("ams",)), "one.toml"))
    wait_for(lambda: list(net.tunnels()) == ["home", "ams"])
    assert not Path(f"/run/netns/{netns('fra')}").exists()
    wait_for(lambda: netns("fra") not in backends())
    net.stop()
    net.down(files.appliance())
    assert Path(f"/run/netns/{netns('ams')}").exists(), "it was there before"
    assert netns("ams") not in inside(netns("ams"), "ip", "link").stdout


def test_down_leaves_nothing(net: SmallNet, config: Path) -> None:
    net.stop()
    net.down(config)
    assert {path.name for path in Path("/run/netns").glob(f"{PREFIX}-*")} == {HOST, WAN, EGRESS}
    assert sorted(backends()) == [egress_link("ams"), egress_link("fra")]
    assert inside(HOST, "nft", "list", "ruleset").stdout == ""
    assert host_links() == ["lo", "up0"]


def host_links() -> list[str]:
    lines = inside(HOST, "ip", "-o", "link").stdout.splitlines()
    return [line.split(": ")[1].split("@")[0] for line in lines]


def test_the_fence_holds_a_worker_in_the_wrong_namespace(net: SmallNet, config: Path) -> None:
    capture = net.capture(HOST, "up0")
    for user in ("perspective", "primary", "resolver", "wireguard"):
        for address in (TARGET4, TARGET6):
            for protocol in ("tcp", "udp"):
                assert ask(HOST, protocol, address, uid=UIDS[user], limit_s=0.5) in REFUSALS
    assert ask(HOST, "tcp", TARGET4, uid=UIDS["mpicd"]) == HOST4, "the positive control"
    capture.end()
    control = f"(tcp port 8080 and host {TARGET4})"
    assert capture.lines(f"not ({TUNNEL_PACKETS}) and not {control} and not {NEIGHBOURLY}") == []
    opened = f"tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn and dst host {TARGET4}"
    assert len(capture.lines(opened)) == 1
    rejected = inside(HOST, "nft", "list", "table", "inet", "mpic_fence").stdout.splitlines()
    assert [line for line in rejected if "counter packets 0" in line] == []


def test_a_worker_may_send_an_echo_request_without_privilege(config: Path) -> None:
    script = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP); print('made')"
    for uid, expected in ((UIDS["perspective"], 0), (UIDS["resolver"], 1)):
        as_user = ["setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups"]
        assert inside(netns("ams"), *as_user, "/usr/bin/python3", "-c", script, check=False).returncode == expected


def test_a_routed_veth_carries_the_primary(net: SmallNet, egress: Path, files: Files) -> None:
    for address in (PRIMARY4, PRIMARY6):
        run("ip", "-n", WAN, "route", "add", address, "via", HOST6 if ":" in address else HOST4)
    path = files.appliance(Variant(primary_link="routed-veth"))
    net.start(path)
    net.wait_up("home")
    assert ask(netns("home"), "tcp", TARGET4) == PRIMARY4
    assert ask(netns("home"), "udp", TARGET6) == PRIMARY6
    net.stop()
    net.down(path)
    assert inside(HOST, "sysctl", "-n", "net.ipv6.conf.all.forwarding").stdout.strip() == "0"


def test_an_uplink_that_is_not_there_makes_no_interface(net: SmallNet, egress: Path, files: Files) -> None:
    net.start(files.appliance(Variant(uplink="nosuch0")))
    net.wait_up("ams", "fra")
    wait_for(lambda: "nosuch0" in net.tunnels()["home"]["reason"])
    assert inside(netns("home"), "ip", "-o", "link").stdout.count("\n") == 1


def test_foreign_interfaces_disable_the_namespace_and_are_not_touched(net: SmallNet, config: Path) -> None:
    run("ip", "link", "add", "alien0", "netns", netns("ams"), "type", "veth", "peer", "name", "alien1", "netns", WAN)
    wait_for(lambda: "alien0" in net.tunnels()["ams"]["reason"])
    assert net.tunnels()["ams"]["state"] == "down"
    assert "alien0" in inside(netns("ams"), "ip", "link").stdout
    run("ip", "-n", WAN, "link", "del", "alien1")
    net.wait_up("ams")


def test_the_hosts_own_namespace_is_refused(net: SmallNet, egress: Path, files: Files) -> None:
    net.start(files.appliance(Variant(codes=("ams",), namespaces=(("ams", HOST),))))
    wait_for(lambda: "own namespace" in net.tunnels().get("ams", {}).get("reason", ""))
    assert host_links() == ["lo", "up0"]


def test_an_interface_of_that_name_at_the_host_is_left_alone(net: SmallNet, egress: Path, files: Files) -> None:
    run("ip", "-n", HOST, "tuntap", "add", "dev", netns("ams"), "mode", "tun")
    net.start(files.appliance())
    wait_for(lambda: "not made here" in net.tunnels().get("ams", {}).get("reason", ""))
    assert netns("ams") in inside(HOST, "ip", "link").stdout


def test_a_stale_socket_is_no_obstacle(net: SmallNet, egress: Path, files: Files) -> None:
    stale = Path(f"/var/run/wireguard/{netns('ams')}.sock")
    run("python3", "-c", f"import socket; socket.socket(socket.AF_UNIX).bind({str(stale)!r})")
    net.start(files.appliance())
    net.wait_up("ams")


def test_a_second_daemon_is_refused(net: SmallNet, config: Path) -> None:
    second = inside(HOST, program("mpic-tunneld"), "--config", str(config), check=False)
    assert second.returncode == 1
    assert "another mpic-tunneld" in second.stderr
    assert ask(netns("ams"), "tcp", TARGET4) == EGRESS4


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda files: (files.directory / "ams.key").chmod(0o640), "perspectives.0.wireguard.private_key_file"),
        (lambda files: os.chown(files.directory / "fra.key", 47101, 0), "perspectives.1.wireguard.private_key_file"),
        (lambda files: (files.directory / "ams.key").unlink(), "No such file"),
        (
            lambda files: (files.directory / "psk").write_text("not a key"),
            "perspectives.0.wireguard.preshared_key_file",
        ),
        (
            lambda files: (files.directory / "ams.key").write_bytes((files.directory / "fra.key").read_bytes()),
            "its own",
        ),
    ],
)
def test_bad_key_files_refuse_to_start_and_nothing_is_made(
    net: SmallNet, files: Files, spoil: object, words: str
) -> None:
    path = files.appliance()
    assert callable(spoil)
    spoil(files)
    refused = inside(HOST, program("mpic-tunneld"), "--config", str(path), check=False)
    assert refused.returncode == 2
    assert words in refused.stderr
    assert str(path) in refused.stderr
    assert not Path(f"/run/netns/{netns('ams')}").exists()


def test_a_name_of_sixteen_characters_is_refused(net: SmallNet, files: Files) -> None:
    path = files.appliance(Variant(interfaces=(("ams", "abcdefghijklmnop"),)))
    refused = inside(HOST, program("mpic-tunneld"), "--config", str(path), check=False)
    assert refused.returncode == 2
    assert "perspectives.0.wireguard.interface" in refused.stderr


def test_a_dead_egress_is_told_and_its_return_found(net: SmallNet, files: Files) -> None:
    net.start(files.appliance())
    wait_for(lambda: net.tunnels().get("ams", {}).get("reason") == "no handshake so far")
    inside(EGRESS, program("mpic-egress"), "apply", "--config", str(files.egress()))
    net.wait_up("ams", "fra")
    assert net.tunnels()["ams"]["endpoint"] == ENDPOINTS["ams"]
    assert net.tunnels()["fra"]["endpoint"] == ENDPOINTS["fra"]


def test_directories_have_the_owners_that_the_processes_need(net: SmallNet, files: Files) -> None:
    path = files.appliance()
    for _ in range(2):
        inside(HOST, program("mpic-tunneld"), "--config", str(path), "--prepare-directories")
    expected = {
        # mpicd makes its sockets here, and may not replace what is root's: sticky.
        "run": (0, UIDS["mpicd"], 0o1775),
        "run/tunneld": (0, 0, 0o700),
        "run/workers": (0, 0, 0o755),
        "run/workers/ams": (UIDS["perspective"], UIDS["mpicd"], 0o2750),
        "run/workers/home": (UIDS["primary"], UIDS["mpicd"], 0o2750),
        "state": (0, 0, 0o755),
        "state/evidence": (UIDS["mpicd"], 47107, 0o2750),
        "state/resolvers/fra": (UIDS["resolver"], UIDS["resolver"], 0o750),
    }
    for name, (uid, gid, mode) in expected.items():
        found = (files.directory / name).stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (uid, gid, mode), name
    assert not Path(f"/run/netns/{netns('ams')}").exists()
