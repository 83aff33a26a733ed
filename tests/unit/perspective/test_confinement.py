"""What counts as more, and as less, than a worker should have."""

from __future__ import annotations

import socket

import pytest

from appliance.model.tunnel import Backend, TunnelState, TunnelStatus
from appliance.perspective.assignment import assignment_of
from appliance.perspective.confinement import (
    Credentials,
    Findings,
    credential_findings,
    namespace_findings,
    open_sockets,
    own_credentials,
    parse_credentials,
    socket_findings,
    topology_findings,
)
from appliance.perspective.links import DefaultRoute, Link, Topology
from tests.unit.perspective.configured import settings

ASSIGNMENT = assignment_of(settings(), "ams")
NONE = {"CapInh": 0, "CapPrm": 0, "CapEff": 0, "CapAmb": 0}
STATUS = """\
Name:\tpython3
Uid:\t64002\t64002\t64002\t64002
CapInh:\t0000000000000000
CapPrm:\t0000000000000400
CapEff:\t0000000000000000
CapBnd:\t000001ffffffffff
CapAmb:\t0000000000000000
NoNewPrivs:\t1
"""
LO, WG = Link("lo", is_up=True), Link("wg-ams", is_up=True)
ROUTES = (DefaultRoute(4, "wg-ams"), DefaultRoute(6, "wg-ams"))


def test_credentials_are_read_from_proc() -> None:
    assert parse_credentials(STATUS) == Credentials((64002,) * 4, NONE | {"CapPrm": 0x400}, no_new_privileges=True)
    assert own_credentials().capabilities.keys() == NONE.keys()


@pytest.mark.parametrize(
    ("credentials", "expected"),
    [
        (Credentials((7, 7, 7, 7), NONE, no_new_privileges=True), ""),
        (Credentials((7, 7, 0, 7), NONE, no_new_privileges=True), "runs as root"),
        (Credentials((8, 8, 8, 8), NONE, no_new_privileges=True), "user id 8, must be 7"),
        (Credentials((7, 7, 7, 7), NONE, no_new_privileges=False), "no_new_privs"),
        *[
            (Credentials((7, 7, 7, 7), NONE | {name: 1 << 12}, no_new_privileges=True), f"{name} is 0x1000")
            for name in NONE
        ],
    ],
)
def test_no_root_no_other_user_no_capability(credentials: Credentials, expected: str) -> None:
    found = credential_findings(credentials, expected_uid=7)
    assert found.lacking == ()
    assert bool(found.excess) is bool(expected)
    assert expected in "; ".join(found.excess)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_PACKET, socket.AF_NETLINK])
def test_only_unix_sockets_may_be_inherited(family: int) -> None:
    assert socket_findings({0: socket.AF_UNIX}) == Findings()
    assert "inherited file descriptor 5" in socket_findings({0: socket.AF_UNIX, 5: family}).excess[0]


def test_open_sockets_are_found() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as opened:
        assert open_sockets()[opened.fileno()] == socket.AF_INET6
        fd = opened.fileno()
    assert fd not in open_sockets()


@pytest.mark.parametrize(
    ("topology", "excess", "lacking"),
    [
        (Topology((LO, WG), ROUTES), "", ""),
        (Topology((LO, WG, Link("eth0", is_up=False)), ROUTES), "interface eth0, must have none but wg-ams", ""),
        (Topology((LO, WG), (*ROUTES, DefaultRoute(4, "lo"))), "IPv4 default route by lo", ""),
        (Topology((LO, WG), (*ROUTES, DefaultRoute(6, ""))), "IPv6 default route by several", ""),
        (Topology((LO,), ()), "", "interface wg-ams is missing"),
        (Topology((LO, Link("wg-ams", is_up=False)), ROUTES[:1]), "", "interface wg-ams is down"),
        (Topology((LO, WG), ROUTES[:1]), "", "no IPv6 default route"),
    ],
)
def test_interfaces_are_exactly_lo_and_the_assigned_one(topology: Topology, excess: str, lacking: str) -> None:
    found = topology_findings(topology, ASSIGNMENT)
    assert (bool(found.excess), bool(found.lacking)) == (bool(excess), bool(lacking))
    assert excess in "; ".join(found.excess)
    assert lacking in "; ".join(found.lacking)


def _published(inode: int, state: TunnelState = TunnelState.UP) -> TunnelStatus:
    return TunnelStatus("ams", "mpic-ams", inode, "wg-ams", Backend.KERNEL, state, "no handshake", None, 0, 0, 0)


def test_the_namespace_must_be_the_published_one() -> None:
    assert namespace_findings(_published(7), "ams", 7) == Findings()
    assert namespace_findings(_published(7, TunnelState.DEGRADED), "ams", 7) == Findings()
    assert namespace_findings(None, "ams", 7).excess
    assert namespace_findings(_published(0), "ams", 0).excess
    assert "the published mpic-ams is 8" in namespace_findings(_published(8), "ams", 7).excess[0]
    assert namespace_findings(_published(7, TunnelState.DOWN), "ams", 7).lacking == ("tunnel down: no handshake",)
