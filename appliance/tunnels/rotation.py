"""Key rotation on the appliance's side: made where they are used, never shown but for the public half.

An operator's steps: `prepare` fills the idle slot, the egress node is told to accept it beside the other, `activate`
changes over, `retire` removes the key that is idle from then on.
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
from appliance.linux.files import write_atomically
from appliance.model.keys import KeyState
from appliance.tunnels.desired import desired_tunnel
from appliance.tunnels.keeper import Keeper
from appliance.tunnels.keys import Slot, active_slot, keys_in, slot_note

_HANDSHAKE_S = 10.0
_KEY_OCTETS = 32


class RotationRefused(ApplianceError):
    """This step cannot be taken now; the text says what to do."""


class Rotation:
    """The steps, one at a time. `keepers`: by perspective code."""

    def __init__(self, settings: Settings, keepers: Mapping[str, Keeper]) -> None:
        self._settings = settings
        self._keepers = keepers
        self._configs = {perspective.code: perspective.wireguard for perspective in settings.perspectives}
        self._one_at_a_time = asyncio.Lock()

    async def prepare(self, code: str) -> KeyState:
        """Makes the keys of the idle slot, where there are none. Raises `RotationRefused`, `BadKeyFile`, `OSError`."""
        async with self._one_at_a_time:
            config = self._config(code)
            idle = active_slot(config).other
            path = idle.file(config.private_key_file)
            if not path.exists():
                _make(path, X25519PrivateKey.generate().private_bytes_raw())
            if config.preshared_key_file is not None and not idle.file(config.preshared_key_file).exists():
                _make(idle.file(config.preshared_key_file), secrets.token_bytes(_KEY_OCTETS))
            return self._state(code, idle)

    async def activate(self, code: str) -> KeyState:
        """Changes over to the idle slot; what was under way in this tunnel is lost, so it is to be drained before.

        Where the egress node does not answer, all is as before. Raises `RotationRefused`, `Unanswered`, `BadKeyFile`, `OSError`.
        """
        async with self._one_at_a_time:
            config = self._config(code)
            idle = active_slot(config).other
            if not idle.file(config.private_key_file).exists():
                raise RotationRefused(f"{code}: no key is prepared; run mpicctl keys prepare {code}")
            await self._keepers[code].change(desired_tunnel(self._settings, code, keys_in(config, idle)), _HANDSHAKE_S)
            write_atomically(slot_note(config), f"{idle}\n".encode(), mode=0o600, durable=True)
            return self._state(code, idle)

    async def retire(self, code: str) -> KeyState:
        """Removes the keys of the idle slot; none there is fine. Raises `RotationRefused`, `BadKeyFile`, `OSError`."""
        async with self._one_at_a_time:
            config = self._config(code)
            active = active_slot(config)
            for configured in (config.private_key_file, config.preshared_key_file):
                if configured is not None:
                    active.other.file(configured).unlink(missing_ok=True)
            return self._state(code, active)

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


def _make(path: Path, key: bytes) -> None:
    write_atomically(path, base64.b64encode(key) + b"\n", mode=0o600, durable=True)
    os.chown(path, 0, 0)
