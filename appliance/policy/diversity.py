"""What the perspectives share: a provider, upstream or country that alone could make or break a quorum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from appliance.policy.br_table import allowed_non_corroborations


@dataclass(frozen=True, slots=True)
class Share:
    """`codes`: the perspectives that have `value` in common. `breaks`: their loss alone refuses; `makes`: they alone suffice."""

    kind: str
    value: str
    codes: tuple[str, ...]
    breaks: bool
    makes: bool


def shares(kind: str, values: Mapping[str, Iterable[str]]) -> list[Share]:
    """For each value of `kind` (provider, upstream, country), who has it. `values`: perspective code to its values."""
    attempted = len(values)
    allowed = allowed_non_corroborations(attempted)
    holders: dict[str, list[str]] = {}
    for code, own in values.items():
        for value in own:
            holders.setdefault(value, []).append(code)
    return [
        Share(kind, value, tuple(codes), breaks=len(codes) > allowed, makes=len(codes) >= attempted - allowed)
        for value, codes in sorted(holders.items(), key=lambda item: (-len(item[1]), item[0]))
    ]
