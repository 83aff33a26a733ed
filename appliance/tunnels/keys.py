"""Private and preshared keys, read once at start from files that only root may read."""

from __future__ import annotations

import base64
import binascii
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from appliance.config import Settings
from appliance.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Keys:
    """The secrets of one tunnel, base64."""

    private: str = field(repr=False)
    preshared: str | None = field(repr=False)


class _BadKeyFile(Exception):
    """The rule that a key file breaks."""


def read_keys(settings: Settings, config_file: Path) -> dict[str, Keys]:
    """The keys by perspective code. Raises `ConfigError` with `file: key: rule` for each that is absent or not safe."""
    found: dict[str, Keys] = {}
    problems: list[str] = []
    for index, perspective in enumerate(settings.perspectives):
        where = f"{config_file}: perspectives.{index}.wireguard"
        config = perspective.wireguard
        read: list[str | None] = []
        for name, path in (
            ("private_key_file", config.private_key_file),
            ("preshared_key_file", config.preshared_key_file),
        ):
            try:
                read.append(None if path is None else _read(path))
            except _BadKeyFile as bad:
                problems.append(f"{where}.{name}: {path}: {bad}")
        if len(read) == 2 and read[0] is not None:
            found[perspective.code] = Keys(clamped(read[0]), read[1])
    problems.extend(f"{config_file}: {line}" for line in _shared(found, settings))
    if problems:
        raise ConfigError(problems)
    return found


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
        raise _BadKeyFile(error.strerror) from error
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise _BadKeyFile("must be a regular file")
        if stat.S_IMODE(found.st_mode) & 0o177:
            raise _BadKeyFile(f"must have mode 0600, has {stat.S_IMODE(found.st_mode):04o}")
        if found.st_uid != 0:
            raise _BadKeyFile(f"must belong to root, belongs to user {found.st_uid}")
        content = file.read(256)
    try:
        text = content.decode("ascii").strip()
        if len(base64.b64decode(text, validate=True)) != 32:
            raise _BadKeyFile("must hold one key of 32 octets in base64")
    except (UnicodeDecodeError, binascii.Error) as error:
        raise _BadKeyFile("must hold one key in base64") from error
    return text
