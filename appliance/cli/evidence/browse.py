"""`mpicctl evidence list` and `show`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from appliance.cli.context import Json, console, escaped, plain
from appliance.cli.evidence.options import (
    ByCaller,
    ByMethod,
    ByPerspective,
    Domain,
    Exact,
    Kind,
    Result,
    Since,
    Store,
    Trace,
    Until,
    filter_of,
    store_of,
)
from appliance.cli.evidence.record_view import print_record
from appliance.errors import ApplianceError
from appliance.evidence.reading import reading
from appliance.evidence.record import decode
from appliance.evidence.search import Filter, Found, find

_PAGE_ROWS = 500
_FIXED = (("record", 8), ("time (UTC)", 19), ("what", 16), ("result", 16))
_GAPS = 10
_RESULT = 3


class NoSuchRecord(ApplianceError):
    """The store has nothing of that number or trace identifier."""


def list_(
    context: typer.Context,
    domain: Domain = None,
    exact: Exact = False,
    since: Since = None,
    until: Until = None,
    method: ByMethod = None,
    result: Result = None,
    trace: Trace = None,
    perspective: ByPerspective = None,
    kind: Kind = None,
    caller: ByCaller = None,
    limit: Annotated[int, typer.Option(min=0, help="At most this many, the newest; 0 for all.")] = 50,
    store: Store = None,
    json: Json = False,
) -> None:
    """List decisions and events, the newest first."""
    wanted = filter_of(
        domain=domain,
        exact=exact,
        since=since,
        until=until,
        method=method,
        result=result,
        trace=trace,
        perspective=perspective,
        kind=kind,
        caller=caller,
    )
    with reading(store_of(context, store)) as connection:
        rows = find(connection, wanted, newest_first=True, limit=limit or None)
        if json:
            _print_objects(_listed(found) for found in rows)
        else:
            _print_pages(rows)


def show(
    context: typer.Context,
    which: Annotated[str, typer.Argument(help="The number of a record, or a trace identifier.")],
    store: Store = None,
    json: Json = False,
) -> None:
    """Show records whole: who saw what, and why it was decided so."""
    with reading(store_of(context, store)) as connection:
        by_number = which.isascii() and which.isdigit() and len(which) < 16
        wanted = Filter(seq=int(which)) if by_number else Filter(trace_id=which)
        rows = find(connection, wanted, whole=True)
        first = next(rows, None)
        if first is None:
            raise NoSuchRecord(f"no record {plain(which)}")
        if json:
            _print_objects(_whole(found) for found in (first, *rows))
        else:
            out = console()
            for found in (first, *rows):
                print_record(out, found, decode(found.record))


def _listed(found: Found) -> dict[str, Any]:
    return {
        "seq": found.seq,
        "hash": found.hash.hex(),
        "time": found.time,
        "kind": found.kind,
        "trace_id": found.trace_id,
        "identifier": found.identifier,
        "method": found.method,
        "is_valid": found.is_valid,
        "quorum": found.quorum,
        "perspectives": dict(found.outcomes()),
    }


def _whole(found: Found) -> dict[str, Any]:
    return {"seq": found.seq, "hash": found.hash.hex(), "record": msgspec.Raw(found.record)}


def _print_objects(objects: Iterator[dict[str, Any]]) -> None:
    """`{"records": [...]}`, written as it is read: any number of records needs the memory of one."""
    out = sys.stdout
    shown = escaped if out.isatty() else str
    out.write('{"records": [')
    between = "\n"
    for each in objects:
        out.write(between + shown(msgspec.json.encode(each).decode()))
        between = ",\n"
    out.write("\n]}\n")


def _print_pages(rows: Iterator[Found]) -> None:
    out = console()
    shown = 0
    print_page = _print_page if out.is_terminal else _write_page
    while page := list(islice(rows, _PAGE_ROWS)):
        print_page(out, page, with_heading=shown == 0)
        shown += len(page)
    if shown == 0:
        out.print("no records")


def _print_page(out: Console, page: list[Found], *, with_heading: bool) -> None:
    table = Table(show_header=with_heading, box=None, pad_edge=False)
    for heading, width in _widths(out.width):
        table.add_column(heading, width=width, overflow="fold")
    for found in page:
        cells: list[str | Text] = [*_cells(found)]
        if found.is_valid is not None:
            cells[_RESULT] = Text(str(cells[_RESULT]), style="green" if found.is_valid else "red")
        table.add_row(*cells)
    out.print(table)


def _write_page(out: Console, page: list[Found], *, with_heading: bool) -> None:
    """For pipes and files: one line for each record, however long, and a million of them in a minute or two."""
    columns = _widths(out.width)
    widths = [width for _, width in columns]
    rows = [[heading for heading, _ in columns]] if with_heading else []
    rows += [_cells(found) for found in page]
    lines = [" ".join([cell.ljust(width) for cell, width in zip(row, widths, strict=True)]).rstrip() for row in rows]
    out.file.write("\n".join(lines) + "\n")


def _cells(found: Found) -> list[str]:
    dissent = [f"{code} {outcome}" for code, outcome in found.outcomes() if outcome not in {"match", ""}]
    return [
        str(found.seq),
        plain(found.time[:19]).replace("T", " "),
        plain(found.method or found.kind),
        _result(found),
        plain(found.identifier or ""),
        plain(", ".join(dissent)),
    ]


def _widths(whole: int) -> list[tuple[str, int]]:
    """Columns with their widths; what the first ones leave of the terminal's width is for the names."""
    left = max(24, min(80, whole - _GAPS - sum(width for _, width in _FIXED)))
    return [*_FIXED, ("name", left * 3 // 5), ("dissent", left - left * 3 // 5)]


def _result(found: Found) -> str:
    if found.is_valid is None:
        return ""
    return f"{'corroborated' if found.is_valid else 'refused'} {found.quorum}"
