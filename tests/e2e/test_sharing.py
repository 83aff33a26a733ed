"""Two appliances share perspectives over mutual TLS; whoever is not, or no longer, a partner gets no answer and leaves a record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from appliance.evidence.record import EventType
from tests.e2e.asking import KEY_AUTHORIZATION, TOKEN, caa, http_01
from tests.e2e.sharing import ADDRESS, OTHER_PORT, Partner, Shared, sharing
from tests.lab import Lab, topology, wait_until
from tests.lab.appliance import Appliance
from tests.unit.api.authority import Authority, Pair

pytestmark = pytest.mark.e2e
CODES = [egress.code for egress in topology.EGRESSES]


@pytest.fixture(scope="module")
def shared(lab: Lab, appliance: Appliance) -> Iterator[Shared]:
    with sharing(lab, appliance) as running:
        yield running


def check(code: str, request_id: str) -> list[str]:
    """curl's options for one check."""
    name = {"type": "dns", "value": "free.example", "wildcard": False, "requested": "free.example"}
    method = {"method": "caa", "certificate_type": "tls-server", "issuer_domains": ["ca.example"]}
    asked = {"request_id": request_id, "perspective": code, "deadline_ms": 5000, "identifier": name, "check": method}
    return ["-H", "Content-Type: application/json", "-d", json.dumps(asked)]


def own(shared: Shared, pair: Pair) -> list[str]:
    """The request ids in a partner's slice of the evidence."""
    found, after, more = [], 0, True
    while more:
        page = json.loads(shared.until_answered(pair, f"/evidence?after={after}"))
        after, more = page["after"], page["more"]
        found += [one["record"]["trace_id"] for one in page["records"]]
    return found


def test_a_partners_quorum_of_our_perspectives(lab: Lab, shared: Shared) -> None:
    pair = shared.pair("partner")
    options = [word for code in CODES for word in ("--perspective", code)]
    shared.add("partner", pair, *options)
    with Partner(shared, pair) as partner:
        lab.set_token("honest.example", TOKEN, KEY_AUTHORIZATION)
        before = len(lab.requests_seen("honest.example", "quay"))
        answer = partner.decide(http_01("honest.example"))
        assert (answer["is_valid"], answer["quorum"]) == (True, "6/6")
        lab.hijack("sub-prefix")
        hijacked = partner.decide(http_01("honest.example"))
        lab.withdraw()
        lab.clear_token("honest.example", TOKEN)
        assert (hijacked["is_valid"], hijacked["quorum"]) == (False, "3/6")
        sources = {one.source for one in lab.requests_seen("honest.example", "quay")[before:]}
        assert sources <= {str(one) for egress in topology.EGRESSES for one in egress.address}
        checks = shared.events(EventType.PERSPECTIVE_CHECK)
        assert sorted(one.subject for one in checks[:6]) == sorted(CODES)
        assert {dict(one.facts)["caller"] for one in checks} == {"certificate partner"}
        assert own(shared, pair) == [one.trace_id for one in checks]

        shared.mpicctl("client", "revoke", "partner")
        wait_until(lambda: partner.ask("GET", "/readyz").status_code == 503, 30, "the partner hears of it")
        refused = partner.decide(caa("honest.example"))
        assert (refused["is_valid"], refused["quorum"]) == (False, "0/6")
        assert shared.curl(pair, "/perspectives/ams")[0] == 0
        assert len(shared.events(EventType.PERSPECTIVE_CHECK)) == len(checks)
        partner.verify()
    shared.mpicctl("evidence", "verify", "--deep", "--replay")


def test_one_machine_is_not_a_quorum(lab: Lab, shared: Shared) -> None:
    pair = shared.pair("twice")
    shared.add("twice", pair, *[word for code in CODES for word in ("--perspective", code)])
    one, other, third = CODES[:3]
    here = f"https://{ADDRESS}:{OTHER_PORT}/perspectives/{one}"
    refused = Partner(shared, pair, {code: {"url": here} for code in CODES[1:]}).refused_configuration()
    named = " ".join(refused.split())
    assert f"(their-{CODES[2]}) and remote_perspectives.1 (their-{other}) name the same perspective" in named

    # Two URLs of one perspective, which only its addresses give away; and one that is not where it is said to be.
    elsewhere = {"egress_addresses": ["198.18.255.1"]}
    with Partner(shared, pair, {other: {"url": here}, third: elsewhere}, len(CODES) - 3) as partner:
        contradicted = {f"their-{code}" for code in (one, other, third)}

        def judged() -> bool:
            # All have said what their addresses are, and nothing else stands against anybody.
            against = {code: why for code, why in partner.reasons().items() if why}
            return against.keys() == contradicted and all(
                why.startswith("egress addresses: ") for why in against.values()
            )

        wait_until(judged, 30, "the entries are judged")
        reasons = partner.reasons()
        assert {code for code, reason in reasons.items() if reason} == {f"their-{code}" for code in (one, other, third)}
        assert f"is also that of their-{other}" in reasons[f"their-{one}"]
        assert f"is also that of their-{one}" in reasons[f"their-{other}"]
        assert "which is not in its egress_addresses (198.18.255.1)" in reasons[f"their-{third}"]
        readiness = partner.ask("GET", "/readyz")
        assert readiness.status_code == 503
        assert f"their-{one}: egress addresses: " in readiness.text
        lab.set_token("honest.example", TOKEN, KEY_AUTHORIZATION)
        answer = partner.decide(http_01("honest.example"))
        lab.clear_token("honest.example", TOKEN)
        assert (answer["is_valid"], answer["quorum"]) == (False, f"{len(CODES) - 3}/{len(CODES)}")
        withheld = {one.perspective: one.withheld for one in partner.last_decision().remotes if one.withheld}
        assert set(withheld) == {f"their-{code}" for code in (one, other, third)}
        assert all(reason is not None and reason.startswith("egress addresses: ") for reason in withheld.values())
        # An observation from another address is recorded whole, and corroborates nothing by itself.
        (misplaced,) = [one for one in partner.last_decision().remotes if one.perspective == f"their-{third}"]
        assert misplaced.observation.errors[-1].code == "perspective.egress-address"
        partner.verify()


def test_who_is_no_partner_gets_no_answer_and_leaves_a_record(shared: Shared, tmp_path: Path) -> None:
    strangers = Authority(tmp_path)
    shared.add("late", shared.pair("late", lifetime=timedelta(days=-1)))
    revoked = shared.pair("revoked")
    shared.add("revoked", revoked)
    shared.until_answered(revoked, "/perspectives/ams")
    shared.mpicctl("client", "revoke", "revoked")
    before = len(shared.events(EventType.REFUSED_CALLER))
    cases = {
        "TLS: PEER_DID_NOT_RETURN_A_CERTIFICATE": None,
        "TLS: CERTIFICATE_VERIFY_FAILED: unable to get local issuer certificate": shared.pair("stranger", strangers),
        "TLS: CERTIFICATE_VERIFY_FAILED: certificate has expired": shared.pair("expired", lifetime=timedelta(days=-1)),
        "a client certificate that is not registered, or revoked": revoked,
    }
    for reason, pair in cases.items():

        def recorded(reason: str = reason, pair: Pair | None = pair) -> bool:
            # Again where a busy machine was too slow for a handshake, which is no refusal.
            assert shared.curl(pair, "/perspectives/ams/check", *check("ams", "stranger")) == (0, ""), reason
            return reason in [one.message for one in shared.events(EventType.REFUSED_CALLER)]

        wait_until(recorded, 60, reason, 0.1)
    records = shared.events(EventType.REFUSED_CALLER)[before:]
    assert {one.message for one in records} <= set(cases)
    assert all(one.subject.startswith("198.18.") for one in records)
    assert shared.events(EventType.CREDENTIAL)[-1].message == "revoked"
    assert "mpic_requests_refused_total" in shared.appliance.ask("GET", "/metrics", operator=True).text


def test_each_partner_has_its_own_limits_and_its_own_evidence(shared: Shared) -> None:
    small, large = shared.pair("small"), shared.pair("large")
    shared.add("small", small, "--perspective", "ams", "--requests-per-s", "1")
    shared.add("large", large, "--perspective", "ams", "--perspective", "nyc")
    assert shared.curl(small, "/perspectives/nyc/check", *check("nyc", "small-0"))[0] == 403
    assert shared.curl(small, "/mpic", *check("ams", "small-0"))[0] == 403

    shared.until_answered(small, "/perspectives/ams/check", *check("ams", "small-1"))

    def throttled() -> bool:
        _, statuses = shared.curl(small, "/perspectives/ams?[1-20]", "-o", "/dev/null")
        return "429" in statuses

    wait_until(throttled, 60, "twenty requests in a row are too many")
    for number in range(3):
        assert shared.curl(large, "/perspectives/nyc/check", *check("nyc", f"large-{number}"))[0] == 200
    assert set(own(shared, large)) == {"large-0", "large-1", "large-2"}
    assert own(shared, small) == ["small-1"]
    listed = json.loads(shared.mpicctl("evidence", "list", "--caller", "certificate large", "--json"))["records"]
    assert sorted(one["trace_id"] for one in listed) == ["large-0", "large-1", "large-2"]
    exported = shared.mpicctl("evidence", "export", "--caller", "certificate large").splitlines()
    assert len(exported) == 3
