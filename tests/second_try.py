"""Run every test, and give a few of those that failed a second try, alone: `python -m tests.second_try [PYTEST ARGUMENT ...]`.

Tests of real processes in real time can meet a machine that was busy elsewhere. A failure of safety has no such excuse, so the
tests that look for one are final: what the first run saw stands. At most `MOST_FORGIVEN` others may pass at their second
try, and the last lines of the output name them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from types import CodeType, FunctionType
from typing import Any, Final

import pytest

MOST_FORGIVEN: Final = 3
_OPTION: Final = "--failures-file"
# The hostile, the hijacker, the killer, the rules, the partners and the liars.
_FINAL: Final = (
    "tests/e2e/test_hostile.py",
    "tests/e2e/test_hijack*.py",
    "tests/e2e/test_kills.py",
    "tests/e2e/test_conformance.py",
    "tests/e2e/test_sharing.py",
    "tests/proofs/*.py",
)
# Words that a test uses when it looks at packets on the wire, or counts what lies on disk.
_WITNESS: Final = re.compile(r"capture|pcap|packets|records|requests_seen|echoes", re.IGNORECASE)


def main(arguments: Sequence[str]) -> int:
    """Run pytest with `arguments`, then what may be tried again; the exit status of pytest, 1 if a failure is not forgiven."""
    status, failures = _pytest(arguments)
    if status != pytest.ExitCode.TESTS_FAILED:
        return status
    final = sorted(test for test, is_final in failures.items() if is_final)
    if final:
        _say("a failure of these tests is never forgiven", final)
        return status
    if not failures or len(failures) > MOST_FORGIVEN:
        _say(f"{len(failures)} tests failed, of which at most {MOST_FORGIVEN} could be tried again", sorted(failures))
        return status
    _say("these tests failed and are tried once more, alone", sorted(failures))
    status, again = _pytest(sorted(failures))
    if status == pytest.ExitCode.OK:
        _say("passed only at the second try", sorted(failures))
    else:
        _say("failed twice", sorted(again))
    return status


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(_OPTION, type=Path, help="write which tests failed, and whether that is final, as JSON")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if is_final(item):
            item.add_marker(pytest.mark.final)


def is_final(item: pytest.Item) -> bool:
    """Whether the first failure of this test stands: by its place, its mark, or the words that it and its helpers use."""
    path = PurePath(item.nodeid.partition("::")[0])
    if item.get_closest_marker("final") is not None or any(path.match(pattern) for pattern in _FINAL):
        return True
    function = getattr(item, "function", None)
    words = {*getattr(item, "fixturenames", ()), *(_words(function) if isinstance(function, FunctionType) else ())}
    return any(_WITNESS.search(word) for word in words)


class Failures:
    """The tests that failed in this run, or whose fixtures did, and whether that is final."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._final: set[str] = set()
        self._failed: set[str] = set()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._final = {item.nodeid for item in session.items if item.get_closest_marker("final") is not None}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        self._path.write_text(json.dumps({test: test in self._final for test in sorted(self._failed)}))


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption(_OPTION)
    if path is not None:
        config.pluginmanager.register(Failures(path))


def _words(function: FunctionType) -> Iterator[str]:
    """The names and texts that a function uses, and those of the functions of the tests that it calls, and so on."""
    waiting, seen = [function], {function}
    while waiting:
        current = waiting.pop()
        for name in _names(current.__code__):
            yield name
            called = current.__globals__.get(name)
            if isinstance(called, FunctionType) and called not in seen and _is_ours(called, function):
                seen.add(called)
                waiting.append(called)


def _is_ours(called: FunctionType, caller: FunctionType) -> bool:
    return called.__module__ == caller.__module__ or called.__module__.startswith("tests.")


def _names(code: CodeType) -> Iterator[str]:
    yield from (*code.co_names, *code.co_varnames, *code.co_cellvars)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
        elif isinstance(constant, str):  # a key of a report, the message of an assertion
            yield constant


def _pytest(arguments: Sequence[str]) -> tuple[int, dict[str, bool]]:
    """The exit status, and for each test that failed whether that is final."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "failures.json"
        command = [sys.executable, "-m", "pytest", f"{_OPTION}={path}", "-v", *arguments]
        status = subprocess.run(command, check=False).returncode
        failures: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return status, failures


def _say(what: str, tests: Sequence[str]) -> None:
    print(f"== {what}:", *(f"   {test}" for test in tests), sep="\n", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
