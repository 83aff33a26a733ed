"""The one way from `mpicctl` to the coordinator: HTTP on its operators' Unix socket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from appliance.errors import ApplianceError


class CannotAsk(ApplianceError):
    """The coordinator could not be asked, or answered that it cannot decide: exit code 2. The text says what to do next."""


class NoAnswerInTime(CannotAsk):
    """The coordinator did not answer within the time limit; it may still do what it was asked for."""


class RequestRefused(CannotAsk):
    """The coordinator found the request itself wrong. `issues` are its lines, each naming a field."""

    def __init__(self, message: str, issues: list[str]) -> None:
        super().__init__("\n".join([message, *(f"  {issue}" for issue in issues)]))
        self.issues = issues


class Coordinator:
    """`mpicd`, as seen through `socket`."""

    def __init__(self, socket: Path, timeout_s: float = 30.0) -> None:
        self._socket = socket
        self._client = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(socket)),
            base_url="http://mpicd",
            timeout=timeout_s,
            trust_env=False,
            headers={"Connection": "close"},  # nobody is there to close it later
        )

    def get(self, path: str) -> dict[str, Any]:
        """The JSON object at `path`. Raises `CannotAsk`, of which `NoAnswerInTime` is one."""
        return self._object(self._send("GET", path, None))

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The JSON object that answers `body`. Raises `RequestRefused` for a 4xx, `NoAnswerInTime`, `CannotAsk` for the rest."""
        return self._object(self._send("POST", path, body))

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> httpx.Response:
        try:
            return self._client.request(method, path, json=body)
        except httpx.TimeoutException as error:
            raise NoAnswerInTime(f"{self._socket}: mpicd did not answer in time; see its journal") from error
        except httpx.TransportError as error:
            raise CannotAsk(
                f"{self._socket}: {error}\nIs mpicd running, and are you in its operators' group? (systemctl status mpicd)"
            ) from error

    def _object(self, response: httpx.Response) -> dict[str, Any]:
        try:
            answer = response.json()
        except ValueError as error:
            raise CannotAsk(f"{self._socket}: HTTP {response.status_code} without JSON") from error
        if not isinstance(answer, dict):
            raise CannotAsk(f"{self._socket}: HTTP {response.status_code} with JSON that is no object")
        if response.is_success:
            return answer
        message = f"HTTP {response.status_code}: {answer.get('error', response.reason_phrase)}"
        if response.is_client_error:
            raise RequestRefused(message, [_issue(entry) for entry in answer.get("validation_issues", [])])
        raise CannotAsk(message)


def _issue(entry: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in entry.get("loc", ())) or "request"
    return f"{where}: {entry.get('msg', entry)}"
