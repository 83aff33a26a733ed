"""What `mpicctl rov` shows on a terminal."""

from __future__ import annotations

from collections.abc import Collection

from rich.table import Table
from rich.text import Text

from appliance.cli.context import plain
from appliance.model.rov import FamilyStanding, Grade, RovReport, RovStanding, RovVerdict

_STYLE = {
    RovVerdict.FILTERING: "green",
    RovVerdict.NOT_FILTERING: "bold red",
    RovVerdict.PARTIAL: "red",
    RovVerdict.INCONCLUSIVE: "yellow",
}


def verdict_table(report: RovReport, codes: Collection[str]) -> Table:
    """The verdict of each perspective of `codes`, by IP version."""
    table = Table(
        "perspective", "verdict", "family", "in force", "since", "rounds", "p-value", "95 % bound", "why",
        title=f"Route origin validation, policy {report.policy}", title_justify="left",
    )  # fmt: skip
    for one in report.perspectives:
        if one.perspective not in codes:
            continue
        for number, family in enumerate(one.families):
            name = f"{one.perspective} (primary)" if one.primary else one.perspective
            table.add_row(
                *((name, Text(one.verdict.value, _STYLE[one.verdict])) if number == 0 else ("", "")),
                f"IPv{family.version}",
                Text(in_force(family), _STYLE[family.in_force.verdict]),
                family.in_force.at[:19] + "Z",
                str(family.grade.n),
                *numbers(family.grade),
                plain(family.grade.reason),
            )
    return table


def beacon_table(family: FamilyStanding) -> Table:
    """What each beacon says over one IP version."""
    table = Table(
        "beacon", "operator", "kind", "says", "reached", "blocked", "ambiguous", "discarded",
        title=f"Beacons over IPv{family.version}", title_justify="left",
    )  # fmt: skip
    for one in family.grade.beacons:
        counts = (str(count) for count in (one.reached, one.blocked, one.ambiguous, one.discarded))
        table.add_row(one.beacon, plain(one.operator), one.kind.value, one.says, *counts)
    return table


def beacons_table(report: RovReport) -> Table:
    """Every configured beacon."""
    table = Table(
        "beacon", "operator", "kind", "over", "source", "verified", "seen to work here", "dead over",
        title="Beacons", title_justify="left",
    )  # fmt: skip
    for one in report.beacons:
        seen = [f"IPv{of.version} {of.at[:19]}Z by {of.perspective}" for of in one.seen]
        table.add_row(
            one.name,
            plain(one.operator),
            one.kind.value,
            _versions(one.versions),
            plain(one.source) or "-",
            one.last_verified or "not since listed",
            Text("\n".join(seen) or "never", "" if seen else "yellow"),
            Text(_versions(one.dead) or "-", "red" if one.dead else ""),
        )
    return table


def _versions(versions: tuple[int, ...]) -> str:
    return " ".join(f"IPv{version}" for version in versions)


def round_table(standing: RovStanding) -> Table:
    """The routes to the egress's own addresses (RFC 6811)."""
    table = Table("own address", "prefix", "origin AS", "RPKI", title="Its own routes", title_justify="left")
    for one in standing.own_routes:
        table.add_row(one.address, one.prefix or "-", f"AS{one.origin_asn}", one.state.value)
    return table


def history_table(standing: RovStanding) -> Table:
    """Every change of verdict, newest first."""
    table = Table("since", "family", "verdict", "record", "why", title="History", title_justify="left")
    changes = [(change, family.version) for family in standing.families for change in family.history]
    for change, version in sorted(changes, key=lambda pair: pair[0].at, reverse=True):
        record = "-" if change.seq is None else str(change.seq)
        verdict = Text(change.verdict.value, _STYLE[change.verdict])
        table.add_row(change.at[:19] + "Z", f"IPv{version}", verdict, record, plain(change.reason))
    return table


def in_force(family: FamilyStanding) -> str:
    """The verdict in force, with its strength where it has one."""
    if family.in_force.verdict is not RovVerdict.FILTERING:
        return family.in_force.verdict.value
    return f"FILTERING ({'strong' if family.grade.strong else 'weak'})"


def numbers(graded: Grade) -> tuple[str, str]:
    """p-value and bound in words, "-" where there are none."""
    if graded.p_value_ppm is None or graded.bound_ppm is None:
        return "-", "-"
    return f"{graded.p_value_ppm / 1_000_000:.6f}", f"{graded.bound_ppm / 10_000:.1f} %"
