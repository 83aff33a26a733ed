"""`mpicctl evidence export`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from sqlalchemy import Connection

from appliance.cli.context import Json, escaped, print_json
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
from appliance.errors import ApplianceError
from appliance.evidence.export import csv_lines, json_line
from appliance.evidence.reading import last_seq, link_at, reading
from appliance.evidence.record import utc_text
from appliance.evidence.report import Subject, report_lines
from appliance.evidence.search import Filter, find


class Format(StrEnum):
    """What `export` writes."""

    JSONL = "jsonl"
    CSV = "csv"
    HTML = "html"


class CannotWrite(ApplianceError):
    """The output file is there already, or cannot be written."""


def export(
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
    format: Annotated[Format, typer.Option("--format", help="JSON Lines, CSV, or a printable report.")] = Format.JSONL,  # noqa: A002
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A new file.", show_default="standard output")
    ] = None,
    store: Store = None,
    json: Json = False,
) -> None:
    """Write records, the oldest first: as JSON Lines, as CSV, or as a printable report about one domain or request.

    A line of JSON has the record's bytes as they were hashed. With --json and --output, says in JSON what was written.
    """
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
    if format is Format.HTML and domain is None and trace is None:
        raise typer.BadParameter("--format html: is about one --domain or one --trace")
    if json and output is None:
        raise typer.BadParameter("--json: tells of the file that was written; it needs --output")
    with reading(store_of(context, store)) as connection, _opened(output) as file:
        size = 0
        for piece in _pieces(connection, wanted, format, domain or trace or ""):
            size += file.write(escaped(piece.decode()).encode() if file.isatty() else piece)
    if json:
        print_json({"file": str(output), "format": format.value, "bytes": size})


def _pieces(connection: Connection, wanted: Filter, kind: Format, title: str) -> Iterator[bytes]:
    if kind is Format.JSONL:
        yield from (json_line(found) for found in find(connection, wanted, whole=True))
    elif kind is Format.CSV:
        yield from (line.encode() for line in csv_lines(find(connection, wanted, whole=True)))
    else:
        yield from (piece.encode() for piece in report_lines(connection, wanted, _subject(connection, title)))


def _subject(connection: Connection, title: str) -> Subject:
    head = link_at(connection, last_seq(connection))
    end = "The store is empty." if head is None else f"The store's last record is {head.seq}, hash {head.hash.hex()}."
    return Subject(f"Multi-perspective corroboration: {title}", utc_text(datetime.now(UTC)), end)


@contextmanager
def _opened(path: Path | None) -> Iterator[BinaryIO]:
    """Standard output, or a new file that only its owner can read; an incomplete one is removed."""
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotWrite(f"{path}: {error.strerror}") from error
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
    except OSError as error:
        path.unlink(missing_ok=True)
        raise CannotWrite(f"{path}: {error.strerror}") from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise
