"""Commands and sysctls."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

from egress.errors import CommandFailed

_LIMIT_S = 10


def run(*command: str, stdin: str = "", limit_s: float = _LIMIT_S) -> str:
    """Runs `command` and gives its standard output; secrets go through `stdin`. Raises `CommandFailed`."""
    shown = shlex.join(command)
    try:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
            env=os.environ | {"LC_ALL": "C"},
            # What runs with fewer privileges may not be able to enter the directory that the operator is in.
            cwd="/",
        )
    except OSError as error:
        raise CommandFailed(f"{shown}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"{shown}: no end after {limit_s:g} s") from error
    if done.returncode != 0:
        text = done.stderr.strip().replace("\n", "; ")
        raise CommandFailed(f"{shown}: exit status {done.returncode}: {text}")
    return done.stdout


def ip_json(*arguments: str) -> list[dict[str, Any]]:
    """What `ip -j ARGUMENTS` shows; nothing where it finds no such interface."""
    try:
        text = run("ip", "-j", *arguments)
    except CommandFailed:
        return []
    rows: list[dict[str, Any]] = json.loads(text or "[]")
    return [row for row in rows if row]


def sysctl(key: str) -> str | None:
    """The value of `key` (a path under /proc/sys); None where the kernel has none such."""
    try:
        return " ".join((Path("/proc/sys") / key).read_text(encoding="ascii").split())
    except FileNotFoundError:
        return None


def set_sysctl(key: str, value: str) -> None:
    """Sets `key`. Raises `CommandFailed`."""
    try:
        (Path("/proc/sys") / key).write_text(value, encoding="ascii")
    except OSError as error:
        raise CommandFailed(f"sysctl {key}={value}: {error.strerror}") from error
