"""Which remotes a request that asks for fewer than all gets: keyed by a secret, fixed per domain, blind to health."""

from __future__ import annotations

import hmac
import os
import secrets
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from appliance.errors import ConfigError
from appliance.linux.files import write_atomically
from appliance.model.identifier import Identifier
from appliance.model.place import Rir, Site

_SECRET_BYTES = 32


def choose(remotes: Sequence[Site], count: int, identifier: Identifier, secret: bytes) -> tuple[Site, ...]:
    """`count` of `remotes`, in their order. The same for one identifier, whatever is up or down (specification 3.5.0).

    Nobody without `secret` can predict the set. Regions take turns, so that the set spans as many RIR regions as it can
    (BR 3.2.2.9 asks for two among those that corroborate).
    """
    if count >= len(remotes):
        return tuple(remotes)
    waiting = sorted(remotes, key=lambda site: _rank(site.code, identifier, secret))
    taken: Counter[Rir] = Counter()
    chosen: set[str] = set()
    while len(chosen) < count:
        # min() keeps the keyed order among sites whose regions were used equally often.
        site = min((one for one in waiting if one.code not in chosen), key=lambda one: taken[one.rir])
        taken[site.rir] += 1
        chosen.add(site.code)
    return tuple(site for site in remotes if site.code in chosen)


def _rank(code: str, identifier: Identifier, secret: bytes) -> bytes:
    return hmac.digest(secret, f"{identifier.type}\0{identifier.value}\0{code}".encode(), "sha256")


def load_secret(path: Path) -> bytes:
    """The secret in `path`, made at first use with mode 0600. Raises `ConfigError` where it cannot be kept secret or read."""
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from error
    try:
        return _make(path)
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from error


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise ConfigError([f"{path}: others than its owner may use it; mode 0600 is asked for"])
        secret = file.read(_SECRET_BYTES + 1)
    if len(secret) != _SECRET_BYTES:
        raise ConfigError([f"{path}: not a secret of {_SECRET_BYTES} bytes"])
    return secret


def _make(path: Path) -> bytes:
    """Complete under another name first: a crash in between must not leave an empty secret."""
    secret = secrets.token_bytes(_SECRET_BYTES)
    write_atomically(path, secret, mode=0o600, durable=True)
    return secret
