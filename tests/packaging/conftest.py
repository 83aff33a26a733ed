"""The packages, built once from this tree, and a container with the appliance installed in the lab's CA site."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import Lab, topology
from tests.packaging.container import Container
from tests.packaging.site import Site

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def debs() -> dict[str, Path]:
    """The package files by package name. `MPIC_DEBS` names a directory with some that are built already."""
    directory = Path(os.environ.get("MPIC_DEBS", REPOSITORY / "build" / "deb"))
    if "MPIC_DEBS" not in os.environ:
        build = [REPOSITORY / "packaging" / "deb" / "build"]
        subprocess.run(build, check=True, timeout=500, capture_output=True, umask=0o077)
    return {path.name.partition("_")[0]: path for path in directory.glob("*.deb")}


@pytest.fixture(scope="module")
def site(debs: dict[str, Path]) -> Iterator[Site]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces and a container")
    with Lab() as lab, Container("mpic-appliance", topology.PRIMARY.namespace) as container:
        running = Site(lab, container)
        running.write_files()
        running.install(debs["mpic-appliance"])
        yield running
