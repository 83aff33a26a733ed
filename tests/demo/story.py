"""The scenes, in order. Each states what it expects; `Teller` keeps what was seen."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from typing import Final

from rich.table import Table

from tests.demo.ask import DIGEST, KEY_AUTHORIZATION, TOKEN, Asker, Decision
from tests.demo.report import Teller
from tests.lab import state, topology

HONEST: Final = "honest.example"
PLAIN: Final = "plain.example"
_BIN: Final = state.RUNTIME / "bin"


def tell(teller: Teller, asker: Asker) -> None:
    """Every scene of the story."""
    _status(teller, asker)
    _honest(teller, asker, "honest", "An honest applicant: http-01, dns-01 and CAA from six perspectives")
    _equal_prefix(teller, asker)
    _sub_prefix(teller, asker)
    _name_servers(teller, asker)
    _honest(teller, asker, "withdrawn", "The hijack is withdrawn: honest again")
    _dead_tunnels(teller, asker)


def _status(teller: Teller, asker: Asker) -> None:
    teller.scene("status", "Six perspectives, and the address that a target on the Internet sees each of them use")
    shown = subprocess.run(
        [str(_BIN / "mpicctl"), "--config", str(asker.appliance.config), "status"],
        capture_output=True,
        text=True,
        check=False,
    )
    if shown.returncode not in (0, 1):
        raise RuntimeError(f"mpicctl status: {shown.stderr}")
    teller.say(shown.stdout)
    with _challenge(asker, HONEST, "quay"):
        decision = asker.http_01(HONEST, expected=True)
    teller.decision(decision)
    table = Table(title="hand-off points", title_justify="left")
    for heading in ("perspective", "configured egress addresses", "the target saw"):
        table.add_column(heading)
    for egress, part in zip(topology.EGRESSES, decision.perspectives, strict=True):
        table.add_row(egress.code, " ".join(map(str, egress.address)), part.seen_by_target or "nothing")
    teller.print_table(table)


def _honest(teller: Teller, asker: Asker, name: str, title: str) -> None:
    teller.scene(name, title)
    with _challenge(asker, HONEST, "quay"):
        teller.decision(asker.http_01(HONEST, expected=True))
    with _record(asker, f"_acme-challenge.{HONEST}", "quay"):
        teller.decision(asker.dns_01(HONEST, "quay", expected=True))
    teller.decision(asker.caa(HONEST, "quay", expected=True))


def _equal_prefix(teller: Teller, asker: Asker) -> None:
    teller.scene(
        "equal-prefix hijack", "The attacker announces the applicant's prefix: who is nearer to him, reaches him"
    )
    _hijacked(teller, asker, "equal-prefix", lambda: _stolen_challenge(asker, HONEST))


def _sub_prefix(teller: Teller, asker: Asker) -> None:
    teller.scene(
        "sub-prefix hijack", "A more specific prefix: everyone follows, but for networks that drop RPKI-invalid routes"
    )
    _hijacked(teller, asker, "sub-prefix", lambda: _stolen_challenge(asker, HONEST))


def _name_servers(teller: Teller, asker: Asker) -> None:
    teller.scene("name-server hijack", "The applicant's name servers hijacked: the attacker answers in their place")

    def stolen() -> Decision:
        with _record(asker, f"_acme-challenge.{PLAIN}", "mallory"):
            return asker.dns_01(PLAIN, "sakura", expected=False)

    _hijacked(teller, asker, "dns-prefix", stolen)


def _dead_tunnels(teller: Teller, asker: Asker) -> None:
    teller.scene("dead tunnels", "One tunnel dies: five of six are enough. Three die: refused")
    with _challenge(asker, HONEST, "quay"):
        _kill(asker, "gru")
        teller.decision(asker.http_01(HONEST, expected=True))
        _kill(asker, "syd")
        _kill(asker, "jnb")
        teller.decision(asker.http_01(HONEST, expected=False))
        asker.appliance.apply_egress("gru", "syd", "jnb")
        asker.appliance.wait_for(set(asker.appliance.codes))
        teller.decision(asker.http_01(HONEST, expected=True))


def _hijacked(teller: Teller, asker: Asker, hijack: str, ask: Callable[[], Decision]) -> None:
    captured = asker.lab.hijack(hijack).captures
    teller.say(f"Captured by the attacker now: {', '.join(sorted(captured))}")
    try:
        teller.decision(ask())
    finally:
        asker.lab.withdraw()


def _stolen_challenge(asker: Asker, host: str) -> Decision:
    with _challenge(asker, host, "mallory"):
        return asker.http_01(host, expected=False)


@contextlib.contextmanager
def _challenge(asker: Asker, host: str, server: str) -> Iterator[None]:
    """While the block runs, `server` has the answer to the http-01 challenge."""
    asker.lab.set_token(host, TOKEN, KEY_AUTHORIZATION, server)
    try:
        yield
    finally:
        asker.lab.clear_token(host, TOKEN, server)


@contextlib.contextmanager
def _record(asker: Asker, name: str, server: str) -> Iterator[None]:
    """While the block runs, the name servers of `server` have the answer to the dns-01 challenge."""
    asker.lab.set_txt(name, [DIGEST], server)
    try:
        yield
    finally:
        asker.lab.clear_txt(name, server)


def _kill(asker: Asker, code: str) -> None:
    """Kills WireGuard on the egress node, as a machine that lost power would look from here; waits until it is noticed."""
    ready = asker.appliance.ready_codes()
    asker.appliance.kill_egress(code)
    asker.appliance.wait_for(ready - {code})
