"""`mpicctl config`: whether the configuration is one that the daemons would start with."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import typer

from appliance.cli.context import Invocation, Json, console, print_json
from appliance.config import Settings, TargetConfig, WireGuardConfig, load
from appliance.coordinator.day import BUILT, policy_day
from appliance.errors import ConfigError
from appliance.net.authorities import read_authorities
from appliance.policy import unproven
from appliance.policy.br_table import next_row, row_at
from appliance.policy.fleet import fleet_from, place_findings, shortfalls
from appliance.policy.proofs import is_future
from appliance.tunnels.keys import BadKeyFile, active_slot

app = typer.Typer(help="The configuration file.", no_args_is_help=True)


@app.callback()
def _config() -> None:
    """Keeps `check` a sub-command while it is the only one."""


@app.command("check")
def check(context: typer.Context, json: Json = False) -> None:
    """Read the configuration as the daemons do, and hold it to the Baseline Requirements of today and of the next date.

    Exit code 0: the appliance would start. 1: it would not, or a perspective would never count; each line names
    file, key and rule. Warnings do not change the exit code.
    """
    invocation: Invocation = context.obj
    today = policy_day(datetime.now(UTC), None, BUILT)
    problems: list[str] = []
    warnings: list[str] = []
    codes: list[str] = []
    try:
        settings = load(invocation.config)
        codes = [perspective.code for perspective in settings.perspectives]
        fleet = fleet_from(settings)
        problems = [*shortfalls(fleet, today), *_files(settings), *_attestations(settings, today)]
        _, warnings = place_findings(settings)
        upcoming = next_row(today)
        if upcoming is not None:
            day = datetime.fromisoformat(upcoming.since).date()
            warnings += [f"from {upcoming.since}: {line}" for line in shortfalls(fleet, day)]
        warnings += [*unproven.warnings(settings, today), *_exceptions(settings.targets)]
    except ConfigError as error:
        problems = error.problems
    named = [line if line.startswith(str(invocation.config)) else f"{invocation.config}: {line}" for line in problems]
    row = row_at(today)
    if json:
        print_json(
            {"file": str(invocation.config), "ok": not named, "problems": named, "warnings": warnings, "codes": codes}
        )
    else:
        out = console()
        for line in named:
            out.print(line, style="red")
        for line in warnings:
            out.print(f"{invocation.config}: {line}", style="yellow")
        if not named:
            out.print(
                f"{invocation.config}: {len(codes)} perspectives ({', '.join(codes)}) meet BR 3.2.2.9 as of {today} "
                f"(at least {row.remotes_required} since {row.since})",
                style="green",
            )
    raise typer.Exit(1 if named else 0)


def _exceptions(targets: TargetConfig) -> Iterator[str]:
    for key in ("special_purpose_exceptions", "special_use_exceptions"):
        listed = getattr(targets, key)
        if listed:
            excepted = ", ".join(map(str, listed))
            yield f"targets.{key}: {excepted} can be validated and must not be in production. Remove it outside of a laboratory"


def _files(settings: Settings) -> Iterator[str]:
    yield from _readable("resolver.trust_anchor_file", settings.resolver.trust_anchor_file)
    if settings.resolver.root_hints is not None:
        yield from _readable("resolver.root_hints", settings.resolver.root_hints)
    yield from _listeners(settings)
    yield from _authorities(settings)
    for index, perspective in enumerate(settings.perspectives):
        yield from _keys(f"perspectives.{index}.wireguard", perspective.wireguard)


def _authorities(settings: Settings) -> Iterator[str]:
    configured = [(f"anchors.{index}.ca_file", anchor.ca_file) for index, anchor in enumerate(settings.anchors)]
    for key, path in (*configured, ("rov.ca_file", settings.rov.ca_file)):
        if path is not None:
            try:
                read_authorities(path, key)
            except ConfigError as error:
                yield from error.problems


def _attestations(settings: Settings, today: date) -> Iterator[str]:
    for index, perspective in enumerate(settings.perspectives):
        if perspective.attested_on is not None and is_future(perspective.attested_on, today):
            yield f"perspectives.{index}.attested_on: {perspective.attested_on} lies in the future; today is {today}"


def _keys(key: str, wireguard: WireGuardConfig) -> Iterator[str]:
    """Those of the slot that is active: the other's may be absent."""
    try:
        slot = active_slot(wireguard)
    except BadKeyFile as bad:
        if not isinstance(bad.__cause__, PermissionError):
            yield f"{key}.{bad}"
        return
    yield from _secret(f"{key}.private_key_file", slot.file(wireguard.private_key_file))
    if wireguard.preshared_key_file is not None:
        yield from _secret(f"{key}.preshared_key_file", slot.file(wireguard.preshared_key_file))


def _listeners(settings: Settings) -> Iterator[str]:
    for index, listener in enumerate(settings.api.tcp):
        for name in ("certificate_file", "client_ca_file"):
            path = getattr(listener, name)
            if path is not None:
                yield from _readable(f"api.tcp.{index}.{name}", path)
        if listener.private_key_file is not None:
            yield from _secret(f"api.tcp.{index}.private_key_file", listener.private_key_file)


def _readable(key: str, path: Path) -> Iterator[str]:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        yield f"{key}: {path}: {error.strerror}"


def _secret(key: str, path: Path) -> Iterator[str]:
    try:
        mode = path.stat().st_mode
    except PermissionError:
        return  # not ours to see, as it should be for anyone but root
    except OSError as error:
        yield f"{key}: {path}: {error.strerror}"
        return
    if stat.S_IMODE(mode) & 0o077:
        yield f"{key}: {path}: must not be open to group or others (mode {stat.S_IMODE(mode):04o}, wanted 0600)"
