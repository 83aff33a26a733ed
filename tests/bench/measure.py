"""One measured run of the appliance, or of the floor, and their figures per decision."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.cpu import Meter, Process, processes
from tests.bench.load import as_json, closed_loop
from tests.lab import processes as lab_processes
from tests.lab import topology
from tests.lab.appliance import Appliance
from tests.lab.web import BENCH_KEY_AUTHORIZATION
from tests.lab.zones import BENCH_VALUE

CHECKS: Final = ("caa", "acme-dns-01", "acme-http-01")
_TOKEN: Final = "bench-token"
_FLOOR_KINDS: Final = {"caa": "caa", "acme-dns-01": "dns", "acme-http-01": "http"}
_FLOOR_PREFIXES: Final = {"caa": "", "acme-dns-01": "_acme-challenge.", "acme-http-01": ""}
_FLOOR_FETCHES: Final = 8
_FLOOR_PROGRAM: Final = Path(__file__).with_name("floor.py")
_fresh: Final = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Figures:
    """One run. `cpu_ms`: milliseconds of CPU per decision, by group; latencies in milliseconds."""

    check: str
    concurrency: int
    decisions: int
    per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cpu_ms: Mapping[str, float]
    wrong: int
    examples: tuple[str, ...]

    @property
    def own_cpu_ms(self) -> float:
        """Appliance and resolvers: what the floor is compared with."""
        return self.cpu_ms["appliance"] + self.cpu_ms["resolvers"]


def lab_running() -> list[Process]:
    """Every process of the lab and the appliance."""
    return processes(lab_processes.inside([*topology.namespaces(), *topology.appliance_namespaces().values()]))


def fresh_names() -> Callable[[int], str]:
    """The n-th of names that were never asked before."""
    run = f"r{next(_fresh)}"
    return lambda number: f"n{number}.{run}.bench.lab"


def appliance_run(appliance: Appliance, check: str, concurrency: int, seconds: float) -> Figures:
    """`concurrency` requests in flight for `seconds`, each for a name that was never asked before."""
    names = fresh_names()

    def body(number: int) -> bytes:
        return as_json(request(check, names(number)))

    meter = Meter(lab_running())
    meter.start()
    result = asyncio.run(closed_loop(appliance.settings.api.socket, body, concurrency, seconds, 0))
    used, count = meter.stop(), max(1, len(result.latencies_s))
    return Figures(
        check,
        concurrency,
        len(result.latencies_s),
        result.per_second,
        result.percentile_ms(0.50),
        result.percentile_ms(0.95),
        result.percentile_ms(0.99),
        {group: spent / count for group, spent in used.items()},
        result.wrong,
        tuple(result.examples),
    )


def floor_run(appliance: Appliance, check: str, seconds: float, window: int) -> float:
    """CPU milliseconds that one decision's look-ups cost the barest client and the resolvers, all namespaces together."""
    run = f"f{next(_fresh)}"
    if check == "acme-http-01":
        window = min(window, _FLOOR_FETCHES)  # it fetches one after another: more names in flight would only time out
    template = f"{_FLOOR_PREFIXES[check]}n{{}}.{run}.bench.lab"
    port = str(appliance.settings.resolver.port)
    arguments = [
        port,
        str(seconds),
        str(window),
        _FLOOR_KINDS[check],
        template,
        "0",
        f"/.well-known/acme-challenge/{_TOKEN}",
    ]
    resolvers = [process for process in lab_running() if process.group == "resolvers"]
    meter = Meter(resolvers)
    meter.start()
    clients = [
        lab_processes.popen(
            appliance.netns(code), [sys.executable, "-I", "-S", str(_FLOOR_PROGRAM), *arguments], stdout=subprocess.PIPE
        )
        for code in appliance.codes
    ]
    told = [json.loads(client.communicate(timeout=seconds + 30)[0]) for client in clients]
    resolver_ms = meter.stop()["resolvers"]
    if any(one["failed"] for one in told):
        raise RuntimeError(f"the floor lost look-ups: {told}")
    # Each namespace did its own number of look-ups; the sum of their costs is one decision's.
    lookups = sum(one["done"] for one in told)
    client_ms = sum(one["cpu_ms"] / one["done"] for one in told)
    return float(client_ms + resolver_ms / lookups * len(clients))


def request(check: str, name: str) -> dict[str, object]:
    """The body of a request that passes for every name of `fresh_names`."""
    if check == "caa":
        return {"check_type": "caa", "domain_or_ip_target": name}
    parameters = {"validation_method": check}
    if check == "acme-dns-01":
        parameters["key_authorization_hash"] = BENCH_VALUE
    else:
        parameters |= {"token": _TOKEN, "key_authorization": BENCH_KEY_AUTHORIZATION}
    return {"check_type": "dcv", "domain_or_ip_target": name, "dcv_check_parameters": parameters}
