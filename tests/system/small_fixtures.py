"""Fixtures of the small net."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.small_config import Files, egress_link
from tests.system.small_net import EGRESS, SmallNet, inside, program


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def net(tmp_path: Path) -> Iterator[SmallNet]:
    built = SmallNet(tmp_path)
    try:
        built.build()
        yield built
    finally:
        built.close()


@pytest.fixture
def egress(net: SmallNet, files: Files) -> Path:
    """The egress node, set up; the path of its file."""
    path = files.egress()
    inside(EGRESS, program("mpic-egress"), "apply", "--config", str(path))
    assert egress_link("ams") in inside(EGRESS, "ip", "link").stdout
    return path
