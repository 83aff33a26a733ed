"""Each egress gets the verdict that its topology deserves, whatever is made of its path to fool the measurement."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.asking import KEY_AUTHORIZATION, TOKEN, corroborating, decide, http_01
from tests.e2e.rov import (
    INVALID,
    SETTINGS,
    both,
    falls,
    family,
    in_force,
    measure,
    report,
    restart,
    rises,
    ruleset,
    says,
    validating,
    why,
)
from tests.lab import Lab, rpki, topology, wait_until
from tests.lab.appliance import Appliance

pytestmark = pytest.mark.e2e

# ams, syd: behind ROV alone. nyc: none of its own, behind a transit that validates. sin: validates, behind transits that do
# not. jnb: validates, but keeps a default route. gru and the primary: none.
DESERVED = {
    **both("ams", "FILTERING"),
    **both("nyc", "FILTERING"),
    **both("sin", "PARTIAL"),
    **both("gru", "NOT_FILTERING"),
    **both("jnb", "NOT_FILTERING"),
    **both("syd", "FILTERING"),
    **both("zrh", "NOT_FILTERING"),
}
EVERYBODY_V4 = "type filter hook forward priority 0; ip daddr {{ {v4} }} {verdict}; ip6 daddr {{ {v6} }} {verdict};"


@pytest.fixture(scope="module", autouse=True)
def forgotten(appliance: Appliance) -> Iterator[None]:
    """Other tests know nothing of verdicts."""
    yield
    restart(appliance, forget=True, **SETTINGS)


@pytest.fixture(autouse=True)
def unmeasured(appliance: Appliance) -> None:
    """Every test begins without verdicts, with the lab's own settings."""
    restart(appliance, forget=True, **SETTINGS)


@pytest.fixture
def roas(lab: Lab) -> Iterator[None]:
    """Whatever a test publishes, the topology's ROAs are back after it, and so are the routes that follow from them."""
    before = [lab.who_answers(address) for address in INVALID.values()]
    yield
    rpki.publish(topology.roas())
    wait_until(
        lambda: [lab.who_answers(address) for address in INVALID.values()] == before, 30, "routes follow the ROAs"
    )


def invalid_addresses(version: int) -> str:
    return ", ".join(str(address.v4 if version == 4 else address.v6) for address in INVALID.values())


def on_invalid(verdict: str) -> str:
    return EVERYBODY_V4.format(v4=invalid_addresses(4), v6=invalid_addresses(6), verdict=verdict)


@pytest.mark.parametrize("run", range(3))
def test_every_egress_gets_the_verdict_its_topology_deserves(appliance: Appliance, run: int) -> None:
    assert measure(appliance, *appliance.codes) == DESERVED, why(*appliance.codes)
    for code in ("ams", "nyc", "syd"):
        for version in (4, 6):
            graded = family(appliance, code, version)["grade"]
            assert (graded["strong"], graded["n"], graded["p_value_ppm"], graded["bound_ppm"]) == (True, 10, 6, 258866)
    own = {route["state"] for one in report(appliance)["perspectives"] for route in one["own_routes"]}
    assert own == {"valid"}


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("run", range(20))
def test_every_egress_gets_the_verdict_its_topology_deserves_each_time(appliance: Appliance, run: int) -> None:
    assert measure(appliance, *appliance.codes) == DESERVED


def test_a_network_that_validates_ipv4_alone_is_told_apart(lab: Lab, appliance: Appliance) -> None:
    with validating(lab, "paulista", v4=True, v6=False, ends={"gru": (None, "alpha-lab")}):
        found = measure(appliance, "gru")
    assert found == {("gru", 4): "FILTERING", ("gru", 6): "NOT_FILTERING"}
    standing = next(one for one in report(appliance)["perspectives"] if one["perspective"] == "gru")
    assert standing["verdict"] == "NOT_FILTERING"


def test_a_provider_that_null_routes_the_best_known_beacon_does_not_pass(lab: Lab, appliance: Appliance) -> None:
    routes = [f"route add blackhole {one}" for one in INVALID["alpha"]]
    for route in routes:
        lab.run("paulista-lab", ["ip", *route.split()], check=True)
    try:
        found = measure(appliance, "gru")
    finally:
        for route in routes:
            lab.run("paulista-lab", ["ip", *route.replace("add", "del").split()], check=True)
    assert found == both("gru", "PARTIAL")
    assert says(appliance, "gru", 4) == {"alpha": "blocked", "beta": "reached", "cover": "exposed"}


def test_a_dead_beacon_is_dead_not_filtered(lab: Lab, appliance: Appliance) -> None:
    address = INVALID["alpha"]
    for one, length in ((address.v4, 32), (address.v6, 128)):
        lab.run("alpha-lab", ["ip", "addr", "del", f"{one}/{length}", "dev", "lo"], check=True)
    try:
        found = measure(appliance, "ams", "gru")
        beacons = {one["name"]: one["dead"] for one in report(appliance)["beacons"]}
    finally:
        for one, length in ((address.v4, 32), (address.v6, 128)):
            lab.run("alpha-lab", ["ip", "addr", "add", f"{one}/{length}", "dev", "lo"], check=True)
    assert found[("ams", 4)] == found[("ams", 6)] == "INCONCLUSIVE"
    assert says(appliance, "ams", 4) == {"alpha": "undecided", "beta": "blocked", "cover": "covered"}
    assert beacons == {"alpha": [4, 6], "beta": [], "cover": []}


def test_a_reset_connection_is_ambiguous(lab: Lab, appliance: Appliance) -> None:
    with ruleset(lab, "paulista-lab", on_invalid("tcp dport 443 reject with tcp reset")):
        found = measure(appliance, "gru")
    assert found == both("gru", "INCONCLUSIVE")
    assert family(appliance, "gru", 6)["grade"]["beacons"][0]["ambiguous"] == 10


def test_a_captive_portal_is_not_filtering(lab: Lab, appliance: Appliance) -> None:
    portal = topology.ANCHORS[1].address
    chain = (
        "type nat hook prerouting priority dstnat; "
        f'iifname "lan0" ip daddr 198.18.40.0/21 tcp dport 443 dnat ip to {portal.v4}; '
        f'iifname "lan0" ip6 daddr 2001:db8:40::/42 tcp dport 443 dnat ip6 to {portal.v6};'
    )
    with ruleset(lab, "paulista-lab", chain):
        found = measure(appliance, "gru")
    assert found == both("gru", "INCONCLUSIVE")


def test_silence_everywhere_is_not_filtering(appliance: Appliance) -> None:
    appliance.kill_egress("syd")
    try:
        found = measure(appliance, "syd")
    finally:
        appliance.apply_egress("syd")
    assert found == both("syd", "INCONCLUSIVE")


@pytest.mark.timeout(900)
def test_loss_of_thirty_percent_takes_more_rounds_and_changes_no_verdict(lab: Lab, appliance: Appliance) -> None:
    """Each packet is lost with 30 %, either way. In 3.5 s a connection has three tries, of which one succeeds with 87 %: so
    three of four rounds count, and enough of them give each path the verdict of its topology; until then it has none."""
    restart(appliance, valid_limit_s="3.5", invalid_limit_s="3.5")
    measure(appliance, "zrh", rounds=1)  # it reaches every beacon, and is asked where one is unreachable
    lossy = "type filter hook forward priority 0; numgen random mod 100 < 30 drop;"
    with ruleset(lab, "syd-lab", lossy):
        rises(appliance, "syd")
    for version in (4, 6):
        assert says(appliance, "syd", version) | {"cover": ""} == {"alpha": "blocked", "beta": "blocked", "cover": ""}
        assert {change["verdict"] for change in family(appliance, "syd", version)["history"]} == {"FILTERING"}
    with ruleset(lab, "gru-lab", lossy):
        wait_until(
            lambda: measure(appliance, "gru", rounds=1) == both("gru", "NOT_FILTERING"), 300, "gru is NOT_FILTERING"
        )
    for version in (4, 6):
        assert {change["verdict"] for change in family(appliance, "gru", version)["history"]} == {"NOT_FILTERING"}


@pytest.mark.usefixtures("roas")
def test_stale_vrps_are_inconclusive(appliance: Appliance) -> None:
    assert measure(appliance, "ams") == both("ams", "FILTERING")
    rpki.write_vrps(topology.roas(), age_s=86400)
    assert measure(appliance, "ams", rounds=1) == both("ams", "INCONCLUSIVE")
    assert report(appliance)["vrps"]["problem"].endswith(" s old")


@pytest.mark.usefixtures("roas")
def test_a_roa_flip_downgrades_within_one_round(appliance: Appliance) -> None:
    assert measure(appliance, "ams") == both("ams", "FILTERING")
    rpki.publish([(asn, prefix) for asn, prefix in topology.roas() if asn != 0])
    assert measure(appliance, "ams", rounds=1) == both("ams", "INCONCLUSIVE")
    assert says(appliance, "ams", 6)["alpha"] == "roa"


def test_an_upstream_change_downgrades_within_one_round_and_takes_a_full_window_back(
    lab: Lab, appliance: Appliance
) -> None:
    assert lab.who_answers(INVALID["alpha"])["nyc"] == (None, None), "the network is as the topology says"
    rises(appliance, "nyc")
    with validating(lab, "liberty", v4=False, v6=False, ends={"nyc": ("alpha-lab", "alpha-lab")}):
        falls(appliance, "nyc")
        assert measure(appliance, "nyc") == both("nyc", "NOT_FILTERING"), family(appliance, "nyc", 4)
    assert rises(appliance, "nyc") >= 10
    for version in (4, 6):
        changes = [change["verdict"] for change in family(appliance, "nyc", version)["history"]]
        assert [at for at, verdict in enumerate(changes) if verdict == "FILTERING"] == [0, len(changes) - 1]
        assert len(changes) > 2
        assert all(change["seq"] is not None for change in family(appliance, "nyc", version)["history"])


def test_with_require_a_hijack_on_an_invalid_route_is_not_corroborated_by_who_does_not_filter(
    lab: Lab, appliance: Appliance
) -> None:
    measure(appliance, *appliance.codes)
    captured = topology.HIJACKS["sub-prefix"].captures - {topology.PRIMARY.code}
    lab.set_token("honest.example", TOKEN, KEY_AUTHORIZATION, server="mallory")
    lab.hijack("sub-prefix")
    warned = decide(appliance, http_01("honest.example"))
    assert corroborating(warned) == captured
    assert {line.split(":")[0] for line in warned["warnings"] if "RPKI" in line} == captured
    filtering = {code for code in appliance.codes if {DESERVED[code, version] for version in (4, 6)} == {"FILTERING"}}
    restart(appliance, ready=filtering | {topology.PRIMARY.code}, policy='"require"')
    assert appliance.ask("GET", "/readyz").status_code == 503
    refused = decide(appliance, http_01("honest.example"))
    lab.clear_token("honest.example", TOKEN, server="mallory")
    assert corroborating(refused) == set()
    rov = {part["perspective_code"]: part["rov"] for part in refused["perspectives"]}
    assert rov == {code: DESERVED[code, 4] for code in rov}
    for part in refused["perspectives"]:
        kinds = {error["error_type"] for error in part["check_response"]["errors"]}
        assert ("perspective:withheld" in kinds) is (part["perspective_code"] in captured)
    restart(appliance, policy='"warn"')


def test_the_schedule_measures_everyone_by_itself(appliance: Appliance) -> None:
    restart(appliance, schedule="true", interval_s="1.0")
    wait_until(lambda: in_force(appliance) == DESERVED, 120, "every verdict", 0.5)
    restart(appliance, schedule="false")
    assert in_force(appliance) == DESERVED


def mpicctl(appliance: Appliance, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [str(Path(sys.executable).parent / "mpicctl"), "--config", str(appliance.config), "rov", *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)


def test_mpicctl_measures_shows_and_attests(appliance: Appliance) -> None:
    assert mpicctl(appliance, "beacons").returncode == 1, "none was seen to work yet"
    done = mpicctl(appliance, "run", "ams")
    assert (done.returncode, "FILTERING (strong)" in done.stdout) == (0, True), (done.stdout, why("ams"))
    assert mpicctl(appliance, "run", "gru", "--rounds", "1").returncode == 1
    beacons = mpicctl(appliance, "beacons")
    assert (beacons.returncode, beacons.stdout.count(" by ")) == (0, 6), beacons.stdout
    shown = mpicctl(appliance, "show", "ams")
    assert shown.returncode == 0
    assert "AS64503" in shown.stdout
    text, page = mpicctl(appliance, "report"), mpicctl(appliance, "report", "--format", "html")
    assert text.returncode == page.returncode == 1
    assert "Route origin validation on the paths" in text.stdout
    assert page.stdout.startswith("<!doctype html>")
    assert "<script" not in page.stdout
    assert mpicctl(appliance, "show", "nobody").returncode == 2
    metrics = appliance.ask("GET", "/metrics", operator=True).text
    assert 'mpic_rov_verdict{perspective="ams",family="ipv4",verdict="FILTERING"} 1' in metrics
