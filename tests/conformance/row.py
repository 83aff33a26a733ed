"""One row of a table of checks: what is asked, and what every perspective has to say of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

PASS: Final = "pass"


@dataclass(frozen=True, slots=True)
class Row:
    """`expected`: `PASS`, or the API's `error_type` of every perspective; `rule` in words, `source` where it is written."""

    rule: str
    source: str
    target: str
    request: dict[str, Any]
    expected: str

    @property
    def body(self) -> dict[str, Any]:
        """The request's JSON document."""
        return self.request | {"domain_or_ip_target": self.target}


def dcv(method: str, **parameters: Any) -> dict[str, Any]:
    """A request of domain control validation, but for its target."""
    return {"check_type": "dcv", "dcv_check_parameters": {"validation_method": method, **parameters}}


def caa(**parameters: Any) -> dict[str, Any]:
    """A request of a CAA check, but for its target."""
    return {"check_type": "caa", "caa_check_parameters": parameters}


def told(answer: dict[str, Any]) -> dict[str, str]:
    """What each perspective says in `answer`, the primary's among them, in the words of `Row.expected`."""
    responses = {
        part["perspective_code"]: part["check_response"] for part in (answer["primary"], *answer["perspectives"])
    }
    return {
        code: PASS if response["check_passed"] else response["errors"][-1]["error_type"]
        for code, response in responses.items()
    }


def wrong(row: Row, answer: dict[str, Any], codes: Iterable[str]) -> str | None:
    """What in `answer` is not as expected: each of the perspectives `codes` says so, and the verdict follows."""
    expected = dict.fromkeys(codes, row.expected)
    quorum = f"{len(expected) - 1}/{len(expected) - 1}" if row.expected == PASS else f"0/{len(expected) - 1}"
    if told(answer) == expected and answer["is_valid"] is (row.expected == PASS) and answer["quorum"] == quorum:
        return None
    errors = answer["perspectives"][0]["check_response"]["errors"]
    return f"{row.target}: {row.expected}, but {answer['quorum']}: {told(answer)} {errors}"
