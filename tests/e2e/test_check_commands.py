"""`mpicctl check` for every method, in every outcome, today and on the days that change what the BRs ask."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pytest

from appliance.cli.main import main
from appliance.model.check import Method
from appliance.policy.br_table import row_at
from tests.conformance.row import PASS, told, wrong
from tests.conformance.table import TABLE
from tests.e2e.asking import caa, decide
from tests.e2e.commands import COMMANDS, IP_ADDRESS, Commands
from tests.e2e.dates import on_day
from tests.hostile.addresses import kind_of
from tests.hostile.service import Hostile
from tests.lab.appliance import Appliance

pytestmark = pytest.mark.e2e

CODES = 6
EMAIL = {Method.CONTACT_EMAIL_CAA: "3.2.2.4.13", Method.CONTACT_EMAIL_TXT: "3.2.2.4.14"}
PHONE = {Method.CONTACT_PHONE_CAA: "3.2.2.4.17", Method.CONTACT_PHONE_TXT: "3.2.2.4.16"}
ADDRESS = {Method.IP_ADDRESS: "3.2.2.4.8"}
REVERSE = {Method.REVERSE_ADDRESS_LOOKUP: "3.2.2.5.3"}


@dataclass(frozen=True, slots=True)
class Day:
    """What the BRs say from `day` on: the remotes that must be asked, and methods with their section and date."""

    day: str
    remotes: int
    forbidden: dict[Method, tuple[str, str]]
    discouraged: dict[Method, tuple[str, str]]


def since(day: str, *methods: dict[Method, str]) -> dict[Method, tuple[str, str]]:
    return {method: (section, day) for one in methods for method, section in one.items()}


_FIRST, _SECOND, _THIRD = "2026-03-15", "2027-03-15", "2028-03-15"
DAYS = (
    Day("2026-12-15", 5, since(_FIRST, ADDRESS), since(_FIRST, EMAIL, PHONE)),
    Day("2027-03-15", 5, since(_FIRST, ADDRESS) | since(_SECOND, PHONE, REVERSE), since(_FIRST, EMAIL)),
    Day("2028-03-15", 5, since(_FIRST, ADDRESS) | since(_SECOND, PHONE, REVERSE) | since(_THIRD, EMAIL), {}),
)


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON object on standard output."""
        read: dict[str, Any] = json.loads(self.out)
        return read


Typed = Callable[..., Done]


@pytest.fixture
def mpicctl(appliance: Appliance, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """The console script's own function, in this process: a hundred interpreters would take minutes to start."""

    def typed(*words: str) -> Done:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["mpicctl", "--config", str(appliance.config), *words])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, out, err)

    return typed


def asked(mpicctl: Typed, method: Method, words: str) -> tuple[Done, Done]:
    """For people, and for machines; both end alike."""
    human, machine = mpicctl("check", method, *words.split()), mpicctl("check", method, *words.split(), "--json")
    assert human.code == machine.code, (human, machine)
    return human, machine


@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize(("method", "commands"), COMMANDS.items(), ids=map(str, COMMANDS))
class TestEveryMethod:
    """Exit codes, what is printed for people, and what for machines."""

    def test_pass(self, mpicctl: Typed, method: Method, commands: Commands) -> None:
        human, machine = asked(mpicctl, method, commands.passes)
        assert (human.code, human.err) == (0, "")
        assert f"corroborated {CODES}/{CODES}" in human.out
        assert machine.document["is_valid"] is True
        assert set(told(machine.document).values()) == {PASS}
        assert machine.document["baseline_requirements"]["version"] == "2.2.6"

    def test_mismatch(self, mpicctl: Typed, method: Method, commands: Commands) -> None:
        human, machine = asked(mpicctl, method, commands.differs)
        assert (human.code, human.err) == (1, "")
        assert f"REFUSED 0/{CODES}" in human.out
        assert machine.document["is_valid"] is False
        assert set(told(machine.document).values()) == {f"validation:{method}"}

    def test_error(self, mpicctl: Typed, method: Method, commands: Commands) -> None:
        human, machine = asked(mpicctl, method, commands.fails)
        assert (human.code, human.err) == (1, "")
        assert f"REFUSED 0/{CODES}" in human.out
        assert set(told(machine.document).values()) == {commands.error}
        message = machine.document["primary"]["check_response"]["errors"][0]["error_message"]
        assert message.split()[0] in human.out

    def test_what_cannot_be_asked(self, mpicctl: Typed, method: Method, commands: Commands) -> None:
        human, machine = asked(mpicctl, method, commands.malformed)
        assert (human.code, human.out) == (2, "")
        assert "HTTP 400" in human.err
        assert commands.named in human.err
        assert any(commands.named in issue for issue in machine.document["issues"])


def test_the_table_is_of_every_method() -> None:
    assert {*COMMANDS, Method.IP_ADDRESS} == set(Method)


def test_ip_address_is_a_400_that_cites_section_and_date(mpicctl: Typed) -> None:
    human, machine = asked(mpicctl, Method.IP_ADDRESS, IP_ADDRESS)
    assert (human.code, human.out) == (2, "")
    assert "must not be relied on from 2026-03-15 on (BR 3.2.2.4.8, version 2.2.6)" in human.err.replace("\n", " ")
    assert any("BR 3.2.2.4.8" in issue for issue in machine.document["issues"])


def test_methods_prints_the_table_with_dates(mpicctl: Typed) -> None:
    human, machine = mpicctl("methods"), mpicctl("methods", "--json")
    assert (human.code, machine.code) == (0, 0)
    rows = {row["method"]: row for row in machine.document["methods"]}
    assert set(rows) == set(map(str, Method))
    for method, row in rows.items():
        (line,) = [
            line for line in human.out.splitlines() if line.split("│")[1:2] and line.split("│")[1].strip() == method
        ]
        for key in ("domain_section", "address_section", "should_not_from", "must_not_from", "standing"):
            assert row[key] is None or row[key] in line


def test_today_fewer_remotes_are_enough(appliance: Appliance) -> None:
    today = datetime.now(UTC).date()
    needed = row_at(today).remotes_required
    enough = caa("issue.check.test") | {"orchestration_parameters": {"perspective_count": needed}}
    assert decide(appliance, enough)["quorum"] == f"{needed}/{needed}"


@pytest.fixture(params=DAYS, ids=lambda day: day.day, scope="module")
def later(appliance: Appliance, request: pytest.FixtureRequest) -> Iterator[Day]:
    """The coordinator on that day, which is before none of its records."""
    then: Day = request.param
    assert datetime.now(UTC).date() < date.fromisoformat(then.day), "a day that has come: it is today's table then"
    with on_day(appliance, date.fromisoformat(then.day)):
        yield then


def test_on_a_later_day_what_is_forbidden_is_a_400_and_all_else_as_today(
    mpicctl: Typed, hostile: Hostile, later: Day
) -> None:
    rules = {method: commands.passes for method, commands in COMMANDS.items()} | {Method.IP_ADDRESS: IP_ADDRESS}
    for method, words in rules.items():
        human, machine = asked(mpicctl, method, words)
        if method in later.forbidden:
            section, day = later.forbidden[method]
            assert (human.code, human.out) == (2, "")
            assert f"{method} must not be relied on from {day} on (BR {section}, version 2.2.6)" in human.err.replace(
                "\n", " "
            )
            assert any(f"BR {section}" in issue for issue in machine.document["issues"])
            continue
        assert (human.code, machine.document["is_valid"]) == (0, True), (method, human)
        warnings = [line for line in machine.document["warnings"] if str(method) in line]
        if method in later.discouraged:
            section, day = later.discouraged[method]
            assert [f"from {day} on" in line and f"BR {section}" in line for line in warnings] == [True]
        else:
            assert warnings == []
        assert [later.day in line for line in machine.document["warnings"] if "clock's date" in line] == [True]
        assert mpicctl("check", method, *COMMANDS[method].differs.split(), "--json").code == 1
        failed = mpicctl("check", method, *COMMANDS[method].fails.split(), "--json")
        assert (failed.code, set(told(failed.document).values())) == (1, {COMMANDS[method].error})


def test_on_a_later_day_the_quorum_is_that_days(appliance: Appliance, later: Day) -> None:
    row = row_at(date.fromisoformat(later.day))
    assert (row.remotes_required, row.since) == (later.remotes, "2026-12-15")
    policy = decide(appliance, caa("issue.check.test"))["policy"]
    assert (policy["row"]["since"], policy["required"]) == ("2026-12-15", 4)
    fewer = caa("issue.check.test") | {"orchestration_parameters": {"perspective_count": later.remotes - 1}}
    refused = appliance.ask("POST", "/mpic", fewer)
    assert refused.status_code == 400
    assert f"at least {later.remotes} remote perspectives since 2026-12-15 (BR 3.2.2.9)" in refused.text
    exactly = caa("issue.check.test") | {"orchestration_parameters": {"perspective_count": later.remotes}}
    assert decide(appliance, exactly)["quorum"] == f"{later.remotes}/{later.remotes}"


def test_on_a_later_day_every_row_of_the_conformance_table_holds(
    appliance: Appliance, hostile: Hostile, later: Day
) -> None:
    # A resolver goes on for most of a minute with a name whose servers are silent: asked again so soon, it may end in between, and
    # so may it where they are silent for CAA alone, or with EDNS.
    table = [row for row in TABLE if kind_of(row.target) not in {"silent", "no-caa", "no-edns"}]
    rows = [row for row in table if _method(row.request) not in later.forbidden]
    assert len(TABLE) - 4 == len(table) >= len(rows) > len(table) - 12
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda row: decide(appliance, row.body), rows))
    found = [problem for row, one in zip(rows, answers, strict=True) if (problem := wrong(row, one, appliance.codes))]
    assert found == [], "\n".join(found)


def _method(request: dict[str, Any]) -> str:
    return str(request.get("dcv_check_parameters", {}).get("validation_method", "caa"))
