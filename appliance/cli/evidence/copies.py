"""`mpicctl evidence backup`, `restore` and `prune`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from appliance.cli.client import NoAnswerInTime
from appliance.cli.context import Invocation, Json, console, print_json
from appliance.cli.evidence.options import Store, moment, store_of
from appliance.evidence.actor import actor_of
from appliance.evidence.backup import back_up
from appliance.evidence.backup import restore as put_back
from appliance.evidence.checkpoint import KEY_NAME, CheckpointKey
from appliance.evidence.checkpointing import Checkpointing
from appliance.evidence.record import utc_text
from appliance.evidence.retention import archive_of, latest_cut, segment_object
from appliance.evidence.retention import prune as prune_store
from appliance.evidence.writer import EvidenceWriter

# Copying, verifying and deleting a million records takes minutes on a good disk; some have bad disks and many records.
_PRUNE_TIMEOUT_S = 3600.0


def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A new file.")],
    store: Store = None,
    json: Json = False,
) -> None:
    """Copy the store to a new file while mpicd runs, and verify the copy. The key of checkpoints is not in it."""
    report = back_up(store_of(context, store), file)
    if json:
        head = {"seq": report.head.seq, "hash": report.head.hash.hex()}
        print_json({"file": str(file), "ok": report.ok, "records": report.records, "head": head})
    else:
        console().print(
            f"{file}: {report.records} records, the last is {report.head.seq}, hash {report.head.hash.hex()}"
        )
        for problem in report.problems:
            console().print(f"record {problem.seq}: {problem.reason}", style="red")
    raise typer.Exit(0 if report.ok else 1)


def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A backup.")],
    store: Store = None,
    json: Json = False,
) -> None:
    """Put a backup in the store's place; mpicd must be stopped. What was there is kept beside it, and the act is recorded."""
    path = store_of(context, store)
    head = put_back(file, path)
    if json:
        print_json({"store": str(path), "from": str(file), "head": {"seq": head.seq, "hash": head.hash.hex()}})
    else:
        console().print(f"{path}: restored from {file}; the chain goes on with record {head.seq}, which says so")


def prune(
    context: typer.Context,
    before: Annotated[
        str | None, typer.Option(help="Records from before this time (ISO 8601).", show_default="all that may go")
    ] = None,
    store: Store = None,
    json: Json = False,
) -> None:
    """Move old records to an archived segment, which is verified before anything is deleted.

    Never those of the last 398 + 200 days + 2 years (BR 5.4.3). Segments are in the directory `archive` beside the store;
    the file may then be moved elsewhere. mpicd does it, to the end even where this command is ended before; where none runs,
    name the store with --store.
    """
    now = datetime.now(UTC)
    cut = latest_cut(now) if before is None else moment(before, "--before")
    segment = _pruned_by_mpicd(context.obj, cut) if store is None else asyncio.run(_prune(store, cut, now))
    if json:
        print_json(segment)
    elif segment["file"] is None:
        console().print(f"there are no records from before {utc_text(cut)}")
    else:
        console().print(f"records {segment['first_seq']} to {segment['last_seq']} are now in {segment['file']}")


def _pruned_by_mpicd(invocation: Invocation, cut: datetime) -> dict[str, Any]:
    try:
        return invocation.coordinator(_PRUNE_TIMEOUT_S).post("/evidence/prune", {"before": utc_text(cut)})
    except NoAnswerInTime as error:
        raise NoAnswerInTime(
            f"mpicd goes on archiving: `mpicctl evidence list --kind prune` has an event once the segment is verified;"
            f" asking again waits for it\n{error}"
        ) from error


async def _prune(store: Path, cut: datetime, now: datetime) -> dict[str, Any]:
    key = CheckpointKey.load_or_make(store.with_name(KEY_NAME))
    writer = EvidenceWriter.open(store, Checkpointing(key))
    try:
        segment = await prune_store(writer, store, archive_of(store), key, actor_of(), before=cut, now=now)
    finally:
        await writer.close()
    return segment_object(segment)
