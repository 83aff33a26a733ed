"""`mpicctl evidence`: what it prints, what it writes, and how it exits."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import socket
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import update
from typer.testing import CliRunner, Result

from appliance.cli.client import CannotAsk, Coordinator
from appliance.cli.context import Invocation
from appliance.cli.evidence import app
from appliance.evidence import EventRecord, EventType, EvidenceWriter, actor_of, utc_text
from appliance.evidence.chain import START, Link, link
from appliance.evidence.schema import RECORDS, writing_engine
from appliance.model.observation import Outcome
from tests.unit.evidence.samples import EPOCH, observation
from tests.unit.evidence.stores import RECEIPTS


def run(store: Path, command: str, *arguments: str) -> Result:
    invocation = Invocation(store.parent / "none.toml", None)
    return CliRunner().invoke(app, [command, *arguments, "--store", str(store)], obj=invocation)


def done(store: Path, command: str, *arguments: str) -> str:
    result = run(store, command, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def listed(store: Path, *arguments: str) -> list[int]:
    records: list[dict[str, Any]] = json.loads(done(store, "list", "--json", "--limit", "0", *arguments))["records"]
    return [record["seq"] for record in records]


def of_host(number: int) -> list[int]:
    """The decisions about hostN.example.com, the newest first."""
    return [seq for seq in range(31, 1, -1) if (seq - 2) % 3 == number]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), list(range(32, 0, -1))),
        (("--kind", "decision"), list(range(31, 1, -1))),
        (("--kind", "event"), [32, 1]),
        (("--kind", "perspective-set"), [1]),
        (("--domain", "example.com"), list(range(31, 1, -1))),
        (("--domain", "example.com", "--exact"), []),
        (("--domain", "HOST1.Example.COM."), of_host(1)),
        (("--domain", "xample.com"), []),
        (("--domain", "198.18.0.1"), []),
        (("--method", "acme-dns-01", "--domain", "host2.example.com"), of_host(2)),
        (("--method", "caa"), []),
        (("--trace", "trace-4"), [6]),
        (("--result", "refused"), [28, 23, 18, 13, 8, 3]),
        (("--result", "corroborated", "--perspective", "nrt=error"), [27, 22, 17, 12, 7, 2]),
        (("--perspective", "nrt"), list(range(31, 1, -1))),
        (("--perspective", "nr"), []),
        (("--since", "2026-12-20T12:00:00.027Z", "--kind", "decision"), [31, 30, 29]),
        (("--until", "2026-12-20T12:00:00.002Z", "--kind", "decision"), [3, 2]),
        (("--until", "2026-12-20", "--trace", "trace-4"), [6]),
        (("--until", "2026-12-19"), []),
    ],
)
def test_list_filters(pristine: Path, arguments: tuple[str, ...], expected: list[int]) -> None:
    assert listed(pristine, *arguments) == expected


def test_list_on_paper_shows_the_newest_first(pristine: Path) -> None:
    lines = done(pristine, "list", "--limit", "2").splitlines()
    assert [line.split()[0] for line in lines] == ["record", "32", "31"]
    assert "corroborated 6/6" in lines[2]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--result", "maybe"),
        ("--since", "yesterday"),
        ("--kind", "x"),
        ("--perspective", "a=b"),
        ("--domain", "http://x/"),
    ],
)
def test_a_wrong_filter_is_refused(pristine: Path, arguments: tuple[str, ...]) -> None:
    assert run(pristine, "list", *arguments).exit_code == 2


def test_show_gives_the_whole_record(pristine: Path) -> None:
    by_number = json.loads(done(pristine, "show", "3", "--json"))
    assert by_number == json.loads(done(pristine, "show", "trace-1", "--json"))
    record = by_number["records"][0]["record"]
    assert [attempt["perspective"] for attempt in record["remotes"]] == ["ams", "nyc", "gru", "jnb", "nrt", "lax"]
    on_paper = done(pristine, "show", "3")
    assert "refused" in on_paper
    assert "_acme-challenge.host1.example.com TXT: NOERROR secure" in on_paper
    assert run(pristine, "show", "99").exit_code == 1


def test_export_of_json_lines_can_be_hashed_by_anyone(pristine: Path, tmp_path: Path) -> None:
    output = tmp_path / "all.jsonl"
    told = json.loads(done(pristine, "export", "--output", str(output), "--json"))
    assert told["bytes"] == output.stat().st_size
    head: Link = START
    for line in output.read_bytes().splitlines():
        exported = json.loads(line)
        canonical = line[line.index(b'"record":') + 9 : line.rindex(b',"seq":')]
        head = link(head, canonical)
        assert (head.seq, head.hash.hex()) == (exported["seq"], exported["hash"])
    assert head.seq == 32
    assert run(pristine, "export", "--output", str(output)).exit_code == 1


def test_export_of_csv_has_a_line_for_each(pristine: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(done(pristine, "export", "--format", "csv"))))
    assert [int(row["seq"]) for row in rows] == list(range(1, 33))
    assert (rows[2]["is_valid"], rows[2]["quorum"]) == ("false", "3 of 6")


def test_export_of_a_report_needs_a_subject(pristine: Path) -> None:
    assert run(pristine, "export", "--format", "html").exit_code == 2
    assert done(pristine, "export", "--format", "html", "--trace", "trace-4").count("<section") == 1


def test_verify_says_that_all_is_well(pristine: Path) -> None:
    arguments = ("--replay", "--receipts", str(pristine.parent / RECEIPTS), "--json")
    told = json.loads(done(pristine, "verify", *arguments))
    assert (told["ok"], told["records"], told["receipts"], told["problems"]) == (True, 32, 30, [])
    assert "whole" in done(pristine, "verify")


def test_verify_names_what_is_wrong(store: Path) -> None:
    with writing_engine(store).begin() as connection:
        connection.execute(update(RECORDS).where(RECORDS.c.seq == 7).values(record=b"{}"))
    result = run(store, "verify")
    assert (result.exit_code, result.stdout.splitlines()[0].startswith("record 7: changed")) == (1, True)
    assert [problem["seq"] for problem in json.loads(run(store, "verify", "--json").stdout)["problems"]] == [7]


def test_verify_trusts_the_key_that_it_is_given(pristine: Path) -> None:
    assert run(pristine, "verify", "--public-key", "00" * 32).exit_code == 1
    assert run(pristine, "verify", "--public-key", str(pristine.parent / "checkpoint.key.pub")).exit_code == 0


def test_a_caller_is_who_asked_and_nobody_whom_a_target_names(tmp_path: Path) -> None:
    store = tmp_path / "evidence.sqlite"
    asyncio.run(_checks_for(store, "certificate alice", "certificate bob", "certificate alice", "certificate bob"))
    assert listed(store, "--caller", "certificate bob") == [4, 2]
    assert listed(store, "--caller", "certificate alice") == [3, 1]
    newest = json.loads(done(store, "list", "--json", "--limit", "1", "--caller", "certificate alice"))["records"]
    assert [each["seq"] for each in newest] == [3]
    for form in ("jsonl", "csv"):
        exported = done(store, "export", "--format", form, "--caller", "certificate bob")
        assert "asked by certificate bob" in exported
        assert "asked by certificate alice" not in exported


async def _checks_for(store: Path, *callers: str) -> None:
    writer = EvidenceWriter.open(store)
    for caller in callers:
        seen = ("caller", "certificate bob" if caller == "certificate alice" else "certificate alice")
        check = EventRecord(
            utc_text(EPOCH),
            EventType.PERSPECTIVE_CHECK,
            actor_of(),
            subject="ams",
            message=f"asked by {caller}",
            facts=(("caller", caller),),
            observation=msgspec.structs.replace(observation("ams", "a.example", Outcome.MATCH, EPOCH), seen=seen),
        )
        await writer.submit(check)
    await writer.close()


def test_prune_tells_that_mpicd_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.cli.evidence.copies._PRUNE_TIMEOUT_S", 0.2)
    path = tmp_path / "operators.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.bind(str(path))
        silent.listen(1)
        result = CliRunner().invoke(app, ["prune"], obj=Invocation(tmp_path / "none.toml", path))
    assert isinstance(result.exception, CannotAsk)
    assert "goes on" in str(result.exception)
    assert "did not answer in time" in str(result.exception)


def test_prune_waits_longer_than_any_other_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    def answering(_: Invocation, timeout_s: float = 30.0) -> Coordinator:
        waited.append(timeout_s)
        raise CannotAsk("not now")

    monkeypatch.setattr(Invocation, "coordinator", answering)
    CliRunner().invoke(app, ["prune"], obj=Invocation(tmp_path / "none.toml", None))
    assert waited[0] >= 3600


def test_backup_restore_and_prune_tell_what_they_did(store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.sqlite"
    assert json.loads(done(store, "backup", str(copy), "--json"))["records"] == 32
    assert json.loads(done(copy, "verify", "--json"))["ok"]
    assert json.loads(done(store, "restore", str(copy), "--json"))["head"]["seq"] == 33
    assert json.loads(done(store, "prune", "--json")) == {"file": None}
    assert run(store, "prune", "--before", "2999-01-01").exit_code == 1
