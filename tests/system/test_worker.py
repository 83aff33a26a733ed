"""The worker as a process: confined it answers; with anything more than it should have it refuses; cut off it says so."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from appliance.ipc import WorkerChannel
from appliance.linux.netns import inode_of, path_of
from appliance.model.check import AcmeHttp01Check, CheckRequest
from appliance.model.identifier import Identifier, IdentifierType
from appliance.model.observation import Fault, Observation, Outcome
from appliance.model.tunnel import TunnelState
from appliance.perspective.resolver import resolver_paths
from tests.lab.certificates import Authority
from tests.lab.wait import wait_until
from tests.system.perspective_site import (
    ANCHOR,
    CA_FILE,
    CODE,
    INSIDE,
    INTERFACE,
    LIMIT_S,
    MPICD,
    OUTSIDE,
    OWN,
    PERSPECTIVE,
    WEB,
    Site,
    as_user,
    far,
    ip,
    perspective,
    site,
)

pytestmark = pytest.mark.system

TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
ANSWER = TOKEN + ".9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
EXIT_RESTART, EXIT_REFUSED = 75, 78


@pytest.fixture
def made() -> Iterator[Site]:
    with site() as made:
        yield made


def request(number: int = 1) -> CheckRequest:
    identifier = Identifier(IdentifierType.DNS, "www.test", wildcard=False, requested="www.test")
    return CheckRequest(f"r{number}", CODE, identifier, AcmeHttp01Check(TOKEN, ANSWER), deadline_ms=8000)


async def until(condition: Callable[[], object], what: str, state: Callable[[], object] = lambda: "") -> None:
    deadline = asyncio.get_running_loop().time() + LIMIT_S
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"{what}: not within {LIMIT_S} s; {state()}"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def _coordinator(made: Site) -> AsyncIterator[WorkerChannel]:
    channel = WorkerChannel(made.settings.worker_socket(CODE), CODE, PERSPECTIVE)
    with as_user(MPICD):
        channel.start()
        await until(lambda: channel.connected, "the coordinator is admitted")
    yield channel
    await channel.close()


async def ready(channel: WorkerChannel) -> None:
    await until(lambda: channel.status and channel.status.ready, "ready", lambda: channel.status)


async def not_ready(channel: WorkerChannel, reason: str) -> None:
    await until(
        lambda: channel.status and not channel.status.ready and reason in "; ".join(channel.status.reasons),
        reason,
        lambda: channel.status,
    )


async def ask(channel: WorkerChannel, number: int = 1) -> Observation:
    return await asyncio.wait_for(channel.ask(request(number)), LIMIT_S)


def challenges(made: Site) -> list[str]:
    return [line for line in made.requests("http") if TOKEN in line]


def refused_because(observation: Observation, code: str) -> None:
    assert observation.outcome is Outcome.ERROR
    assert not observation.corroborates
    assert observation.errors[-1].code == code
    assert observation.errors[-1].fault is Fault.PERSPECTIVE


async def test_a_confined_worker_answers_with_what_the_outside_saw(made: Site) -> None:
    made.start_resolver()
    worker = made.start_worker()
    (made.directory / "answer").write_text(ANSWER)
    async with _coordinator(made) as channel:
        await ready(channel)
        observation = await ask(channel)
        assert channel.status is not None
        assert channel.status.egress_addresses == channel.status.authenticated_addresses == OWN
        assert channel.status.netns_inode == inode_of(path_of(INSIDE))
    assert observation.outcome is Outcome.MATCH
    assert observation.egress_addresses == OWN
    assert observation.hops[0].connections[-1].address == WEB[1]
    assert challenges(made) == [f"http {OWN[1]} /.well-known/acme-challenge/{TOKEN}"]
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(LIMIT_S) == 0


async def test_others_than_the_coordinator_are_not_admitted(made: Site) -> None:
    made.start_resolver()
    made.start_worker()
    path = made.settings.worker_socket(CODE)
    wait_until(lambda: "ready" in made.worker_log, LIMIT_S, "the worker listens")
    reader, writer = await asyncio.open_unix_connection(str(path))
    assert await asyncio.wait_for(reader.read(), LIMIT_S) == b""
    writer.close()
    wait_until(lambda: "refused a connection from user id 0" in made.worker_log, LIMIT_S, "the refusal is logged")
    with as_user(PERSPECTIVE + 7), pytest.raises(PermissionError):
        await asyncio.open_unix_connection(str(path))


def _host_socket(made: Site) -> dict[str, Any]:
    inherited = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    return {"inherited": [inherited.detach()]}


def _extra_interface(made: Site) -> dict[str, Any]:
    ip("-n", INSIDE, "link", "add", "extra0", "type", "veth", "peer", "name", "extra1")
    return {}


def _other_route(made: Site) -> dict[str, Any]:
    ip("-n", INSIDE, "route", "add", "default", "dev", "lo", "table", "77")
    return {}


def _nothing_published(made: Site) -> dict[str, Any]:
    made.settings.tunnel_report.unlink()
    return {}


def _other_published(made: Site) -> dict[str, Any]:
    made.publish(netns=OUTSIDE)
    return {}


def _bind_capability(_made: Site) -> dict[str, Any]:
    return {"privileges": ["--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service", "--no-new-privs"]}


@pytest.mark.parametrize(
    ("arrange", "message"),
    [
        pytest.param(lambda _: {"user": 0}, "runs as root", id="root"),
        pytest.param(lambda _: {"user": PERSPECTIVE + 7}, f"must be {PERSPECTIVE}", id="another user"),
        pytest.param(_bind_capability, "holds capabilities: CapInh is 0x400", id="capability"),
        pytest.param(lambda _: {"privileges": ["--inh-caps=-all"]}, "no_new_privs is not set", id="privileges to gain"),
        pytest.param(lambda _: {"namespace": None}, "runs in network namespace", id="the host's namespace"),
        pytest.param(lambda _: {"namespace": OUTSIDE}, "runs in network namespace", id="another namespace"),
        pytest.param(_other_published, "runs in network namespace", id="another namespace published"),
        pytest.param(_nothing_published, "has published no namespace", id="nothing published"),
        pytest.param(_extra_interface, f"interface extra0, must have none but {INTERFACE}", id="extra interface"),
        pytest.param(_other_route, f"IPv4 default route by lo, must be by {INTERFACE}", id="another default route"),
        pytest.param(_host_socket, "inherited file descriptor", id="inherited inet socket"),
    ],
)
def test_refuses_to_start_with_more_than_it_should_have(
    made: Site, arrange: Callable[[Site], dict[str, Any]], message: str
) -> None:
    how = arrange(made)
    worker = made.start_worker(**how)
    for inherited in how.get("inherited", []):
        os.close(inherited)
    assert worker.wait(LIMIT_S) == EXIT_REFUSED
    assert message in made.worker_log
    assert made.worker_log.startswith(f"mpic-perspective {CODE}: ")
    assert not made.settings.worker_socket(CODE).exists()
    assert made.requests("http") == []


def test_an_unknown_perspective_is_refused(made: Site) -> None:
    command = [*made.worker_command]
    command[command.index(CODE)] = "nyc"
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    assert ended.returncode == EXIT_REFUSED
    assert f"not configured; there are home, {CODE}" in ended.stderr


async def test_a_check_ends_at_once_when_the_interface_goes(made: Site) -> None:
    made.start_resolver()
    made.start_worker()
    async with _coordinator(made) as channel:
        await ready(channel)
        in_flight = channel.ask(request(1))
        await until(lambda: challenges(made), "the target was asked")
        ip("-n", INSIDE, "link", "del", INTERFACE)
        first = await asyncio.wait_for(in_flight, LIMIT_S)
        refused_because(first, "perspective.tunnel_down")
        assert first.hops, "what was seen so far is kept as evidence"
        second = await ask(channel, 2)
        refused_because(second, "perspective.tunnel_down")
        assert f"interface {INTERFACE} is missing" in second.errors[0].message
        assert second.elapsed_us == 0
        assert second.lookups == ()
        await not_ready(channel, f"interface {INTERFACE} is missing")
        made.connect()
        (made.directory / "answer").write_text(ANSWER)
        await ready(channel)
        assert (await ask(channel, 3)).outcome is Outcome.MATCH
    assert len(challenges(made)) == 2


async def test_a_check_during_which_the_path_broke_for_a_moment_does_not_corroborate(made: Site) -> None:
    made.start_resolver()
    made.start_worker()
    async with _coordinator(made) as channel:
        await ready(channel)
        in_flight = channel.ask(request(1))
        await until(lambda: challenges(made), "the target was asked")
        ip("-n", INSIDE, "link", "set", INTERFACE, "down")
        ip("-n", INSIDE, "link", "set", INTERFACE, "up")
        made.route()
        (made.directory / "answer").write_text(ANSWER)
        refused_because(await asyncio.wait_for(in_flight, LIMIT_S), "perspective.tunnel_down")


async def test_what_was_added_later_stops_the_worker_from_answering(made: Site) -> None:
    made.start_resolver()
    made.start_worker()
    (made.directory / "answer").write_text(ANSWER)
    async with _coordinator(made) as channel:
        await ready(channel)
        ip("-n", INSIDE, "link", "add", "extra0", "type", "veth", "peer", "name", "extra1")
        refused_because(await ask(channel), "perspective.not_confined")
        ip("-n", INSIDE, "link", "del", "extra0")
        await ready(channel)
    assert challenges(made) == []


async def test_what_the_tunnel_daemon_publishes_is_followed(made: Site) -> None:
    made.start_resolver()
    worker = made.start_worker()
    async with _coordinator(made) as channel:
        await ready(channel)
        made.publish(state=TunnelState.DOWN)
        refused_because(await ask(channel), "perspective.tunnel_down")
        made.publish()
        await ready(channel)
        made.publish(inode=4242)
        refused_because(await ask(channel, 2), "perspective.not_confined")
    assert worker.wait(LIMIT_S) == EXIT_RESTART
    assert "another namespace was published" in made.worker_log


async def test_told_to_stop_it_answers_what_is_in_flight_and_ends(made: Site) -> None:
    made.start_resolver()
    worker = made.start_worker()
    async with _coordinator(made) as channel:
        await ready(channel)
        in_flight = channel.ask(request(1))
        await until(lambda: challenges(made), "the target was asked")
        worker.send_signal(signal.SIGTERM)
        await not_ready(channel, "stopping")
        observation = await asyncio.wait_for(in_flight, LIMIT_S)
        assert observation.outcome is Outcome.ERROR
        await until(lambda: worker.poll() is not None, "the worker ends")
    assert worker.returncode == 0
    assert not made.settings.worker_socket(CODE).exists()


async def test_a_silent_far_end_is_noticed_and_the_resolver_flushed_before_it_is_ready_again(made: Site) -> None:
    made.start_resolver()
    made.start_worker()
    control = resolver_paths(made.settings, CODE).control_socket
    async with _coordinator(made) as channel:
        await ready(channel)
        far("sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1")
        await not_ready(channel, "no answer from the far end of the path")
        control.rename(control.with_name("away"))
        far("sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=0")
        await not_ready(channel, f"resolver: {control}: No such file")
        control.with_name("away").rename(control)
        await ready(channel)


async def test_a_resolver_that_was_restarted_is_used_again(made: Site) -> None:
    resolver = made.start_resolver()
    made.start_worker()
    async with _coordinator(made) as channel:
        await ready(channel)
        resolver.terminate()
        resolver.wait(LIMIT_S)
        await not_ready(channel, "resolver: ")
        made.start_resolver()
        await ready(channel)


async def test_a_root_that_does_not_match_the_trust_anchor_is_told(made: Site) -> None:
    other = "uyLPXMxCSWGRB6Vx2SWd6P1EMNnr1xyYnkaQ6cEZJvQ2HxkXvGlf6gC8K6Y8cV7yKKR1Xz2YB0E8xnQnBxU0Dg=="
    (made.directory / "root.anchor").write_text(f". 3600 IN DNSKEY 257 3 13 {other}\n")
    made.start_resolver()
    made.start_worker()
    async with _coordinator(made) as channel:
        await not_ready(channel, "resolver: the root's keys do not match its trust anchor")
        assert channel.status is not None
        assert channel.status.root_anchor_problem is not None
        refused_because(await ask(channel), "perspective.not_ready")
    assert challenges(made) == []


async def test_a_black_hole_for_large_packets_is_seen(made: Site) -> None:
    made.start_resolver()
    made.start_worker()
    async with _coordinator(made) as channel:
        await ready(channel)
        far("nft", "add table inet hole; add chain inet hole in { type filter hook input priority 0; };"
            " add rule inet hole in meta length > 1000 drop")  # fmt: skip
        await not_ready(channel, "no answer from the far end of the path")
        far("nft", "delete table inet hole")
        await ready(channel)


async def test_an_exit_other_than_configured_disables_the_perspective() -> None:
    with site(perspectives=[perspective([OWN[0], "2001:db8:77::1"])]) as made:
        made.start_resolver()
        made.start_worker()
        (made.directory / "answer").write_text(ANSWER)
        async with _coordinator(made) as channel:
            await not_ready(channel, f"over IPv6 saw {OWN[1]}, which is not a configured egress address")
            assert channel.status is not None
            assert channel.status.egress_addresses == OWN
            refused_because(await ask(channel), "perspective.not_ready")
        assert challenges(made) == []


def _other_name(authority: Authority, file: Path) -> None:
    authority.issue(file, ["other.test"], [])


def _expired(authority: Authority, file: Path) -> None:
    authority.issue(file, [ANCHOR], [], timedelta(minutes=30))


def _other_authority(_authority: Authority, file: Path) -> None:
    Authority().issue(file, [ANCHOR], [])


@pytest.mark.parametrize(
    ("issue", "why"),
    [
        (_other_name, "Hostname mismatch"),
        (_expired, "certificate has expired"),
        (_other_authority, "certificate signature failure"),
    ],
)
async def test_an_anchor_whose_certificate_does_not_verify_proves_nothing(
    issue: Callable[[Authority, Path], None], why: str
) -> None:
    elsewhere = "2001:db8:77::1"
    with site(issue=issue, perspectives=[perspective([OWN[0], elsewhere])]) as made:
        made.start_resolver()
        made.start_worker()
        async with _coordinator(made) as channel:
            await not_ready(channel, "no anchor whose certificate verifies has seen its IPv4 egress address")
            # What it says still counts against the perspective.
            await not_ready(channel, f"over IPv6 saw {OWN[1]}, which is not a configured egress address")
            assert channel.status is not None
            text = "; ".join(channel.status.reasons)
            assert f"https://{ANCHOR}/address over IPv4: its certificate does not verify: {why}" in text
            assert channel.status.egress_addresses == OWN
            assert channel.status.authenticated_addresses == ()
            refused_because(await ask(channel), "perspective.not_ready")


async def test_an_http_anchor_proves_nothing_and_an_address_verifies_as_such() -> None:
    with site(anchors=[{"url": f"http://{ANCHOR}/address"}]) as made:
        made.start_resolver()
        made.start_worker()
        async with _coordinator(made) as channel:
            await ready(channel)
            assert channel.status is not None
            assert channel.status.egress_addresses == OWN
            assert channel.status.authenticated_addresses == ()
        worker = made.processes[-1]
        worker.terminate()
        worker.wait(LIMIT_S)
        anchors = [
            {"url": f"https://{host}/", "ca_file": str(made.directory / CA_FILE)} for host in (WEB[0], f"[{WEB[1]}]")
        ]
        made.configure(anchors=anchors)
        made.start_worker()
        async with _coordinator(made) as channel:
            await ready(channel)
            assert channel.status is not None
            assert channel.status.authenticated_addresses == OWN


def test_a_file_of_authorities_that_is_missing_or_holds_none_is_named(made: Site) -> None:
    for path, problem in (
        (made.directory / "absent.pem", "No such file"),
        (made.config, "must hold CA certificates as PEM"),
    ):
        made.configure(anchors=[{"url": f"https://{ANCHOR}/address", "ca_file": str(path)}])
        worker = made.start_worker()
        assert worker.wait(LIMIT_S) == EXIT_REFUSED
        assert f"anchors.0.ca_file: {path}: {problem}" in made.worker_log


async def test_without_any_anchor_s_answer_it_is_not_ready_but_one_of_two_is_enough() -> None:
    dead, alive = {"url": "http://198.18.9.99/"}, {"url": f"http://{WEB[0]}/address"}
    for anchors, enough in (([dead], False), ([dead, alive], True)):
        with site(anchors=anchors) as made:
            made.start_resolver()
            made.start_worker()
            async with _coordinator(made) as channel:
                if enough:
                    await ready(channel)
                else:
                    await not_ready(channel, "no anchor has seen its IPv4 egress address")
