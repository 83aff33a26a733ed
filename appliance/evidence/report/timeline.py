"""When each perspective looked and for how long, as a picture that also prints in black and white."""

from __future__ import annotations

from datetime import datetime

from appliance.evidence.record import Attempt, DecisionRecord
from appliance.evidence.report.html import Html, join, safe
from appliance.model.observation import Outcome

_WIDTH, _LABELS, _SAYINGS, _ROW, _TOP = 900, 150, 180, 22, 26
_FILL = {Outcome.MATCH: "#2e7d32", Outcome.MISMATCH: "#c62828", Outcome.ERROR: "#9e9e9e"}
_MARK = {Outcome.MATCH: "✓", Outcome.MISMATCH: "≠", Outcome.ERROR: "✗"}


def timeline(record: DecisionRecord) -> Html:
    """An SVG: one bar for each perspective, from the request (left) to the decision (right)."""
    attempts = ([record.primary] if record.primary else []) + list(record.remotes)
    start = datetime.fromisoformat(record.request.received_at)
    ends = [_offset_us(attempt, start) + attempt.observation.elapsed_us for attempt in attempts]
    decided_us = _us(datetime.fromisoformat(record.time), start)
    whole_us = max([1000, decided_us, *ends])
    height = _TOP + _ROW * len(attempts) + 24
    rows = [_bar(attempt, _TOP + _ROW * index, start, whole_us) for index, attempt in enumerate(attempts)]
    return join(
        [
            Html(
                f'<svg class="timeline" viewBox="0 0 {_WIDTH} {height}" role="img" font-size="11" '
                f'font-family="sans-serif"><title>Timeline of the decision</title>'
            ),
            _line(0, whole_us, height),
            _line(decided_us, whole_us, height),
            Html(f'<text x="{_LABELS}" y="11">asked</text>'),
            Html(f'<text x="{_WIDTH}" y="11" text-anchor="end">{safe(f"decided after {_ms(decided_us)}")}</text>'),
            *rows,
            Html("</svg>"),
        ]
    )


def _bar(attempt: Attempt, y: int, start: datetime, whole_us: int) -> Html:
    observation = attempt.observation
    left = _x(_offset_us(attempt, start), whole_us)
    width = max(2.0, _x(observation.elapsed_us, whole_us) - _LABELS)
    label = f"{_MARK[observation.outcome]} {attempt.perspective}"
    said = f"{_ms(observation.elapsed_us)} {observation.outcome.value}, {attempt.arrival.value}"
    return Html(
        f'<text x="0" y="{y + 14}">{safe(label)}</text>'
        f'<rect x="{left:.1f}" y="{y + 4}" width="{width:.1f}" height="12" fill="{_FILL[observation.outcome]}" stroke="#333" '
        f'stroke-width=".5"/><text x="{_WIDTH}" y="{y + 14}" text-anchor="end">{safe(said)}</text>'
    )


def _line(at_us: int, whole_us: int, height: int) -> Html:
    x = _x(at_us, whole_us)
    return Html(f'<line x1="{x:.1f}" y1="16" x2="{x:.1f}" y2="{height - 6}" stroke="#666" stroke-dasharray="3 3"/>')


def _x(offset_us: int, whole_us: int) -> float:
    return _LABELS + (_WIDTH - _LABELS - _SAYINGS) * max(0, min(offset_us, whole_us)) / whole_us


def _offset_us(attempt: Attempt, start: datetime) -> int:
    return _us(datetime.fromisoformat(attempt.observation.started_at), start)


def _us(moment: datetime, start: datetime) -> int:
    return max(0, round((moment - start).total_seconds() * 1_000_000))


def _ms(elapsed_us: int) -> str:
    return f"{elapsed_us / 1000:.1f} ms" if elapsed_us < 10_000 else f"{elapsed_us / 1000:.0f} ms"
