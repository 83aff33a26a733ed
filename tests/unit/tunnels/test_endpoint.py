"""Endpoints: literals, names, and what the lookup hands over."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.schema import IpAddress
from appliance.tunnels import endpoint
from appliance.tunnels.endpoint import NoEndpoint, PeerEndpoint, unpacked

V4 = ip_address("198.18.0.1")
V6 = ip_address("2001:db8::1")


@pytest.mark.parametrize(
    ("configured", "current"),
    [
        ("198.18.0.1:51820", "198.18.0.1:51820"),
        ("[2001:db8::1]:51820", "[2001:db8::1]:51820"),
        ("eg.example:51820", None),
    ],
)
def test_literals_need_no_lookup(configured: str, current: str | None) -> None:
    assert PeerEndpoint(configured).current == current


@given(st.lists(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), min_size=1, max_size=8))
def test_packed_addresses_are_read_back(addresses: list[IPv4Address | IPv6Address]) -> None:
    assert unpacked(b"".join(bytes([a.version]) + a.packed for a in addresses)) == addresses


@given(st.binary(max_size=200))
def test_anything_else_is_refused_or_at_most_eight_addresses(data: bytes) -> None:
    with suppress(NoEndpoint):
        assert 1 <= len(unpacked(data)) <= 8


async def test_each_lookup_takes_the_next_address(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[list[IpAddress]] = [[V4, V6], [V4, V6], [V4, V6], [V4]]

    async def look_up(name: str) -> list[IpAddress]:
        assert name == "eg.example"
        return answers.pop(0)

    monkeypatch.setattr(endpoint, "look_up", look_up)
    peer = PeerEndpoint("eg.example:51820")
    seen = []
    for _ in range(3):
        assert await peer.find()
        seen.append(peer.current)
    assert seen == ["198.18.0.1:51820", "[2001:db8::1]:51820", "198.18.0.1:51820"]
    assert not await peer.find()


async def test_a_failed_lookup_keeps_the_last_address(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look_up(name: str) -> list[IpAddress]:
        raise NoEndpoint(name)

    monkeypatch.setattr(endpoint, "look_up", look_up)
    peer = PeerEndpoint("eg.example:51820")
    assert not await peer.find()
    assert peer.current is None
