"""`mpicctl check`: ask the coordinator as a CA would, and show what each perspective saw."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from appliance.cli.client import CannotAsk
from appliance.cli.context import Invocation, Json, console, plain, print_json

app = typer.Typer(
    help="Ask for one check from every perspective.\n\nExit codes: 0 corroborated, 1 refused, 2 could not be asked.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Domain name (*.NAME for a wildcard) or IP address.")]
Trace = Annotated[str | None, typer.Option("--trace", metavar="ID", help="Trace identifier to record.")]


@app.command("caa")
def caa(
    context: typer.Context,
    name: Name,
    issuer: Annotated[
        list[str] | None, typer.Option(metavar="DOMAIN", help="Issuer domain name; repeatable. [default: configured]")
    ] = None,
    certificate_type: Annotated[str, typer.Option(metavar="TYPE", help="tls-server or s-mime.")] = "tls-server",
    account_uri: Annotated[str | None, typer.Option(metavar="URI", help="RFC 8657 accounturi in use.")] = None,
    validation_method: Annotated[
        str | None, typer.Option(metavar="METHOD", help="RFC 8657 validation method in use.")
    ] = None,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """May the CA issue for NAME, by the CAA records that every perspective sees? (BR 3.2.2.8, RFC 8659)"""
    parameters = {
        "certificate_type": certificate_type,
        "caa_domains": issuer or None,
        "account_uri": account_uri,
        "validation_method": validation_method,
    }
    given = {key: value for key, value in parameters.items() if value is not None}
    _ask(context, name, {"check_type": "caa", "caa_check_parameters": given}, trace, json=json)


@app.command("acme-http-01")
def acme_http_01(
    context: typer.Context,
    name: Name,
    token: Annotated[str, typer.Option(metavar="TOKEN", help="The challenge's token.")],
    key_authorization: Annotated[
        str, typer.Option(metavar="TEXT", help="What the applicant must serve: TOKEN.THUMBPRINT.")
    ],
    trace: Trace = None,
    json: Json = False,
) -> None:
    """Does NAME serve the key authorization at /.well-known/acme-challenge/TOKEN? (BR 3.2.2.4.19, RFC 8555 8.3)"""
    parameters = {"token": token, "key_authorization": key_authorization}
    _ask(context, name, _dcv("acme-http-01", parameters), trace, json=json)


@app.command("acme-dns-01")
def acme_dns_01(
    context: typer.Context,
    name: Name,
    key_authorization_hash: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What the TXT record must say: base64url of the SHA-256.")
    ] = None,
    key_authorization: Annotated[
        str | None, typer.Option(metavar="TEXT", help="TOKEN.THUMBPRINT, from which the digest is computed.")
    ] = None,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """Does _acme-challenge.NAME have the TXT record? (BR 3.2.2.4.7, RFC 8555 8.4)"""
    if (key_authorization_hash is None) == (key_authorization is None):
        raise typer.BadParameter("give one of --key-authorization-hash and --key-authorization")
    if key_authorization is not None:
        digest = hashlib.sha256(key_authorization.encode()).digest()
        key_authorization_hash = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    _ask(context, name, _dcv("acme-dns-01", {"key_authorization_hash": key_authorization_hash}), trace, json=json)


def _dcv(method: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {"check_type": "dcv", "dcv_check_parameters": {"validation_method": method, **parameters}}


def _ask(context: typer.Context, name: str, body: dict[str, Any], trace: str | None, *, json: bool) -> None:
    invocation: Invocation = context.obj
    body = {**body, "domain_or_ip_target": name} | ({"trace_identifier": trace} if trace else {})
    answer = invocation.coordinator().post("/mpic", body)
    if json:
        print_json(answer)
    else:
        _show(answer)
    raise typer.Exit(0 if answer["is_valid"] is True else 1)


def _show(answer: Mapping[str, Any]) -> None:
    out = console()
    table = Table("perspective", "RIR", "corroborates", "saw", "time", "why not")
    try:
        primary = [] if answer["primary"] is None else [answer["primary"]]
        for part in (*primary, *answer["perspectives"]):
            table.add_row(*_row(part, primary=part is answer["primary"]))
        passed, policy = answer["is_valid"] is True, answer["policy"]
        verdict = ("corroborated", "bold green") if passed else ("REFUSED", "bold red")
        line = f" {answer['quorum']}, {policy['required']} needed (BR 3.2.2.9, row of {policy['row']['since']})"
        receipt = f"record {answer['receipt']['seq']}, {answer['receipt']['hash']}"
    except KeyError as error:
        raise CannotAsk(f"mpicd's answer lacks {error}: are mpicctl and mpicd of the same version?") from error
    out.print(table)
    out.print(Text.assemble(verdict, line))
    for reason in answer["reasons"]:
        out.print(f"  {plain(reason, 300)}", style="red")
    for warning in answer["warnings"]:
        out.print(f"  {plain(warning, 300)}", style="yellow")
    out.print(receipt, style="dim")


def _row(part: Mapping[str, Any], *, primary: bool) -> tuple[str | Text, ...]:
    response = part["check_response"]
    passed = response["check_passed"] is True
    code = str(part["perspective_code"])
    return (
        f"{code} (primary)" if primary else code,
        str(part["rir"]),
        Text("yes", "green") if passed else Text("no", "red"),
        Text("\n".join(plain(value, 60) for value in part["seen"][:4])),
        f"{part['elapsed_us'] / 1000:.1f} ms",
        Text("\n".join(plain(error["error_message"], 160) for error in response["errors"] or ())),
    )
