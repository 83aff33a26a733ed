"""From bare Debian machines to a corroborated check by the playbooks alone, over ssh; and the days after."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import Lab
from tests.packaging.fleet import Fleet

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def fleet(debs: dict[str, Path]) -> Iterator[Fleet]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and containers")
    with Lab() as lab, Fleet(lab, debs.values()) as running:
        yield running


def test_site_makes_it_all_from_zero(fleet: Fleet) -> None:
    played = fleet.play("site")
    assert played.status == 0, played.output
    assert set(played.counts) == {"localhost", *fleet.nodes}
    fleet.wait_for_quorum("6/6")
    for name, node in fleet.nodes.items():
        assert node.state() == "running", f"{name}: {node.failures()}"


def test_a_second_run_changes_nothing(fleet: Fleet) -> None:
    played = fleet.play("site")
    assert played.status == 0, played.output
    assert {name: counts["changed"] for name, counts in played.counts.items()} == dict.fromkeys(played.counts, 0)
