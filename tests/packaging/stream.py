"""A stream of checks to a packaged appliance, whose answers are all kept."""

from __future__ import annotations

import http.client
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.lab.unix_http import request
from tests.lab.wait import wait_until
from tests.packaging.container import Container

_PAUSE_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Asked:
    """One answer, and when it was asked for, by the monotonic clock."""

    at_s: float
    status: int
    answer: dict[str, Any]

    @property
    def corroborated(self) -> bool:
        """Whether it says yes."""
        return self.status == 200 and bool(self.answer["is_valid"])


class Stream:
    """While open, it is asked the CAA of a name that deserves a certificate, one question after the other."""

    def __init__(self, container: Container) -> None:
        self.asked: list[Asked] = []
        self.unanswered: list[float] = []
        self._socket = Path(f"/proc/{container.leader}/root/run/mpic/api.sock")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Stream:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def wait_for_more(self, answers: int) -> None:
        """Return once so many more came than there are now."""
        enough = len(self.asked) + answers
        wait_until(lambda: len(self.asked) >= enough, 60, f"{answers} more answers come")

    def refused(self) -> list[dict[str, Any]]:
        """Answers that say no."""
        return [asked.answer for asked in self.asked if not asked.corroborated]

    def quorums(self) -> set[str]:
        """Every quorum that was reached, as "6/6"."""
        return {str(asked.answer["quorum"]) for asked in self.asked if asked.corroborated}

    def _ask(self) -> None:
        while not self._stopping.wait(_PAUSE_S):
            at_s = time.monotonic()
            try:
                body = {"check_type": "caa", "domain_or_ip_target": "honest.example"}
                response = request(self._socket, "POST", "/mpic", body)
            except (OSError, http.client.HTTPException):
                self.unanswered.append(at_s)
                continue
            self.asked.append(Asked(at_s, response.status_code, response.json()))
