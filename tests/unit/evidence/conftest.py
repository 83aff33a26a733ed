from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.evidence.stores import copy_of, make


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 32 records that no test changes: 1 the perspective set, 2-31 decisions, 32 an event."""
    return make(tmp_path_factory.mktemp("pristine"))


@pytest.fixture
def store(pristine: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return copy_of(pristine, tmp_path / "copy")
