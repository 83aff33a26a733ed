"""An attacker who captures one perspective after another never has them agree: resolvers forget in time (BR 3.2.2.9)."""

from __future__ import annotations

import time

import pytest

from tests.e2e.asking import DIGEST, corroborating, decide, dns_01
from tests.e2e.conftest import CACHE_MAX_TTL_S
from tests.lab import Lab, topology
from tests.lab.appliance import Appliance

pytestmark = pytest.mark.e2e

NAME = "successive.plain.example"
NETWORKS = {lan.host: lan.router for lan in topology.LANS if lan.host != "ca"}


def test_they_never_add_up_to_a_quorum(lab: Lab, appliance: Appliance) -> None:
    # The attacker asks resolvers to keep his answer for a day.
    lab.set_txt(f"_acme-challenge.{NAME}", [DIGEST], "mallory", ttl_s=86400)
    ever: set[str] = set()
    try:
        for code, network in NETWORKS.items():
            assert lab.hijack("dns-prefix", via=[network]).captures == {code}
            answer = decide(appliance, dns_01(NAME))
            assert corroborating(answer) == {code}, "the hijack works, where it is aimed, and nowhere else"
            assert answer["is_valid"] is False
            ever |= corroborating(answer)
            _wait_beyond_the_cache_limit()
        assert ever == set(NETWORKS), "each of them was captured once"
    finally:
        lab.clear_txt(f"_acme-challenge.{NAME}", "mallory")


def _wait_beyond_the_cache_limit() -> None:
    # The one thing in these tests that is a time and not a state: how long an attacker has to wait.
    time.sleep(CACHE_MAX_TTL_S + 1)
