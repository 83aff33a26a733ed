"""Permission by look-up failure as the name servers see it: two rounds from every perspective; none where one answers late."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.rdatatype
import pytest

from tests.conformance.row import caa, told
from tests.e2e.asking import decide
from tests.hostile.addresses import NAMESPACE, SERVERS, ZONE
from tests.hostile.service import Hostile
from tests.lab import Lab
from tests.lab.appliance import Appliance
from tests.lab.capture import Capture

pytestmark = pytest.mark.e2e

FAILING = ("servfail", "refused", "notimp", "formerr", "no-caa")
ROUNDS = {(0, False), (-1, False)}
"""By the version of EDNS, -1 for none, and whether recursion is wanted."""


def asked_for(kind: str) -> dict[str, Any]:
    return caa(allow_lookup_failure=True) | {"domain_or_ip_target": f"y.{kind}.{ZONE}"}


def egress_addresses(appliance: Appliance) -> set[str]:
    remote = {str(one) for perspective in appliance.settings.perspectives for one in perspective.egress_addresses}
    return remote | {str(one.ip) for one in appliance.settings.primary.addresses}


def direct_questions(capture: Capture, name: str) -> dict[tuple[str, str], set[tuple[int, bool]]]:
    """By asker and server, how CAA at a name was asked for, of what the resolver did not ask."""
    found: dict[tuple[str, str], set[tuple[int, bool]]] = defaultdict(set)
    for packet in capture.packets():
        if packet.proto != "udp" or packet.dport != 53:
            continue
        try:
            query = dns.message.from_wire(packet.payload)
        except dns.exception.DNSException:
            continue
        asked = query.question[0]
        # A resolver sets DO, the worker does not.
        if (asked.name.to_text(), asked.rdtype) == (f"{name}.", dns.rdatatype.CAA) and not query.ednsflags:
            wanted = bool(query.flags & dns.flags.RD)
            found[str(packet.src), str(packet.dst)].add((query.edns, wanted))
    return found


def test_both_rounds_reach_every_address_from_every_perspective(
    lab: Lab, appliance: Appliance, hostile: Hostile
) -> None:
    with lab.capture(NAMESPACE, "any", "udp dst port 53") as capture, ThreadPoolExecutor(len(FAILING)) as pool:
        answers = dict(zip(FAILING, pool.map(lambda kind: decide(appliance, asked_for(kind)), FAILING), strict=True))
    expected = egress_addresses(appliance)
    for kind, answer in answers.items():
        assert answer["is_valid"], told(answer)
        questions = direct_questions(capture, f"y.{kind}.{ZONE}")
        for server in SERVERS[kind]:
            own = {asker for asker in expected if (":" in asker) is (":" in str(server))}
            rounds = {asker: how for (asker, at), how in questions.items() if at == str(server)}
            assert rounds == dict.fromkeys(own, ROUNDS), (kind, server)
        for part in (answer["primary"], *answer["perspectives"]):
            failures = part["check_response"]["details"]["lookup_failures"]
            assert [one["name"] for one in failures] == [f"y.{kind}.{ZONE}", f"{kind}.{ZONE}"]
            of_caa = [one for one in failures[0]["servers"] if one["type"] == "CAA"]
            assert {(one["round"], one["address"]) for one in of_caa} == {
                (number, str(server)) for number in (1, 2) for server in SERVERS[kind]
            }
            assert {one["rcode"] or one["said"] for one in of_caa} == {"silent" if kind == "no-caa" else kind.upper()}


def test_an_answer_that_comes_late_is_never_permission(appliance: Appliance, hostile: Hostile) -> None:
    # Either the resolver has it in time, or the worker's own question does; it forbids.
    for _ in range(2):
        answer = decide(appliance, asked_for("late-caa"))
        assert not answer["is_valid"]
        assert set(told(answer)) == set(appliance.codes)
        assert set(told(answer).values()) <= {"target:caa.zone-answers", "validation:caa"}
