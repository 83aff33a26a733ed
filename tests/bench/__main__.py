"""Builds the lab and the appliance, measures, prints tables, and writes `build/bench.json`."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from appliance.config import TimeLimits
from tests.bench.cpu import resident_mb
from tests.bench.crowd import GOOD, HOSTILE, LIMITS, MOST_RATIO, holding, mixed, most_worker_mb
from tests.bench.evidence import CONCURRENCY, EvidenceCost, evidence_cost
from tests.bench.measure import CHECKS, Figures, appliance_run, floor_run, lab_running
from tests.conformance import EXTRA
from tests.lab.appliance import Appliance
from tests.lab.lab import Lab

_CONCURRENCIES = (1, 8, 64)
_DEAD = ("gru", "syd")
# The lab looks at its perspectives more often than the product does by itself.
_PRODUCTION = {"limits": {"probe_interval_s": TimeLimits().probe_interval_s} | LIMITS}


def main() -> int:
    """0: measured, and every answer was right; 1: some were not."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0, help="length of each run (default %(default)s)")
    parser.add_argument("--crowd", action="store_true", help="only good names beside hostile ones")
    parser.add_argument("--output", type=Path, default=Path("build/bench.json"))
    options = parser.parse_args()
    out = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    with Lab(EXTRA):
        appliance = Appliance(lambda text: print(f"appliance: {text}", file=sys.stderr, flush=True))
        appliance.up(_PRODUCTION)
        document = {"runs": []} if options.crowd else _measure(appliance, options.seconds, out)
        document["crowd"] = _crowds(appliance, options.seconds, out)
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(json.dumps(document, indent=2) + "\n")
    out.print(f"written to {options.output}")
    return 1 if any(run["wrong"] for run in [*document["runs"], *document["crowd"]]) else 0


def _measure(appliance: Appliance, seconds: float, out: Console) -> dict[str, Any]:
    runs: list[dict[str, Any]] = []
    table = Table(
        "check", "in flight", "decisions/s", "p50 ms", "p95 ms", "p99 ms", title="Six perspectives and the primary"
    )
    for heading in ("appliance", "resolvers", "tunnels", "targets", "floor", "ratio", "wrong"):
        table.add_column(heading, justify="right")
    for check in CHECKS:
        _say(f"{check}: warming up")
        appliance_run(appliance, check, 8, seconds / 4)
        for concurrency in _CONCURRENCIES:
            _say(f"{check}: {concurrency} in flight for {seconds:g} s, and the floor likewise")
            floor_ms = floor_run(appliance, check, seconds, concurrency)
            figures = appliance_run(appliance, check, concurrency, seconds)
            runs.append(asdict(figures) | {"floor_ms": floor_ms, "ratio": figures.own_cpu_ms / floor_ms, "down": 0})
            table.add_row(*_row(figures, floor_ms))
            for example in figures.examples:
                out.print(f"wrong: {example}", style="red", markup=False)
    out.print(table)
    out.print(
        "CPU in milliseconds per decision, seven namespaces together; floor: the barest client and the resolvers with as"
        " many names in flight; ratio: (appliance + resolvers) / floor."
    )
    memory = _memory(out)
    _say("evidence: the appliance's own store and one in memory, in turns")
    cost = evidence_cost(appliance, seconds)
    _show_evidence(cost, out)
    runs += _with_dead(appliance, seconds, out)
    return {"runs": runs, "memory_mb": memory, "evidence": asdict(cost) | {"throughput_share": cost.throughput_share}}


def _show_evidence(cost: EvidenceCost, out: Console) -> None:
    table = Table(
        "store", "decisions/s in each turn", "appliance CPU ms", title=f"Evidence: caa, {CONCURRENCY} in flight"
    )
    for name, turns in (("SQLite, synchronous FULL, hashed, told", cost.durable), ("in memory", cost.in_memory)):
        used = sum(run.cpu_ms["appliance"] for run in turns) / len(turns)
        table.add_row(name, "  ".join(f"{run.per_second:.0f}" for run in turns), f"{used:.2f}")
    out.print(table)
    out.print(f"median throughput with durable evidence: {cost.throughput_share:.0%} of that with a store in memory")


def _crowds(appliance: Appliance, seconds: float, out: Console) -> list[dict[str, Any]]:
    """The good names beside hostile ones."""
    table = Table("check", "crowd", "alone p95 ms", "beside p95 ms", "ratio", "good", "hostile", "held", "wrong")
    table.title = f"{GOOD} good names beside {HOSTILE} hostile ones"
    found = []
    runs = [*((check, "holding", holding) for check in CHECKS), (CHECKS[-1], "mixed", mixed)]
    for check, kind, run in runs:
        _say(f"{check}: {GOOD} in flight, alone and beside {HOSTILE} hostile ones, {kind}")
        crowd = run(appliance, check, seconds)
        figures = {
            "quiet_p95_ms": crowd.quiet.percentile_ms(0.95),
            "p95_ms": crowd.crowded.percentile_ms(0.95),
            "ratio": crowd.ratio,
            "good": len(crowd.crowded.latencies_s),
            "hostile": len(crowd.hostile.latencies_s),
            "held": crowd.held if run is holding else 0,
            "wrong": crowd.wrong,
        }
        found.append({"check": check, "crowd": kind, **figures})
        table.add_row(
            check, kind, *(f"{value:.2f}" if key == "ratio" else f"{value:.0f}" for key, value in figures.items())
        )
        if run is holding and crowd.ratio > MOST_RATIO:
            out.print(
                f"{check}: good names took more than {MOST_RATIO:g} times as long; is the machine busy?", style="red"
            )
    out.print(table)
    out.print(f"workers had at most {most_worker_mb(appliance):.0f} MB resident")
    return found


def _with_dead(appliance: Appliance, seconds: float, out: Console) -> list[dict[str, Any]]:
    """The same with none, one and two egress nodes dead, interleaved in time as little as can be."""
    runs = []
    table = Table("egresses down", "decisions/s", "p50 ms", "p99 ms", "against all up", title="caa, 8 in flight")
    base = 0.0
    for count in range(len(_DEAD) + 1):
        if count:
            appliance.kill_egress(_DEAD[count - 1])
            appliance.wait_for(set(appliance.codes) - set(_DEAD[:count]))
        _say(f"{count} egress nodes down")
        figures = appliance_run(appliance, "caa", 8, seconds)
        base = base or figures.per_second
        runs.append(asdict(figures) | {"down": count})
        table.add_row(
            str(count), f"{figures.per_second:.0f}", f"{figures.p50_ms:.1f}", f"{figures.p99_ms:.1f}",
            f"{figures.per_second / base:.2f}",
        )  # fmt: skip
    out.print(table)
    return runs


def _memory(out: Console) -> dict[str, float]:
    table = Table("process", "resident MB", title="Memory")
    memory = {}
    for process in lab_running():
        if process.group in ("appliance", "resolvers", "tunnels"):
            memory[f"{process.name} {process.pid}"] = resident_mb(process)
            table.add_row(process.name, f"{resident_mb(process):.0f}")
    out.print(table)
    return memory


def _row(figures: Figures, floor_ms: float) -> tuple[str, ...]:
    cpu = (figures.cpu_ms[group] for group in ("appliance", "resolvers", "tunnels", "targets"))
    return (
        figures.check,
        str(figures.concurrency),
        f"{figures.per_second:.0f}",
        *(f"{value:.1f}" for value in (figures.p50_ms, figures.p95_ms, figures.p99_ms)),
        *(f"{value:.2f}" for value in cpu),
        f"{floor_ms:.2f}",
        f"{figures.own_cpu_ms / floor_ms:.1f}",
        str(figures.wrong),
    )


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
