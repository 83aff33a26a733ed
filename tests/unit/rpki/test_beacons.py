"""Beacons as data: the shipped ones are well-formed, wrong ones are refused, and their routes' states are looked at."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import ConfigError
from appliance.model.rov import BeaconKind
from appliance.rpki.beacons import PUBLIC_BEACONS, Beacon, read_beacons
from appliance.rpki.vrps import parse_vrps

NOW = datetime(2026, 11, 21, tzinfo=UTC)
VALID = {"url": "https://v.example/{nonce}", "origin_asn": 64500}
INVALID = {"url": "https://i.example/", "origin_asn": 64500, "prefixes": ["198.51.100.0/24"]}
PAIR: dict[str, Any] = {"name": "one", "operator": "One", "kind": "pair", "valid": VALID, "invalid": INVALID}
COVER: dict[str, Any] = {
    "name": "cover", "operator": "C", "kind": "cover", "valid_site": "A", "invalid": INVALID | {"site_member": "site"},
}  # fmt: skip


def test_the_public_beacons_are_two_operators_with_their_source() -> None:
    beacons = read_beacons(PUBLIC_BEACONS)
    assert len({one.operator for one in beacons if one.kind is BeaconKind.PAIR}) >= 2
    assert all(one.source.startswith("https://") for one in beacons)


@pytest.mark.parametrize(
    "document",
    [
        "{",
        {"beacons": [PAIR, PAIR]},
        {"beacons": [PAIR | {"valid": None}]},
        {"beacons": [PAIR | {"other": 1}]},
        {"beacons": [PAIR | {"invalid": INVALID | {"url": "ftp://i.example/"}}]},
        {"beacons": [COVER | {"valid_site": None}]},
        {"beacons": [COVER | {"valid": VALID}]},
        {"beacons": [COVER | {"invalid": INVALID}]},
        {"beacons": [PAIR | {"last_verified": "recently"}]},
    ],
)
def test_a_file_that_is_wrong_is_refused_by_name(tmp_path: Path, document: Any) -> None:
    path = tmp_path / "beacons.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    with pytest.raises(ConfigError, match=r"beacons\.json"):
        read_beacons(path)


def problem(asn_of_valid: int, asn_of_invalid: int, invalid_address: str = "198.51.100.7") -> str | None:
    roas = [
        {"asn": asn_of_valid, "prefix": "192.0.2.0/24", "maxLength": 24},
        {"asn": asn_of_invalid, "prefix": "198.51.100.0/24", "maxLength": 24},
    ]
    vrps = parse_vrps(json.dumps({"roas": roas}).encode(), NOW, NOW)
    return Beacon.model_validate(PAIR).route_problem(vrps, "192.0.2.1", invalid_address)


def test_a_beacon_counts_only_while_its_routes_are_in_the_states_they_should_be_in() -> None:
    assert problem(64500, 0) is None
    assert problem(64500, 64500) == "198.51.100.0/24 of AS64500 is valid, should be invalid"
    assert problem(64501, 0) == "192.0.2.0/24 of AS64500 is invalid, should be valid"
    assert problem(64500, 0, "203.0.113.1") == "203.0.113.1 is in none of its listed prefixes"
