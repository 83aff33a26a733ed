"""`mpicctl apikey` and `mpicctl client`: who may call on TCP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from appliance.cli.client import CannotAsk, Coordinator
from appliance.cli.context import Invocation, Json, console, print_json

apikeys = typer.Typer(help="API keys, for callers on the loopback interface.", no_args_is_help=True)
clients = typer.Typer(help="Client certificates, for callers beyond the host.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The caller's name, as the evidence shows it.")]
Perspectives = Annotated[
    list[str] | None, typer.Option("--perspective", help="It may use the check of this perspective only; repeatable.")
]
Rate = Annotated[int | None, typer.Option(min=1, help="Its requests per second, at most.")]
Concurrent = Annotated[int | None, typer.Option(min=1, help="Its requests at once, at most.")]


@apikeys.command("add")
def add_key(
    context: typer.Context,
    name: Name,
    perspective: Perspectives = None,
    requests_per_s: Rate = None,
    concurrent: Concurrent = None,
    json: Json = False,
) -> None:
    """Make an API key and print it, this once: only its hash is kept."""
    form = _form("api-key", name, perspective, requests_per_s, concurrent)
    answer = _coordinator(context).post("/callers", form)
    if json:
        print_json(answer)
    else:
        print(answer["key"])


@clients.command("add")
def add_client(
    context: typer.Context,
    name: Name,
    certificate: Annotated[
        Path, typer.Option(help="Its certificate, PEM; one renewed with the same key needs nothing new.")
    ],
    perspective: Perspectives = None,
    requests_per_s: Rate = None,
    concurrent: Concurrent = None,
    json: Json = False,
) -> None:
    """Register a client certificate; `client_ca_file` has to vouch for it as well."""
    try:
        pem = certificate.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise CannotAsk(f"{certificate}: {error}") from error
    form = _form("certificate", name, perspective, requests_per_s, concurrent) | {"certificate": pem}
    answer = _coordinator(context).post("/callers", form)
    if json:
        print_json(answer)
    else:
        print(f"{name}: public key SHA-256 {answer['caller']['sha256']}")


@apikeys.command("list")
def list_keys(context: typer.Context, json: Json = False) -> None:
    """Show the API keys, those that were revoked too; never the keys themselves."""
    _list(context, "api-key", json)


@clients.command("list")
def list_clients(context: typer.Context, json: Json = False) -> None:
    """Show the client certificates, those that were revoked too."""
    _list(context, "certificate", json)


@apikeys.command("revoke")
def revoke_key(context: typer.Context, name: Name) -> None:
    """End what this API key may do, at once.

    Exit code 0: it is revoked. 2: where the output says that it is in force but not yet on disk or on record, run this again.
    """
    _coordinator(context).post("/callers/revoke", {"kind": "api-key", "name": name})


@clients.command("revoke")
def revoke_client(context: typer.Context, name: Name) -> None:
    """End what this client certificate may do, at once.

    Exit code 0: it is revoked. 2: where the output says that it is in force but not yet on disk or on record, run this again.
    """
    _coordinator(context).post("/callers/revoke", {"kind": "certificate", "name": name})


def _coordinator(context: typer.Context) -> Coordinator:
    invocation: Invocation = context.obj
    return invocation.coordinator()


def _form(
    kind: str, name: str, perspectives: list[str] | None, requests_per_s: int | None, concurrent: int | None
) -> dict[str, Any]:
    return {
        "kind": kind,
        "name": name,
        "perspectives": perspectives or [],
        "requests_per_s": requests_per_s,
        "concurrent": concurrent,
    }


def _list(context: typer.Context, kind: str, json: bool) -> None:
    answer = _coordinator(context).get("/callers")
    callers = [one for one in answer["callers"] if one["kind"] == kind]
    if json:
        print_json({"callers": callers})
        return
    table = Table("name", "id", "registered", "revoked", "perspectives")
    for one in callers:
        table.add_row(
            one["name"], one["id"], one["created_at"], one["revoked_at"] or "", ", ".join(one["perspectives"]) or "all"
        )
    console().print(table)
