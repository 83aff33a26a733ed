"""The node as a list of parts, each of which is right or can be made right; `apply` and `check` walk the same list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_network

from egress import firewall, rules, wireguard
from egress.config import EgressConfig, InterfaceConfig
from egress.errors import CommandFailed, EgressError
from egress.system import ip_json, run, set_sysctl, sysctl


@dataclass(frozen=True, slots=True)
class Part:
    """`name` says what it is. `is_right` looks only; `make_right` changes. Both raise `EgressError`."""

    name: str
    is_right: Callable[[], bool]
    make_right: Callable[[], None]


def parts(config: EgressConfig) -> Iterator[Part]:
    """Every part in the order in which they are made right: the firewall before anything is forwarded."""
    yield Part(f"uplink {config.uplink.interface}", lambda: _has_uplink(config), lambda: _miss_uplink(config))
    yield Part(
        f"nftables table {rules.FAMILY} {rules.TABLE}",
        lambda: firewall.holds(rules.render(config)),
        lambda: firewall.put(rules.render(config)),
    )
    for interface in config.interfaces:
        yield from _interface(interface)
    for key, value in _sysctls(config):
        yield _sysctl_part(key, value)


def faults(config: EgressConfig) -> Iterator[str]:
    """What is not as configured, a line for each; nothing is changed."""
    for part in parts(config):
        try:
            fault = "" if part.is_right() else "not as configured"
        except EgressError as error:
            fault = str(error)
        if fault:
            yield f"{part.name}: {fault}"


def remove(config: EgressConfig) -> None:
    """Removes interfaces and table. Forwarding is switched off first. Other sysctls stay."""
    set_sysctl("net/ipv4/ip_forward", "0")
    set_sysctl("net/ipv6/conf/all/forwarding", "0")
    for interface in config.interfaces:
        wireguard.remove(interface.name)
    firewall.remove()


def _has_uplink(config: EgressConfig) -> bool:
    links = ip_json("addr", "show", "dev", config.uplink.interface)
    held = {entry["local"] for link in links for entry in link.get("addr_info", ())}
    return bool(links) and {str(address) for address in config.uplink.egress_addresses} <= held


def _miss_uplink(config: EgressConfig) -> None:
    addresses = " ".join(str(address) for address in config.uplink.egress_addresses)
    raise CommandFailed(
        f"uplink {config.uplink.interface}: not there, or without the configured {addresses or 'address'}"
    )


def _interface(config: InterfaceConfig) -> Iterator[Part]:
    name = config.name
    yield Part(f"interface {name}", lambda: wireguard.backend_of(name) is not None, lambda: wireguard.create(name))
    wanted = wireguard.wanted(config)
    yield Part(
        f"interface {name}: keys, port and peers",
        lambda: wireguard.same(wireguard.state(name), wanted),
        lambda: wireguard.synchronise(name, wanted),
    )
    yield Part(f"interface {name}: addresses", lambda: not _missing_addresses(config), lambda: _add_addresses(config))
    yield Part(f"interface {name}: up, MTU {config.mtu}", lambda: _is_up(config), lambda: _bring_up(config))
    yield Part(f"interface {name}: routes to peers", lambda: not _missing_routes(config), lambda: _add_routes(config))


def _missing_addresses(config: InterfaceConfig) -> list[str]:
    held = {
        f"{entry['local']}/{entry['prefixlen']}"
        for link in ip_json("addr", "show", "dev", config.name)
        for entry in link.get("addr_info", ())
    }
    return [str(ip_network(address)) for address in config.addresses if str(ip_network(address)) not in held]


def _add_addresses(config: InterfaceConfig) -> None:
    for address in _missing_addresses(config):
        run("ip", "addr", "add", address, "dev", config.name, *(["nodad"] if ":" in address else []))


def _is_up(config: InterfaceConfig) -> bool:
    links = ip_json("link", "show", "dev", config.name)
    return any("UP" in link["flags"] and link["mtu"] == config.mtu for link in links)


def _bring_up(config: InterfaceConfig) -> None:
    run("ip", "link", "set", config.name, "mtu", str(config.mtu), "up")


def _missing_routes(config: InterfaceConfig) -> list[str]:
    held = {
        str(ip_network(row["dst"]))
        for family in ("-4", "-6")
        for row in ip_json(family, "route", "show", "dev", config.name)
        if row["dst"] != "default"
    }
    wanted = [str(ip_network(address)) for peer in config.peers for address in peer.addresses]
    return [network for network in wanted if network not in held]


def _add_routes(config: InterfaceConfig) -> None:
    for network in _missing_routes(config):
        run("ip", "route", "replace", network, "dev", config.name)


def _sysctls(config: EgressConfig) -> Iterator[tuple[str, str]]:
    uplink = config.uplink.interface
    # A forwarding node ignores router advertisements unless told otherwise, and the uplink may live by them.
    yield f"net/ipv6/conf/{uplink}/accept_ra", "2"
    yield "net/ipv4/ip_forward", "1"
    yield "net/ipv6/conf/all/forwarding", "1"
    for scope in ("all", uplink):
        yield f"net/ipv4/conf/{scope}/accept_redirects", "0"
        yield f"net/ipv4/conf/{scope}/send_redirects", "0"
        yield f"net/ipv6/conf/{scope}/accept_redirects", "0"
    if config.limits.conntrack_max is not None:
        yield "net/netfilter/nf_conntrack_max", str(config.limits.conntrack_max)


def _sysctl_part(key: str, value: str) -> Part:
    return Part(f"sysctl {key}={value}", lambda: sysctl(key) == value, lambda: set_sysctl(key, value))
