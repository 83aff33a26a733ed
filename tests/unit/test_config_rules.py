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


def _table(written: dict[str, Any], index: int, key: str) -> dict[str, Any]:
    perspective: dict[str, Any] = written["perspectives"][index]
    table: dict[str, Any] = perspective["wireguard"] if "." in key else perspective
    return table
