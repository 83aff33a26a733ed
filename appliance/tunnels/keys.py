"""Private and preshared keys, in files that only root may read: one of two slots is active, the other idle.

The first slot's files are the configured ones; the second's have `.second` after their names. `.slot` after the private key
file's name tells which is active, and whether what lies in the idle one was in use: such a key is only to be removed.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from appliance.config import Settings, WireGuardConfig
from appliance.config.schema import IpInterface
from appliance.errors import ApplianceError, ConfigError

_WAS_IN_USE = " was in use"


class Slot(StrEnum):
    """One of the two keys of a tunnel."""

    FIRST = "first"
    SECOND = "second"

    @property
    def other(self) -> Slot:
        """The idle one where this is active."""
        return Slot.SECOND if self is Slot.FIRST else Slot.FIRST

    def file(self, configured: Path) -> Path:
        """This slot's file, from the configured one."""
        return configured if self is Slot.FIRST else configured.with_name(f"{configured.name}.second")

    def addresses(self, config: WireGuardConfig) -> tuple[IpInterface, ...]:
        """This slot's inner addresses."""
        return config.addresses if self is Slot.FIRST else config.second_addresses


@dataclass(frozen=True, slots=True)
class Keys:
    """The secrets of one tunnel, base64, and the slot that they are of."""

    private: str = field(repr=False)
    preshared: str | None = field(repr=False)
    slot: Slot = Slot.FIRST


class BadKeyFile(ApplianceError):
    """The rule that a key file breaks."""


def read_keys(settings: Settings, config_file: Path) -> dict[str, Keys]:
    """The keys by perspective code. Raises `ConfigError` with `file: key: rule` for each that is absent or not safe."""
    found: dict[str, Keys] = {}
    problems: list[str] = []
    for index, perspective in enumerate(settings.perspectives):
        where = f"{config_file}: perspectives.{index}.wireguard"
        config = perspective.wireguard
        try:
            found[perspective.code] = keys_in(config, active_slot(config))
        except BadKeyFile as bad:
            problems.append(f"{where}.{bad}")
    problems.extend(f"{config_file}: {line}" for line in _shared(found, settings))
    if problems:
        raise ConfigError(problems)
    return found


@dataclass(frozen=True, slots=True)
class SlotNote:
    """The slot in use; `former`: the keys that lie in the other were in use before."""

    active: Slot
    former: bool = False

    @property
    def text(self) -> str:
        """The file's content."""
        return f"{self.active}\n" + (f"{self.active.other}{_WAS_IN_USE}\n" if self.former else "")


def active_slot(config: WireGuardConfig) -> Slot:
    """The slot in use. Raises `BadKeyFile`."""
    return slot_note(config).active


def slot_note(config: WireGuardConfig) -> SlotNote:
    """What is noted of the slots; the first is in use where nothing is. Raises `BadKeyFile`."""
    path = slot_note_file(config)
    try:
        text = path.read_text(encoding="ascii").strip()
        name, former, line = text.partition("\n")
        note = SlotNote(Slot(name), bool(former))
        if former and line != f"{note.active.other}{_WAS_IN_USE}":
            raise ValueError(line)
    except FileNotFoundError:
        return SlotNote(Slot.FIRST)
    except (OSError, ValueError) as error:
        raise BadKeyFile(f"private_key_file: {path}: must say which slot is active: {error}") from error
    if note.active is Slot.SECOND and not config.second_addresses:
        raise BadKeyFile("second_addresses: required, for the key of the second slot is active")
    return note


def slot_note_file(config: WireGuardConfig) -> Path:
    """The file of `slot_note`."""
    return config.private_key_file.with_name(f"{config.private_key_file.name}.slot")


def keys_in(config: WireGuardConfig, slot: Slot) -> Keys:
    """What the files of `slot` hold. Raises `BadKeyFile`."""
    preshared = config.preshared_key_file
    return Keys(
        clamped(_checked("private_key_file", slot.file(config.private_key_file))),
        None if preshared is None else _checked("preshared_key_file", slot.file(preshared)),
        slot,
    )


def _checked(key: str, path: Path) -> str:
    try:
        return _read(path)
    except BadKeyFile as bad:
        raise BadKeyFile(f"{key}: {path}: {bad}") from bad


def clamped(private_key: str) -> str:
    """The key as every backend shows it: a Curve25519 scalar with its fixed bits set (RFC 7748 section 5)."""
    scalar = bytearray(base64.b64decode(private_key))
    scalar[0] &= 248
    scalar[31] = scalar[31] & 127 | 64
    return base64.b64encode(scalar).decode()


def _shared(keys: dict[str, Keys], settings: Settings) -> Iterator[str]:
    owners: dict[str, str] = {}
    for index, perspective in enumerate(settings.perspectives):
        if perspective.code not in keys:
            continue
        other = owners.setdefault(keys[perspective.code].private, perspective.code)
        if other != perspective.code:
            yield f"perspectives.{index}.wireguard.private_key_file: holds the key of {other}; each tunnel needs its own"


def _read(path: Path) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise BadKeyFile(error.strerror) from error
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise BadKeyFile("must be a regular file")
        if stat.S_IMODE(found.st_mode) & 0o177:
            raise BadKeyFile(f"must have mode 0600, has {stat.S_IMODE(found.st_mode):04o}")
        if found.st_uid != 0:
            raise BadKeyFile(f"must belong to root, belongs to user {found.st_uid}")
        content = file.read(256)
    try:
        text = content.decode("ascii").strip()
        if len(base64.b64decode(text, validate=True)) != 32:
            raise BadKeyFile("must hold one key of 32 octets in base64")
    except (UnicodeDecodeError, binascii.Error) as error:
        raise BadKeyFile("must hold one key in base64") from error
    return text
