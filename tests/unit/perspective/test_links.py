"""rtnetlink as the worker reads it: its own namespace's links, and notices that it makes up itself."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.perspective.links import Link, LinkWatch, Notices, messages


def test_every_link_of_this_namespace_is_listed() -> None:
    watch = LinkWatch()
    try:
        topology = watch.topology()
        assert {link.name for link in topology.links} == {name for _, name in socket.if_nameindex()}
        assert {route.version for route in topology.default_routes} <= {4, 6}
        assert any(link == Link("lo", is_up=link.is_up) for link in topology.links)
    finally:
        watch.close()


@given(st.binary(max_size=200))
def test_no_bytes_break_the_parser(received: bytes) -> None:
    assert sum(16 for _ in messages(received)) <= max(len(received), 16)


def _message(kind: int, payload: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(payload), kind, 0, 0, 0) + payload


def _link(flags: int) -> bytes:
    return struct.pack("=BxHiII", 0, 1, 2, flags, 0)


def _route(destination_bits: int, kind: int = 1) -> bytes:
    return struct.pack("=BBBBBBBBI", 2, destination_bits, 0, 0, 254, 3, 0, kind, 0)


@pytest.mark.parametrize(
    ("notice", "severed"),
    [
        (_message(16, _link(flags=1)), False),
        (_message(16, _link(flags=0)), True),
        (_message(17, _link(flags=1)), True),
        (_message(24, _route(0)), False),
        (_message(25, _route(0)), True),
        (_message(25, _route(24)), False),
        (_message(25, _route(0, kind=7)), False),
        (_message(24, _route(0)) + _message(17, _link(flags=1)), True),
    ],
    ids=["up", "down", "gone", "new route", "default gone", "other route gone", "unreachable gone", "second of two"],
)
def test_which_notices_mean_that_the_path_was_broken(
    notice: bytes, severed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    watch = LinkWatch()
    try:
        watch._notices.close()
        monkeypatch.setattr(watch, "_notices", ours)
        assert watch.notices() == Notices(changed=False, severed=False)
        kernel.send(notice)
        assert watch.notices() == Notices(changed=True, severed=severed)
    finally:
        kernel.close()
        watch.close()
