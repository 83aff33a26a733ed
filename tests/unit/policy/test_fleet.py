"""Each configured place is held against its country, whatever it is the place of; an override is recorded."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console
from typer.testing import CliRunner

from appliance.cli import configuration
from appliance.cli import perspectives as perspectives_command
from appliance.cli.context import Invocation
from appliance.config import Settings
from appliance.coordinator.records import perspective_set_event
from appliance.errors import ConfigError
from appliance.evidence.record import Actor, EventRecord, PerspectiveSet, decode, encode
from appliance.model.place import Place
from appliance.model.status import Neighbour, PerspectiveSetReport, PolicyStatus, SiteStatus
from appliance.policy.br_table import ROWS
from appliance.policy.fleet import fleet_from, place_findings
from tests.lab.appliance_files import toml
from tests.unit.coordinator.configuration import document

CHICAGO = {"city": "Chicago", "country": "IL", "latitude": 41.88, "longitude": -87.63}
BONN = {"city": "Bonn", "country": "NL", "latitude": 50.5, "longitude": 8.7, "country_override": "wrong border data"}
KEYS = ["primary.place", "perspectives.2.place", "remote_perspectives.0.place", "place_anchors.0.place"]


def _with(directory: Path, key: str, place: dict[str, Any]) -> dict[str, Any]:
    """The valid document with a remote perspective and an anchor, and `place` at `key`."""
    changed = document(directory)
    good = {"city": "Oslo", "country": "NO", "latitude": 59.9, "longitude": 10.7}
    remote = {
        "code": "osl",
        "place": good,
        "provider": "partner",
        "upstreams": [64500],
        "origin_asn": 64501,
        "egress_addresses": ["198.51.100.77"],
        "url": "https://192.0.2.1/perspectives/osl",
    }
    files = dict.fromkeys(("certificate_file", "private_key_file", "ca_file"), "/nowhere")
    changed["remote_perspectives"] = [remote | files]
    anchor = {"name": "anchor", "address": "203.0.113.7", "public_key": f"{'A' * 43}=", "place": good}
    changed["place_anchors"] = [anchor]
    at: Any = changed
    *path, last = key.split(".")
    for part in path:
        at = at[int(part) if part.isdigit() else part]
    at[last] = place
    return changed


@pytest.mark.parametrize("key", KEYS)
def test_every_place_is_held_against_its_country(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        fleet_from(Settings.model_validate(_with(tmp_path, key, CHICAGO)))
    (problem,) = caught.value.problems
    assert problem.startswith(f"{key}.country: latitude 41.88, longitude -87.63 lies in US (United States of America)")
    settings = Settings.model_validate(_with(tmp_path, key, BONN))
    fleet_from(settings)
    problems, (warning,) = place_findings(settings)
    assert problems == []
    assert warning.startswith(f"{key}.country: ")
    assert warning.endswith("country_override: wrong border data")


@pytest.mark.parametrize("reason", ["", "too short", "x" * 201, "with a\nline feed"])
def test_a_reason_is_a_line_of_words(tmp_path: Path, reason: str) -> None:
    with pytest.raises(ValueError, match="country_override"):
        Settings.model_validate(_with(tmp_path, "primary.place", BONN | {"country_override": reason}))


@pytest.mark.parametrize(
    ("place", "code"), [(CHICAGO, 1), (CHICAGO | {"country_override": "a try of it"}, 1), (BONN, 0)]
)
def test_config_check_says_so(tmp_path: Path, place: dict[str, Any], code: int) -> None:
    (tmp_path / "root.ds").write_text("")
    changed = _with(tmp_path, "place_anchors.0.place", place)
    changed["resolver"]["trust_anchor_file"] = str(tmp_path / "root.ds")
    for perspective in changed["perspectives"]:
        file = tmp_path / f"{perspective['code']}.key"
        os.close(os.open(file, os.O_CREAT, 0o600))
        perspective["wireguard"]["private_key_file"] = str(file)
    path = tmp_path / "appliance.toml"
    path.write_text(toml(changed))
    done = CliRunner().invoke(configuration.app, ["check", "--json"], obj=Invocation(path, None))
    told = json.loads(done.stdout)
    assert (done.exit_code, told["ok"]) == (code, code == 0), told
    lines = told["warnings"] if code == 0 else told["problems"]
    assert any("place_anchors.0.place.country: " in line for line in lines)


def test_an_override_is_recorded_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = fleet_from(Settings.model_validate(_with(tmp_path, "perspectives.2.place", BONN)))
    event = perspective_set_event(fleet, Actor(0, "root"), time="2026-12-20T12:00:00.000000Z")
    stored = encode(event)
    record = decode(stored)
    assert isinstance(record, EventRecord)
    recorded = record.perspective_set
    assert isinstance(recorded, PerspectiveSet)
    assert recorded.remotes[2].place.country_override == "wrong border data"
    assert stored.count(b"country_override") == 1, "other places have the bytes that they had before there was one"
    site = SiteStatus(
        code="tyo", primary=False, place=recorded.remotes[2].place, rir=recorded.remotes[2].rir, provider="", upstreams=(),
        origin_asn=None, nearest=Neighbour("hq", 2_000_000),
    )  # fmt: skip
    policy = PolicyStatus("2.2.6", "3.2.2.9", "2026-11-22", ROWS[0], (), None, ())
    output = Console(record=True, width=200, file=io.StringIO())
    monkeypatch.setattr(perspectives_command, "console", lambda: output)
    perspectives_command._show(PerspectiveSetReport((site,), (), (), (), policy, ()))
    assert "tyo: not in NL by its coordinates; country_override: wrong border data" in output.export_text()


def test_a_place_of_an_older_record_reads_and_writes_as_before() -> None:
    old = b'{"city":"Amsterdam","country":"NL","latitude_udeg":52370000,"longitude_udeg":4900000}'
    assert msgspec.json.encode(msgspec.json.decode(old, type=Place)) == old
