"""Which captured packets went to special-purpose destinations that nobody configured."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network
from typing import Final

from appliance.config import Settings
from appliance.net.special_purpose import IpNetwork, refused, special_purpose_networks
from tests.lab.pcap import Packet

# Neighbour and multicast listener discovery (RFC 4861, RFC 3810): the link's own, never a check's.
_LINK: Final = tuple(map(ip_network, ("fe80::/10", "ff02::/16")))


def capture_filter(settings: Settings) -> str:
    """For tcpdump, so that it keeps what `special_destinations` has to look at and not the megabytes beside it."""
    networks = " or ".join(f"dst net {one}" for one in special_purpose_networks(_exceptions(settings)))
    inner = " or ".join(f"dst host {one}" for one in sorted(_inner(settings)))
    resolver = f"src net 127.0.0.0/8 and dst net 127.0.0.0/8 and port {settings.resolver.port}"
    return f"({networks}) and not ({inner}) and not ({resolver})"


def special_destinations(packets: Iterable[Packet], settings: Settings) -> set[tuple[str, str, int]]:
    """(destination, protocol, port) of each packet that must not have been sent.

    What may be: the configured exceptions, both ends of tunnels, and on loopback the perspective's own resolver.
    """
    inner, exceptions, resolver = _inner(settings), _exceptions(settings), settings.resolver.port
    return {
        (str(packet.dst), packet.proto, packet.dport)
        for packet in packets
        if refused(str(packet.dst), exceptions) is not None
        and str(packet.dst) not in inner
        and not (packet.dst.is_loopback and packet.src.is_loopback and resolver in (packet.sport, packet.dport))
        and not (packet.proto == "icmpv6" and any(packet.dst in network for network in _LINK))
    }


def _inner(settings: Settings) -> set[str]:
    return {str(one.ip) for perspective in settings.perspectives for one in perspective.wireguard.addresses} | {
        str(one) for perspective in settings.perspectives for one in perspective.wireguard.peer_addresses
    }


def _exceptions(settings: Settings) -> tuple[IpNetwork, ...]:
    return settings.targets.special_purpose_exceptions
