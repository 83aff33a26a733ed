"""What `mpicctl keys` ends with, where a rotation is taken up again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from appliance.cli import keys
from appliance.cli.client import CannotAsk
from appliance.model.keys import KeyAnswer, KeyRequest, KeyState

_STATE = KeyState("ams", "second", True, "public", ("10.77.0.3",), None)


class Told:
    """Stands for both daemons. `recorded`: what mpicd was told; `evidence_fails`: it could not record it."""

    config = Path("appliance.toml")

    def __init__(self, answer: KeyAnswer) -> None:
        self.answer = answer
        self.asked: list[KeyRequest] = []
        self.recorded: list[str] = []
        self.evidence_fails = False

    def coordinator(self) -> Told:
        return self

    def get(self, _path: str) -> dict[str, Any]:
        return {"perspectives": [{"code": "ams", "healthy": True, "in_flight": 0}]}

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path == "/key-rotation":
            if self.evidence_fails:
                raise CannotAsk("HTTP 503: disk full")
            self.recorded.append(body["step"])
        return {"changed": True}

    def ask(self, _socket: Path, request: KeyRequest) -> KeyAnswer:
        self.asked.append(request)
        return self.answer


def _run(told: Told, monkeypatch: pytest.MonkeyPatch, *argv: str) -> tuple[int, str, BaseException | None]:
    monkeypatch.setattr(keys, "_ask", told.ask)
    monkeypatch.setattr(keys, "load", lambda _path: SimpleNamespace(tunnel_control=Path("control")))
    done = CliRunner().invoke(keys.app, argv, obj=told)
    return done.exit_code, done.output, done.exception


def test_that_a_former_key_is_to_be_retired_has_a_status_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for retire_due, status in ((True, 3), (False, 1)):
        answer = KeyAnswer(error="ams: run mpicctl keys retire ams", retire_due=retire_due)
        code, output, _ = _run(Told(answer), monkeypatch, "prepare", "ams")
        assert code == status
        assert "mpicctl keys retire ams" in output


def test_what_is_done_and_not_on_record_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told(KeyAnswer(_STATE))
    told.evidence_fails = True
    code, _, error = _run(told, monkeypatch, "activate", "ams")
    assert code != 0
    assert "ams: activate is done, but not on record; run it again" in str(error)
    told.evidence_fails = False
    assert _run(told, monkeypatch, "activate", "ams")[0] == 0
    assert told.recorded == ["activate"]


def test_only_an_explicit_option_asks_for_the_former_key(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told(KeyAnswer(_STATE))
    for argv in (("activate", "ams"), ("activate", "--former", "ams")):
        assert _run(told, monkeypatch, *argv)[0] == 0
    assert [request.former for request in told.asked] == [False, True]
