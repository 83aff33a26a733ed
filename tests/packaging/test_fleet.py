"""From bare Debian machines to a corroborated check by the playbooks alone, over ssh; and the days after.

The tests are one story, in this order; one that runs alone has the machines set up first.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Lab, processes, state, topology, web
from tests.lab.places import ECHO_PORT
from tests.lab.wait import wait_until
from tests.packaging import control
from tests.packaging.control import ANSIBLE, Played
from tests.packaging.echoes import Echoes
from tests.packaging.fleet import APPLIANCE, ECHO_KEY, VRP_FILE, Fleet
from tests.packaging.repository import newer
from tests.packaging.stream import Stream

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
Hosts = dict[str, dict[str, Any]]
# `mpic-egress.timer` looks every minute.
_REPAIR_S = 180.0
_NOBODY = str(topology.EGRESSES[-1].gateway.v4 + 76)
"""An address of the last egress node's network that no machine has."""


@pytest.fixture(scope="module")
def fleet(debs: dict[str, Path]) -> Iterator[Fleet]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and containers")
    with Lab(), Fleet(debs.values()) as running:
        yield running


@pytest.fixture
def installed(fleet: Fleet) -> Fleet:
    if not fleet.installed:
        _install(fleet)
    return fleet


def _install(fleet: Fleet) -> Played:
    played = _done(fleet.play("site"))
    fleet.installed = True
    return played


def _no_coordinate(hosts: Hosts) -> None:
    del hosts["syd"]["egress_place"]["longitude"]


def _too_near(hosts: Hosts) -> None:
    hosts["syd"]["egress_place"] = {"city": "Kuala Lumpur", "country": "MY", "latitude": 3.139, "longitude": 101.687}


def _no_node(hosts: Hosts) -> None:
    hosts["syd"]["ansible_host"] = _NOBODY


def _no_endpoint(hosts: Hosts) -> None:
    hosts["syd"]["egress_endpoint"] = _NOBODY


def _no_echo(hosts: Hosts) -> None:
    hosts["syd"]["egress_echo_address"] = _NOBODY


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (_no_coordinate, "syd: egress_place.longitude: must be a number of degrees of at most 180"),
        (_too_near, "sin: 309 km from syd; BR 3.2.2.9 asks for at least 500 km"),
        (_no_node, f"syd: does not answer ssh at {_NOBODY}"),
        (_no_endpoint, f"syd: nothing comes back by UDP from its endpoint {_NOBODY} port 51820"),
        (_no_echo, f"syd: nothing comes back by UDP from its mpic-echo at {_NOBODY} port {ECHO_PORT}"),
    ],
)
def test_a_wrong_variable_stops_it_before_any_change(fleet: Fleet, spoil: Callable[[Hosts], None], rule: str) -> None:
    inventory = fleet.inventory()
    spoil(inventory["mpic"]["children"]["mpic_egresses"]["hosts"])
    _is_stopped(fleet, fleet.control.play("site", inventory), rule)


def test_a_cloned_machines_key_stops_it_before_any_change(fleet: Fleet) -> None:
    twins = [fleet.nodes[code] for code in ("ams", "nyc")]
    key = twins[0].run("wg", "genkey").encode()
    for twin in twins:
        twin.write("/etc/mpic/keys/egress.key", key, 0o600)
    try:
        rule = "ams: has the same key as nyc; each end of each tunnel needs its own"
        played = fleet.play("site")
    finally:
        for twin in twins:
            twin.run("rm", "-r", "/etc/mpic")
    _is_stopped(fleet, played, rule)


def test_site_makes_it_all_from_zero(fleet: Fleet) -> None:
    played = _install(fleet)
    assert set(played.counts) == {"localhost", *fleet.nodes}
    assert fleet.check() is not None, fleet.box.failures()
    fleet.wait_for_quorum("6/6")
    for name, node in fleet.nodes.items():
        assert node.state() == "running", f"{name}: {node.failures()}"


def test_every_place_is_proven_by_echoes_that_the_internet_sees(installed: Fleet) -> None:
    assert len(set(installed.echo_keys().values())) == len(installed.codes)
    _each_asks(installed, installed.codes)
    installed.wait_for_places(installed.codes)
    for code in (topology.PRIMARY.code, *installed.codes):
        told = json.loads(installed.box.run("mpicctl", "proof", code, "--json"))
        (place,) = (proof for proof in told["proofs"] if proof["kind"] == "place")
        assert (told["withheld"], place["result"]) == (None, "valid"), told
    for code in installed.codes:
        assert installed.nodes[code].run("stat", "-c", "%U %a", ECHO_KEY).split() == ["mpic-echo", "600"]


def test_vrps_are_fetched_again_and_again_from_where_the_inventory_says(installed: Fleet) -> None:
    box = installed.box
    assert box.run("cat", VRP_FILE) == (state.directory("apt") / "vrps.json").read_text()
    asked = [(one.source, one.status) for one in web.requests("apt") if one.path == "/vrps.json"]
    assert (str(topology.PRIMARY.host_address.v4), 200) in asked
    assert _feed_timer(installed) == ("active", "mpic.target")
    vrps = json.loads(box.call("mpicctl", "rov", "report", "--json").stdout)["vrps"]
    assert (vrps["problem"], vrps["file"]) == ("", VRP_FILE)


def test_what_cannot_be_fetched_leaves_all_as_it_was(installed: Fleet) -> None:
    before = installed.fingerprints()
    inventory = installed.inventory()
    url = f"https://{control.ADDRESS.v4}/beacons.json"
    inventory["mpic"]["children"]["mpic_appliances"]["hosts"][APPLIANCE]["appliance_beacons_url"] = url
    # Nobody is to be removed: it does no more than configure the appliance.
    played = installed.control.play("remove-egress", inventory)
    assert played.status != 0
    assert f"/var/lib/mpic-feed/beacons.json from {url}: " in played.output
    assert installed.fingerprints() == before
    assert installed.box.run("systemctl", "reset-failed", "mpic-feed.service") == ""


def test_every_egress_node_says_through_its_tunnel_that_it_is_well(installed: Fleet) -> None:
    def all_well() -> bool:
        status = json.loads(installed.nodes[APPLIANCE].run("mpicctl", "status", "--json", check=False))
        said = [one["worker"] and one["worker"]["egress"] for one in status["perspectives"]]
        return all(one is not None and one["problems"] == [] for one in said)

    wait_until(all_well, 180, "mpicctl status has the word of every egress node", 1.0)
    shown = installed.nodes[APPLIANCE].run("mpicctl", "status")
    assert shown.count("egress node: mpic-egress ") == len(installed.nodes) - 1, shown


def test_a_second_run_changes_nothing(installed: Fleet) -> None:
    played = _done(installed.play("site"))
    assert {name: counts["changed"] for name, counts in played.counts.items()} == dict.fromkeys(played.counts, 0)


def test_check_and_diff_show_a_change_and_make_none(installed: Fleet) -> None:
    before = installed.fingerprints()
    variables = {"egress_connections_per_peer": 4096, "egress_echo": False, "appliance_vrp_url": ""}
    played = _done(installed.play("site", "--check", "--diff", variables=variables))
    assert "-connections_per_peer = 8192" in played.output
    assert "+connections_per_peer = 4096" in played.output
    for gone in ("[echo]", "[perspectives.echo]", "[rov.feed]"):
        assert f"\n-{gone}\n" in played.output, gone
    assert {name for name, counts in played.counts.items() if counts["changed"]} == set(installed.nodes)
    assert installed.fingerprints() == before


def test_nodes_are_hardened(installed: Fleet) -> None:
    windows = []
    for node in installed.nodes.values():
        sshd = node.run("sshd", "-T").splitlines()
        assert {"passwordauthentication no", "kbdinteractiveauthentication no"} <= set(sshd)
        apt = node.run("apt-config", "dump")
        assert 'APT::Periodic::Unattended-Upgrade "1";' in apt
        windows += [line for line in apt.splitlines() if line.startswith("Unattended-Upgrade::Automatic-Reboot-Time")]
    assert len(windows) == len(set(windows)) == len(installed.nodes)
    for one in (topology.PRIMARY.host_address, topology.EGRESSES[0].address):
        knock = f"exec 3<>/dev/tcp/{one.v4}/22"
        assert processes.run("nordlys-lab", ["timeout", "5", "bash", "-c", knock]).returncode == 0
        assert processes.run("quay-lab", ["timeout", "2", "bash", "-c", knock]).returncode == 124, "ssh is open to all"


def test_a_key_is_rotated_without_a_lost_check(installed: Fleet) -> None:
    before = _public_key(installed, "ams")
    with Stream(installed.box) as stream:
        _done(installed.play("rotate-keys", variables={"code": "ams"}))
        stream.wait_for_more(3)
    assert stream.unanswered == []
    assert stream.refused() == []
    assert "5/5" in stream.quorums(), "while it was drained, it was in no quorum"
    after = _public_key(installed, "ams")
    assert before != after
    told = installed.nodes["ams"].run("wg", "show", "wg-mpic", "peers").split()
    assert told == [after]
    installed.wait_for_places(installed.codes)
    _each_asks(installed, ["nyc"])


def test_an_upgrade_keeps_the_quorum(installed: Fleet, debs: dict[str, Path]) -> None:
    version = "99.0.0"
    keys = installed.echo_keys()
    installed.repository.publish([newer(package, version, state.directory("newer")) for package in debs.values()])
    coordinator = installed.box.main_pid("mpicd.service")
    with Stream(installed.box) as stream:
        played = _done(installed.play("upgrade"))
        stream.wait_for_more(3)
    for name, node in installed.nodes.items():
        package = "mpic-appliance" if name == APPLIANCE else "mpic-egress"
        assert node.run("dpkg-query", "--show", "--showformat=${Version}", package) == version
    assert installed.box.main_pid("mpicd.service") != coordinator
    # Only when it was the appliance's own turn may nobody have answered, or too few perspectives.
    until_s = played.begun_s["Upgrade the appliances"]
    gaps = [*stream.unanswered, *(asked.at_s for asked in stream.asked if not asked.corroborated)]
    assert [at_s for at_s in gaps if at_s < until_s] == []
    assert any(asked.at_s < until_s for asked in stream.asked)
    installed.wait_for_quorum("6/6")
    installed.wait_for_places(installed.codes)
    assert installed.echo_keys() == keys


def test_an_egress_node_is_removed_and_added(installed: Fleet) -> None:
    inventory = installed.inventory()
    groups = inventory["mpic"]["children"]
    groups["mpic_retired"]["hosts"]["syd"] = groups["mpic_egresses"]["hosts"].pop("syd")
    groups["mpic_appliances"]["hosts"][APPLIANCE]["appliance_vrp_url"] = ""
    before = installed.echo_keys()
    left = [code for code in installed.codes if code != "syd"]
    _done(installed.control.play("remove-egress", inventory))
    installed.wait_for_quorum("5/5")
    installed.wait_for_places(left, left)
    with Echoes(before) as echoes:
        wait_until(lambda: {asker for asker, _ in echoes.answered()} >= set(left), 60, "all have asked", 1.0)
    assert "syd" not in {code for pair in echoes.asked() for code in pair}
    assert _feed_timer(installed) == ("inactive", "")
    assert "syd" not in installed.box.run("sh", "-c", "ip netns list; ls /etc/mpic/keys; systemctl list-units 'mpic*'")
    gone = installed.nodes["syd"]
    for path in ("/etc/mpic", "/etc/default/mpic-echo", ECHO_KEY):
        assert gone.call("test", "-e", path).returncode == 1, path
    assert "mpic" not in gone.run("nft", "list", "tables")
    assert installed.box.state() == "running", installed.box.failures()
    # One that comes, and one that is to be an anchor no longer.
    inventory = installed.inventory()
    inventory["mpic"]["children"]["mpic_egresses"]["hosts"]["nyc"]["egress_echo"] = False
    _done(installed.control.play("add-egress", inventory))
    installed.wait_for_quorum("6/6")
    assert installed.echo_keys()["syd"] != before["syd"]
    _each_asks(installed, ["syd"])
    installed.wait_for_places([code for code in installed.codes if code != "nyc"])
    assert _silent(["nyc", "syd"]) == ["nyc"]
    assert str(ECHO_PORT) not in installed.nodes["nyc"].run("nft", "list", "table", "inet", "mpic_egress")
    assert _feed_timer(installed) == ("active", "mpic.target")


def test_a_dead_tunnel_and_a_rebooted_node_come_back(installed: Fleet) -> None:
    broken, rebooting = installed.nodes["gru"], installed.nodes["sin"]
    backend = broken.run("pidof", "wireguard-go")
    broken.run("kill", "-KILL", *backend.split())
    wait_until(lambda: broken.call("pidof", "wireguard-go").returncode == 0, _REPAIR_S, "the timer repairs it", 1.0)
    installed.wait_for_quorum("6/6")
    leader = rebooting.leader
    with Stream(installed.box) as stream:
        rebooting.call("systemctl", "reboot")
        rebooting.wait_until_booted(leader)
        installed.wait_for_quorum("6/6")
    assert stream.refused() == []
    assert rebooting.state() == "running", rebooting.failures()
    rebooting.run("systemctl", "is-active", "mpic-echo.service")


def _done(played: Played) -> Played:
    assert played.status == 0, played.output[-4000:]
    return played


def _is_stopped(fleet: Fleet, played: Played, rule: str) -> None:
    assert played.status != 0
    assert rule in played.output
    assert played.total("changed") == 0
    for name, node in fleet.nodes.items():
        assert node.call("test", "-e", "/etc/mpic").returncode == 1, name
        assert node.call("test", "-e", "/etc/apt/sources.list.d/mpic.sources").returncode == 1, name


def _each_asks(fleet: Fleet, codes: list[str]) -> None:
    """Returns once the Internet saw every other perspective ask the mpic-echo of these nodes, and each sign it."""
    askers = (topology.PRIMARY.code, *fleet.codes)
    every = {(asker, code) for asker in askers for code in codes if asker != code}
    keys = fleet.echo_keys()
    with Echoes({code: keys[code] for code in codes}) as echoes:
        wait_until(lambda: echoes.answered() == every, 60, "each asks every other node, and has it signed", 1.0)


def _silent(codes: list[str]) -> list[str]:
    """Those whose mpic-echo does not answer the appliance's machine."""
    addresses = {egress.code: str(egress.address.v4) for egress in topology.EGRESSES}
    words = [word for code in codes for word in (code, addresses[code], str(ECHO_PORT), "echo")]
    argv = ["python3", str(ANSIBLE / "playbooks" / "files" / "endpoint.py"), "ask", *words]
    told = processes.run(topology.PRIMARY.namespace, argv, check=True).stdout
    return [line.partition(":")[0] for line in told.splitlines()]


def _feed_timer(fleet: Fleet) -> tuple[str, ...]:
    """Whether the timer of mpic-feed is active, and what wants it at boot."""
    told = (
        fleet.box.run("systemctl", "show", f"--property={name}", "--value", "mpic-feed.timer").strip()
        for name in ("ActiveState", "WantedBy")
    )
    return tuple(told)


def _public_key(fleet: Fleet, code: str) -> str:
    return fleet.box.run("wg", "show", f"wg-{code}", "public-key").strip()
