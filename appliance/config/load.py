"""Reads `appliance.toml` into `Settings`, or says which file, key and rule is wrong."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import ValidationError

from appliance.config.rules import problems
from appliance.config.schema import Settings
from appliance.errors import ConfigError

DEFAULT_PATH = Path("/etc/mpic/appliance.toml")


def load(path: Path = DEFAULT_PATH) -> Settings:
    """The settings in `path`. Raises `ConfigError` with one line for each problem: `file: key: rule`."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: not TOML: {error}"]) from error
    try:
        settings = Settings.model_validate(document)
    except ValidationError as error:
        raise ConfigError([_line(path, detail["loc"], detail["msg"]) for detail in error.errors()]) from error
    found = problems(settings)
    if found:
        raise ConfigError([f"{path}: {line}" for line in found])
    return settings


def _line(path: Path, location: tuple[int | str, ...], message: str) -> str:
    key = ".".join(str(part) for part in location) or "(whole file)"
    return f"{path}: {key}: {message}"
