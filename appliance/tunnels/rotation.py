"""Key rotation on the appliance's side: made where they are used, never shown but for the public half.

An operator's steps: `prepare` fills the idle slot, the egress node is told to accept it beside the other, `activate`
changes over, `retire` removes the key that is idle from then on. Each can be taken again, after whatever came between: they only
go forward, for the note of the slots tells a key that was in use from one that is to be.
"""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from appliance.config import Settings, WireGuardConfig
from appliance.errors import ApplianceError
from appliance.linux.files import remove_durably, write_atomically
from appliance.model.keys import KeyState
from appliance.tunnels.desired import desired_tunnel
from appliance.tunnels.keeper import Keeper
from appliance.tunnels.keys import Slot, SlotNote, active_slot, keys_in, slot_note, slot_note_file

_HANDSHAKE_S = 10.0
_KEY_OCTETS = 32


class RotationRefused(ApplianceError):
    """This step cannot be taken now; the text says what to do."""


class RetireDue(RotationRefused):
    """A key that was in use is to be removed before another is made."""


class Rotation:
    """The steps, one at a time. `keepers`: by perspective code."""

    def __init__(self, settings: Settings, keepers: Mapping[str, Keeper]) -> None:
        self._settings = settings
        self._keepers = keepers
        self._configs = {perspective.code: perspective.wireguard for perspective in settings.perspectives}
        # Where the tunnel goes by the idle slot's keys, for the change could not be noted.
        self._not_noted: set[str] = set()
        self._one_at_a_time = asyncio.Lock()

    async def prepare(self, code: str) -> KeyState:
        """Makes the keys of the idle slot, where there are none.

        Raises `RetireDue` where one that was in use lies there, `RotationRefused`, `BadKeyFile`, `OSError`.
        """
        async with self._one_at_a_time:
            config = self._config(code)
            note = slot_note(config)
            idle = note.active.other
            if note.former:
                if any(path.exists() for path in _files(config, idle)):
                    raise RetireDue(
                        f"{code}: the key in use is the new one, and the former is still there; run mpicctl keys retire {code}"
                    )
                _write(config, SlotNote(note.active))
            private, *preshared = _files(config, idle)
            if not private.exists():
                _make(private, X25519PrivateKey.generate().private_bytes_raw())
            for path in preshared:
                if not path.exists():
                    _make(path, secrets.token_bytes(_KEY_OCTETS))
            return self._state(code, idle)

    async def activate(self, code: str, *, former: bool = False) -> KeyState:
        """Changes over to the idle slot; what was under way in this tunnel is lost, so it is to be drained before.

        Where the key there was in use before, nothing is left to do, unless `former` asks for the way back to it.
        Where the egress node does not answer, all is as before. Raises `RotationRefused`, `Unanswered`, `BadKeyFile`, `OSError`.
        """
        async with self._one_at_a_time:
            config = self._config(code)
            note = slot_note(config)
            idle = note.active.other
            if former and not note.former:
                raise RotationRefused(f"{code}: there is no former key to go back to")
            if note.former and not former and code not in self._not_noted:
                return self._state(code, note.active)
            if not idle.file(config.private_key_file).exists():
                raise RotationRefused(f"{code}: no key is prepared; run mpicctl keys prepare {code}")
            if code not in self._not_noted:
                desired = desired_tunnel(self._settings, code, keys_in(config, idle))
                await self._keepers[code].change(desired, _HANDSHAKE_S)
                self._not_noted.add(code)
            _write(config, SlotNote(idle, former=True))
            self._not_noted.discard(code)
            return self._state(code, idle)

    async def retire(self, code: str) -> KeyState:
        """Removes the keys of the idle slot; none there is fine. Raises `RotationRefused`, `BadKeyFile`, `OSError`."""
        async with self._one_at_a_time:
            config = self._config(code)
            note = slot_note(config)
            if code in self._not_noted:
                raise RotationRefused(
                    f"{code}: the change is not noted on disk; run mpicctl keys activate {code} again"
                )
            for path in _files(config, note.active.other):
                remove_durably(path)
            if note.former:
                _write(config, SlotNote(note.active))
            return self._state(code, note.active)

    def _config(self, code: str) -> WireGuardConfig:
        config = self._configs.get(code)
        if config is None:
            raise RotationRefused(f"{code} has no tunnel; there are {', '.join(self._configs)}")
        if not config.second_addresses:
            raise RotationRefused(f"{code}: perspectives.wireguard.second_addresses is not configured")
        return config

    def _state(self, code: str, slot: Slot) -> KeyState:
        """What of `slot` may be shown."""
        config = self._configs[code]
        private = X25519PrivateKey.from_private_bytes(base64.b64decode(keys_in(config, slot).private))
        preshared = config.preshared_key_file
        return KeyState(
            perspective=code,
            slot=slot.value,
            active=active_slot(config) is slot,
            public_key=base64.b64encode(private.public_key().public_bytes_raw()).decode(),
            addresses=tuple(str(interface.ip) for interface in slot.addresses(config)),
            preshared_key_file=None if preshared is None else str(slot.file(preshared)),
        )


def _files(config: WireGuardConfig, slot: Slot) -> list[Path]:
    """Where the keys of `slot` are or are to be, the private one first."""
    return [slot.file(path) for path in (config.private_key_file, config.preshared_key_file) if path is not None]


def _write(config: WireGuardConfig, note: SlotNote) -> None:
    write_atomically(slot_note_file(config), note.text.encode(), mode=0o600, durable=True)


def _make(path: Path, key: bytes) -> None:
    write_atomically(path, base64.b64encode(key) + b"\n", mode=0o600, durable=True)
    os.chown(path, 0, 0)
