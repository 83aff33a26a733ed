"""Measuring route origin validation in the lab: rounds, verdicts, and what the network is made to do meanwhile."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from tests.e2e.coordinator import start, with_keys
from tests.lab import Lab, bird, rpki, topology, wait_until
from tests.lab.appliance import ROOT, Appliance

ROUNDS = 10
STATE_FILE = ROOT / "state" / "coordinator" / "rov.json"
INVALID = {site.host.split("-")[0]: site.address for site in topology.BEACON_SITES if "invalid" in site.host}

Verdicts = dict[tuple[str, int], str]


def restart(appliance: Appliance, *, forget: bool = False, **keys: str) -> None:
    """Start the coordinator anew; with `forget`, without any verdict; `keys` are TOML values of the table `rov`."""
    appliance.kill("mpicd", signal.SIGTERM)
    if forget:
        STATE_FILE.unlink(missing_ok=True)
    appliance.config.write_text(with_keys(appliance.config.read_text(), "rov", keys))
    start(appliance)


def measure(appliance: Appliance, *codes: str, rounds: int = ROUNDS) -> Verdicts:
    """The verdicts in force of `codes` after so many rounds of each, in turn."""
    for _ in range(rounds):
        for code in codes:
            response = appliance.ask("POST", "/rov/measure", {"perspective": code}, operator=True)
            assert response.status_code == 200, response.text
    return {key: verdict for key, verdict in in_force(appliance).items() if key[0] in codes}


def report(appliance: Appliance) -> dict[str, Any]:
    answer: dict[str, Any] = appliance.ask("GET", "/rov", operator=True).json()
    return answer


def why(*codes: str) -> list[str]:
    """The rounds that did not count, for whoever reads of a failure."""
    saved = json.loads(STATE_FILE.read_text())
    return [
        f"{one['perspective']} IPv{one['version']} {each['beacon']}: {each['result']} {each.get('detail', '')}"
        for one in saved
        for each in one["rounds"]
        if one["perspective"] in codes and each["result"] in {"lost", "unwitnessed", "ambiguous", "roa", "source"}
    ]


def in_force(appliance: Appliance) -> Verdicts:
    return {
        (one["perspective"], family["version"]): family["in_force"]["verdict"]
        for one in report(appliance)["perspectives"]
        for family in one["families"]
    }


def family(appliance: Appliance, code: str, version: int) -> dict[str, Any]:
    """What is told of one perspective over one IP version."""
    standing = next(one for one in report(appliance)["perspectives"] if one["perspective"] == code)
    found: dict[str, Any] = next(one for one in standing["families"] if one["version"] == version)
    return found


def says(appliance: Appliance, code: str, version: int) -> dict[str, str]:
    """In one word what each beacon says, by its name."""
    return {one["beacon"]: one["says"] for one in family(appliance, code, version)["grade"]["beacons"]}


def both(code: str, verdict: str) -> Verdicts:
    return {(code, 4): verdict, (code, 6): verdict}


@contextlib.contextmanager
def validating(
    lab: Lab, name: str, *, v4: bool, v6: bool, ends: dict[str, tuple[str | None, str | None]]
) -> Iterator[None]:
    """Has an AS validate as said, until the end; returns when `ends` is where packets to Alpha's invalid prefix end."""
    system = topology.SYSTEM_BY_NAME[name]
    address = INVALID["alpha"]
    before = lab.who_answers(address)

    def reached(expected: dict[str, tuple[str | None, str | None]]) -> bool:
        now = lab.who_answers(address)
        return all(now[code] == where for code, where in expected.items())

    if not system.rov:
        rpki.start_cache(system)
    bird.reconfigure(replace(system, rov_v4=v4, rov_v6=v6))
    try:
        wait_until(partial(reached, ends), 15, f"{name} validates IPv4: {v4}, IPv6: {v6}")
        yield
    finally:
        bird.reconfigure(system)
        wait_until(partial(reached, before), 15, f"{name} is as it was")


@contextlib.contextmanager
def ruleset(lab: Lab, namespace: str, chain: str) -> Iterator[None]:
    """An nftables chain in a namespace, until the end."""
    text = f"table inet mischief {{\nchain it {{\n{chain}\n}}\n}}\n"
    lab.run(namespace, ["nft", "-f", "-"], stdin=text, check=True)
    try:
        yield
    finally:
        lab.run(namespace, ["nft", "delete", "table", "inet", "mischief"], check=True)
