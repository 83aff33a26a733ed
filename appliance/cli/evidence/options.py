"""Options that several commands have, and what they mean."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from appliance.cli.context import Invocation
from appliance.config import load
from appliance.coordinator.identifiers import parse_identifier
from appliance.errors import BadRequest
from appliance.evidence.record import EventType, utc_text
from appliance.evidence.search import Filter
from appliance.model.check import Method
from appliance.model.identifier import IdentifierType
from appliance.model.observation import Outcome

Store = Annotated[
    Path | None,
    typer.Option(help="The database: a backup or an archived segment.", show_default="that of the configuration"),
]
Domain = Annotated[str | None, typer.Option(help="This domain and its subdomains, or this IP address.")]
Exact = Annotated[bool, typer.Option("--exact", help="The domain alone, without its subdomains.")]
Since = Annotated[
    str | None, typer.Option(help="From this time on: 2026-12-15, or 2026-12-15T08:30:00Z (UTC without a zone).")
]
Until = Annotated[str | None, typer.Option(help="Before this time; a day without a time is included.")]
ByMethod = Annotated[Method | None, typer.Option("--method", help="This method.")]
Result = Annotated[str | None, typer.Option(help="corroborated or refused.")]
Trace = Annotated[str | None, typer.Option(help="This trace identifier.")]
ByPerspective = Annotated[
    str | None, typer.Option("--perspective", help="CODE, or CODE=match, CODE=mismatch, CODE=error: what it saw.")
]
ByCaller = Annotated[
    str | None,
    typer.Option("--caller", help="Asked by: 'certificate NAME', 'api-key NAME', 'unix uid N'; a partner's own slice."),
]
Kind = Annotated[str | None, typer.Option(help="decision, event, or the type of an event.")]

_RESULTS = {"corroborated": True, "refused": False}
_PERSPECTIVE = re.compile(r"([a-z0-9][a-z0-9-]{0,30})(?:=(match|mismatch|error))?")


def store_of(context: typer.Context, store: Path | None) -> Path:
    """The database to read: `--store`, or the configured one. Raises `ConfigError`."""
    invocation: Invocation = context.obj
    return store or load(invocation.config).database


def filter_of(
    *,
    domain: str | None = None,
    exact: bool = False,
    since: str | None = None,
    until: str | None = None,
    method: Method | None = None,
    result: str | None = None,
    trace: str | None = None,
    perspective: str | None = None,
    kind: str | None = None,
    caller: str | None = None,
) -> Filter:
    """The filter that these options ask for. Raises `typer.BadParameter`."""
    name, identifier = _names(domain, exact=exact)
    code, outcome = _perspective(perspective)
    return Filter(
        domain=name,
        identifier=identifier,
        since=None if since is None else utc_text(moment(since, "--since")),
        until=None if until is None else utc_text(_end(until)),
        kind=_one_of(kind, {"decision", "event", *EventType}, "--kind"),
        method=None if method is None else method.value,
        is_valid=None if result is None else _RESULTS[str(_one_of(result, set(_RESULTS), "--result"))],
        trace_id=trace,
        perspective=code,
        outcome=outcome,
        caller=caller,
    )


def moment(text: str, option: str) -> datetime:
    """The time that `text` names; UTC where it names no zone."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{option}: {text!r} is no ISO 8601 date or time") from error
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _end(text: str) -> datetime:
    end = moment(text, "--until")
    return end + timedelta(days=1) if len(text) == len("2026-12-15") else end


def _names(domain: str | None, *, exact: bool) -> tuple[str | None, str | None]:
    if domain is None:
        return None, None
    try:
        identifier = parse_identifier(domain)
    except BadRequest as error:
        raise typer.BadParameter(f"--domain: {error.rule}") from error
    alone = exact or identifier.type is IdentifierType.IP
    return (None, identifier.value) if alone else (identifier.value, None)


def _perspective(text: str | None) -> tuple[str | None, str | None]:
    if text is None:
        return None, None
    matched = _PERSPECTIVE.fullmatch(text)
    if matched is None:
        raise typer.BadParameter(f"--perspective: {text!r} is neither CODE nor CODE={'|'.join(Outcome)}")
    return matched[1], matched[2]


def _one_of(value: str | None, allowed: set[str], option: str) -> str | None:
    if value is not None and value not in allowed:
        raise typer.BadParameter(f"{option}: {value!r} is none of {', '.join(sorted(allowed))}")
    return value
