"""The lab in operation. A `Lab` keeps nothing in memory: any process of root's can attach to the one that is up."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import Final

from tests.lab import bird, extra, names, netns, processes, routes, rpki, runtime, state, topology, web
from tests.lab.capture import Capture
from tests.lab.model import Address
from tests.lab.wait import wait_until
from tests.lab.zones import DATA_TTL_S

_START_LIMIT_S: Final = 30.0
_CONVERGENCE_LIMIT_S: Final = 10.0
_WIREGUARD_GO_SOCKETS: Final = Path("/run/wireguard")
_ATTACKER: Final = topology.SYSTEM_BY_NAME["mallory"].namespace


@dataclass(frozen=True, slots=True)
class InForce:
    """The hijack that is being announced, and by which of the attacker's neighbours."""

    name: str
    via: tuple[str, ...]
    captures: frozenset[str]


def _say_on_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Lab:
    """The emulated Internet of `tests.lab.topology`.

    As a context manager it is brought up and taken down, also on an exception, Ctrl-C and SIGTERM; `Lab()` alone
    attaches to the lab that is up. `extra_directory` is LAB_EXTRA's. `say` receives progress, a line at a time.
    """

    def __init__(self, extra_directory: Path | None = None, say: Callable[[str], None] = _say_on_stderr) -> None:
        self._extra = extra_directory
        self._say = say
        self._started_at_s = time.monotonic()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Lab:
        with contextlib.ExitStack() as stack:
            stack.enter_context(interruptible())
            self.up()
            stack.callback(self.down)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    # Life cycle

    def up(self) -> None:
        """Build the lab, owned by this process; what a crashed one left is cleaned first.

        `LabBusyError` when one is up and alive; on any other failure what was built is taken down again.
        """
        self._started_at_s = time.monotonic()
        if state.STATE_DIR.exists() or netns.existing() & set(topology.namespaces()):
            holder = state.owner()
            if self.is_up() or (holder is not None and holder.alive()):
                raise state.LabBusyError(f"a lab is up or being built ({state.STATE_DIR}); take it down first")
            self.step("cleaning up after a lab that crashed")
            self.down()
        state.create()
        try:
            self._build()
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """Take down whatever there is of a lab: processes by pid, namespaces, files. No lab is no error."""
        with _uninterrupted():
            ours = [*topology.namespaces(), *topology.appliance_namespaces().values(), *self._adopted()]
            processes.end_all(ours)
            netns.delete(ours)
            for interface in topology.wireguard_interfaces():
                (_WIREGUARD_GO_SOCKETS / f"{interface}.sock").unlink(missing_ok=True)
            state.remove()

    def is_up(self) -> bool:
        """Whether a lab was built to its end, is still held or left running, and has all its routers."""
        holder = state.owner()
        if not state.is_ready() or (holder is not None and not holder.alive()):
            return False
        populated = set(processes.inside(topology.namespaces()).values())
        return {system.namespace for system in topology.SYSTEMS} <= populated

    def leave_running(self) -> None:
        """Let the lab outlive this process."""
        state.disown()

    def adopt(self, *namespaces: str) -> None:
        """Have `down` also end the processes in, and delete, these namespaces, which others make on the CA's host."""
        merged = sorted({*self._adopted(), *namespaces})
        state.write_text(_adopted_file(), json.dumps(merged))

    def _adopted(self) -> list[str]:
        return [str(name) for name in json.loads(_adopted_file().read_text())] if _adopted_file().exists() else []

    def step(self, what: str) -> None:
        """Report progress, with the time since the start."""
        self._say(f"lab {time.monotonic() - self._started_at_s:6.2f} s  {what}")

    def _build(self) -> None:
        self.step(f"{len(topology.namespaces())} namespaces, {len(topology.LINKS) + len(topology.LANS)} links")
        extra_path = extra.link(self._extra) if self._extra else None
        extra_zones = extra.zones(self._extra) if self._extra else []
        netns.create()
        # For what is started in the lab without an appliance, too: egress nodes, anchors.
        runtime.install(state.RUNTIME)
        self.step(f"BIRD in {len(topology.SYSTEMS)} ASes, RTR in {sum(one.rov for one in topology.SYSTEMS)}")
        rpki.start()
        for system in topology.SYSTEMS:
            bird.start(system)
        self.step("DNS: keys, signatures, name servers")
        names.build(extra_zones)
        names.start()
        self.step("web servers")
        web.start(extra_path)
        self.step("waiting for BGP, RTR and name servers")
        for system in topology.SYSTEMS:
            wait_until(partial(bird.sessions_up, system), _START_LIMIT_S, f"BGP sessions of {system.name}")
        wait_until(_all_connected, _START_LIMIT_S, "routes from everywhere to everywhere")
        wait_until(names.ready, _START_LIMIT_S, "name servers with their zones")
        wait_until(web.ready, _START_LIMIT_S, "web servers")
        state.mark_ready()
        self.step("up")

    # Machines

    def run(
        self,
        namespace: str,
        argv: Sequence[str],
        *,
        user: str | None = None,
        timeout_s: float = 30.0,
        check: bool = False,
        stdin: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a namespace to its end; see `processes.run`."""
        return processes.run(namespace, argv, user=user, timeout_s=timeout_s, check=check, stdin=stdin)

    popen = staticmethod(processes.popen)

    def capture(self, namespace: str, interface: str, filter_expression: str = "") -> Capture:
        """A packet capture, running when this returns; stop it by `stop()` or as a context manager."""
        return Capture(namespace, interface, filter_expression)

    # Hijacks

    def hijack(self, name: str, via: Sequence[str] | None = None) -> InForce:
        """Have the attacker announce `topology.HIJACKS[name]`, and return when every perspective's route shows it.

        `via`: to these neighbour ASes alone, perspectives' own networks, instead of his transits: captures those.
        A hijack already in force is withdrawn first.
        """
        if self.in_force() is not None:
            self.withdraw()
        hijack = topology.HIJACKS[name]
        to = tuple(via) if via is not None else hijack.via
        if unknown := set(to) - set(topology.neighbours("mallory")):
            raise ValueError(f"not a neighbour of the attacker: {', '.join(sorted(unknown))}")
        captures = hijack.captures if via is None else topology.perspectives_behind(to)
        state.write_text(_hijack_file(), json.dumps({"name": name, "via": to, "captures": sorted(captures)}))
        netns.attach(_ATTACKER, hijack.address)
        bird.announce(hijack, to)
        victim = topology.SYSTEM_BY_NAME[hijack.victim].namespace
        _wait_for_answers(hijack.address, victim, captures)
        return InForce(name, to, captures)

    def withdraw(self) -> None:
        """End the hijack in force, if any, and return when every perspective reaches the victim again."""
        current = self.in_force()
        if current is None:
            return
        hijack = topology.HIJACKS[current.name]
        bird.withdraw()
        netns.detach(_ATTACKER, hijack.address)
        _wait_for_answers(hijack.address, topology.SYSTEM_BY_NAME[hijack.victim].namespace, frozenset())
        _hijack_file().unlink()

    def in_force(self) -> InForce | None:
        """The hijack that is being announced now."""
        try:
            told = json.loads(_hijack_file().read_text())
        except FileNotFoundError:
            return None
        return InForce(told["name"], tuple(told["via"]), frozenset(told["captures"]))

    def who_answers(self, address: Address) -> dict[str, tuple[str | None, str | None]]:
        """By perspective code, the namespaces where its IPv4 and IPv6 packets to `address` end; None: lost."""
        forwarding = routes.Forwarding.read(address)
        ends = {}
        for code, namespace in topology.perspective_namespaces().items():
            v4, v6 = (forwarding.path(namespace, one)[-1:] for one in address)
            ends[code] = (v4[0] if v4 else None, v6[0] if v6 else None)
        return ends

    # What applicants and the attacker publish, and what they saw

    def set_token(self, host: str, token: str, body: str, server: str = "quay") -> None:
        """Serve an http-01 challenge for `host` at `server` ("quay", "sakura", "mallory")."""
        web.set_file(server, host, web.challenge_path(token), body)

    def clear_token(self, host: str, token: str, server: str = "quay") -> None:
        """Undo `set_token`."""
        web.remove_file(server, host, web.challenge_path(token))

    def set_txt(self, name: str, values: Sequence[str], server: str = "quay", ttl_s: int = DATA_TTL_S) -> None:
        """Let `name` have exactly these TXT records at `server`, besides those of the zone's file; served on return."""
        names.set_txt(server, name, values, ttl_s)

    def clear_txt(self, name: str, server: str = "quay") -> None:
        """Undo `set_txt`."""
        names.set_txt(server, name, ())

    def requests_seen(self, host: str | None = None, server: str | None = None) -> list[web.Request]:
        """Requests that web servers answered, oldest first, by Host header without port (None: any) and server.

        A line is written after the client has its answer: poll with `wait_until` for what must be there.
        """
        servers = (server,) if server else web.SERVERS
        seen = [request for one in servers for request in web.requests(one)]
        wanted = [request for request in seen if host is None or _without_port(request.host) == host.lower()]
        return sorted(wanted, key=lambda request: request.time_s)


def _without_port(host: str) -> str:
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdigit() and not name.endswith(":") else host.lower()


def _hijack_file() -> Path:
    return state.STATE_DIR / "hijack.json"


def _adopted_file() -> Path:
    return state.STATE_DIR / "adopted.json"


def _wait_for_answers(address: Address, victim: str, captures: frozenset[str]) -> None:
    expected = {
        code: ((_ATTACKER,) * 2 if code in captures else (victim,) * 2) for code in topology.perspective_namespaces()
    }
    wait_until(lambda: Lab().who_answers(address) == expected, _CONVERGENCE_LIMIT_S, f"routes to {address}")


def _all_connected() -> bool:
    addresses = [one for system in topology.SYSTEMS for address in system.addresses for one in address]
    addresses += [one for lan in topology.LANS for one in lan.host_address]
    forwarding = routes.Forwarding.read(addresses)
    return all(forwarding.path(name, address) for name in topology.namespaces() for address in addresses)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Have SIGTERM and SIGHUP do what Ctrl-C does, so that what was built is taken down (main thread only)."""
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold back what would interrupt: a lab half taken down helps nobody."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
