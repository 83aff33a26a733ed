"""I-JSON: what is refused, at what cost."""

from __future__ import annotations

import pytest

from appliance.api import json
from appliance.api.errors import Malformed


class _Counted(str):
    """Counts how often it is compared."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        _Counted.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_doubled_members_are_found_in_one_pass() -> None:
    pairs = [(_Counted(f"member{number}"), number) for number in range(3000)]
    with pytest.raises(Malformed) as refused:
        json._unique([*pairs, (_Counted("member2999"), 0)])
    assert refused.value.body.validation_issues[0].loc == ("member2999",)
    assert _Counted.compared < 10 * len(pairs)


def test_every_name_may_be_doubled() -> None:
    body = "{" + ",".join(f'"m{number}":1' for number in [*range(4000), *range(4000)]) + "}"
    with pytest.raises(Malformed) as refused:
        json.parse_object(body.encode())
    assert refused.value.body.validation_issues[0].field == "m0"
