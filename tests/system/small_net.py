"""Three namespaces: a host for the tunnel daemon, an egress node, and between them a router with the target.

Every name has a prefix of this process, and everything goes with `close`, also after a failure.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from tests.lab import runtime
from tests.system.capture import Capture

PREFIX = f"t{os.getpid()}"
HOST, WAN, EGRESS = f"{PREFIX}-host", f"{PREFIX}-wan", f"{PREFIX}-egress"
HOST4, HOST6 = "198.18.50.2", "2001:db8:50::2"
EGRESS4, EGRESS6 = "198.18.51.2", "2001:db8:51::2"
PRIMARY4, PRIMARY6 = "198.18.50.9", "2001:db8:50::9"
OPERATOR4 = "198.18.52.25"
TARGET4, TARGET6 = "198.18.52.1", "2001:db8:52::1"
UIDS = {"mpicd": 47101, "perspective": 47102, "primary": 47103, "resolver": 47104, "wireguard": 47105}
HERE = Path(__file__).parent
T = TypeVar("T")

_TOPOLOGY = f"""
link add up0 netns {HOST} type veth peer name h0 netns {WAN}
link add up0 netns {EGRESS} type veth peer name e0 netns {WAN}
"""
_ADDRESSES = {
    HOST: ("up0", [f"{HOST4}/24", f"{HOST6}/64"], ["198.18.50.1", "2001:db8:50::1"]),
    EGRESS: ("up0", [f"{EGRESS4}/24", f"{EGRESS6}/64"], ["198.18.51.1", "2001:db8:51::1"]),
}
_ROUTER = {"h0": ["198.18.50.1/24", "2001:db8:50::1/64"], "e0": ["198.18.51.1/24", "2001:db8:51::1/64"]}
_TARGETS = {"lo": [f"{TARGET4}/32", f"{TARGET6}/128", "10.9.9.9/32", f"{OPERATOR4}/32"]}


def wait_for(state: Callable[[], T], limit_s: float = 15.0) -> T:
    """The first true value of `state`. Fails after the limit."""
    deadline = time.monotonic() + limit_s
    while not (value := state()):
        assert time.monotonic() < deadline, f"not reached within {limit_s} s: {state}"
        time.sleep(0.02)
    return value


def run(*command: str, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a command with a limit; its output is text."""
    done = subprocess.run(command, capture_output=True, text=True, input=stdin, timeout=60, check=False)
    assert not check or done.returncode == 0, f"{command}: {done.returncode}: {done.stdout}{done.stderr}"
    return done


def program(name: str) -> str:
    """Path of a command of the product, where also what it starts without privileges can run it."""
    return runtime.of_this_process().program(name)


def inside(namespace: str, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs a command in a named namespace."""
    return run("nsenter", f"--net=/run/netns/{namespace}", *command, check=check)


def ask(namespace: str, protocol: str, address: str, port: int = 8080, *, uid: int = 0, limit_s: float = 2) -> str:
    """What the target answers to a client in `namespace`: the source address it saw, or an error's name."""
    who = ["setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups"] if uid else []
    script = [sys.executable if uid == 0 else "/usr/bin/python3", "-I", "-S", "-"]
    arguments = [protocol, address, str(port), str(limit_s)]
    command = ["nsenter", f"--net=/run/netns/{namespace}", *who, *script, *arguments]
    return run(*command, stdin=(HERE / "ask.py").read_text()).stdout.strip()


def pings(namespace: str, address: str) -> bool:
    """Whether one echo request is answered within a second."""
    return inside(namespace, "ping", "-c1", "-W1", address, check=False).returncode == 0


class SmallNet:
    """The three namespaces, the target, and the processes started in them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []
        self._captures: list[Capture] = []
        self._daemon: subprocess.Popen[bytes] | None = None

    def build(self) -> None:
        """Makes them."""
        for namespace in (HOST, WAN, EGRESS):
            run("ip", "netns", "add", namespace)
            for scope in ("all", "default"):
                inside(
                    namespace,
                    "sysctl",
                    "-qw",
                    f"net.ipv6.conf.{scope}.accept_dad=0",
                    f"net.ipv4.conf.{scope}.forwarding=0",
                )
            run("ip", "-n", namespace, "link", "set", "lo", "up")
        run("ip", "-batch", "-", stdin=_TOPOLOGY)
        for namespace, (link, addresses, gateways) in _ADDRESSES.items():
            self._address(namespace, {link: addresses})
            for gateway in gateways:
                run("ip", "-n", namespace, "route", "add", "default", "via", gateway)
        self._address(WAN, _ROUTER | _TARGETS)
        inside(WAN, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        self.serve(WAN, *(address.partition("/")[0] for address in _TARGETS["lo"]))

    def _address(self, namespace: str, of: dict[str, list[str]]) -> None:
        for link, addresses in of.items():
            run("ip", "-n", namespace, "link", "set", link, "up")
            for address in addresses:
                run("ip", "-n", namespace, "addr", "add", address, "dev", link)

    def serve(self, namespace: str, *addresses: str) -> None:
        """Starts the witness at these addresses of `namespace`."""
        command = [
            "nsenter",
            f"--net=/run/netns/{namespace}",
            sys.executable,
            "-I",
            "-S",
            str(HERE / "witness.py"),
            *addresses,
        ]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        self._processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"

    def capture(self, namespace: str, interface: str) -> Capture:
        """Starts to capture; it ends with the net at the latest."""
        started = Capture(namespace, interface, self.directory / f"packets{len(self._captures)}")
        self._captures.append(started)
        return started

    @property
    def log(self) -> Path:
        """What the tunnel daemon said, all its starts."""
        return self.directory / "tunneld.log"

    def start(self, config: Path) -> None:
        """Starts the tunnel daemon; it may not have done anything yet."""
        with self.log.open("ab") as log:
            command = [program("mpic-tunneld"), "--config", str(config)]
            self._daemon = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{HOST}", *command], stdout=log, stderr=log, start_new_session=True
            )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ends the tunnel daemon, which leaves the tunnels."""
        assert self._daemon is not None
        with suppress(ProcessLookupError):
            self._daemon.send_signal(number)
        return self._daemon.wait(timeout=10)

    def down(self, config: Path) -> None:
        """`mpic-tunneld --down`."""
        inside(HOST, program("mpic-tunneld"), "--config", str(config), "--down")

    def tunnels(self) -> dict[str, dict[str, Any]]:
        """The published report by perspective code; empty before the first."""
        try:
            report = json.loads((self.directory / "run" / "tunnels.json").read_text())
        except FileNotFoundError:
            return {}
        return {tunnel["code"]: tunnel for tunnel in report["tunnels"]}

    def wait_up(self, *codes: str) -> None:
        """Until all of these are published as up."""

        def up() -> bool:
            tunnels = self.tunnels()
            return all(tunnels.get(code, {}).get("state") == "up" for code in codes)

        try:
            wait_for(up)
        except AssertionError as error:
            raise AssertionError(f"{self.tunnels()}\n{self.log.read_text()}") from error

    def kill_daemon_after(self, delay_s: float) -> None:
        """SIGKILL to the tunnel daemon, `delay_s` after now: an arbitrary moment, whatever it is doing."""
        time.sleep(delay_s)
        self.stop(signal.SIGKILL)

    def background(self, command: list[str]) -> subprocess.Popen[bytes]:
        """Starts a command whose output is asked for later."""
        self._processes.append(subprocess.Popen(command, stdout=subprocess.PIPE))
        return self._processes[-1]

    def follow(self, namespace: str) -> subprocess.Popen[bytes]:
        """Follows the links, addresses and routes of `namespace`."""
        return self.background(["ip", "-n", namespace, "monitor", "link", "address", "route"])

    def output_of(self, process: subprocess.Popen[bytes], *, end: bool = False) -> str:
        """What a command in the background wrote until its end, or until now where it is to `end`."""
        if end:
            process.terminate()
        return process.communicate(timeout=30)[0].decode()

    @contextmanager
    def holding(self, namespace: str) -> Iterator[None]:
        """Within the block a process lives in the namespace, whatever becomes of its name."""
        process = subprocess.Popen(["nsenter", f"--net=/run/netns/{namespace}", "sleep", "600"])
        try:
            wait_for(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n")
            yield
        finally:
            process.kill()
            process.wait()

    def close(self) -> None:
        """Ends and removes everything."""
        if self._daemon is not None and self._daemon.poll() is None:
            self._daemon.kill()
            self._daemon.wait()
        for capture in self._captures:
            capture.end()
        for process in self._processes:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
        for name in backends():
            with suppress(ProcessLookupError):
                os.kill(backends()[name], signal.SIGKILL)
        for path in Path("/run/netns").glob(f"{PREFIX}-*"):
            run("ip", "netns", "del", path.name, check=False)
        for path in Path("/var/run/wireguard").glob(f"{PREFIX}*.sock"):
            path.unlink(missing_ok=True)


def backends() -> dict[str, int]:
    """The living wireguard-go processes of this net by interface name."""
    found = {}
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            arguments = (directory / "cmdline").read_bytes().split(b"\0")
            if arguments[0].endswith(b"wireguard-go") and arguments[1].decode().startswith(PREFIX):
                found[arguments[1].decode()] = int(directory.name)
    return found
