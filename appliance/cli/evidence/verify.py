"""`mpicctl evidence verify`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from appliance.cli.context import Json, console, plain, print_json
from appliance.cli.evidence.options import Store, store_of
from appliance.errors import ApplianceError
from appliance.evidence.audit import Report, Scope, verify_store
from appliance.evidence.checkpoint import KEY_NAME
from appliance.evidence.reading import base, last_seq, reading

_KEY = re.compile(r"[0-9a-f]{64}")


class CannotReadWitness(ApplianceError):
    """A file of receipts, checkpoints or keys cannot be read, or is none."""


def verify(
    context: typer.Context,
    deep: Annotated[
        bool, typer.Option("--deep", help="Parse every record; it must be canonical, and say what the index says.")
    ] = False,
    replay: Annotated[
        bool, typer.Option("--replay", help="Compute every decision again from its observations; includes --deep.")
    ] = False,
    receipts: Annotated[
        list[Path] | None,
        typer.Option(help="Receipts kept elsewhere: JSON objects (answers as logged) or 'SEQ HASH', one a line."),
    ] = None,
    checkpoints: Annotated[
        list[Path] | None, typer.Option(help="Checkpoints kept elsewhere, one JSON object a line.")
    ] = None,
    public_key: Annotated[
        list[str] | None,
        typer.Option(
            help="Trusted key of checkpoints: 64 hex digits or a file of them.", show_default="the one beside the store"
        ),
    ] = None,
    store: Store = None,
    json: Json = False,
) -> None:
    """Verify that no record was changed, removed or moved, and name the first that was.

    Against the store alone, a cut tail can be found only as far as its newest checkpoint; --receipts and --checkpoints from
    elsewhere find the rest. Exit code 0: whole. 1: not; each line names a record. 2: the store could not be read.
    """
    path = store_of(context, store)
    trusted = _keys(public_key, path)
    scope = Scope(deep or replay, replay, trusted, tuple(checkpoints or ()), tuple(receipts or ()))
    try:
        with _progress(path, quiet=json) as tell:
            report = verify_store(path, scope, tell)
    except OSError as error:
        raise CannotReadWitness(f"{error.filename}: {error.strerror}") from error
    if json:
        print_json(_as_json(path, report))
    else:
        _print(console(), path, report, scope)
    raise typer.Exit(0 if report.ok else 1)


def _keys(given: list[str] | None, store: Path) -> frozenset[str]:
    """The trusted keys. Without `given` the file beside the store says which; where there is none, none is trusted more."""
    if given is None:
        beside = store.with_name(f"{KEY_NAME}.pub")
        given = [str(beside)] if beside.exists() else []
    keys: set[str] = set()
    for text in given:
        if _KEY.fullmatch(text):
            keys.add(text)
            continue
        try:
            words = Path(text).read_text(encoding="ascii").split()
        except (OSError, UnicodeDecodeError) as error:
            raise CannotReadWitness(f"{text}: {error}") from error
        if not words or not all(map(_KEY.fullmatch, words)):
            raise CannotReadWitness(f"{text}: holds something else than Ed25519 keys of 64 hex digits")
        keys.update(words)
    return frozenset(keys)


@contextmanager
def _progress(path: Path, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    errors = Console(stderr=True)
    if quiet or not errors.is_terminal:
        yield lambda _seq: None
        return
    with reading(path) as connection:
        first, last = base(connection).seq, last_seq(connection)
    with Progress(
        "verifying", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=errors, transient=True
    ) as bar:
        task = bar.add_task("", total=last - first)
        yield lambda seq: bar.update(task, completed=seq - first)


def _as_json(path: Path, report: Report) -> dict[str, Any]:
    return {
        "store": str(path),
        "ok": report.ok,
        "records": report.records,
        "archived_through": report.archived_through,
        "head": {"seq": report.head.seq, "hash": report.head.hash.hex()},
        "record_bytes": report.record_bytes,
        "elapsed_ms": round(report.elapsed_s * 1000),
        "checkpoints": report.checkpoints,
        "receipts": report.receipts,
        "problems": [{"seq": problem.seq, "reason": problem.reason} for problem in report.problems],
    }


def _print(out: Console, path: Path, report: Report, scope: Scope) -> None:
    for problem in report.problems:
        where = f"record {problem.seq}: " if problem.seq else ""
        out.print(f"{where}{plain(problem.reason, 400)}", style="red")
    depth = "hashed, parsed and replayed" if scope.replay else "hashed and parsed" if scope.deep else "hashed"
    rate = report.record_bytes / 1e6 / max(report.elapsed_s, 1e-6)
    out.print(
        f"{path}: {report.records} records {depth} ({report.record_bytes / 1e6:.1f} MB, {rate:.0f} MB/s), {report.checkpoints} "
        f"checkpoints and {report.receipts} receipts held against them"
    )
    if report.archived_through:
        out.print(f"records up to {report.archived_through} are in archived segments; verify those with --store")
    out.print(f"the chain ends with record {report.head.seq}, hash {report.head.hash.hex()}")
    verdict = "whole" if report.ok else f"NOT whole: {len(report.problems)} problems"
    out.print(verdict, style="bold green" if report.ok else "bold red")
