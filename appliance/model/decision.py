"""The coordinator's answer to one request, as the policy forms it."""

from __future__ import annotations

import msgspec

from appliance.model.place import Rir


class Row(msgspec.Struct, frozen=True):
    """One row of BR 3.2.2.9's dated table, in force from `since` (ISO date) on."""

    since: str
    remotes_required: int
    rir_regions_required: int


class Verdict(msgspec.Struct, frozen=True):
    """Whether the primary passed and the quorum holds, with every number that led there.

    `quorum` is `corroborating/attempted` over the remotes alone. `reasons`: each rule that failed, in words that cite
    the BR section; empty when `is_valid`.
    """

    is_valid: bool
    quorum: str
    attempted: int
    corroborating: int
    required: int
    allowed_non_corroborations: int
    rirs: tuple[Rir, ...]
    primary_passed: bool
    policy_date: str
    row: Row
    reasons: tuple[str, ...]
