"""The proofs that rest on what others say: exit addresses and attestations, and the warnings about keys that prove nothing."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from appliance.config import AnchorConfig, Settings
from appliance.model.health import WorkerStatus
from appliance.model.proof import Result
from appliance.policy.proofs import ATTESTED_FOR, Expected, attestation, exit_address, withheld
from appliance.policy.unproven import provable_versions, warnings
from tests.unit.coordinator.configuration import document

V4, V6, OTHER = "198.51.100.1", "2001:db8::1", "203.0.113.9"
TODAY = date(2026, 12, 1)


def _expected(*addresses: str, attested_on: date | None = None) -> Expected:
    return Expected("ams", True, addresses, 64500, "p", (64501,), attested_on)


def _worker(seen: tuple[str, ...], authenticated: tuple[str, ...]) -> WorkerStatus:
    return WorkerStatus("ams", True, (), seen, None, 1000, 7, authenticated_addresses=authenticated)


@pytest.mark.parametrize(
    ("seen", "authenticated", "provable", "result", "text"),
    [
        ((V4, V6), (V4, V6), (4, 6), Result.VALID, f"authenticated anchors see {V4}, {V6}"),
        (
            (V4, V6),
            (),
            (4, 6),
            Result.MISSING,
            "no anchor whose certificate verifies has seen its address over IPv4 and IPv6",
        ),
        ((V4, V6), (V4,), (4, 6), Result.MISSING, "over IPv6"),
        ((V4,), (V4,), (4, 6), Result.MISSING, "over IPv6"),
        ((), (), (4, 6), Result.MISSING, "over IPv4 and IPv6"),
        ((V4, V6), (), (), Result.NOT_CONFIGURED, "no https:// anchor can be asked over IPv4 and IPv6"),
        ((V4, V6), (V4,), (4,), Result.NOT_CONFIGURED, "no https:// anchor can be asked over IPv6"),
        ((V4, OTHER, V6), (V4, V6), (4, 6), Result.FAILED, f"outside anchors see {OTHER}"),
        ((OTHER,), (), (), Result.FAILED, f"outside anchors see {OTHER}"),
    ],
)
def test_the_exit_address(
    seen: tuple[str, ...], authenticated: tuple[str, ...], provable: tuple[int, ...], result: Result, text: str
) -> None:
    proof = exit_address(_expected(V4, V6), _worker(seen, authenticated), asked=True, provable=provable)
    assert proof.result is result
    assert text in proof.text
    assert (withheld([proof]) is not None) is (result in {Result.FAILED, Result.MISSING})


def test_a_name_is_asked_over_both_versions_and_an_address_over_its_own() -> None:
    def provable(*urls: str) -> frozenset[int]:
        return provable_versions(AnchorConfig(url=url) for url in urls)

    assert provable("http://a.example/") == frozenset()
    assert provable("https://a.example/") == {4, 6}
    assert provable("https://198.51.100.7/", "http://a.example/") == {4}
    assert provable("https://[2001:db8::7]/") == {6}


@pytest.mark.parametrize(
    ("days_ago", "result"),
    [(0, Result.VALID), (-1, Result.VALID), (-2, Result.FAILED), (398, Result.VALID), (399, Result.EXPIRED)],
)
def test_an_attestation_has_an_end_and_no_future(days_ago: int, result: Result) -> None:
    proof = attestation(_expected(V4, attested_on=TODAY - timedelta(days=days_ago)), TODAY)
    assert proof.result is result
    # Like no attestation at all, an old one proves nothing and stands against nobody.
    assert (withheld([proof]) is not None) is (result is Result.FAILED)


def test_what_proves_nothing_is_warned_of(tmp_path: Path) -> None:
    told = document(tmp_path)
    told["anchors"] = [{"url": "https://a.example/"}, {"url": "http://b.example/"}]
    for index, days_ago in enumerate((2555, 380, 300)):
        told["perspectives"][index]["attested_on"] = TODAY - timedelta(days=days_ago)
    lines = list(warnings(Settings.model_validate(told), TODAY))
    assert [line.partition(": ")[0] for line in lines] == [
        "anchors.1.url",
        "perspectives.0.attested_on",
        "perspectives.1.attested_on",
    ]
    assert "use https://" in lines[0]
    assert f"more than {ATTESTED_FOR.days} days ago" in lines[1]
    assert "counts until 2026-12-19" in lines[2]
