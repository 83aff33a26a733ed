"""Ways in which a perspective could answer from elsewhere than its hand-off point, and the tests that hold each closed.

`TESTS` is the list, by number; what fits no other file is tested here.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from appliance.ipc import WorkerChannel
from appliance.model.observation import Outcome
from tests.lab.wait import wait_until
from tests.system.name_services import SOCKETS, name_services
from tests.system.perspective_site import CODE, INSIDE, INTERFACE, LIMIT_S, MPICD, PERSPECTIVE, Site, as_user, ip
from tests.system.small_config import Files, netns
from tests.system.small_fixtures import egress, files, net
from tests.system.small_net import HOST, SmallNet, inside, wait_for
from tests.system.test_worker import ANSWER, ask, challenges, made, not_ready, ready, refused_because, until

pytestmark = pytest.mark.system
__all__ = ["egress", "files", "made", "net"]

_ROOT = Path(__file__).parents[2]
_TUNNELS, _WORKER, _EGRESS = (
    "tests/system/test_tunnels.py",
    "tests/system/test_worker.py",
    "tests/system/test_egress.py",
)
_KILLS, _HERE, _LINUX = "tests/e2e/test_kills.py", "tests/system/test_pitfalls.py", "tests/system/test_linux.py"
_START = "test_refuses_to_start_with_more_than_it_should_have"

TESTS: dict[tuple[int, str], tuple[tuple[str, str], ...]] = {
    (1, "a backend killed during a check: no observation, nothing on the uplink"): (
        (_KILLS, "test_a_backend_killed_during_a_check_is_no_observation_and_nothing_leaves"),
        (_TUNNELS, "test_with_a_dead_backend_nothing_leaves_and_it_comes_back"),
        (_WORKER, "test_a_check_ends_at_once_when_the_interface_goes"),
    ),
    (2, "a namespace made anew under a live worker"): (
        (_KILLS, "test_a_namespace_made_anew_under_a_live_worker"),
        (_TUNNELS, "test_a_namespace_made_anew_under_its_name_is_filled_again"),
        (_WORKER, "test_what_the_tunnel_daemon_publishes_is_followed"),
    ),
    (3, "the namespace's path missing, a plain file, or the host's own: refused"): (
        (_HERE, "test_a_plain_file_in_the_place_of_a_namespace_is_refused_and_left_alone"),
        (_HERE, "test_nothing_is_run_where_the_namespace_is_missing_or_a_plain_file"),
        (_TUNNELS, "test_the_hosts_own_namespace_is_refused"),
        (_WORKER, _START),
    ),
    (4, "a typo creates nothing"): ((_LINUX, "test_a_typo_creates_nothing"),),
    (5, "error 95 from a route is no reason to fall back to user space"): (
        ("tests/unit/tunnels/test_backend.py", "test_error_95_from_a_route_is_no_fallback"),
        ("tests/unit/tunnels/test_backend.py", "test_user_space_is_for_kernels_without"),
    ),
    (6, "a second set-up changes nothing; a crash at any step is set right"): (
        (_TUNNELS, "test_a_second_start_changes_nothing_and_no_packet_is_lost"),
        (_TUNNELS, "test_killed_at_any_moment_of_set_up_it_still_gets_there"),
        ("tests/unit/tunnels/test_plan.py", "test_broken_off_after_any_step_it_still_gets_there"),
    ),
    (7, "link down and up; a fresh handshake with the link down is not health"): (
        (_TUNNELS, "test_link_down_and_up_restores_addresses_and_routes"),
        (_HERE, "test_a_link_that_is_down_under_a_tunnel_that_is_up_is_not_ready"),
    ),
    (8, "syncconf keeps the port"): (
        (_TUNNELS, "test_a_killed_backend_is_noticed_and_replaced"),
        (_TUNNELS, "test_a_second_start_changes_nothing_and_no_packet_is_lost"),
        ("tests/unit/tunnels/test_wireguard.py", "test_the_rendered_file_always_has_a_port_and_no_absent_values"),
    ),
    (9, "duplicate AllowedIPs and shared keys are refused at configuration"): (
        ("tests/unit/test_config_rules.py", "test_what_two_perspectives_may_not_share"),
        ("tests/unit/egress/test_egress.py", "test_a_wrong_file_is_refused_with_the_key"),
        (_TUNNELS, "test_bad_key_files_refuse_to_start_and_nothing_is_made"),
    ),
    (10, "a new uplink address: recovered in under 3 s"): (
        (_TUNNELS, "test_a_new_uplink_address_costs_less_than_the_keepalive"),
    ),
    (11, "a black hole for large packets is seen"): ((_WORKER, "test_a_black_hole_for_large_packets_is_seen"),),
    (12, "a wrong exit address disables the perspective"): (
        (_WORKER, "test_an_exit_other_than_configured_disables_the_perspective"),
    ),
    (13, "false name services at the sockets of nscd and resolved are not asked"): (
        (_HERE, "test_name_services_outside_are_not_asked"),
    ),
    (14, "no inherited socket of the host's"): ((_WORKER, _START),),
    (15, "the egress refuses special-purpose, spoofed, client-to-client, and its own sshd"): (
        (_EGRESS, "test_special_purpose_destinations_are_refused"),
        (_EGRESS, "test_without_the_rule_the_special_purpose_target_would_answer"),
        (_EGRESS, "test_a_spoofed_source_is_dropped"),
        (_EGRESS, "test_one_client_does_not_reach_another"),
        (_EGRESS, "test_the_node_itself_is_closed_but_for_the_tunnel_and_the_operator"),
    ),
    (16, "a stale socket, a second instance, a name of 16 characters"): (
        (_TUNNELS, "test_a_stale_socket_is_no_obstacle"),
        (_TUNNELS, "test_a_second_daemon_is_refused"),
        (_TUNNELS, "test_a_name_of_sixteen_characters_is_refused"),
    ),
}


def test_every_pitfall_has_tests_that_are_there() -> None:
    assert [number for number, _ in TESTS] == list(range(1, 17))
    for pairs in TESTS.values():
        for file, name in pairs:
            tree = ast.parse((_ROOT / file).read_text())
            assert name in {
                node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            }, f"{file}::{name}"


def test_a_plain_file_in_the_place_of_a_namespace_is_refused_and_left_alone(
    net: SmallNet, egress: Path, files: Files
) -> None:
    path = Path(f"/run/netns/{netns('ams')}")
    path.write_text("not a namespace")
    try:
        net.start(files.appliance())
        wait_for(lambda: "is no network namespace" in net.tunnels().get("ams", {}).get("reason", ""))
        net.wait_up("fra")  # the positive control: its neighbour is made
        assert path.read_text() == "not a namespace"
        assert netns("ams") not in inside(HOST, "ip", "link").stdout
    finally:
        net.stop()
        path.unlink()


@pytest.mark.parametrize("kind", ["missing", "a plain file"])
def test_nothing_is_run_where_the_namespace_is_missing_or_a_plain_file(made: Site, kind: str) -> None:
    path = Path("/run/netns/psp-wrong")
    if kind != "missing":
        path.touch()
    try:
        worker = made.start_worker(namespace=path.name)
        assert worker.wait(LIMIT_S) != 0
        assert "mpic-perspective" not in made.worker_log
        assert not made.settings.worker_socket(CODE).exists()
    finally:
        path.unlink(missing_ok=True)


async def test_a_link_that_is_down_under_a_tunnel_that_is_up_is_not_ready(made: Site) -> None:
    made.start_resolver()
    made.start_worker()
    (made.directory / "answer").write_text(ANSWER)
    channel = WorkerChannel(made.settings.worker_socket(CODE), CODE, PERSPECTIVE)
    with as_user(MPICD):
        channel.start()
        await until(lambda: channel.connected, "the coordinator is admitted")
    try:
        await ready(channel)
        ip("-n", INSIDE, "link", "set", INTERFACE, "down")
        made.publish()  # up, as of now
        await not_ready(channel, f"interface {INTERFACE} is down")
        refused_because(await ask(channel), "perspective.tunnel_down")
        assert challenges(made) == []
    finally:
        await channel.close()


async def test_name_services_outside_are_not_asked(made: Site) -> None:
    with name_services(made.directory / "services") as services:
        made.start_resolver()
        made.start_worker(around=services.around)
        (made.directory / "answer").write_text(ANSWER)
        channel = WorkerChannel(made.settings.worker_socket(CODE), CODE, PERSPECTIVE)
        with as_user(MPICD):
            channel.start()
            await until(lambda: channel.connected, "the coordinator is admitted")
        try:
            await ready(channel)
            assert (await ask(channel)).outcome is Outcome.MATCH
        finally:
            await channel.close()
        assert services.asked == []
        # The positive control: a program that asks the C library, in the same place and as the same user, does ask them.
        asking = made.start(["getent", "hosts", "www.test"], user=PERSPECTIVE, around=services.around)
        wait_until(lambda: services.asked, LIMIT_S, "the C library asks a name service outside")
        asking.kill()
        asking.wait()
    assert set(services.asked) <= set(SOCKETS)
