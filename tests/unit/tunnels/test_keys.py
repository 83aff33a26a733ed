"""Which of a tunnel's two keys is in use, by its files."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from appliance.config import WireGuardConfig
from appliance.tunnels.keys import BadKeyFile, Slot, SlotNote, active_slot, slot_note, slot_note_file


def configured(directory: Path, *second: str) -> WireGuardConfig:
    document = {
        "interface": "wg-ams",
        "private_key_file": str(directory / "ams.key"),
        "public_key": base64.b64encode(bytes(32)).decode(),
        "endpoint": "198.51.100.1:51820",
        "listen_port": 51900,
        "addresses": ["10.77.0.2/32"],
        "second_addresses": list(second),
        "peer_addresses": ["10.77.0.1"],
    }
    return WireGuardConfig.model_validate(document)


def test_the_first_is_in_use_until_another_is_noted(tmp_path: Path) -> None:
    config = configured(tmp_path, "10.77.0.3/32")
    assert active_slot(config) is Slot.FIRST
    for slot in (Slot.SECOND, Slot.FIRST):
        slot_note_file(config).write_text(f"{slot}\n")
        assert active_slot(config) is slot
    assert Slot.SECOND.addresses(config) == config.second_addresses
    assert {slot.file(config.private_key_file).name for slot in Slot} == {"ams.key", "ams.key.second"}
    assert all(slot.other.other is slot for slot in Slot)


def test_a_note_tells_whether_the_idle_key_was_in_use(tmp_path: Path) -> None:
    config = configured(tmp_path, "10.77.0.3/32")
    for note in (SlotNote(slot, former) for slot in Slot for former in (False, True)):
        slot_note_file(config).write_text(note.text)
        assert slot_note(config) == note
    for wrong in ("second\nsecond was in use", "first\nsecond", "first\nsecond was in use\n1"):
        slot_note_file(config).write_text(wrong)
        with pytest.raises(BadKeyFile, match="which slot is active"):
            slot_note(config)


def test_a_note_that_cannot_be_followed_is_refused(tmp_path: Path) -> None:
    config = configured(tmp_path)
    slot_note_file(config).write_text("third")
    with pytest.raises(BadKeyFile, match="which slot is active"):
        active_slot(config)
    slot_note_file(config).write_text("second")
    with pytest.raises(BadKeyFile, match="second_addresses: required"):
        active_slot(config)
