"""A configuration that is unknown or contradictory is refused with file, key and rule."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from appliance.config import load
from appliance.errors import ConfigError
from tests.lab.appliance_files import toml
from tests.unit.coordinator.configuration import document


def refused(tmp_path: Path, changed: dict[str, Any]) -> list[str]:
    path = tmp_path / "appliance.toml"
    path.write_text(toml(changed))
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert all(line.startswith(f"{path}: ") for line in caught.value.problems)
    return [line.removeprefix(f"{path}: ") for line in caught.value.problems]


def with_second(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    """The valid document, its second perspective changed; `wireguard` is merged."""
    changed = copy.deepcopy(document(tmp_path))
    second = changed["perspectives"][1]
    second["wireguard"] |= changes.pop("wireguard", {})
    second |= changes
    return changed


def test_the_document_that_the_others_change_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "appliance.toml"
    path.write_text(toml(document(tmp_path)))
    assert load(path).perspectives[0].code == document(tmp_path)["perspectives"][0]["code"]


def test_unknown_keys_at_every_depth(tmp_path: Path) -> None:
    assert refused(tmp_path, document(tmp_path) | {"surprise": 1}) == ["surprise: Extra inputs are not permitted"]
    assert refused(tmp_path, with_second(tmp_path, surprise=1)) == [
        "perspectives.1.surprise: Extra inputs are not permitted"
    ]
    assert refused(tmp_path, with_second(tmp_path, wireguard={"surprise": 1})) == [
        "perspectives.1.wireguard.surprise: Extra inputs are not permitted"
    ]


@pytest.mark.parametrize("key", ["code", "netns", "egress_addresses"])
def test_what_no_two_perspectives_may_share(tmp_path: Path, key: str) -> None:
    first = document(tmp_path)["perspectives"][0]
    lines = refused(tmp_path, with_second(tmp_path, **{key: first[key]}))
    assert lines
    assert all(line.startswith(f"perspectives.1.{key}: ") and first["code"] in line for line in lines)


@pytest.mark.parametrize("key", ["interface", "listen_port", "private_key_file", "public_key", "endpoint", "addresses"])
def test_what_no_two_tunnels_may_share(tmp_path: Path, key: str) -> None:
    first = document(tmp_path)["perspectives"][0]
    lines = refused(tmp_path, with_second(tmp_path, wireguard={key: first["wireguard"][key]}))
    assert lines
    assert all(line.startswith(f"perspectives.1.wireguard.{key}: ") and first["code"] in line for line in lines)


def test_an_interface_name_of_16_characters(tmp_path: Path) -> None:
    lines = refused(tmp_path, with_second(tmp_path, wireguard={"interface": "w" * 16}))
    assert [line.split(":")[0] for line in lines] == ["perspectives.1.wireguard.interface"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("egress_addresses", ["2001:db8::77"]), ("place", {"city": "X", "country": "NL", "latitude": 91, "longitude": 0})],
)
def test_a_value_that_breaks_its_own_rule(tmp_path: Path, key: str, value: object) -> None:
    assert any(
        line.startswith(f"perspectives.1.{key}") for line in refused(tmp_path, with_second(tmp_path, **{key: value}))
    )


def test_each_anchor_has_its_own_name_and_key(tmp_path: Path) -> None:
    echo = {"address": "198.51.100.9", "public_key": "A" * 43 + "="}
    place = document(tmp_path)["primary"]["place"]
    changed = with_second(tmp_path, echo=echo)
    taken = changed["perspectives"][1]["code"]
    changed["place_anchors"] = [echo | {"name": taken, "place": place}]
    assert refused(tmp_path, changed) == [
        f"place_anchors.0.name: {taken} is already taken",
        "place_anchors.0.public_key: is already that of perspectives.1.echo",
    ]


def test_no_toml_and_no_file(tmp_path: Path) -> None:
    path = tmp_path / "appliance.toml"
    with pytest.raises(ConfigError, match="No such file"):
        load(path)
    path.write_text("= nothing")
    with pytest.raises(ConfigError, match="not TOML"):
        load(path)


def test_the_environment_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "appliance.toml"
    path.write_text(toml(document(tmp_path)))
    before = load(path)
    for name in ("LIMITS", "CAA", "PRIMARY", "STATE_DIRECTORY", "TARGETS"):
        monkeypatch.setenv(name, '{"check_s": 1}')
    assert load(path) == before
