"""What is said about the lab: for people, for LAB_EXTRA's authors, and as JSON for programs."""

from __future__ import annotations

from typing import Any

from tests.lab import names, rpki, state, topology, web
from tests.lab.lab import Lab
from tests.lab.model import Address, Egress, Place


def as_json(lab: Lab) -> dict[str, Any]:
    """The lab's state and everything that the configuration of an appliance in it needs."""
    hijack = lab.in_force()
    return {
        "up": lab.is_up(),
        "state_directory": str(state.STATE_DIR),
        "hijack": hijack and {"name": hijack.name, "via": hijack.via, "captures": sorted(hijack.captures)},
        "ca_domain": topology.CA_DOMAIN,
        "trust_anchor_file": str(names.trust_anchor_file()),
        "root_hints_file": str(names.root_hints_file()),
        "vrp_file": str(rpki.vrp_file()),
        "anchor_ca_file": str(web.anchor_ca_file()),
        "anchors": [
            {"name": one.name, "urls": anchor_urls(one.host), **_place(one.place), **_address(one.address)}
            for one in topology.ANCHORS
        ],
        "primary": _primary(),
        "egresses": [_egress(one) for one in topology.EGRESSES],
        "web": {name: _address(address) for name, address in topology.WEB_ADDRESSES.items()},
        "dns": {name: _address(address) for name, address in topology.DNS_ADDRESSES.items()},
    }


def for_people(lab: Lab) -> str:
    """A page on what is there and how to reach it."""
    if not lab.is_up():
        return "no lab is up"
    hijack = lab.in_force()
    web_address, dns_address = topology.WEB_ADDRESSES["quay"], topology.DNS_ADDRESSES["quay"]
    lines = [
        f"The lab is up ({len(topology.SYSTEMS)} ASes); hijack in force: {hijack.name if hijack else 'none'}.",
        f"Addresses for zones of LAB_EXTRA: web server A {web_address.v4}  AAAA {web_address.v6}",
        f"                                  name server (delegated by itself) A {dns_address.v4}  AAAA {dns_address.v6}",
        f"CAA issuer domain name: {topology.CA_DOMAIN}",
        f"Root trust anchor: {names.trust_anchor_file()}   root hints: {names.root_hints_file()}",
        f"Try: nsenter --net=/run/netns/{topology.PRIMARY.namespace} curl http://{web_address.v4}/",
    ]
    if (state.STATE_DIR / "appliance" / "appliance.toml").exists():
        lines += _asking()
    return "\n".join(lines)


def _asking() -> list[str]:
    root = state.STATE_DIR / "appliance"
    body = '{"check_type": "caa", "domain_or_ip_target": "honest.example"}'
    mpicctl = f".venv/bin/mpicctl --config {root / 'appliance.toml'}"
    return [
        "",
        "The appliance is up. Ask it as a CA:",
        f"  curl --unix-socket {root / 'run' / 'api.sock'} -H 'Content-Type: application/json' http://mpic/mpic \\",
        f"       -d '{body}'",
        "or as its operator:",
        f"  {mpicctl} status",
        f"  {mpicctl} check caa honest.example",
        f"  {mpicctl} perspectives",
        f"Logs: {state.STATE_DIR / 'log'}. To remove everything: make lab-down",
    ]


def anchor_urls(host: str) -> list[str]:
    """Where an echo anchor answers."""
    return [f"http://{host}/", f"https://{host}/"]


def _primary() -> dict[str, Any]:
    one = topology.PRIMARY
    return {
        "code": one.code,
        "namespace": one.namespace,
        "interface": one.interface,
        **_place(one.place),
        "rir": one.rir,
        "provider": one.provider,
        "origin_asn": one.origin_asn,
        "upstream_asns": one.upstream_asns,
        "lan": {"v4": str(one.lan.v4), "v6_prefix_length": 64},
        "gateway": _address(one.gateway),
        "host_address": _address(one.host_address),
        "address": _address(one.address),
    }


def _egress(one: Egress) -> dict[str, Any]:
    return {
        "code": one.code,
        "namespace": one.namespace,
        **_place(one.place),
        "rir": one.rir,
        "provider": one.provider,
        "origin_asn": one.origin_asn,
        "upstream_asns": one.upstream_asns,
        "address": _address(one.address),
        "gateway": _address(one.gateway),
        "endpoint": f"{one.address.v4}:{one.endpoint_port}",
    }


def _place(place: Place) -> dict[str, Any]:
    return {
        "city": place.city,
        "country": place.country,
        "latitude": place.latitude,
        "longitude": place.longitude,
    }


def _address(address: Address) -> dict[str, str]:
    return {"v4": str(address.v4), "v6": str(address.v6)}
