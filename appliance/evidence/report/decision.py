"""One decision of a report: a sentence, a timeline, a table of who saw what, and the small print."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from appliance.evidence.record import Attempt, DecisionRecord
from appliance.evidence.report.html import Html, element, join, safe, table
from appliance.evidence.report.timeline import timeline
from appliance.evidence.search import Found
from appliance.model.observation import CheckError, Hop, Lookup, Observation
from appliance.model.place import Place

Places = Mapping[str, Place]


def decision_section(found: Found, record: DecisionRecord, places: Places) -> Html:
    """The whole section."""
    verdict = record.verdict
    word = element("span", safe("corroborated" if verdict.is_valid else "refused"), _css(verdict.is_valid))
    name = ("*." if record.identifier.wildcard else "") + record.identifier.value
    heading = element("h2", (safe(f"{record.method.value} for {name}: "), word, safe(f" {verdict.quorum}")))
    return element(
        "section",
        (
            heading,
            element(
                "p",
                safe(f"Record {found.seq}, {record.time}, BR {record.br_section}, version {record.br_version}."),
                "quiet",
            ),
            element("p", safe(_sentence(record)), "long"),
            element("ul", (element("li", safe(reason)) for reason in verdict.reasons), "bad")
            if verdict.reasons
            else Html(""),
            timeline(record),
            _attempts(record, places),
            _details(record),
            _small_print(found, record),
        ),
    )


def _css(is_good: bool) -> str:
    return "verdict good" if is_good else "verdict bad"


def _sentence(record: DecisionRecord) -> str:
    verdict = record.verdict
    if record.caller_statement is not None:
        primary = f"The caller states that its primary network perspective {_passed(record.caller_statement.passed)}."
    else:
        primary = f"The primary network perspective {_passed(verdict.primary_passed)}."
    regions = ", ".join(rir.value for rir in verdict.rirs) or "none"
    return (
        f"{record.request.caller} asked at {record.request.received_at} (trace identifier {record.request.trace_id}). {primary} "
        f"Of {verdict.attempted} remote network perspectives {verdict.corroborating} corroborated; {verdict.required} had to, by "
        f"the rule in force since {verdict.row.since} as of {verdict.policy_date}, in at least "
        f"{verdict.row.rir_regions_required} RIR regions; they lie in: {regions}."
    )


def _passed(passed: bool) -> str:
    return "passed" if passed else "did not pass"


def _attempts(record: DecisionRecord, places: Places) -> Html:
    attempts = ([record.primary] if record.primary else []) + list(record.remotes)
    headings = ("perspective", "place", "RIR", "outcome", "seen", "as", "errors")
    return table(headings, (_attempt(attempt, places, is_primary=attempt is record.primary) for attempt in attempts))


def _attempt(attempt: Attempt, places: Places, *, is_primary: bool) -> Iterable[Html]:
    observation = attempt.observation
    place = places.get(attempt.perspective)
    outcome = observation.outcome.value + (f", {attempt.arrival.value}" if attempt.arrival.value != "in-time" else "")
    errors = [_error(error) for error in observation.errors]
    if attempt.withheld is not None:
        errors.append(f"withheld: {attempt.withheld}")
    yield _lines([attempt.perspective, "(primary)"] if is_primary else [attempt.perspective])
    yield safe(f"{place.city}, {place.country}" if place else "")
    yield safe(attempt.rir.value)
    yield element("b", safe(outcome), "good" if observation.corroborates else "bad")
    yield element("span", _lines(observation.seen), "mono")
    yield element("span", _lines(observation.egress_addresses), "address")
    yield element("span", _lines(errors), "long")


def _details(record: DecisionRecord) -> Html:
    attempts = ([record.primary] if record.primary else []) + list(record.remotes)
    observations = [attempt.observation for attempt in attempts]
    lookups = table(
        ("perspective", "question", "answer", "DNSSEC", "records", "ms"),
        (_lookup(each.perspective, lookup) for each in observations for lookup in each.lookups),
    )
    hops = table(
        ("perspective", "request", "by way of", "answer", "ms"),
        (_hop(each.perspective, hop) for each in observations for hop in each.hops),
    )
    findings = table(("perspective", "CAA"), (_caa(each) for each in observations if each.caa is not None))
    titled = (("CAA", findings), ("DNS look-ups", lookups), ("HTTP requests", hops))
    return join(join((element("h3", safe(title)), content)) for title, content in titled if content)


def _lookup(code: str, lookup: Lookup) -> Iterable[Html]:
    more = [f"EDE {number} {text}".rstrip() for number, text in lookup.ede]
    if lookup.error is not None:
        more.append(_error(lookup.error))
    yield safe(code)
    yield element("span", safe(f"{lookup.name} {lookup.type}"), "mono")
    yield (
        join((safe(lookup.rcode or "no answer"), element("div", _lines(more), "long"))) if more else safe(lookup.rcode)
    )
    yield safe(lookup.dnssec.value)
    records = [f"{each.name} {each.ttl_s} {each.type} {each.data}" for each in (*lookup.chain, *lookup.records)]
    yield element("span", _lines(records), "mono")
    yield safe(f"{lookup.elapsed_us / 1000:.1f}")


def _hop(code: str, hop: Hop) -> Iterable[Html]:
    ways = [
        f"[{each.address}]:{each.port} {'connected' if each.connected else 'failed'}"
        + (f" {each.tls_version} {each.certificate_sha256}" if each.tls_version else "")
        + (f" {_error(each.error)}" if each.error else "")
        for each in hop.connections
    ]
    answer = [f"status {hop.status}" if hop.status is not None else "no answer"]
    answer += [f"to {hop.location}"] if hop.location is not None else []
    answer += [f"{hop.body_length} bytes: {hop.body_prefix}"] if hop.body_length else []
    answer += [_error(hop.error)] if hop.error else []
    yield safe(code)
    yield element("span", safe(hop.url), "mono")
    yield element("span", _lines(ways), "mono")
    yield element("span", _lines(answer), "mono")
    yield safe(f"{hop.elapsed_us / 1000:.1f}")


def _caa(observation: Observation) -> Iterable[Html]:
    finding = observation.caa
    yield safe(observation.perspective)
    if finding is not None:
        where = f" (at {finding.found_at})" if finding.found_at else ""
        lines = [f"{'permitted' if finding.permitted else 'forbidden'}{where}: {finding.reason}", *finding.rrset]
        yield element("span", _lines(lines), "mono")


def _small_print(found: Found, record: DecisionRecord) -> Html:
    clock = record.clock
    synchronised = "synchronised" if clock.synchronised else "NOT synchronised"
    lines = (
        f"Record {found.seq}, hash {found.hash.hex()}",
        f"Perspective set: record {record.perspective_set.seq}, hash {record.perspective_set.hash}",
        f"Software {record.software.version}, configuration {record.software.configuration_sha256}",
        f"Kernel clock {synchronised}, offset {clock.offset_us} µs, at most {clock.max_error_us} µs wrong",
        *(f"Warning: {warning}" for warning in record.warnings),
        f"Request as received: {record.request.body}",
    )
    return element("p", _lines(lines), "mono quiet small")


def _error(error: CheckError) -> str:
    return f"{error.code}: {error.message} (at {error.step}, {error.fault.value})"


def _lines(texts: Iterable[str]) -> Html:
    return join((safe(text) for text in texts), "<br>")
