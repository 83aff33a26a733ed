"""Which failures of `make test` may be forgiven: by real runs of pytest over files made here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFTEST = """
from tests import second_try
from tests.second_try import pytest_addoption, pytest_collection_modifyitems

def pytest_configure(config):
    config.addinivalue_line("markers", "final: never forgiven")
    second_try.pytest_configure(config)
"""
ONCE = """
from pathlib import Path

def fails_at_first(name):
    mark = Path(__file__).with_name(f"ran-{name}")
    there = mark.exists()
    mark.touch()
    assert there, f"{name} failed at its first try"
"""


def run(directory: Path, tests: str, name: str = "test_it.py") -> subprocess.CompletedProcess[str]:
    (directory / "pytest.ini").write_text("[pytest]\n")
    (directory / "conftest.py").write_text(CONFTEST)
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(ONCE + tests)
    return subprocess.run(
        [sys.executable, "-m", "tests.second_try", "-q", f"--rootdir={directory}", "-p", "no:cacheprovider", str(path)],
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_what_passes_only_at_the_second_try_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, "def test_busy(): fails_at_first('busy')\ndef test_good(): pass\n")
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("== passed only at the second try:\n   test_it.py::test_busy\n"), done.stdout


def test_what_fails_twice_fails(tmp_path: Path) -> None:
    done = run(tmp_path, "def test_bad(): assert False\n")
    assert done.returncode == 1, done.stdout
    assert "== failed twice:\n   test_it.py::test_bad" in done.stdout


def test_more_than_three_are_not_tried_again(tmp_path: Path) -> None:
    four = "".join(f"def test_{n}(): fails_at_first({n})\n" for n in range(4))
    done = run(tmp_path, four)
    assert done.returncode == 1, done.stdout
    assert "4 tests failed, of which at most 3" in done.stdout
    three = "".join(f"def test_{n}(): fails_at_first('other{n}')\n" for n in range(3))
    assert run(tmp_path, three).returncode == 0


@pytest.mark.parametrize(
    "name",
    [
        "tests/e2e/test_hostile.py",
        "tests/e2e/test_hijack_after_hijack.py",
        "tests/e2e/test_kills.py",
        "tests/e2e/test_conformance.py",
        "tests/e2e/test_sharing.py",
        "tests/proofs/test_liars.py",
    ],
)
def test_a_failure_of_safety_is_never_forgiven(tmp_path: Path, name: str) -> None:
    assert (ROOT / name).exists(), "the rule names a file that is gone"
    done = run(tmp_path, "def test_it(): fails_at_first('it')\n", name)
    assert done.returncode == 1, done.stdout
    assert f"== a failure of these tests is never forgiven:\n   {name}::test_it" in done.stdout


@pytest.mark.parametrize(
    "tests",
    [
        "import pytest\n@pytest.fixture\ndef capture(): return 1\ndef test_it(capture): fails_at_first('it')\n",
        "def packets(): fails_at_first('it')\ndef test_it(): packets()\n",
        "def look():\n    captured = 1\n    fails_at_first('it')\ndef between(): look()\ndef test_it(): between()\n",
        "def records(): return []\ndef test_it():\n    fails_at_first('it')\n    assert not [r for r in records()]\n",
        "import pytest\n@pytest.mark.final\ndef test_it(): fails_at_first('it')\n",
        "import pytest\n@pytest.fixture\ndef capture(): fails_at_first('it')\ndef test_it(capture): pass\n",
    ],
)
def test_a_test_that_looks_at_a_capture_or_counts_records_is_never_forgiven(tmp_path: Path, tests: str) -> None:
    done = run(tmp_path, tests)
    assert done.returncode == 1, done.stdout
    assert "never forgiven:\n   test_it.py::test_it" in done.stdout


def test_a_file_that_cannot_be_collected_fails(tmp_path: Path) -> None:
    assert run(tmp_path, "import nothing_of_that_name\n").returncode != 0
