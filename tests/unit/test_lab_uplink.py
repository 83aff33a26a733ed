"""What counts as WireGuard on the uplink, its errors included, and what does not."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from tests.lab import topology, uplink
from tests.lab.pcap import Packet

HOST, ENDPOINT = topology.PRIMARY.host_address.v4, topology.EGRESSES[0].address.v4
PORT, OWN_PORT = topology.EGRESSES[0].endpoint_port, 51900
TARGET = topology.WEB_ADDRESSES["quay"].v4


def udp(source: IPv4Address, sport: int, destination: IPv4Address, dport: int) -> Packet:
    return Packet(0.0, source, destination, "udp", sport, dport, 60, b"")


def unreachable(source: IPv4Address, quoted: Packet) -> Packet:
    """The ICMP error (RFC 792, type 3) that `source` sends for `quoted`."""
    header = bytes([0x45]) + bytes(8) + bytes([17]) + bytes(2) + quoted.src.packed + quoted.dst.packed
    ports = quoted.sport.to_bytes(2, "big") + quoted.dport.to_bytes(2, "big")
    return Packet(0.0, source, quoted.src, "icmp", 0, 0, 56, bytes([3, 3]) + bytes(6) + header + ports + bytes(4))


OUT, IN = udp(HOST, OWN_PORT, ENDPOINT, PORT), udp(ENDPOINT, PORT, HOST, OWN_PORT)
HOST6, GATEWAY6 = topology.PRIMARY.host_address.v6, topology.PRIMARY.gateway.v6
ASKS_NEIGHBOUR = Packet(0.0, HOST6, GATEWAY6, "icmpv6", 0, 0, 72, bytes([135, 0]))
ASTRAY = udp(HOST, OWN_PORT, TARGET, 53)


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (OUT, uplink.WIREGUARD),
        (IN, uplink.WIREGUARD),
        (unreachable(ENDPOINT, OUT), uplink.WIREGUARD),
        (unreachable(HOST, IN), uplink.WIREGUARD),
        (ASTRAY, uplink.OTHER),
        (udp(HOST, OWN_PORT, ENDPOINT, PORT + 1), uplink.OTHER),
        (unreachable(TARGET, ASTRAY), uplink.OTHER),
        (unreachable(HOST, udp(TARGET, 53, HOST, OWN_PORT)), uplink.OTHER),
        (unreachable(HOST, udp(ENDPOINT, PORT + 1, HOST, OWN_PORT)), uplink.OTHER),
        (replace(unreachable(HOST, IN), dst=TARGET), uplink.OTHER),
        (replace(unreachable(TARGET, IN), dst=ENDPOINT), uplink.OTHER),
        (ASKS_NEIGHBOUR, uplink.NEIGHBOUR),
        (replace(ASKS_NEIGHBOUR, payload=bytes([128, 0])), uplink.OTHER),
        (replace(ASKS_NEIGHBOUR, proto="tcp"), uplink.OTHER),
    ],
)
def test_classes(packet: Packet, expected: str) -> None:
    assert uplink.classify(packet) == expected
    assert bool(uplink.others([packet])) is (expected == uplink.OTHER)
