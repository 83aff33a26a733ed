"""What two perspectives may not have in common: each of these would make two of them one, or let one take the other's packets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from appliance.config import Settings
from appliance.config.rules import problems
from tests.unit.coordinator.configuration import document


def test_the_whole_is_taken(tmp_path: Path) -> None:
    assert problems(Settings.model_validate(document(tmp_path))) == []


@pytest.mark.parametrize(
    "key",
    [
        "code",
        "netns",
        "egress_addresses",
        "wireguard.interface",
        "wireguard.listen_port",
        "wireguard.private_key_file",
        "wireguard.public_key",
        "wireguard.endpoint",
        "wireguard.addresses",
    ],
)
def test_what_two_perspectives_may_not_share(tmp_path: Path, key: str) -> None:
    written = document(tmp_path)
    one, other = (_table(written, index, key) for index in (0, 1))
    name = key.rpartition(".")[2]
    other[name] = one[name]
    (found,) = problems(Settings.model_validate(written))
    assert found.startswith(f"perspectives.1.{key}: ")
    assert found.endswith(f"is already that of {written['perspectives'][0]['code']}")


@pytest.mark.parametrize("owner", [0, 1])
def test_the_second_slots_addresses_are_nobody_elses(tmp_path: Path, owner: int) -> None:
    written = document(tmp_path)
    tunnel = written["perspectives"][1]["wireguard"]
    tunnel["second_addresses"] = ["10.77.1.3/32"]
    assert problems(Settings.model_validate(written)) == []
    tunnel["second_addresses"] = written["perspectives"][owner]["wireguard"]["addresses"]
    (found,) = problems(Settings.model_validate(written))
    assert found.startswith("perspectives.1.wireguard.second_addresses: ")
    assert found.endswith(f"is already that of {written['perspectives'][owner]['code']}")


def test_the_second_slots_addresses_are_of_the_same_families(tmp_path: Path) -> None:
    written = document(tmp_path)
    written["perspectives"][1]["wireguard"]["second_addresses"] = ["fd77::3/128"]
    (found,) = problems(Settings.model_validate(written))
    assert "second_addresses: must be of the same families" in found


def _table(written: dict[str, Any], index: int, key: str) -> dict[str, Any]:
    perspective: dict[str, Any] = written["perspectives"][index]
    table: dict[str, Any] = perspective["wireguard"] if "." in key else perspective
    return table


def test_an_anchor_s_authorities_need_https_and_are_the_same_for_the_same_url(tmp_path: Path) -> None:
    written = document(tmp_path)
    ours, theirs = {"ca_file": "/etc/mpic/ours.pem"}, {"ca_file": "/etc/mpic/theirs.pem"}
    written["anchors"] = [{"url": "https://a.example/"} | ours, {"url": "http://b.example/"}]
    assert problems(Settings.model_validate(written)) == []
    written["anchors"] = [{"url": "http://a.example/"} | ours]
    (found,) = problems(Settings.model_validate(written))
    assert found.startswith("anchors.0.ca_file: only with an https:// url")
    written["anchors"] = [{"url": "https://a.example/"} | ours, {"url": "https://a.example/"} | theirs]
    (found,) = problems(Settings.model_validate(written))
    assert found.startswith("anchors.1.ca_file: differs")
