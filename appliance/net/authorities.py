"""The files of certificates that may vouch for a server (`ca_file`)."""

from __future__ import annotations

import ssl
from pathlib import Path

from appliance.errors import ConfigError

MAX_BYTES = 1 << 20
"""Every root of the Web's PKI together takes a quarter of this."""


def read_authorities(path: Path, key: str) -> str:
    """Return the PEM certificates in `path`. `key` names the setting in errors.

    Raises `ConfigError` if the file cannot be read, is larger than `MAX_BYTES`, or holds no certificate.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError([f"{key}: {path}: {error.strerror}"]) from error
    if len(content) > MAX_BYTES:
        raise ConfigError([f"{key}: {path}: more than {MAX_BYTES} bytes"])
    try:
        text = content.decode("ascii", "ignore")  # comments between certificates may be in any language
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ValueError, ssl.SSLError) as error:
        raise ConfigError([f"{key}: {path}: must hold CA certificates as PEM"]) from error
    return text
