"""A lab with round-trip times that fit the map, for all tests here; each test leaves it as it found it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.lab import Lab
from tests.lab.appliance import Appliance
from tests.lab.places import Delays


@pytest.fixture(scope="package")
def lab() -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces")
    with Lab() as running:
        yield running


@pytest.fixture(scope="package")
def delays() -> Delays:
    return Delays()


@pytest.fixture(scope="package")
def appliance(lab: Lab, delays: Delays) -> Iterator[Appliance]:
    running = Appliance(lab.step)
    try:
        running.up(delays=delays)
        yield running
    finally:
        running.down()


@pytest.fixture(autouse=True)
def as_found(appliance: Appliance) -> None:
    """Every perspective is ready before a test."""
    appliance.wait_for(set(appliance.codes))
