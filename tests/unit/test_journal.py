"""Messages reach stderr as one JSON line each where there is no journal; no value breaks out of its field."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.evidence import announce
from appliance.evidence.announce import JournalAnnouncer, message_of
from appliance.evidence.record import Receipt
from appliance.linux import journal
from appliance.linux.journal import ALERT, INFO, NOTICE, Journal, Message, printable
from tests.unit.evidence.samples import decision, event

CATALOG = Path(__file__).parents[2] / "packaging" / "journal" / "mpic.catalog"


@pytest.fixture(autouse=True)
def no_journal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(journal, "SOCKET", tmp_path / "none")


def sent(*messages: Message) -> list[dict[str, Any]]:
    out = io.StringIO()
    writer = Journal("mpicd", fallback=out)
    for message in messages:
        writer.send(message)
    writer.close()
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_message_is_one_line_with_its_fields() -> None:
    fields = (
        ("MPIC_PERSPECTIVE", "ams"),
        ("MPIC_PERSPECTIVE", "nyc"),
        ("MPIC_PERSPECTIVE", "gru"),
        ("MPIC_QUORUM", "5/6"),
    )
    (line,) = sent(Message("ab", INFO, "text", fields))
    assert line == {
        "MESSAGE": "text",
        "MESSAGE_ID": "ab",
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "mpicd",
        "MPIC_PERSPECTIVE": ["ams", "nyc", "gru"],
        "MPIC_QUORUM": "5/6",
    }


@given(st.text())
def test_what_is_logged_prints_on_one_line(text: str) -> None:
    assert printable(text).isprintable()
    if text.isprintable():
        assert printable(text) == text


def test_a_journal_that_hangs_blocks_nobody_and_what_is_lost_is_counted() -> None:
    goes_on, written = threading.Event(), threading.Event()
    lines: list[str] = []

    class Hanging(io.StringIO):
        def write(self, text: str) -> int:
            written.set()
            goes_on.wait(20)
            lines.append(text)
            return len(text)

    writer = Journal("mpicd", capacity=2, fallback=Hanging())
    writer.send(Message("ab", INFO, "first"))
    assert written.wait(20)
    for number in range(5):
        writer.send(Message("ab", INFO, str(number)))
    goes_on.set()
    writer.close()
    told = [json.loads(line) for line in lines]
    assert [line["MESSAGE"] for line in told if "MPIC_DROPPED" not in line] == ["first", "0", "1"]
    assert [line["MPIC_DROPPED"] for line in told if "MPIC_DROPPED" in line] == ["3"]


def test_a_decision_is_announced_with_who_disagreed() -> None:
    message = message_of(decision(1, failing=frozenset({"ams", "nyc", "gru"})), Receipt(7, "ff"))
    values: dict[str, list[str]] = {}
    for name, value in message.fields:
        values.setdefault(name, []).append(value)
    assert message.priority == NOTICE
    assert message.id == announce.REFUSED_ID
    assert values["MPIC_DECISION"] == ["refused"]
    assert values["MPIC_QUORUM"] == ["3/6"]
    assert values["MPIC_IDENTIFIER"] == ["www.example.com"]
    assert values["MPIC_PERSPECTIVE"] == ["primary", "ams", "nyc", "gru", "jnb", "nrt", "lax"]
    assert values["MPIC_NON_CORROBORATION"] == ["ams", "nyc", "gru"]
    assert values["MPIC_SEQ"] == ["7"]


def test_events_and_alarms_are_announced() -> None:
    out = io.StringIO()
    writer = Journal("mpicd", fallback=out)
    announcer = JournalAnnouncer(writer)
    announcer.record(event(1), Receipt(1, "aa"))
    announcer.unavailable("disk full")
    announcer.available()
    writer.close()
    told = [json.loads(line) for line in out.getvalue().splitlines()]
    assert (told[0]["MPIC_EVENT"], told[0]["MPIC_ACTOR_LOGIN"]) == ("drain", "operator")
    assert [line["PRIORITY"] for line in told] == [str(NOTICE), str(ALERT), str(NOTICE)]


def test_every_message_is_in_the_catalog() -> None:
    identifiers = {value for name, value in vars(announce).items() if name.endswith("_ID")} | {journal._OVERFLOW_ID}
    assert identifiers == set(re.findall(r"^-- ([0-9a-f]{32})$", CATALOG.read_text(), re.MULTILINE))


def test_field_names_are_what_the_journal_takes() -> None:
    for record in (decision(1), event(1)):
        for name, _ in message_of(record, Receipt(1, "aa")).fields:
            assert re.fullmatch(r"MPIC_[A-Z0-9_]{1,58}", name)


@pytest.mark.parametrize("journal_stream", [True, False])
def test_a_log_message_is_one_line_whatever_others_wrote_in_it(
    capfd: pytest.CaptureFixture[str], journal_stream: bool
) -> None:
    code = (
        "import logging; from appliance.linux.log import set_up_logging; set_up_logging();"
        "logging.warning('%s', 'a\\n<2>forged\\r\\x1b[2J\\x85\\x9b\\u2028\\u202eb')"
    )
    environment = os.environ | ({"JOURNAL_STREAM": "1:1"} if journal_stream else {})
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    line = capfd.readouterr().err
    assert line.count("\n") == 1
    assert line[:-1].isprintable()
    assert line.endswith(r"a\n<2>forged\r\x1b[2J\x85\x9b\u2028\u202eb" + "\n")


def test_what_another_end_says_of_itself_is_not_logged_for_each_request(capfd: pytest.CaptureFixture[str]) -> None:
    code = (
        "import logging, httpx; from appliance.linux.log import set_up_logging; set_up_logging();"
        "answer = lambda request: httpx.Response(200, extensions={'reason_phrase': b'x' * 60000});"
        "httpx.Client(transport=httpx.MockTransport(answer)).get('https://partner.example/');"
        "logging.info('positive control')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.endswith("positive control")
