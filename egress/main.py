"""`mpic-egress`: sets an egress node up from one file, and tells whether it is as the file says."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from egress import node, wireguard
from egress.config import DEFAULT_PATH, EgressConfig, load
from egress.errors import EgressError


def main() -> None:
    """The command. Exit status 0: as it should be; 1: it is not, or could not be made so; 2: the file is wrong."""
    parser = argparse.ArgumentParser(prog="mpic-egress", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, meaning in (
        ("apply", "make the node as the file says; what is right already is left alone"),
        ("check", "tell what is not as the file says; change nothing"),
        ("status", "show the tunnels"),
        ("down", "remove the tunnels and the firewall table, and stop forwarding"),
    ):
        command = commands.add_parser(name, help=meaning, description=meaning)
        command.add_argument("--config", type=Path, default=DEFAULT_PATH, help="file (default: %(default)s)")
        if name == "status":
            command.add_argument("--json", action="store_true", help="for machines")
    sys.exit(_run(parser.parse_args()))


def _run(arguments: argparse.Namespace) -> int:
    try:
        config = load(arguments.config)
    except EgressError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        match arguments.command:
            case "apply":
                return _apply(config)
            case "check":
                return _check(config)
            case "down":
                node.remove(config)
                return 0
            case _:
                return _status(config, as_json=arguments.json)
    except EgressError as error:
        print(f"mpic-egress: {error}", file=sys.stderr)
        return 1


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


def _check(config: EgressConfig) -> int:
    wrong = 0
    for part in node.parts(config):
        try:
            fault = "" if part.is_right() else "not as configured"
        except EgressError as error:
            fault = str(error)
        if fault:
            wrong += 1
            print(f"wrong: {part.name}: {fault}")
    if not wrong:
        print("all as configured")
    return 1 if wrong else 0


def _status(config: EgressConfig, *, as_json: bool) -> int:
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
        print(json.dumps({"interfaces": rows}))
    else:
        _print_rows(rows)
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
