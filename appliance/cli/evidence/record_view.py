"""One record on a terminal. Every text of a target goes through `plain`."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from appliance.cli.context import plain
from appliance.evidence.record import Attempt, DecisionRecord, EventRecord, EvidenceRecord
from appliance.evidence.search import Found
from appliance.model.observation import Observation, Outcome

_STYLE = {Outcome.MATCH: "green", Outcome.MISMATCH: "red", Outcome.ERROR: "yellow"}


def print_record(out: Console, found: Found, record: EvidenceRecord) -> None:
    """The record, with what everyone saw."""
    if isinstance(record, DecisionRecord):
        _print_decision(out, found, record)
    else:
        _print_event(out, found, record)


def _print_event(out: Console, found: Found, record: EventRecord) -> None:
    out.print(
        Text(f"record {found.seq}  {record.time}  {record.type.value} {plain(record.subject)}".rstrip(), style="bold")
    )
    lines = [f"by uid {record.actor.uid} {record.actor.login}".rstrip(), record.message]
    lines += [f"{name}: {value}" for name, value in record.facts]
    for line in filter(None, lines):
        out.print(f"  {plain(line, 300)}")
    if record.observation is not None:
        _print_lines(out, _seen(record.observation))
    out.print(f"  hash {found.hash.hex()}\n")


def _print_decision(out: Console, found: Found, record: DecisionRecord) -> None:
    verdict = record.verdict
    name = ("*." if record.identifier.wildcard else "") + record.identifier.value
    word, style = ("corroborated", "bold green") if verdict.is_valid else ("refused", "bold red")
    out.print(
        Text.assemble(
            (f"record {found.seq}  {record.time}  {record.method.value} {plain(name)}  ", "bold"), (word, style)
        )
    )
    out.print(
        f"  quorum {verdict.quorum}, {verdict.required} required; primary {'passed' if verdict.primary_passed else 'did not pass'};"
        f" RIRs {', '.join(verdict.rirs) or 'none'}; BR {record.br_section} version {record.br_version}"
    )
    for reason in verdict.reasons:
        out.print(f"  {plain(reason, 300)}", style="red")
    out.print(_attempts(record))
    for attempt in _all(record):
        _print_lines(out, _seen(attempt.observation))
    _print_lines(out, _small_print(found, record))
    out.print()


def _all(record: DecisionRecord) -> list[Attempt]:
    return ([record.primary] if record.primary else []) + list(record.remotes)


def _attempts(record: DecisionRecord) -> Table:
    table = Table(
        "perspective", "RIR", "outcome", "arrival", "time", "seen", "errors", box=None, pad_edge=False, padding=(0, 2)
    )
    if record.caller_statement is not None:
        passed = "passed" if record.caller_statement.passed else "did not pass"
        table.add_row("caller", "", passed, "", "", plain(record.caller_statement.detail), "")
    for attempt in _all(record):
        observation = attempt.observation
        errors = [f"{error.code} {error.message}" for error in observation.errors]
        errors += [f"withheld: {attempt.withheld}"] if attempt.withheld else []
        table.add_row(
            plain(attempt.perspective) + (" (primary)" if attempt is record.primary else ""),
            attempt.rir.value,
            Text(observation.outcome.value, style=_STYLE[observation.outcome]),
            attempt.arrival.value,
            f"{observation.elapsed_us / 1000:.1f} ms",
            plain(", ".join(observation.seen), 60),
            plain("; ".join(errors), 80),
        )
    return table


def _seen(observation: Observation) -> Iterator[str]:
    code = observation.perspective
    for lookup in observation.lookups:
        records = ", ".join(f"{each.type} {each.data}" for each in (*lookup.chain, *lookup.records))
        yield f"{code}: {lookup.name} {lookup.type}: {lookup.rcode or 'no answer'} {lookup.dnssec.value} {records}"
    for hop in observation.hops:
        ways = ", ".join(f"{each.address} port {each.port}" for each in hop.connections if each.connected)
        answer = hop.status if hop.status is not None else "no answer"
        yield f"{code}: GET {hop.url} from {ways or 'nowhere'}: {answer} {hop.location or ''} {hop.body_prefix}"
    if observation.caa is not None:
        yield f"{code}: CAA {'permits' if observation.caa.permitted else 'forbids'}: {observation.caa.reason}"


def _small_print(found: Found, record: DecisionRecord) -> Iterator[str]:
    clock = "synchronised" if record.clock.synchronised else "NOT synchronised"
    yield f"asked by {record.request.caller} at {record.request.received_at}, trace identifier {record.request.trace_id}"
    yield f"policy as of {record.verdict.policy_date}, row of {record.verdict.row.since}; clock {clock}"
    yield from (f"warning: {warning}" for warning in record.warnings)
    yield f"software {record.software.version}, configuration {record.software.configuration_sha256}"
    yield f"perspective set: record {record.perspective_set.seq}; hash {found.hash.hex()}"


def _print_lines(out: Console, lines: Iterator[str]) -> None:
    for line in lines:
        out.print(f"  {plain(line, 400)}", style="dim")
