"""`mpic-egress`: sets an egress node up from one file, and tells whether it is as the file says."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path

from egress import health, node, report, serve, wireguard
from egress.config import DEFAULT_PATH, EgressConfig, load
from egress.errors import ConfigError, EgressError


def main() -> None:
    """The command. Exit status 0: as it should be; 1: it is not, or could not be made so; 2: the file is wrong."""
    parser = argparse.ArgumentParser(prog="mpic-egress", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, meaning in (
        ("apply", "make the node as the file says; what is right already is left alone"),
        ("check", "tell what is not as the file says, and what needs a look; change nothing"),
        ("status", "show the tunnels and the node's health"),
        ("down", "remove the tunnels and the firewall table, and stop forwarding"),
    ):
        command = commands.add_parser(name, help=meaning, description=meaning)
        command.add_argument("--config", type=Path, default=DEFAULT_PATH, help="file (default: %(default)s)")
        if name == "check":
            command.add_argument("--strict", action="store_true", help="what needs a look is wrong, too")
        if name == "status":
            command.add_argument("--json", action="store_true", help="for machines")
            command.add_argument("--write", action="store_true", help="to the file that is served, instead of here")
    meaning = "tell each appliance, over its own tunnel, what `status --write` wrote; needs no privilege"
    serving = commands.add_parser("serve", help=meaning, description=meaning)
    for command in (commands.choices["status"], serving):
        command.add_argument("--file", type=Path, default=report.DEFAULT_FILE, help="status (default: %(default)s)")
    sys.exit(_run(parser.parse_args()))


def _run(arguments: argparse.Namespace) -> int:
    if arguments.command == "serve":
        serve.main(arguments.file)
        return 0
    try:
        if arguments.command == "status" and arguments.write:
            return _write(arguments.config, arguments.file)
        return _with(load(arguments.config), arguments)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except (EgressError, OSError) as error:
        print(f"mpic-egress: {error}", file=sys.stderr)
        return 1


def _with(config: EgressConfig, arguments: argparse.Namespace) -> int:
    match arguments.command:
        case "apply":
            return _apply(config)
        case "check":
            return _check(config, strict=arguments.strict)
        case "down":
            node.remove(config)
            return 0
        case _:
            return _status(config, arguments.file, as_json=arguments.json)


def _apply(config: EgressConfig) -> int:
    changed = 0
    for part in node.parts(config):
        if not part.is_right():
            part.make_right()
            changed += 1
            print(f"set: {part.name}")
    if not changed:
        print("nothing to change")
    return 0


def _check(config: EgressConfig, *, strict: bool) -> int:
    wrong = list(node.faults(config))
    doubtful = list(health.warnings(health.look(config, int(time.time()))))
    for line in wrong:
        print(f"wrong: {line}")
    if not wrong:
        print("all as configured")
    for line in doubtful:
        print(f"warning: {line}")
    return 1 if wrong or (strict and doubtful) else 0


def _write(config: Path, file: Path) -> int:
    before = report.read(file)
    try:
        document = report.make(load(config), before)
    except ConfigError:
        document = report.without_configuration(before)
    report.write(file, document)
    return 0


def _status(config: EgressConfig, file: Path, *, as_json: bool) -> int:
    document = report.make(config, report.read(file))
    rows: list[dict[str, object]] = []
    for interface in config.interfaces:
        names = {peer.public_key: peer.name for peer in interface.peers}
        backend = wireguard.backend_of(interface.name)
        state = wireguard.state(interface.name) if backend is not None else None
        peers = []
        for peer in state.peers if state is not None else ():
            row = dataclasses.asdict(peer)
            del row["preshared_key"]
            peers.append(row | {"name": names.get(peer.public_key, ""), "allowed_ips": sorted(peer.allowed_ips)})
        rows.append({"interface": interface.name, "backend": backend, "peers": peers})
    if as_json:
        print(json.dumps(document | {"interfaces": rows}))
    else:
        _print_rows(rows)
        for kind in ("problems", "warnings"):
            for line in document[kind]:
                print(f"{kind[:-1]}: {line}")
    return 0 if all(row["backend"] for row in rows) else 1


def _print_rows(rows: list[dict[str, object]]) -> None:
    for row in rows:
        print(f"{row['interface']}  {row['backend'] or 'not there'}")
        peers = row["peers"]
        for peer in peers if isinstance(peers, list) else ():
            print(
                f"  {peer['name']}  {peer['endpoint'] or '-'}  handshake {peer['latest_handshake_s'] or 'never'}"
                f"  received {peer['received_bytes']}  sent {peer['sent_bytes']}"
            )


if __name__ == "__main__":
    main()
