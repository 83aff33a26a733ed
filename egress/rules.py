"""The node's nftables table, whole, as text for `nft -f`."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network

from egress.config import EgressConfig, IpAddress
from egress.special_purpose import refused_ipv4, refused_ipv6

FAMILY = "inet"
TABLE = "mpic_egress"
FILLED_BY_TRAFFIC = ("connections", "connections6")
# Submission and relay of mail: no check speaks it, and one abuse would cost the address its reputation.
_MAIL_PORTS = "25, 465, 587"
_STATUS_RATE = "20/second burst 40 packets"
_COUNTERS = (
    "refused_special_purpose",
    "refused_mail",
    "refused_between_peers",
    "refused_spoofed",
    "refused_over_limit",
    "refused_forward",
    "refused_input",
)


def render(config: EgressConfig) -> str:
    """`table inet mpic_egress { … }`."""
    lines = [
        f"table {FAMILY} {TABLE} {{",
        *(f"  counter {name} {{ }}" for name in _COUNTERS),
        *_sets(config),
        *_prerouting(),
        *_input(config),
        *_forward(config),
        *_postrouting(config),
        "}",
    ]
    return "".join(f"{line}\n" for line in lines)


def _sets(config: EgressConfig) -> list[str]:
    exceptions = config.special_purpose_exceptions
    peers = [address for interface in config.interfaces for peer in interface.peers for address in peer.addresses]
    own = [address for interface in config.interfaces for address in interface.addresses]
    names = [f'"{interface.name}"' for interface in config.interfaces]
    return [
        f"  set tunnels {{ type ifname; elements = {{ {', '.join(names)} }}; }}",
        *_set("special_purpose", "ipv4_addr", refused_ipv4(exceptions)),
        *_set("special_purpose6", "ipv6_addr", refused_ipv6(exceptions)),
        *_set("peers", "ipv4_addr", _of(4, peers)),
        *_set("peers6", "ipv6_addr", _of(6, peers)),
        *_set("own", "ipv4_addr", _of(4, own)),
        *_set("own6", "ipv6_addr", _of(6, own)),
        *_set("operators", "ipv4_addr", [n for n in config.ssh.sources if isinstance(n, IPv4Network)]),
        *_set("operators6", "ipv6_addr", [n for n in config.ssh.sources if isinstance(n, IPv6Network)]),
        "  set connections { type ipv4_addr; size 65535; flags dynamic; }",
        "  set connections6 { type ipv6_addr; size 65535; flags dynamic; }",
    ]


def _set(name: str, kind: str, elements: Iterable[object]) -> list[str]:
    listed = ", ".join(str(element) for element in elements)
    body = f" elements = {{ {listed} }};" if listed else ""
    return [f"  set {name} {{ type {kind}; flags interval;{body} }}"]


def _of(version: int, addresses: Iterable[IpAddress]) -> list[IpAddress]:
    return sorted((address for address in addresses if address.version == version), key=int)


def _prerouting() -> list[str]:
    return [
        "  chain prerouting {",
        "    type filter hook prerouting priority raw; policy accept;",
        '    iifname "lo" accept',
        # Neighbour and router discovery come from link-local addresses, for which every interface has a route.
        "    ip6 saddr fe80::/10 accept",
        "    ip6 saddr :: accept",
        "    fib saddr . iif oif missing counter name refused_spoofed drop",
        "    iifname @tunnels ip saddr != @peers counter name refused_spoofed drop",
        "    iifname @tunnels ip6 saddr != @peers6 counter name refused_spoofed drop",
        "  }",
    ]


def _input(config: EgressConfig) -> list[str]:
    ports = ", ".join(str(interface.listen_port) for interface in config.interfaces)
    uplink = config.uplink.interface
    return [
        "  chain input {",
        "    type filter hook input priority filter; policy drop;",
        '    iifname "lo" accept',
        "    ct state established,related accept",
        "    ct state invalid drop",
        "    iifname @tunnels ip daddr @own icmp type echo-request accept",
        "    iifname @tunnels ip6 daddr @own6 icmpv6 type echo-request accept",
        *_status(config),
        "    iifname @tunnels counter name refused_input drop",
        "    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } ip6 hoplimit 255 accept",
        "    icmp type echo-request limit rate 10/second accept",
        "    icmpv6 type echo-request limit rate 10/second accept",
        f'    iifname "{uplink}" udp dport {{ {ports} }} accept',
        *_echo(config),
        f'    iifname "{uplink}" udp sport 67 udp dport 68 accept',
        f'    iifname "{uplink}" ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept',
        f"    ip saddr @operators tcp dport {config.ssh.port} accept",
        f"    ip6 saddr @operators6 tcp dport {config.ssh.port} accept",
        "    counter name refused_input drop",
        "  }",
    ]


def _status(config: EgressConfig) -> list[str]:
    # At the address of the very tunnel that it came by.
    own = f"fib daddr . iif type local tcp dport {config.status.port} limit rate {_STATUS_RATE} accept"
    return [
        f"    iifname @tunnels {family} daddr @{own_set} {own}" for family, own_set in (("ip", "own"), ("ip6", "own6"))
    ]


def _echo(config: EgressConfig) -> list[str]:
    if config.echo is None:
        return []
    # In packets of the whole world: who floods it takes the anchor away, and nothing else.
    most = f"limit rate {config.echo.requests_per_second}/second burst {config.echo.requests_per_second} packets"
    return [f'    iifname "{config.uplink.interface}" udp dport {config.echo.port} {most} accept']


def _forward(config: EgressConfig) -> list[str]:
    uplink, most = config.uplink.interface, config.limits.connections_per_peer
    reject = "reject with icmpx admin-prohibited"
    return [
        "  chain forward {",
        "    type filter hook forward priority filter; policy drop;",
        "    tcp flags syn tcp option maxseg size set rt mtu",
        "    ct state established,related accept",
        "    ct state invalid drop",
        f"    iifname @tunnels oifname @tunnels counter name refused_between_peers {reject}",
        f"    iifname @tunnels ip daddr @special_purpose counter name refused_special_purpose {reject}",
        f"    iifname @tunnels ip6 daddr @special_purpose6 counter name refused_special_purpose {reject}",
        f"    iifname @tunnels tcp dport {{ {_MAIL_PORTS} }} counter name refused_mail {reject}",
        f"    iifname @tunnels ct state new add @connections {{ ip saddr ct count over {most} }}"
        f" counter name refused_over_limit {reject}",
        f"    iifname @tunnels ct state new add @connections6 {{ ip6 saddr ct count over {most} }}"
        f" counter name refused_over_limit {reject}",
        f'    iifname @tunnels oifname "{uplink}" accept',
        "    counter name refused_forward drop",
        "  }",
    ]


def _postrouting(config: EgressConfig) -> list[str]:
    uplink = config.uplink.interface
    lines = ["  chain postrouting {", "    type nat hook postrouting priority srcnat; policy accept;"]
    sources = {address.version: address for address in config.uplink.egress_addresses}
    for version, word, peers in ((4, "ip", "peers"), (6, "ip6", "peers6")):
        # Fully random, so that the source ports of DNS queries stay as unpredictable as the resolver chose them.
        act = f"snat {word} to {sources[version]}" if version in sources else "masquerade"
        lines.append(f'    oifname "{uplink}" {word} saddr @{peers} {act} fully-random')
    return [*lines, "  }"]
