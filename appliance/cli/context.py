"""What every command is given: where the configuration is, and how to print."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from appliance.cli.client import Coordinator
from appliance.config import load

Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, for machines.")]


@dataclass(frozen=True, slots=True)
class Invocation:
    """The options before the command's name."""

    config: Path
    socket: Path | None

    def coordinator(self, timeout_s: float = 30.0) -> Coordinator:
        """`mpicd` by its operators' socket. Raises `ConfigError` where neither option tells where that is."""
        return Coordinator(self.socket or load(self.config).api.operator_socket, timeout_s)


def print_json(value: Any) -> None:
    """One JSON document, indented, with a newline."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=True) + "\n")


def console() -> Console:
    """Standard output as a terminal where it is one: colour and width; plain text of 140 columns elsewhere."""
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 140)


def plain(text: str, limit: int = 120) -> str:
    """`text` from a target, fit for a terminal: control characters as escapes, clipped with an ellipsis."""
    safe = text
    if not text.isprintable():
        safe = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"


def escaped(json: str) -> str:
    """JSON text as a terminal may show it: what is not printable as JSON's own escapes, so that it stays the same JSON.

    JSON itself escapes only the C0 controls. The C1 controls, which records may hold as the Internet sent them, move a terminal's
    cursor as well. Files and pipes get the text as it is: its bytes were hashed.
    """
    if json.isprintable():
        return json
    return "".join(char if char.isprintable() or char == "\n" else _json_escape(char) for char in json)


def _json_escape(char: str) -> str:
    encoded = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{int.from_bytes(encoded[at : at + 2]):04x}" for at in range(0, len(encoded), 2))
