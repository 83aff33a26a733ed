"""`mpicctl check METHOD NAME`: ask the coordinator as a CA would, and show what each perspective saw.

There is a command for each row of `appliance.cli.check_table`; its options become the request's parameters.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from appliance.cli.answer import show
from appliance.cli.check_table import ROWS, Row
from appliance.cli.client import RequestRefused
from appliance.cli.context import Invocation, Json, print_json
from appliance.model.check import Method
from appliance.policy.methods import RULES

app = typer.Typer(
    help="Ask for one check from every perspective.\n\nExit codes: 0 corroborated, 1 refused, 2 could not be asked.",
    no_args_is_help=True,
)

_Name = Annotated[str, typer.Argument(metavar="NAME", help="Domain name (*.NAME for a wildcard) or IP address.")]
_Trace = Annotated[str | None, typer.Option("--trace", metavar="ID", help="Trace identifier to record.")]


def _command(row: Row) -> Callable[..., None]:
    """The function whose signature typer reads: the options that all commands have, and those of the row."""

    def ask(context: typer.Context, name: str, trace: str | None, json: bool, **options: Any) -> None:
        given = {key: value for key, value in options.items() if value not in (None, [], False)}
        parameters = row.finish(given)
        if row.method is Method.CAA:
            body: dict[str, Any] = {"check_type": "caa", "caa_check_parameters": parameters}
        else:
            parameters = {"validation_method": row.method.value, **parameters}
            body = {"check_type": "dcv", "dcv_check_parameters": parameters}
        _ask(context, body | {"domain_or_ip_target": name} | ({"trace_identifier": trace} if trace else {}), json=json)

    common = {"context": typer.Context, "name": _Name, "trace": _Trace, "json": Json}
    annotations = common | {option.parameter: option.annotation for option in row.options}
    defaults = {"trace": None, "json": False} | {option.parameter: option.default for option in row.options}
    ask.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=defaults.get(name, inspect.Parameter.empty),
                annotation=kind,
            )
            for name, kind in annotations.items()
        ]
    )
    ask.__annotations__ = annotations
    return ask


def _help(row: Row) -> str:
    rule = RULES[row.method]
    sections = " and ".join(section for section in (rule.domain_section, rule.address_section) if section)
    until = f" Not to be relied on from {rule.must_not_from} on." if rule.must_not_from else ""
    return f"{row.asks} (BR {sections}){until}"


def _ask(context: typer.Context, body: dict[str, Any], *, json: bool) -> None:
    invocation: Invocation = context.obj
    try:
        answer = invocation.coordinator().post("/mpic", body)
    except RequestRefused as error:
        if not json:
            raise
        print_json({"error": str(error).splitlines()[0], "issues": error.issues})
        raise typer.Exit(2) from error
    if json:
        print_json(answer)
    else:
        show(answer)
    raise typer.Exit(0 if answer["is_valid"] is True else 1)


for _row in ROWS:
    app.command(_row.method.value, help=_help(_row))(_command(_row))
