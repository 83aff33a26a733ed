"""A request's body to a JSON object, held to I-JSON (RFC 7493): no duplicate names, no lone surrogates, no NaN."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NoReturn

import msgspec

from appliance.api.errors import Issue, Malformed


def parse_object(body: bytes) -> dict[str, Any]:
    """The object in `body`. Raises `Malformed`: empty, not UTF-8, not JSON, not an object, nested too deeply, not I-JSON."""
    if not body.strip():
        raise _malformed("the body is empty; a JSON object is asked for", "missing")
    try:
        # The one parser knows nothing of duplicate names, the other lets NaN and lone surrogates pass.
        msgspec.json.decode(body)
        document = json.loads(body, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except msgspec.DecodeError as error:
        raise _malformed(f"not JSON: {error}") from error
    except RecursionError as error:
        raise _malformed("nested too deeply") from error
    except ValueError as error:  # also UnicodeDecodeError and JSONDecodeError
        raise _malformed(f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise _malformed("not a JSON object", "dict_type")
    return document


def _malformed(rule: str, kind: str = "json_invalid") -> Malformed:
    return Malformed([Issue.of((), rule, kind)])


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise Malformed([Issue.of((twice,), "this member occurs twice in one object", "duplicate_member")])
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
