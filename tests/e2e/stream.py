"""A stream of checks, honest names and dishonest ones, whose answers are all kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.e2e.asking import TOKEN, caa, dns_01, http_01
from tests.e2e.clients import Clients
from tests.lab import wait_until
from tests.lab.appliance import Appliance
from tests.lab.unix_http import Response

_PAUSE_S = 0.05  # so that the stream leaves the machine room for what it is to watch


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and what came back; `honest` names deserve a certificate, the others never."""

    honest: bool
    trace: str
    status: int
    answer: dict[str, Any]


_QUESTIONS: tuple[tuple[bool, Callable[[], dict[str, Any]]], ...] = (
    (True, lambda: caa("honest.example")),
    (False, lambda: caa("forbidden.example")),
    (True, lambda: http_01("honest.example")),
    (False, lambda: http_01("honest.example", token=TOKEN[::-1])),
    (True, lambda: caa("free.example")),
    (False, lambda: dns_01("unanswered.honest.example")),
)


class Stream(Clients):
    """Every answer of some clients is kept. The token of `asking.TOKEN` is to be at `honest.example`."""

    def __init__(self, appliance: Appliance, clients: int = 3) -> None:
        super().__init__(appliance, clients, _PAUSE_S)
        self.asked: list[Asked] = []
        self.unanswered: list[str] = []

    def wait_for_more(self, answers: int) -> None:
        """Return once so many more came than there are now."""
        enough = len(self.asked) + answers
        wait_until(lambda: len(self.asked) >= enough, 60, f"{answers} more answers come")

    def question(self, number: int) -> dict[str, Any]:
        return _QUESTIONS[number % len(_QUESTIONS)][1]()

    def heard(self, number: int, trace: str, response: Response) -> None:
        honest = _QUESTIONS[number % len(_QUESTIONS)][0]
        self.asked.append(Asked(honest, trace, response.status_code, response.json()))

    def unheard(self, trace: str, error: Exception) -> None:
        self.unanswered.append(f"{trace}: {error!r}")


def wrong(asked: Asked) -> list[str]:
    """What an answer says that is untrue, of the applicant or of what a perspective found.

    Refusing an honest name for want of perspectives is right, also of one whose hand-off proof does not hold just then; having
    found that the name is not in order is not.
    """
    if asked.status != 200:
        return [f"{asked.trace}: status {asked.status}: {asked.answer}"]
    parts = [asked.answer["primary"], *asked.answer["perspectives"]]
    if asked.honest:
        untrue = [part for part in parts if part["outcome"] == "mismatch"]
    else:
        untrue = [part for part in parts if part["outcome"] == "match" or part["check_response"]["check_passed"]]
        if asked.answer["is_valid"]:
            return [f"{asked.trace}: corroborated: {asked.answer}"]
    return [f"{asked.trace}: {part}" for part in untrue]
