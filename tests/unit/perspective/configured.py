"""Settings with one remote perspective and a local primary."""

from __future__ import annotations

from typing import Any

from appliance.config.schema import Settings

PLACE = {"city": "Amsterdam", "country": "NL", "latitude": 52.4, "longitude": 4.9}


def settings(**changes: Any) -> Settings:
    """Top-level tables of the configuration may be replaced."""
    document: dict[str, Any] = {
        "state_directory": "/var/lib/mpic",
        "runtime_directory": "/run/mpic",
        "primary": {
            "code": "home",
            "place": PLACE,
            "netns": "mpic-home",
            "uplink": "eth0",
            "addresses": ["198.18.1.5/24", "2001:db8:1::5/64"],
            "gateways": ["198.18.1.1"],
        },
        "perspectives": [
            {
                "code": "ams",
                "netns": "mpic-ams",
                "place": PLACE,
                "provider": "test",
                "upstreams": [64500],
                "origin_asn": 64501,
                "egress_addresses": ["198.18.5.5", "2001:db8:5::5"],
                "wireguard": {
                    "interface": "wg-ams",
                    "private_key_file": "/etc/mpic/ams.key",
                    "public_key": "A" * 43 + "=",
                    "endpoint": "198.18.5.5:51820",
                    "listen_port": 51820,
                    "addresses": ["10.77.1.2/32", "fd77:1::2/128"],
                    "peer_addresses": ["10.77.1.1", "fd77:1::1"],
                },
            }
        ],
        "caa": {"issuer_domains": ["ca.example"]},
        "resolver": {},
    }
    return Settings.model_validate(document | changes)
