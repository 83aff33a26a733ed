"""One lab with one appliance for all end-to-end tests; each test leaves it as it found it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.before import lay
from tests.conformance import EXTRA
from tests.hostile.service import Hostile, hostile_servers
from tests.lab import Lab, state
from tests.lab.appliance import Appliance
from tests.lab.appliance_files import USERS

CACHE_MAX_TTL_S = 2
CA_ZONE = "ca.test"


@pytest.fixture(scope="package")
def lab() -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces")
    with Lab(EXTRA) as running:
        yield running


@pytest.fixture(scope="package")
def appliance(lab: Lab) -> Iterator[Appliance]:
    running = Appliance(lab.step)
    # All that follows happens to an appliance that was upgraded: its evidence and its callers are of the version before.
    lay("0.1.0", state.directory("appliance", "state"), USERS["mpicd"])
    try:
        # Short, so that a test can wait for what every resolver forgets.
        running.up({"resolver": {"cache_max_ttl_s": CACHE_MAX_TTL_S}, "delegation": {"ca_delegation_zones": [CA_ZONE]}})
        yield running
    finally:
        running.down()


@pytest.fixture(scope="package")
def hostile(lab: Lab) -> Iterator[Hostile]:
    with hostile_servers() as running:
        yield running


@pytest.fixture(autouse=True)
def as_found(lab: Lab, appliance: Appliance) -> Iterator[None]:
    """Every perspective is ready before a test, and no hijack is in force after it."""
    appliance.wait_for(set(appliance.codes))
    yield
    lab.withdraw()
