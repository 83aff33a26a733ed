"""Puts the table into the kernel, and tells whether the one that is there is the same."""

from __future__ import annotations

import json

from egress.errors import CommandFailed
from egress.rules import FAMILY, FILLED_BY_TRAFFIC, TABLE
from egress.system import run

_LIST = ("nft", "-j", "-s", "list", "table", FAMILY, TABLE)
# In a network namespace of its own, gone as soon as it has answered: how nft shows the table once it is loaded.
_LOAD_AND_LIST = ("unshare", "--net", "sh", "-c", f"nft -f - && exec {' '.join(_LIST)}")


def put(table: str) -> None:
    """Puts `table` in the place of the present one, in one transaction: open flows go on."""
    run("nft", "-f", "-", stdin=f"table {FAMILY} {TABLE}\ndelete table {FAMILY} {TABLE}\n{table}")


def remove() -> None:
    """Removes the table; none there is fine."""
    run("nft", "-f", "-", stdin=f"table {FAMILY} {TABLE}\ndelete table {FAMILY} {TABLE}\n")


def holds(table: str) -> bool:
    """Whether the kernel has exactly `table`. Raises `CommandFailed` where nft does not take it."""
    expected = normalised(run(*_LOAD_AND_LIST, stdin=table))
    try:
        return normalised(run(*_LIST)) == expected
    except CommandFailed:
        return False


def counts() -> dict[str, int]:
    """Packets that each counter of the table counted; empty where there is no table."""
    try:
        listed = json.loads(run("nft", "-j", "list", "counters", "table", FAMILY, TABLE))["nftables"]
    except CommandFailed:
        return {}
    found = (wrapped["counter"] for wrapped in listed if "counter" in wrapped)
    return {counter["name"]: counter["packets"] for counter in found}


def normalised(listing: str) -> list[str]:
    """The objects of `nft -j list` without handles, counts and the elements that traffic adds; each as JSON."""
    objects = []
    for wrapped in json.loads(listing)["nftables"]:
        for kind, body in wrapped.items():
            if kind == "metainfo":
                continue
            kept = {key: value for key, value in body.items() if key not in {"handle", "packets", "bytes"}}
            if kind == "set":
                elements = () if kept["name"] in FILLED_BY_TRAFFIC else kept.get("elem", ())
                kept["elem"] = sorted(map(json.dumps, elements))
            objects.append(json.dumps({kind: kept}, sort_keys=True))
    return objects
