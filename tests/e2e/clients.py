"""Clients of the CA's socket, each a thread that asks one question after the other until it is told to stop."""

from __future__ import annotations

import http.client
import itertools
import threading
from typing import Any, Self

from tests.lab.appliance import Appliance
from tests.lab.unix_http import Response


class Clients:
    """While open, `count` clients ask what `question` gives, a pause of `pause_s` before each. What came of it is told to
    `heard`, or to `unheard` where no answer came, which makes the client pause."""

    def __init__(self, appliance: Appliance, count: int, pause_s: float) -> None:
        self._appliance = appliance
        self._pause_s = pause_s
        self._numbers = itertools.count()
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def question(self, number: int, /) -> dict[str, Any]:
        """The body of request `number`."""
        raise NotImplementedError

    def heard(self, number: int, trace: str, response: Response, /) -> None:
        """An answer came, to the request with this trace identifier."""
        raise NotImplementedError

    def unheard(self, trace: str, error: Exception) -> None:
        """The connection failed, or ended without an answer."""

    def _run(self) -> None:
        while not self._stopping.wait(self._pause_s):
            number = next(self._numbers)
            trace = f"{type(self).__name__.lower()}-{id(self)}-{number}"
            try:
                response = self._appliance.ask("POST", "/mpic", self.question(number) | {"trace_identifier": trace})
            except (OSError, http.client.HTTPException) as error:
                self.unheard(trace, error)
                self._stopping.wait(0.05)
            else:
                self.heard(number, trace, response)
