"""Records as a deployment with six remotes writes them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache

from appliance.evidence import (
    Actor,
    Arrival,
    Attempt,
    DecisionRecord,
    EventRecord,
    EventType,
    PerspectiveSetRef,
    ReceivedRequest,
    Software,
    utc_text,
)
from appliance.linux.clock import ClockState
from appliance.model.check import AcmeDns01Check, Method
from appliance.model.identifier import Identifier, IdentifierType
from appliance.model.observation import CheckError, DnssecStatus, Fault, Lookup, Observation, Outcome, Record
from appliance.model.place import Place, Rir, Site
from appliance.policy.fleet import Fleet, fleet_of
from appliance.policy.quorum import judge

EPOCH = datetime(2026, 12, 20, 12, 0, 0, tzinfo=UTC)
DIGEST = "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"
SITES = (
    Site("ams", Place("Amsterdam", "NL", 52_370_000, 4_900_000), Rir.RIPE_NCC),
    Site("nyc", Place("New York", "US", 40_710_000, -74_010_000), Rir.ARIN),
    Site("gru", Place("São Paulo", "BR", -23_550_000, -46_630_000), Rir.LACNIC),
    Site("jnb", Place("Johannesburg", "ZA", -26_200_000, 28_050_000), Rir.AFRINIC),
    Site("nrt", Place("Tokyo", "JP", 35_680_000, 139_690_000), Rir.APNIC),
    Site("lax", Place("Los Angeles", "US", 34_050_000, -118_240_000), Rir.ARIN),
)
PRIMARY = Site("primary", Place("Zürich", "CH", 47_370_000, 8_540_000), Rir.RIPE_NCC)


@cache
def fleet() -> Fleet:
    return fleet_of(PRIMARY, SITES)


def observation(code: str, name: str, outcome: Outcome, at: datetime) -> Observation:
    challenge = f"_acme-challenge.{name}"
    record = Record(challenge, "TXT", 60, f'"{DIGEST}"')
    errors = () if outcome is Outcome.MATCH else (CheckError("dns.timeout", "no answer", "txt", Fault.TARGET),)
    return Observation(
        request_id=f"5f0c8dd2b39f4a3c-{code}",
        perspective=code,
        method=Method.ACME_DNS_01,
        outcome=outcome,
        corroborates=outcome is Outcome.MATCH,
        started_at=utc_text(at),
        elapsed_us=23_456,
        errors=errors,
        seen=(DIGEST,),
        lookups=(
            Lookup(challenge, "TXT", "NOERROR", True, DnssecStatus.SECURE, (record,), elapsed_us=22_345),
            Lookup(name, "SOA", "NOERROR", True, DnssecStatus.SECURE, (record,), elapsed_us=1_345),
        ),
        steps=(("txt", 22_345), ("compare", 12)),
        egress_addresses=("198.18.7.10", "2001:db8:7::10"),
    )


def attempt(site: Site, name: str, outcome: Outcome, at: datetime) -> Attempt:
    return Attempt(site.code, site.rir, Arrival.IN_TIME, observation(site.code, name, outcome, at))


def decision(
    number: int,
    *,
    name: str = "www.example.com",
    failing: frozenset[str] = frozenset(),
    at: datetime | None = None,
    perspective_set: PerspectiveSetRef | None = None,
    requested: str | None = None,
) -> DecisionRecord:
    moment = at or EPOCH + timedelta(milliseconds=number)
    outcomes = {site.code: Outcome.ERROR if site.code in failing else Outcome.MATCH for site in (PRIMARY, *SITES)}
    verdict = judge(
        fleet(),
        date(2026, 12, 20),
        primary_passed=outcomes["primary"] is Outcome.MATCH,
        remotes={site.code: outcomes[site.code] is Outcome.MATCH for site in SITES},
    )
    body = f'{{"check_type":"acme-dns-01","domain_or_ip_target":"{name}","trace_identifier":"trace-{number}"}}'
    return DecisionRecord(
        time=utc_text(moment),
        request=ReceivedRequest(utc_text(moment), f"trace-{number}", "uid 1000", body),
        identifier=Identifier(IdentifierType.DNS, name, wildcard=False, requested=requested or name),
        method=Method.ACME_DNS_01,
        check=AcmeDns01Check(DIGEST),
        br_section="3.2.2.4.7",
        br_version="2.2.6",
        verdict=verdict,
        primary=attempt(PRIMARY, name, outcomes["primary"], moment),
        caller_statement=None,
        remotes=tuple(attempt(site, name, outcomes[site.code], moment) for site in SITES),
        perspective_set=perspective_set or PerspectiveSetRef(1, "00" * 32),
        software=Software("0.1.0", "11" * 32),
        clock=ClockState(synchronised=True, offset_us=12, max_error_us=500, estimated_error_us=100),
    )


def event(number: int, kind: EventType = EventType.DRAIN) -> EventRecord:
    return EventRecord(
        utc_text(EPOCH + timedelta(milliseconds=number)), kind, Actor(1000, "operator"), message="by hand"
    )
