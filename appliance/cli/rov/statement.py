"""The dated statement for auditors, as text and as one HTML page without scripts or outside references."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from appliance.cli.context import plain
from appliance.cli.rov.tables import in_force, numbers
from appliance.model.rov import BeaconStatus, RovReport, RovStanding

_METHOD = (
    "From each perspective a round probes, over one IP version, the valid prefix of a beacon, its RPKI-invalid prefix, and the "
    "valid one again; a round counts only if both valid probes succeed, the beacon's routes have the RFC 6811 states that "
    "they should have in our VRPs, and, where the invalid prefix is unreachable, another perspective reaches it at the "
    "same time. FILTERING means that the invalid prefixes of at least two operators were never reached in at least six "
    "rounds each; it is strong where a cover beacon's valid site answered in at least six rounds, else weak. p is the "
    "one-sided Fisher probability 1/C(2n, n) that n rounds part so by accident; the bound is the 95 % upper bound on the "
    "share of flows that reach an invalid prefix. The path is graded, not the network's intentions."
)
_HEADINGS = ("perspective", "family", "in force", "since", "rounds n", "p", "95 % bound", "evidence record", "why")
_STYLE = """\
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin-top:2rem}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #ddd;vertical-align:top}
th{border-bottom:2px solid #888}td[class]{font-weight:600}
.FILTERING{color:#146c2e}.NOT_FILTERING,.PARTIAL{color:#b3261e}.INCONCLUSIVE{color:#8a5a00}
@media print{body{margin:0;max-width:none}}
"""


_BEACON_HEADINGS = ("beacon", "operator", "kind", "families", "source", "last verified", "seen to work", "state")


def text_statement(report: RovReport) -> str:
    """Plain text of at most 120 columns where its contents allow."""
    lines = [_title(report), "", *_facts(report), "", "Verdicts in force", ""]
    for one in report.perspectives:
        for row in _rows(one):
            lines.append(
                f"  {row[0]:<16} {row[1]}  {row[2]:<20} since {row[3]}  n={row[4]}  p={row[5]}  bound={row[6]}"
            )
            lines.append(f"  {'':<16} record {row[7]}: {row[8]}")
    lines += ["", "Routes to the egresses' own addresses", ""]
    lines += [f"  {'  '.join(row)}" for row in _own(report)]
    lines += ["", "Beacons", ""]
    lines += [f"  {'  '.join(row)}" for row in _beacons(report)]
    lines += ["", "Method", "", *_wrapped(_METHOD), ""]
    return "\n".join(lines)


def html_statement(report: RovReport) -> str:
    """A whole page."""
    facts = "".join(f"<li>{escape(fact)}</li>" for fact in _facts(report))
    rows = [row for one in report.perspectives for row in _rows(one)]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(_title(report))}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(_title(report))}</h1><ul>{facts}</ul>"
        f"<h2>Verdicts in force</h2>{_table(_HEADINGS, rows, 2)}"
        f"<h2>Routes to the egresses' own addresses</h2>"
        f"{_table(('perspective', 'address', 'announced prefix', 'origin AS', 'RFC 6811 state'), _own(report))}"
        f"<h2>Beacons</h2>"
        f"{_table(_BEACON_HEADINGS, _beacons(report))}"
        f"<h2>Method</h2><p>{escape(_METHOD)}</p></body></html>\n"
    )


def _title(report: RovReport) -> str:
    return f"Route origin validation on the paths of the network perspectives, {report.time[:19]}Z"


def _facts(report: RovReport) -> list[str]:
    vrps = report.vrps
    data = f"VRPs: {vrps.count} of {vrps.generated_at}, {vrps.age_s} s old, from {plain(vrps.file)}"
    return [
        f"mpic-appliance {report.version}, policy {report.policy}, a full window is {report.full_window} rounds",
        data if not vrps.problem else f"VRPs: {plain(vrps.problem)}; no round counts",
        "RFC 9234 roles and ASPA are not measured: no data-plane test of them exists",
    ]


def _rows(one: RovStanding) -> Iterator[tuple[str, ...]]:
    for family in one.families:
        record = "-" if family.in_force.seq is None else f"{family.in_force.seq} {(family.in_force.hash or '')[:16]}"
        yield (
            f"{one.perspective} (primary)" if one.primary else one.perspective,
            f"IPv{family.version}",
            in_force(family),
            family.in_force.at[:19] + "Z",
            str(family.grade.n),
            *numbers(family.grade),
            record,
            plain(family.in_force.reason),
        )


def _own(report: RovReport) -> list[tuple[str, ...]]:
    return [
        (one.perspective, route.address, route.prefix or "not known", f"AS{route.origin_asn}", route.state.value)
        for one in report.perspectives
        for route in one.own_routes
    ]


def _seen(beacon: BeaconStatus) -> str:
    """When this appliance last saw a beacon work, by IP version."""
    return ", ".join(f"IPv{one.version} {one.at[:19]}Z by {one.perspective}" for one in beacon.seen) or "never"


def _beacons(report: RovReport) -> list[tuple[str, ...]]:
    return [
        (
            one.name,
            plain(one.operator),
            one.kind.value,
            " ".join(f"IPv{version}" for version in one.versions),
            plain(one.source) or "-",
            one.last_verified or "not verified since listed",
            f"seen {_seen(one)}",
            "dead: " + " ".join(f"IPv{version}" for version in one.dead) if one.dead else "in use",
        )
        for one in report.beacons
    ]


def _table(headings: Iterable[str], rows: Iterable[tuple[str, ...]], verdict_column: int | None = None) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join(
        f"<tr>{''.join(_cell(value, is_verdict=index == verdict_column) for index, value in enumerate(row))}</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: str, *, is_verdict: bool) -> str:
    kind = f' class="{escape(value.split(maxsplit=1)[0])}"' if is_verdict else ""
    return f"<td{kind}>{escape(value)}</td>"


def _wrapped(text: str, width: int = 110) -> Iterator[str]:
    line = " "
    for word in text.split():
        if len(line) + len(word) + 1 > width:
            yield line
            line = " "
        line += f" {word}"
    yield line
