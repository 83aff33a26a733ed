"""`mpicctl drain` and `mpicctl undrain`: the operator's recorded acts."""

from __future__ import annotations

from typing import Annotated

import typer

from appliance.cli.client import RequestRefused
from appliance.cli.context import Invocation, Json, print_json

Code = Annotated[str, typer.Argument(help="The perspective's code.", metavar="CODE")]


def drain(context: typer.Context, code: Code, json: Json = False) -> None:
    """Take a remote perspective out of service: it is not asked, and in no quorum's count, until `undrain`.

    Recorded as evidence with your user; outlives restarts. Refused where the others could not meet the BRs alone. Exit code 0:
    it is drained. 1: refused. 2: mpicd could not be asked.
    """
    _act(context, "drain", code, "is drained", json)


def undrain(context: typer.Context, code: Code, json: Json = False) -> None:
    """Take a drained perspective into service again. Exit code 0: it is in service. 1: refused. 2: mpicd could not be asked."""
    _act(context, "undrain", code, "is in service", json)


def _act(context: typer.Context, act: str, code: str, state: str, json: bool) -> None:
    invocation: Invocation = context.obj
    try:
        done = invocation.coordinator().post(f"/{act}", {"perspective": code})
    except RequestRefused as refused:
        if json:
            print_json({"perspective": code, "changed": False, "refused": refused.issues})
        else:
            for line in refused.issues:
                print(line.removeprefix("perspective: "))
        raise typer.Exit(1) from refused
    if json:
        print_json(done)
    else:
        print(f"{code} {state}{'' if done['changed'] else ', as it was before'}.")
