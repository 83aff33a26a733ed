"""`mpicctl`: its commands, and the one place where an error becomes a line on stderr and an exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from appliance import __version__
from appliance.cli import (
    callers,
    check,
    clock,
    configuration,
    drain,
    keys,
    methods,
    perspectives,
    proof,
    rov,
    status,
    watch,
)
from appliance.cli.context import Invocation
from appliance.cli.evidence import app as evidence_app
from appliance.config import DEFAULT_PATH
from appliance.errors import ApplianceError

CANNOT_ASK = 2

app = typer.Typer(
    name="mpicctl",
    help="Ask, watch and check an mpic-appliance.\n\n"
    "Exit codes: 0 corroborated or well, 1 refused or not well, 2 could not be asked.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("status")(status.status)
app.command("watch")(watch.watch)
app.command("drain")(drain.drain)
app.command("undrain")(drain.undrain)
app.command("perspectives")(perspectives.perspectives)
app.command("methods")(methods.methods)
app.command("proof")(proof.proof)
app.add_typer(check.app, name="check")
app.add_typer(keys.app, name="keys")
app.add_typer(clock.app, name="clock")
app.add_typer(configuration.app, name="config")
app.add_typer(callers.apikeys, name="apikey")
app.add_typer(callers.clients, name="client")
app.add_typer(evidence_app, name="evidence")
app.add_typer(rov.app, name="rov")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"mpicctl {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    context: typer.Context,
    config: Annotated[
        Path, typer.Option(envvar="MPIC_CONFIG", help="The appliance's configuration file.", show_default=True)
    ] = DEFAULT_PATH,
    socket: Annotated[
        Path | None, typer.Option(help="mpicd's operators' socket, where the configuration file cannot be read.")
    ] = None,
    version: Annotated[  # noqa: ARG001 -- its callback prints and exits
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    context.obj = Invocation(config, socket)


def main() -> None:
    """Entry point. Exits with 2 and one message on stderr for every error that the product knows."""
    try:
        app()
    except ApplianceError as error:
        print(f"mpicctl: {error}", file=sys.stderr)
    except BrokenPipeError:
        sys.stderr.close()
    sys.exit(CANNOT_ASK)
