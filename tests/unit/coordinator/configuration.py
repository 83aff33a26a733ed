"""A configuration of the sites in `workers`, as the dictionary that `appliance.toml` would be read to."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from appliance.config import Settings
from appliance.model.place import Site
from tests.unit.coordinator.workers import PRIMARY, REMOTES


def document(directory: Path) -> dict[str, Any]:
    """Complete and valid; tests change what they are about."""
    return {
        "state_directory": str(directory / "state"),
        "runtime_directory": str(directory / "run"),
        "primary": {
            "code": PRIMARY.code,
            "place": _place(PRIMARY),
            "netns": "mpic-home",
            "uplink": "eth0",
            "addresses": ["192.0.2.10/24"],
            "gateways": ["192.0.2.1"],
        },
        "perspectives": [_perspective(index, site) for index, site in enumerate(REMOTES)],
        "resolver": {"trust_anchor_file": "/etc/mpic/root.ds"},
        "targets": {
            "special_purpose_exceptions": ["192.0.2.0/24"],
            "special_use_exceptions": ["example", "example.com", "example.net", "example.org", "test"],
        },
        "caa": {"issuer_domains": ["ca.example"]},
        "api": {
            "socket": str(directory / "api.sock"),
            "operator_socket": str(directory / "operator.sock"),
            "concurrent_requests": 8,
        },
    }


def settings(directory: Path, **changes: object) -> Settings:
    """The settings of `document`, with top-level tables replaced."""
    return Settings.model_validate(document(directory) | changes)


def _place(site: Site) -> dict[str, Any]:
    place = site.place
    return {
        "city": place.city,
        "country": place.country,
        "latitude": place.latitude_udeg / 1e6,
        "longitude": place.longitude_udeg / 1e6,
    }


def _perspective(index: int, site: Site) -> dict[str, Any]:
    return {
        "code": site.code,
        "netns": f"mpic-{site.code}",
        "place": _place(site),
        "provider": f"provider {index % 3}",
        "upstreams": [64500 + index % 2],
        "origin_asn": 64510 + index,
        "egress_addresses": [f"198.51.100.{index + 1}"],
        "wireguard": {
            "interface": f"wg-{site.code}",
            "private_key_file": f"/etc/mpic/{site.code}.key",
            "public_key": base64.b64encode(bytes([index] * 32)).decode(),
            "endpoint": f"198.51.100.{index + 1}:51820",
            "listen_port": 51900 + index,
            "addresses": [f"10.77.{index}.2/32"],
            "peer_addresses": [f"10.77.{index}.1"],
        },
    }
