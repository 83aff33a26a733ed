"""Measuring route origin validation in the lab: rounds, verdicts, and what the network is made to do meanwhile."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from tests.e2e.coordinator import start, with_keys
from tests.lab import Lab, bird, rpki, topology, wait_until
from tests.lab.appliance import ROOT, Appliance

ROUNDS = 10
STATE_FILE = ROOT / "state" / "coordinator" / "rov.json"
INVALID = {site.host.split("-")[0]: site.address for site in topology.BEACON_SITES if "invalid" in site.host}

# What the table `rov` of the lab's configuration has where a test does not say otherwise.
SETTINGS = {
    "policy": '"warn"',
    "schedule": "false",
    "interval_s": "2400.0",
    "valid_limit_s": "3.0",
    "invalid_limit_s": "2.0",
}
WINDOW = 10
_MOST_ROUNDS = 40
_UNCOUNTED = {"lost", "unwitnessed", "ambiguous", "roa", "source", "stale-vrps"}
_AGAINST = {"reached", "exposed", "ambiguous", "roa", "source", "stale-vrps"}

Verdicts = dict[tuple[str, int], str]


def restart(appliance: Appliance, *, forget: bool = False, ready: Collection[str] | None = None, **keys: str) -> None:
    """Start the coordinator anew; with `forget`, without any verdict; `keys` are TOML values of the table `rov`. `ready`: see
    `coordinator.start`."""
    appliance.kill("mpicd", signal.SIGTERM)
    if forget:
        STATE_FILE.unlink(missing_ok=True)
    appliance.config.write_text(with_keys(appliance.config.read_text(), "rov", keys))
    start(appliance, ready)


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
    return [
        f"{code} IPv{version} {each['beacon']}: {each['result']} {each.get('detail', '')}"
        for (code, version), rounds in _rounds().items()
        for each in rounds
        if code in codes and each["result"] in _UNCOUNTED
    ]


def _rounds() -> dict[tuple[str, int], list[dict[str, Any]]]:
    """Every round that is kept, the oldest first, by perspective and IP version."""
    return {(one["perspective"], one["version"]): one["rounds"] for one in json.loads(STATE_FILE.read_text())}


def has_full_window(code: str, version: int) -> bool:
    """Whether enough rounds speak for FILTERING: of each pair, a window's blocked ones since anything spoke against it."""
    rounds = _rounds()[code, version]
    against = max((at for at, one in enumerate(rounds) if one["result"] in _AGAINST), default=-1)
    fresh = [one["beacon"] for one in rounds[against + 1 :] if one["result"] == "blocked"]
    return all(fresh.count(name) >= WINDOW for name in INVALID)


def rises(appliance: Appliance, code: str) -> int:
    """Measures until `code` is FILTERING over both IP versions, each with exactly the round that completes its window.

    Returns how many rounds it took. What a busy machine or a lossy path lost does not count, and is printed.
    """
    waiting = {4, 6}
    for number in range(1, _MOST_ROUNDS + 1):
        found = measure(appliance, code, rounds=1)
        risen = {version for version in (4, 6) if found[code, version] == "FILTERING"}
        due = {version for version in waiting if has_full_window(code, version)}
        assert risen & waiting == due, (number, why(code), report(appliance))
        waiting -= risen
        if found == both(code, "FILTERING"):
            print(f"{code}: FILTERING after {number} rounds; not counted: {why(code)}")
            return number
    raise AssertionError(f"{code} is not FILTERING after {_MOST_ROUNDS} rounds; not counted: {why(code)}")


def falls(appliance: Appliance, code: str) -> None:
    """Measures until one round has reached an invalid prefix: by that very round no IP version is FILTERING that it was of."""
    for _ in range(_MOST_ROUNDS):
        found = measure(appliance, code, rounds=1)
        reached = [version for version in (4, 6) if any(one["result"] == "reached" for one in _rounds()[code, version])]
        assert [version for version in reached if found[code, version] == "FILTERING"] == [], why(code)
        if reached == [4, 6]:
            return
        print(f"{code}: no invalid prefix was reached: {why(code)}")
    raise AssertionError(f"{code} reached nothing: {why(code)}")


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
