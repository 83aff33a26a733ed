"""Counters of the API, and the Prometheus text of `GET /metrics` (text format 0.0.4; base units, `_total` for counters)."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from appliance.model.proof import PerspectiveProofs, Result

# Seconds: from a look-up in the same city to the answer's limit.
_BUCKETS_S = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

METRICS_TYPE = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
Sample = tuple[Mapping[str, str], float]


class Histogram:
    """Observations in seconds, by upper bounds."""

    def __init__(self) -> None:
        self._counts = [0] * (len(_BUCKETS_S) + 1)
        self._sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Counts one observation."""
        self._counts[bisect_left(_BUCKETS_S, seconds)] += 1
        self._sum_s += seconds

    def lines(self, name: str) -> Iterator[str]:
        """The histogram's samples."""
        seen = 0
        for bound, count in zip((*_BUCKETS_S, "+Inf"), self._counts, strict=True):
            seen += count
            yield f'{name}_bucket{{le="{bound}"}} {seen}'
        yield f"{name}_sum {self._sum_s}"
        yield f"{name}_count {seen}"


class Metrics:
    """What the API counts of its requests."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.decisions: Counter[tuple[str, bool]] = Counter()
        self.refusals: Counter[str] = Counter()
        self.checks: Counter[tuple[str, str]] = Counter()
        self.duration = Histogram()

    def text(self, observations: Iterable[Sample], ready: Iterable[Sample], *, quorum_possible: bool | None) -> bytes:
        """The whole page. `observations`: counts by perspective and outcome; `ready`: 1 or 0 by perspective.

        `quorum_possible`: None where none is formed."""
        possible: list[Sample] = [] if quorum_possible is None else [({}, int(quorum_possible))]
        decisions = [
            ({"method": method, "is_valid": str(valid).lower()}, n) for (method, valid), n in self.decisions.items()
        ]
        refusals = [({"reason": reason}, n) for reason, n in self.refusals.items()]
        checks = [({"perspective": code, "outcome": outcome}, n) for (code, outcome), n in self.checks.items()]
        name = "mpic_decision_duration_seconds"
        lines = [
            *family("mpic_decisions_total", "counter", "Decisions that were answered.", decisions),
            *family("mpic_requests_refused_total", "counter", "Requests and connections that were refused.", refusals),
            *family("mpic_requests_in_flight", "gauge", "Requests being decided.", [({}, self.in_flight)]),
            *family("mpic_observations_total", "counter", "Observations that were judged.", observations),
            *family("mpic_perspective_checks_total", "counter", "Checks of one perspective for others.", checks),
            *family("mpic_perspective_ready", "gauge", "Whether a perspective can be asked now.", ready),
            *family("mpic_ready", "gauge", "Whether a compliant quorum is possible now.", possible),
            f"# HELP {name} From a request's arrival to its durable decision.",
            f"# TYPE {name} histogram",
            *self.duration.lines(name),
        ]
        return ("\n".join(lines) + "\n").encode()


def proof_metrics(proofs: Iterable[PerspectiveProofs]) -> bytes:
    """What the hand-off proofs add to the page."""
    told = list(proofs)
    results = [
        ({"perspective": one.code, "proof": proof.kind, "result": result}, int(proof.result is result))
        for one in told
        for proof in one.proofs
        for result in Result
    ]
    withheld = [({"perspective": one.code}, int(one.withheld is not None)) for one in told]
    lines = [
        *family("mpic_proof", "gauge", "1 for the result of a hand-off proof.", results),
        *family(
            "mpic_perspective_withheld", "gauge", "Whether a hand-off proof stands against a perspective.", withheld
        ),
    ]
    return ("\n".join(lines) + "\n").encode()


def family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> Iterator[str]:
    """One metric with its help and type, and a line for each sample."""
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        inner = ",".join(f'{label}="{_escaped(of)}"' for label, of in labels.items())
        yield f"{name}{{{inner}}} {value}" if inner else f"{name} {value}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
