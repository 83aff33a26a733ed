"""Man pages of the commands, made from their own parsers, so that they cannot disagree: `generate.py PACKAGE DIRECTORY`.

Below DIRECTORY comes `man1/mpicctl.1`, `man8/mpicd.8` and so on; pages written by hand, beside this file, are copied.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import typer


@dataclass(frozen=True, slots=True)
class Command:
    """What of a page its parser does not tell. `exits`: what each exit status means."""

    package: str
    module: str
    section: int
    summary: str
    exits: Mapping[int, str]


COMMANDS = {
    "mpicd": Command(
        "mpic-appliance",
        "appliance.daemons.mpicd",
        8,
        "coordinator of an MPIC appliance",
        {0: "It was told to stop.", 77: "It has privileges.", 78: "The configuration cannot be served."},
    ),
    "mpic-perspective": Command(
        "mpic-appliance",
        "appliance.daemons.perspective",
        8,
        "worker of one network perspective",
        {
            0: "It was told to stop, or is done.",
            75: "Another namespace was published; a new start leads there.",
            78: "The configuration or the confinement is not as it must be.",
        },
    ),
    "mpic-tunneld": Command(
        "mpic-appliance",
        "appliance.daemons.tunneld",
        8,
        "makes and keeps the namespaces and tunnels of an MPIC appliance",
        {0: "It was told to stop, or is done.", 1: "Something could not be set up.", 2: "The configuration is wrong."},
    ),
    "mpicctl": Command(
        "mpic-appliance",
        "appliance.cli.main",
        1,
        "ask, watch and check an MPIC appliance",
        {0: "Corroborated, or well.", 1: "Refused, or not well.", 2: "It could not be asked."},
    ),
    "mpic-feed": Command(
        "mpic-appliance",
        "appliance.daemons.feed",
        8,
        "fetches the VRPs and beacons of an MPIC appliance, once",
        {
            0: "All that is configured was fetched.",
            1: "Something was not; what was there stays.",
            77: "It has privileges.",
            78: "The configuration is wrong.",
        },
    ),
    "mpic-egress": Command(
        "mpic-egress",
        "egress.main",
        8,
        "sets up and checks an egress node of MPIC appliances",
        {0: "All is as the file says.", 1: "It is not, or could not be made so.", 2: "The file is wrong."},
    ),
    "mpic-echo": Command(
        "mpic-egress",
        "egress.echo",
        8,
        "authenticated echo server, by which distances are measured",
        {0: "It was told to stop, or is done.", 1: "The key or the address cannot be used."},
    ),
}


class _ParserFound(Exception):
    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


def main() -> None:
    """Writes the pages."""
    package, directory = sys.argv[1], Path(sys.argv[2])
    for name, command in COMMANDS.items():
        if command.package == package:
            target = _section(directory, command.section) / f"{name}.{command.section}"
            target.write_text(page(name, command), encoding="utf-8")
    for written in sorted((Path(__file__).parent / package).glob("*.[1-8]")):
        shutil.copyfile(written, _section(directory, int(written.suffix[1:])) / written.name)


def page(name: str, command: Command) -> str:
    """One page in mdoc(7)."""
    loaded = importlib.import_module(command.module)
    lines = [f".Dd {_date()}", f".Dt {name.upper()} {command.section}", ".Os"]
    lines += [".Sh NAME", f".Nm {name}", f".Nd {command.summary}", ".Sh SYNOPSIS", f".Nm {name}"]
    if hasattr(loaded, "app"):
        lines += _of_click(typer.main.get_command(loaded.app))
    else:
        lines += _of_argparse(_parser_of(loaded.main))
    file = f"/etc/mpic/{command.package.removeprefix('mpic-')}.toml"
    lines += [".Sh FILES", ".Bl -tag -width Ds", f".It Pa {file}", "The configuration; an example is in"]
    lines += [f".Pa /usr/share/doc/{command.package}/examples .", ".El"]
    lines += [".Sh EXIT STATUS", ".Bl -tag -width Ds"]
    for status, meaning in command.exits.items():
        lines += [f".It {status}", meaning]
    lines += [".El", ".Sh SEE ALSO"]
    lines += [".Xr mpic-appliance 7"] if command.package == "mpic-appliance" else [".Xr nft 8 ,", ".Xr wg 8"]
    return "\n".join(lines) + "\n"


def _date() -> str:
    built = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())), UTC)
    return f"{built:%B} {built.day}, {built.year}"


def _section(directory: Path, section: int) -> Path:
    target = directory / f"man{section}"
    target.mkdir(parents=True, exist_ok=True)
    return target


def _parser_of(command: Callable[[], object]) -> argparse.ArgumentParser:
    def caught(parser: argparse.ArgumentParser, *_arguments: object) -> None:
        raise _ParserFound(parser)

    with patch.object(argparse.ArgumentParser, "parse_args", caught):
        try:
            command()
        except _ParserFound as found:
            return found.parser
    raise TypeError(f"{command} parses no arguments")


def _of_argparse(parser: argparse.ArgumentParser) -> Iterator[str]:
    commands = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    options = sorted(
        (action for action in parser._actions if action not in commands), key=lambda action: not action.option_strings
    )
    yield from (_usage(action) for action in options)
    if commands:
        yield ".Ar command"
    yield ".Sh DESCRIPTION"
    yield from _text(parser.description or "")
    yield from _options(options)
    for group in commands:
        for word, command in group.choices.items():
            yield f".Ss {word}"
            yield from _text(command.description or "")
            yield from _options(command._actions)


def _usage(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else f" Ar {_metavar(action)}"
    if not action.option_strings:
        return f".{value.strip()}"
    return f".Op Fl {_flag(action.option_strings[-1])}{value}"


def _options(actions: list[argparse.Action]) -> Iterator[str]:
    yield ".Bl -tag -width Ds"
    for action in actions:
        value = "" if action.nargs == 0 else f" Ar {_metavar(action)}"
        flags = " , ".join(f"Fl {_flag(flag)}" for flag in action.option_strings)
        yield f".It {flags}{value}".replace("It  ", "It ")
        yield from _text(str(action.help or "").replace("%(default)s", str(action.default)).replace("%(prog)s", ""))
    yield ".El"


def _metavar(action: argparse.Action) -> str:
    return str(action.metavar or action.dest).lower()


def _of_click(command: Any) -> Iterator[str]:
    yield from (".Op Ar options", ".Ar command ...", ".Sh DESCRIPTION")
    yield from _text(command.help or "")
    yield from _parameters(command)
    for words, nested in _leaves(command, ()):
        yield f".Ss {' '.join(words)}"
        yield from _text(nested.help or "")
        yield from _parameters(nested)


def _leaves(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    nested = getattr(command, "commands", None)
    if not nested:
        yield words, command
        return
    for word, child in nested.items():
        yield from _leaves(child, (*words, word))


def _parameters(command: Any) -> Iterator[str]:
    yield ".Bl -tag -width Ds"
    for parameter in command.params:
        flags = (
            " , ".join(f"Fl {_flag(flag)}" for flag in parameter.opts) if parameter.param_type_name == "option" else ""
        )
        is_flag = getattr(parameter, "is_flag", False)
        value = "" if is_flag else f" Ar {(parameter.metavar or parameter.name or 'value').lower()}"
        yield f".It {flags}{value}".replace("It  ", "It ")
        yield from _text(getattr(parameter, "help", None) or "")
    yield ".El"


def _flag(flag: str) -> str:
    return _escaped(flag.removeprefix("-")).replace("-", "\\-")


def _text(text: str) -> Iterator[str]:
    """Paragraphs as mdoc text; a line must not begin with a control character."""
    paragraphs = [" ".join(part.split()) for part in inspect.cleandoc(text).replace("`", "").split("\n\n")]
    for number, paragraph in enumerate(part for part in paragraphs if part):
        if number:
            yield ".Pp"
        yield from (_escaped(line) for line in paragraph.replace(". ", ".\n").split("\n"))


def _escaped(text: str) -> str:
    escaped = text.replace("\\", "\\e")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    main()
