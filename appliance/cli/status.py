"""`mpicctl status`: every perspective, where it is, how its tunnel is, and what the Internet sees of it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from appliance.cli.context import Invocation, Json, console, plain, print_json
from appliance.model.place import Place
from appliance.model.status import ApplianceStatus, PerspectiveStatus

_HEADINGS = (
    "perspective", "place", "RIR", "state", "tunnel", "handshake", "observed egress address", "nearest", "last check",
)  # fmt: skip


def status(context: typer.Context, json: Json = False) -> None:
    """Show every perspective: place, RIR region, tunnel, handshake, observed egress address, nearest other, last check.

    Exit code 0: a compliant quorum is possible now. 1: it is not; the reasons are shown. 2: mpicd could not be asked.
    """
    invocation: Invocation = context.obj
    document = invocation.coordinator().get("/status")
    told = msgspec.convert(document, ApplianceStatus)
    if json:
        print_json(document)
    else:
        console().print(*status_view(told), sep="\n")
    raise typer.Exit(0 if told.readiness.ready else 1)


def place_text(place: Place) -> str:
    """City and country."""
    return f"{plain(place.city)}, {place.country}"


def kilometres(metres: int) -> str:
    """Whole kilometres, rounded down."""
    return f"{metres // 1000} km"


def status_view(told: ApplianceStatus) -> list[Table | Text]:
    """What is shown of the status, from top to bottom."""
    table = Table(*_HEADINGS, title_justify="left", title=f"mpic-appliance {told.version}")
    for perspective in (told.primary, *told.perspectives):
        table.add_row(*_row(perspective))
    policy, ready = told.policy, told.readiness
    summary = Text.assemble(
        ("ready" if ready.ready else "NOT READY", "green" if ready.ready else "bold red"),
        f": {told.perspectives_ready} of {len(told.perspectives)} remote perspectives;"
        f" BR {policy.br_section} asks for {policy.today.remotes_required} since {policy.today.since}."
        f" {told.decisions} decisions since {told.started_at}.",
    )
    return [
        table,
        summary,
        *(line for one in told.perspectives for line in _egress_node(one)),
        *(Text(f"  {plain(line, 300)}", "red") for line in ready.reasons),
        *(Text(f"  {plain(line, 300)}", "yellow") for line in ready.warnings),
    ]


def _row(one: PerspectiveStatus) -> tuple[str | Text, ...]:
    state = Text("usable", "green") if one.ready else Text(plain(one.reason, 200), "red")
    observed = one.worker.egress_addresses if one.worker is not None else ()
    last = one.last_check
    return (
        f"{one.code} (primary)" if one.primary else one.code,
        place_text(one.place),
        str(one.rir),
        state,
        _tunnel(one),
        "-" if one.handshake_age_s is None else f"{one.handshake_age_s} s ago",
        _observed(observed, one.expected_egress_addresses),
        f"{one.nearest.code}, {kilometres(one.nearest.distance_m)}",
        "-"
        if last is None
        else f"{last.method} {plain(last.identifier, 40)}: {last.outcome}, {last.elapsed_us / 1000:.1f} ms",
    )


def _egress_node(one: PerspectiveStatus) -> Iterator[Text]:
    """What the node says of itself, which nothing relies on."""
    said = one.worker.egress if one.worker is not None else None
    if said is None:
        return
    clock = {True: "clock synchronised", False: "clock NOT synchronised", None: "clock unknown"}[
        said.clock_synchronised
    ]
    updates = (
        "security updates unknown" if said.security_updates is None else f"{said.security_updates} security updates"
    )
    parts = [
        f"mpic-egress {plain(said.version, 20)}",
        f"Linux {plain(said.kernel, 40)}",
        f"WireGuard {plain(said.tunnel.backend or 'none', 20)}",
        clock,
        updates,
        "connection table " + ("unknown" if said.conntrack_permille is None else f"{said.conntrack_permille // 10} %"),
        f"{max(0, int(time.time()) - said.written_s)} s ago",
    ]
    yield Text(f"  {one.code}'s egress node: {', '.join(parts)}", "dim")
    yield from (Text(f"  {one.code}'s egress node: wrong: {plain(line, 200)}", "red") for line in said.problems)
    yield from (Text(f"  {one.code}'s egress node: {plain(line, 200)}", "yellow") for line in said.warnings)


def _tunnel(one: PerspectiveStatus) -> str:
    if one.primary:
        return "own uplink"
    return "unknown" if one.tunnel is None else f"{one.tunnel.state} ({one.tunnel.backend})"


def _observed(observed: tuple[str, ...], expected: tuple[str, ...]) -> Text:
    """What the anchors saw, red where it is not what is configured."""
    if not observed:
        return Text("not seen", "yellow")
    return Text(" ".join(observed), "green" if set(observed) <= set(expected) else "bold red")
