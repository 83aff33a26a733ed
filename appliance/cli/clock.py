"""`mpicctl clock`: the operator's word that the clock is right after it was wrong."""

from __future__ import annotations

import typer

from appliance.cli.client import RequestRefused
from appliance.cli.context import Invocation, Json, plain, print_json

app = typer.Typer(help="The clock and the policy date.", no_args_is_help=True)


@app.callback()
def _clock() -> None:
    """Keeps `accept-date` a sub-command while it is the only one."""


@app.command("accept-date")
def accept_date(context: typer.Context, json: Json = False) -> None:
    """Make the clock's date the policy date again, after records were made while the clock was in the future.

    The policy date decides which rules of the Baseline Requirements are in force, and otherwise never goes back. The clock must be
    synchronised, and its date not before this software was made. Recorded as evidence with your user. Exit code 0: the policy
    date is the clock's. 1: refused. 2: mpicd could not be asked.
    """
    invocation: Invocation = context.obj
    try:
        done = invocation.coordinator().post("/clock/accept-date", {})
    except RequestRefused as refused:
        if json:
            print_json({"changed": False, "refused": refused.issues})
        else:
            for line in refused.issues:
                print(plain(line.removeprefix("clock: "), 400))
        raise typer.Exit(1) from refused
    if json:
        print_json(done)
    elif done["changed"]:
        print(f"The policy date is {done['date']}, no longer {done['before']} (record {done['receipt']['seq']}).")
    else:
        print(f"The policy date is {done['date']}, as it was before.")
