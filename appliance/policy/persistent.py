"""Persistent validation records as a pure function: BR 3.2.2.4.22 and 3.2.2.5.8."""

from __future__ import annotations

from typing import Final

from appliance.policy.caa import read_issue_value

# Enough for every date that a computer can hold; what is longer is no honest date.
_MAX_DIGITS: Final = 15
_DIGITS: Final = frozenset("0123456789")


def persistent_problem(value: bytes, issuer_domain_names: tuple[str, ...], account_uri: str, now_s: int) -> str | None:
    """Why a TXT value does not show control by that account to one of those issuers at `now_s` (UNIX seconds), or None.

    The syntax is RFC 8659's issue-value. A doubled parameter is malformed; unknown ones are ignored; `persistUntil`
    equal to now still holds.
    """
    parsed = read_issue_value(value)
    if parsed is None:
        return "it is not of the issue-value syntax (RFC 8659 section 4.2)"
    if not parsed.domain or parsed.domain not in {name.lower() for name in issuer_domain_names}:
        return "it names another issuer"
    parameters = dict(parsed.parameters)
    if len(parameters) != len(parsed.parameters):
        return "it has a doubled parameter"
    if "accounturi" not in parameters:
        return "it has no accounturi"
    if parameters["accounturi"] != account_uri:
        return "its accounturi is another account"
    return _until_problem(parameters.get("persistuntil"), now_s)


def _until_problem(until: str | None, now_s: int) -> str | None:
    if until is None:
        return None
    if not until or len(until) > _MAX_DIGITS or not _DIGITS.issuperset(until):
        return "its persistUntil is not a base-10 number of seconds"
    return None if now_s <= int(until) else "its persistUntil is past"
