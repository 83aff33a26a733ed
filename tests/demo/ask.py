"""One question of the CA's to the appliance, and what came of it, as the demo keeps it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.demo.witness import Seen, at_name_servers, at_web_servers
from tests.lab.appliance import Appliance
from tests.lab.lab import Lab

TOKEN = "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"
KEY_AUTHORIZATION = f"{TOKEN}.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
DIGEST = "ghRCE7ZwHKjsEHvFqGPnZpHcVwzV7cwFJrYmuFxAWcU"


@dataclass(frozen=True, slots=True)
class Part:
    """One perspective's part: its result, what was wrong in words, and the address that each side saw it use."""

    code: str
    corroborates: bool
    why: str
    seen_by_target: str | None
    seen_by_attacker: str | None


@dataclass(frozen=True, slots=True)
class Decision:
    """An answer of the appliance beside what the story expects of it. `primary` is in neither number of `quorum`."""

    check: str
    identifier: str
    expected: bool
    is_valid: bool
    quorum: str
    reasons: tuple[str, ...]
    primary: Part
    perspectives: tuple[Part, ...]

    @property
    def as_expected(self) -> bool:
        """Whether the appliance answered as it should."""
        return self.is_valid is self.expected


@dataclass(frozen=True, slots=True)
class Asker:
    """The CA. `server` in each method names the applicant whose name servers or web servers are watched."""

    lab: Lab
    appliance: Appliance

    def http_01(self, host: str, *, expected: bool) -> Decision:
        """Is the challenge of `TOKEN` at `host` seen everywhere?"""
        parameters = {
            "validation_method": "acme-http-01",
            "token": TOKEN,
            "key_authorization": KEY_AUTHORIZATION,
        }
        return self._dcv("acme-http-01", host, parameters, at_web_servers(self.lab, host), expected=expected)

    def dns_01(self, name: str, server: str, *, expected: bool) -> Decision:
        """Is the TXT record with `DIGEST` seen everywhere?"""
        parameters = {"validation_method": "acme-dns-01", "key_authorization_hash": DIGEST}
        return self._dcv("acme-dns-01", name, parameters, at_name_servers(self.lab, server), expected=expected)

    def caa(self, name: str, server: str, *, expected: bool) -> Decision:
        """May the lab's CA issue for `name`?"""
        with at_name_servers(self.lab, server) as seen:
            answer = self._post({"check_type": "caa", "domain_or_ip_target": name})
        return _decision("caa", name, answer, seen, expected=expected)

    def _dcv(
        self,
        check: str,
        name: str,
        parameters: Mapping[str, str],
        watching: contextlib.AbstractContextManager[Seen],
        *,
        expected: bool,
    ) -> Decision:
        with watching as seen:
            answer = self._post(
                {"check_type": "dcv", "domain_or_ip_target": name, "dcv_check_parameters": dict(parameters)}
            )
        return _decision(check, name, answer, seen, expected=expected)

    def _post(self, body: Mapping[str, Any]) -> dict[str, Any]:
        response = self.appliance.ask("POST", "/mpic", body)
        if response.status_code != 200:
            raise RuntimeError(f"the appliance answered {response.status_code}: {response.text}")
        answer: dict[str, Any] = response.json()
        return answer


def _decision(check: str, name: str, answer: Mapping[str, Any], seen: Seen, *, expected: bool) -> Decision:
    return Decision(
        check=check,
        identifier=name,
        expected=expected,
        is_valid=answer["is_valid"],
        quorum=answer["quorum"],
        reasons=tuple(answer["reasons"]),
        primary=_part(answer["primary"], seen),
        perspectives=tuple(_part(part, seen) for part in answer["perspectives"]),
    )


def _part(part: Mapping[str, Any], seen: Seen) -> Part:
    code, response = part["perspective_code"], part["check_response"]
    return Part(
        code=code,
        corroborates=response["check_passed"],
        why="; ".join(error["error_message"] for error in response["errors"] or ()),
        seen_by_target=seen.target.get(code),
        seen_by_attacker=seen.attacker.get(code),
    )
