"""The eye of the hostile test: it sees what must not be sent, and passes over what the lab itself is made of."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from tests.hostile.special import special_destinations
from tests.lab.pcap import Packet
from tests.unit.perspective.configured import settings

SETTINGS = settings(targets={"special_purpose_exceptions": ["198.18.0.0/15"]})


def packet(src: str, dst: str, proto: str = "tcp", sport: int = 40000, dport: int = 80) -> Packet:
    return Packet(0.0, ip_address(src), ip_address(dst), proto, sport, dport, 40, b"")


@pytest.mark.parametrize(
    "seen",
    [
        packet("10.77.1.2", "127.0.0.1"),
        packet("127.0.0.1", "127.0.0.1"),
        packet("198.18.1.1", "10.0.0.1"),
        packet("::1", "::1", "udp", 40000, 53),
        packet("fd77:1::2", "64:ff9b::7f00:1"),
        packet("fe80::1", "fe80::2"),
        packet("10.77.1.2", "169.254.169.254", "icmp", 0, 0),
    ],
)
def test_seen(seen: Packet) -> None:
    assert special_destinations([seen], SETTINGS) == {(str(seen.dst), seen.proto, seen.dport)}


@pytest.mark.parametrize(
    "passed",
    [
        packet("10.77.1.2", "198.18.20.80"),
        packet("10.77.1.2", "8.8.8.8"),
        packet("10.77.1.2", "10.77.1.1", "icmp", 0, 0),
        packet("127.0.0.1", "127.0.0.1", "udp", 40000, 5335),
        packet("127.0.0.1", "127.0.0.1", "udp", 5335, 40000),
        packet("fe80::1", "ff02::1:ff00:1", "icmpv6", 0, 0),
    ],
)
def test_passed_over(passed: Packet) -> None:
    assert special_destinations([passed], SETTINGS) == set()
