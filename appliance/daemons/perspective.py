"""`mpic-perspective`: the worker of one perspective, or of the primary, and what makes its resolver's files."""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
from pathlib import Path
from typing import NoReturn

import uvloop

from appliance.config import DEFAULT_PATH, Settings, load
from appliance.errors import ApplianceError
from appliance.linux.log import set_up_logging
from appliance.perspective.assignment import Assignment, assignment_of
from appliance.perspective.prepare import prepare
from appliance.perspective.resolver import render_resolver
from appliance.perspective.service import NamespaceReplaced, confine, serve_perspective

EXIT_RESTART = 75
"""EX_TEMPFAIL of sysexits.h: start it again, and it will be in the namespace that is now published."""
EXIT_REFUSED = 78
"""EX_CONFIG of sysexits.h: the configuration or the confinement is not as it must be."""


def main(argv: list[str] | None = None) -> None:
    """The command. Exits with 0, `EXIT_RESTART` or `EXIT_REFUSED`; 1 for what nobody foresaw."""
    arguments = _parser().parse_args(argv)
    set_up_logging()
    try:
        settings = load(arguments.config)
        assignment = assignment_of(settings, arguments.code)
        if arguments.render_resolver:
            _write(render_resolver(settings, assignment), arguments.output)
        elif arguments.prepare:
            prepare(settings, assignment)
        else:
            _serve(settings, assignment)
    except NamespaceReplaced as error:
        _exit(arguments.code, str(error), EXIT_RESTART)
    except (ApplianceError, OSError) as error:
        _exit(arguments.code, str(error), EXIT_REFUSED)


def worker_command(code: str, config: Path) -> list[str]:
    """The command that runs the worker of `code`; it has to be started in its namespace, as its user, without privileges."""
    return [sys.executable, "-m", "appliance.daemons.perspective", code, "--config", str(config)]


def _serve(settings: Settings, assignment: Assignment) -> None:
    guard = confine(settings, assignment)
    # What was made to read the configuration stays; the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve_perspective(settings, assignment, guard))


def _write(text: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8")


def _exit(code: str, text: str, status: int) -> NoReturn:
    for line in text.splitlines():
        print(f"mpic-perspective {code}: {line}", file=sys.stderr)  # noqa: T201 -- the log may not be set up for people
    sys.exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mpic-perspective", description=__doc__)
    parser.add_argument("code", help="the perspective's code, or the primary's")
    parser.add_argument("--config", type=Path, default=DEFAULT_PATH, help="appliance.toml (default: %(default)s)")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--prepare", action="store_true", help="as root: make the directories and the resolver's files, and end"
    )
    mode.add_argument("--render-resolver", action="store_true", help="write the resolver's unbound.conf, and end")
    parser.add_argument("--output", type=Path, help="with --render-resolver: where to (default: standard output)")
    return parser


if __name__ == "__main__":
    main()
