"""`mpicctl watch`: follows the status."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Annotated

import msgspec
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from appliance.cli.client import CannotAsk, Coordinator
from appliance.cli.context import Invocation, console, plain
from appliance.cli.status import status_view
from appliance.model.status import ApplianceStatus

_Interval = Annotated[float, typer.Option(min=0.1, max=3600, metavar="SECONDS", help="How often to look.")]
_Count = Annotated[int, typer.Option(min=0, metavar="N", help="End after so many looks; 0: go on.")]


def watch(context: typer.Context, interval: _Interval = 1.0, count: _Count = 0) -> None:
    """Follow the status live until interrupted; where standard output is no terminal, print a line for each change.

    Goes on while mpicd is away, and says so. Exit code 0: watched to the end. 2: the configuration could not be read.
    """
    invocation: Invocation = context.obj
    coordinator = invocation.coordinator()
    out = console()
    try:
        if out.is_terminal:
            show_live(out, looks(coordinator, interval, count))
        else:
            follow(looks(coordinator, interval, count))
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def lines_of(told: ApplianceStatus) -> list[str]:
    """What is worth a line when it changes: readiness, its reasons and warnings, and each perspective's state."""
    lines = ["ready" if told.readiness.ready else "NOT READY"]
    lines += [f"not ready: {plain(reason, 300)}" for reason in told.readiness.reasons]
    lines += [f"warning: {plain(warning, 300)}" for warning in told.readiness.warnings]
    lines += [
        f"{one.code}: {'usable' if one.ready else plain(one.reason, 200)}" for one in (told.primary, *told.perspectives)
    ]
    return lines


def show_live(out: Console, views: Iterable[ApplianceStatus | Text]) -> None:
    """Each view in the place of the one before."""
    with Live(console=out, screen=False, auto_refresh=False) as live:
        for view in views:
            live.update(view if isinstance(view, Text) else Group(*status_view(view)), refresh=True)


def follow(views: Iterable[ApplianceStatus | Text]) -> None:
    """A line with its time for each thing that a view says and the one before did not."""
    before: list[str] = []
    for view in views:
        lines = [view.plain] if isinstance(view, Text) else lines_of(view)
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        for line in lines:
            if line not in before:
                print(f"{at} {line}", flush=True)
        before = lines


def looks(coordinator: Coordinator, interval_s: float, count: int) -> Iterator[ApplianceStatus | Text]:
    """The status, again and again; what is wrong, as text, where there is none."""
    looked = 0
    while True:
        try:
            yield msgspec.convert(coordinator.get("/status"), ApplianceStatus)
        except CannotAsk as error:
            yield Text(str(error), "bold red")
        looked += 1
        if looked == count:
            return
        time.sleep(interval_s)
