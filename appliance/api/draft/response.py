"""One or two `Decision`s in the form of the draft: success, what each perspective says, the CAA records, and an error."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import msgspec
from dns import rdata, rdataclass, rdatatype
from dns.exception import DNSException

from appliance.coordinator.decision import Decision, Judged
from appliance.coordinator.gather import corroborates
from appliance.evidence.record import Receipt
from appliance.model.check import Method
from appliance.model.decision import Verdict
from appliance.model.observation import Observation


class PerspectiveSuccess(msgspec.Struct, frozen=True):
    """One remote perspective: true where it corroborates all that was asked."""

    success: bool


class CaaRecords(msgspec.Struct, frozen=True):
    """`domain`: where the records were found. `records`: each one's RDATA (RFC 8659 section 4.1), base64;
    there are none where not all of them are kept whole."""

    domain: str
    records: tuple[str, ...]


class DraftAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer. `receipts` and `warnings` are ours: where the decisions are recorded, and what needs a look. `caa` is left out
    where no CAA records exist, and `warnings` if there are none."""

    success: bool
    perspectives: dict[str, PerspectiveSuccess]
    receipts: tuple[Receipt, ...]
    caa: CaaRecords | None = None
    error: str | None = None
    warnings: tuple[str, ...] = ()


def draft_answer(decisions: Sequence[Decision]) -> DraftAnswer:
    """The answer of what was asked together; all of it must hold."""
    passed: dict[str, bool] = {}
    for decision in decisions:
        for attempt in decision.last.remotes:
            passed[attempt.perspective] = passed.get(attempt.perspective, True) and corroborates(attempt)
    success = all(decision.last.verdict.is_valid for decision in decisions)
    return DraftAnswer(
        success=success,
        perspectives={code: PerspectiveSuccess(ok) for code, ok in passed.items()},
        receipts=tuple(decision.receipt for decision in decisions),
        caa=next((found for decision in decisions if (found := _caa(decision.last)) is not None), None),
        error=None
        if success
        else " ".join(_failure(decision.last.verdict) for decision in decisions if not _ok(decision)),
        warnings=tuple(dict.fromkeys(warning for decision in decisions for warning in decision.warnings)),
    )


def _ok(decision: Decision) -> bool:
    return decision.last.verdict.is_valid


def _failure(verdict: Verdict) -> str:
    return f"{verdict.quorum} perspectives corroborate: {'; '.join(verdict.reasons)}."


def _caa(judged: Judged) -> CaaRecords | None:
    """What the corroborating perspectives found, the primary first."""
    attempts = ([] if judged.primary is None else [judged.primary]) + list(judged.remotes)
    for attempt in attempts:
        finding = attempt.observation.caa
        if attempt.observation.method is Method.CAA and corroborates(attempt) and finding and finding.found_at:
            if _is_cut(attempt.observation):
                # Whoever reads parameters here must not take a part of the RRset for the whole.
                return None
            return CaaRecords(finding.found_at, tuple(_base64(text) for text in finding.rrset))
    return None


def _is_cut(observation: Observation) -> bool:
    finding = observation.caa
    cut = any(lookup.clipped for lookup in observation.lookups if lookup.type == "CAA")
    return cut or finding is None or any(text.endswith("…") for text in finding.rrset)


def _base64(text: str) -> str:
    """The RDATA of a CAA record's presentation form."""
    try:
        wire = rdata.from_text(rdataclass.IN, rdatatype.CAA, text).to_wire()
    except DNSException:
        wire = None
    return base64.b64encode(wire or text.encode()).decode("ascii")
