"""What left and entered the CA's site, by a capture on its uplink from before the first tunnel to the end."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from tests.lab import topology
from tests.lab.pcap import Packet

Class = str
Ip = IPv4Address | IPv6Address
_UDP: Final = 17
_ICMP_ERRORS: Final = (3, 11)  # destination unreachable, time exceeded
# RFC 4861: router and neighbour discovery; RFC 2710, RFC 3810: which multicast groups somebody listens to.
_NEIGHBOURLY: Final = {bytes([number]) for number in (*range(130, 138), 143)}
WIREGUARD, PRIMARY, OTHER, NEIGHBOUR = "wireguard_packets", "primary_packets", "other_packets", "neighbour_packets"
_ENDPOINTS: Final = {(address, egress.endpoint_port) for egress in topology.EGRESSES for address in egress.address}


def classify(packet: Packet) -> Class:
    """WireGuard between the host and a configured endpoint; the primary's own address; neighbour discovery; other.

    An ICMP error for a WireGuard packet (RFC 792: it quotes its head, and goes to its sender) belongs to WireGuard: one that comes
    back to the host for its own, or the host's own to the endpoint for one that arrived while no backend was listening.
    """
    addresses = (packet.src, packet.dst)
    outward, inward = (packet.src, packet.dst, packet.dport), (packet.dst, packet.src, packet.sport)
    if packet.proto == "udp" and (_is_wireguard(*outward) or _is_wireguard(*inward)):
        return WIREGUARD
    if packet.proto == "icmp" and _is_wireguards_error(packet):
        return WIREGUARD
    if any(address in topology.PRIMARY.address for address in addresses):
        return PRIMARY
    neighbourly = packet.proto == "icmpv6" and packet.payload[:1] in _NEIGHBOURLY
    if neighbourly and all(_on_link(address) for address in addresses):
        return NEIGHBOUR
    return OTHER


def count(packets: Iterable[Packet]) -> dict[Class, int]:
    """How many packets of each class there are."""
    counts = dict.fromkeys((WIREGUARD, PRIMARY, OTHER, NEIGHBOUR), 0)
    for packet in packets:
        counts[classify(packet)] += 1
    return counts


def others(packets: Iterable[Packet]) -> list[str]:
    """What should not be there, for people: who to whom, and the head of what."""
    return [
        f"{one.proto} {one.src}:{one.sport} > {one.dst}:{one.dport} {one.payload[:64].hex()}"
        for one in packets
        if classify(one) == OTHER
    ]


def _is_wireguard(host: Ip, endpoint: Ip, port: int) -> bool:
    return host in topology.PRIMARY.host_address and (endpoint, port) in _ENDPOINTS


def _is_wireguards_error(packet: Packet) -> bool:
    """Whether an ICMP message is an error to or from the host, to the sender of the UDP packet between it and an endpoint that it
    quotes."""
    icmp = packet.payload
    error, quoted = icmp[0] in _ICMP_ERRORS, icmp[8:]
    header = (quoted[0] & 0x0F) * 4 if quoted else 0
    if not error or len(quoted) < header + 4 or quoted[9] != _UDP:
        return False
    source, destination = IPv4Address(quoted[12:16]), IPv4Address(quoted[16:20])
    sport, dport = (int.from_bytes(quoted[header + at : header + at + 2], "big") for at in (0, 2))
    if packet.dst != source or not {packet.src, packet.dst} & set(topology.PRIMARY.host_address):
        return False
    return _is_wireguard(source, destination, dport) or _is_wireguard(destination, source, sport)


def _on_link(address: Ip) -> bool:
    """Addresses that no router forwards: RFC 4861 and RFC 3810 use them to find neighbours."""
    if address.version == 4:
        return False
    here = (*topology.PRIMARY.host_address, *topology.PRIMARY.gateway)
    return address.is_link_local or address.is_unspecified or address in here or str(address).startswith("ff02:")
