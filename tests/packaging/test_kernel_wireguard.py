"""WireGuard of Debian's own kernel, which production uses: both packages, in an emulated machine that boots it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.packaging.kernel import image, machine, plan

# Some two minutes where nobody else computes.
_LIMIT_S = 1500.0
_TCP, _UDP = "6", "17"
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2100)]
Told = Mapping[str, dict[str, Any]]


@pytest.fixture(scope="module")
def told(debs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What the machine told, by step."""
    if os.geteuid() != 0:
        pytest.skip("needs root: a Debian tree is made")
    directory = tmp_path_factory.mktemp("machine")
    kernel, initramfs = image.build(directory, debs.values(), plan.files())
    try:
        steps = machine.run(kernel, initramfs, directory, _LIMIT_S)
    finally:
        initramfs.unlink()
    return {one["step"]: one for one in steps}


def test_it_is_debians_kernel_and_nothing_else_could_make_a_tunnel(told: Told) -> None:
    assert told["kernel"]["release"].endswith("-amd64")
    assert told["kernel"]["wireguard_go"] is None


def test_the_egress_nodes_package_sets_it_up(told: Told) -> None:
    egress = told["egress"]
    assert egress["again"].strip() == "nothing to change"
    assert "all as configured" in egress["check"]
    assert egress["status"]["problems"] == []
    assert [(one["interface"], one["backend"]) for one in egress["status"]["interfaces"]] == [("wg-mpic", "kernel")]


def test_the_tunnel_daemon_brings_it_up_in_the_kernel(told: Told) -> None:
    for step in ("ready", "again"):
        tunnel = told[step]["tunnel"]
        assert (tunnel["backend"], tunnel["state"], tunnel["reason"]) == ("kernel", "up", "")
        assert tunnel["latest_handshake_s"] > 0
        assert told[step]["worker"]["status"]["netns_inode"] == tunnel["netns_inode"]
    assert "wireguard" in told["ready"]["link"]


def test_the_worker_proves_its_confinement_and_its_exit(told: Told) -> None:
    status = told["ready"]["worker"]["status"]
    assert (status["ready"], status["confined"], status["path_up"]) == (True, True, True)
    assert status["egress_addresses"] == [plan.EGRESS.v4(plan.NODE), plan.EGRESS.v6(plan.NODE)]
    assert told["confined"]["worker_exit"] == 78
    assert "runs in network namespace" in told["confined"]["worker_said"]


def test_the_egress_nodes_word_comes_through_the_tunnel(told: Told) -> None:
    said = told["ready"]["worker"]["status"]["egress"]
    assert said["kernel"] == told["kernel"]["release"]
    assert said["problems"] == []
    assert (said["tunnel"]["interface"], said["tunnel"]["backend"]) == ("wg-mpic", "kernel")
    assert said["clock_synchronised"] is False, "the clock could be asked about, and nothing holds it"


def test_checks_pass_through_it_and_leave_from_the_egress_node(told: Told) -> None:
    for method in ("caa", "http"):
        observation = told["checked"][method]["observation"]
        assert (observation["outcome"], observation["perspective"]) == ("match", plan.CODE)
    seen = told["checked"]["requests"]
    assert {request["path"] for request in seen} == {f"/.well-known/acme-challenge/{plan.TOKEN}"}
    assert {request["source"] for request in seen} <= {plan.EGRESS.v4(plan.NODE), plan.EGRESS.v6(plan.NODE)}
    assert told["checked"]["leaked"] == []


def test_the_workers_user_reaches_the_internet_by_its_tunnel_alone(told: Told) -> None:
    reached = told["confined"]["reached"]
    assert all("reached" in said for said in reached["namespace"])
    assert not any("reached" in said for said in reached["host"])


def test_no_packet_of_a_check_takes_another_way_when_the_tunnel_is_gone(told: Told) -> None:
    down = told["down"]
    assert all("reached" in said for said in down["by_host"]), "the host could have reached the target"
    seen = {(line.split()[0], line.split()[4]) for line in down["control"]}
    web = (plan.SERVERS.v4(plan.WEB), plan.SERVERS.v6(plan.WEB))
    assert {(protocol, address) for protocol in (_TCP, _UDP) for address in web} <= seen, "and the capture sees it"
    for asked in down["checks"]:
        assert asked["observation"]["outcome"] == "error"
        assert [error["code"] for error in asked["observation"]["errors"]] == ["perspective.tunnel_down"]
    assert not any("reached" in said for said in down["inside"])
    assert down["requests"] == []
    assert down["leaked"] == []


def test_the_tunnel_comes_back_and_checks_pass_again(told: Told) -> None:
    assert told["again"]["check"]["observation"]["outcome"] == "match"


def test_the_machine_is_well(told: Told) -> None:
    assert told["system"]["failed"] == ""
    assert told["system"]["state"] in {"running", "starting"}


def test_the_units_that_read_the_clock_may(told: Told) -> None:
    said = told["clock"]["said"]
    assert said["unconfined"] != "-1"
    assert said == dict.fromkeys(said, said["unconfined"])
