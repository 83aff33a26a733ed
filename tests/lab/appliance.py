"""The product in the lab: the same executables that units start, on the CA's site and on the egress nodes.

They run from the lab's own copy of the clone, made at each start of the appliance.
"""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from appliance.config import Settings, load
from appliance.model.tunnel import TunnelReport
from appliance.perspective.assignment import assignment_of
from appliance.perspective.prepare import prepare
from appliance.perspective.resolver import resolver_command
from tests.lab import processes, runtime, state, topology
from tests.lab.appliance_files import USERS, toml, write_all
from tests.lab.places import Delays
from tests.lab.unix_http import Response, request
from tests.lab.wait import NotReachedError, wait_until

ROOT: Final = state.STATE_DIR / "appliance"
_BIN: Final = state.RUNTIME / "bin"
_UP_S: Final = 30.0
Progress = Callable[[str], None]


class Appliance:
    """The appliance on the CA's site and the egress nodes' side of its tunnels. `settings` is what it runs with."""

    def __init__(self, progress: Progress = lambda _: None) -> None:
        self._progress = progress
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.config = ROOT / "appliance.toml"
        self._settings: tuple[tuple[int, int], Settings] | None = None

    @property
    def settings(self) -> Settings:
        """The configuration, as the daemons read it; read again when its file is another."""
        stat = self.config.stat()
        version = (stat.st_mtime_ns, stat.st_ino)
        if self._settings is None or self._settings[0] != version:
            self._settings = version, load(self.config)
        return self._settings[1]

    @property
    def codes(self) -> list[str]:
        """The primary's code and the remotes'."""
        return [topology.PRIMARY.code, *(egress.code for egress in topology.EGRESSES)]

    def up(self, extra: Mapping[str, Mapping[str, Any]] | None = None, delays: Delays | None = None) -> None:
        """Write keys and files, start every process, and return once the coordinator is ready.

        `delays`: round-trip times that fit the map, and anchors to measure them by; None: all is near.
        """
        root = state.directory("appliance")
        runtime.install(state.RUNTIME)
        write_all(root, extra, delays)
        if delays is not None:
            delays.start()
        self._progress("egress nodes: WireGuard, NAT and firewall")
        self.apply_egress(*(egress.code for egress in topology.EGRESSES))
        self._progress("tunnels")
        self.start_tunneld()
        wait_until(self._namespaces_made, _UP_S, "mpic-tunneld makes the namespaces")
        self._progress("resolvers and workers")
        for code in self.codes:
            self.start_resolver(code)
            self.start_worker(code)
        self._progress("coordinator")
        self.start_coordinator()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Return once the coordinator is ready and every perspective can be asked."""
        try:
            wait_until(self.ready, _UP_S, "the appliance is ready", 0.1)
            self.wait_for(set(self.codes))
        except NotReachedError as error:
            raise NotReachedError(f"{error}\n{self._log_ends()}") from error

    def down(self) -> None:
        """End every process that this object started; what the tunnels left is the lab's to remove."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def ready(self) -> bool:
        """Whether `/readyz` answers 200."""
        try:
            return self.ask("GET", "/readyz").status_code == 200
        except (OSError, http.client.HTTPException):
            return False

    def ready_codes(self) -> set[str]:
        """Codes of the perspectives that can be asked now, the primary's among them."""
        status = self.ask("GET", "/status", operator=True).json()
        return {entry["code"] for entry in (status["primary"], *status["perspectives"]) if entry["ready"]}

    def wait_for(self, codes: set[str], timeout_s: float = _UP_S) -> None:
        """Return once exactly these perspectives can be asked."""
        wait_until(
            lambda: self.ready_codes() == codes, timeout_s, f"{', '.join(sorted(codes))} are ready, no others", 0.1
        )

    def ask(self, method: str, path: str, body: object = None, *, operator: bool = False) -> Response:
        """One request on the CA's socket, or on the operators'."""
        api = self.settings.api
        return request(api.operator_socket if operator else api.socket, method, path, body)

    def start_tunneld(self) -> None:
        """The one process with network capabilities, in the host's namespace of the CA site."""
        self._start(
            "mpic-tunneld", [str(_BIN / "mpic-tunneld"), "--config", str(self.config)], topology.PRIMARY.namespace
        )

    def start_resolver(self, code: str) -> None:
        """The resolver of one perspective, in its namespace, as its user."""
        settings = self.settings
        prepare(settings, assignment_of(settings, code))
        self._start(f"unbound-{code}", resolver_command(settings, code), self.netns(code), USERS["resolver"])

    def start_worker(self, code: str) -> None:
        """The worker of one perspective, in its namespace, as its user."""
        user = USERS["primary" if code == topology.PRIMARY.code else "perspective"]
        argv = [str(_BIN / "mpic-perspective"), code, "--config", str(self.config)]
        self._start(f"worker-{code}", argv, self.netns(code), user)

    def start_coordinator(self, program: Sequence[str] = ()) -> None:
        """The coordinator, without privileges, in the host's namespace of the CA site. `program`: another in its place."""
        groups = [USERS["api_group"], USERS["operator_group"]]
        argv = [*(program or [str(_BIN / "mpicd")]), "--config", str(self.config)]
        self._start("mpicd", argv, topology.PRIMARY.namespace, USERS["mpicd"], groups)

    def start(self, name: str) -> None:
        """Start a process by its name here, as at first."""
        kind, _, code = name.partition("-")
        match kind:
            case "unbound":
                self.start_resolver(code)
            case "worker":
                self.start_worker(code)
            case "mpicd":
                self.start_coordinator()
            case _:
                self.start_tunneld()

    def ended(self) -> list[str]:
        """Names of the processes that were started and run no more."""
        return [name for name, process in list(self._processes.items()) if process.poll() is not None]

    def netns(self, code: str) -> str:
        """The namespace of a perspective, or of the primary."""
        return topology.appliance_namespaces()[code]

    def pid(self, name: str) -> int:
        """The pid of a process by its name here (`mpicd`, `worker-ams`, `unbound-ams`, `mpic-tunneld`)."""
        return self._processes[name].pid

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """End a process that this object started, and wait for its end."""
        process = self._processes[name]
        process.send_signal(number)
        process.wait(timeout=10)

    def wireguard_pid(self, code: str) -> int:
        """The pid of the `wireguard-go` of one perspective's tunnel."""
        return _wireguard_pid(topology.PRIMARY.namespace, f"wg-{code}")

    def apply_egress(self, *codes: str) -> None:
        """`mpic-egress apply` on these egress nodes, at once."""
        argv = {
            code: [str(_BIN / "mpic-egress"), "apply", "--config", str(ROOT / f"egress-{code}.toml")] for code in codes
        }
        started = {
            code: processes.popen(f"{code}-lab", command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            for code, command in argv.items()
        }
        for code, process in started.items():
            _, errors = process.communicate(timeout=_UP_S)
            if process.returncode != 0:
                raise RuntimeError(f"mpic-egress apply of {code} failed:\n{errors.decode()}")

    def set_peers(self, code: str, peers: Sequence[Mapping[str, Any]]) -> None:
        """Have an egress node accept exactly these peers, as its operator would."""
        path = ROOT / f"egress-{code}.toml"
        document = tomllib.loads(path.read_text())
        document["interfaces"][0]["peers"] = list(peers)
        state.write_text(path, toml(document))
        self.apply_egress(code)

    def peers(self, code: str) -> list[dict[str, Any]]:
        """The peers that an egress node accepts."""
        document = tomllib.loads((ROOT / f"egress-{code}.toml").read_text())
        found: list[dict[str, Any]] = document["interfaces"][0]["peers"]
        return found

    def kill_egress(self, code: str) -> None:
        """Kill WireGuard on an egress node: from here on it is silent."""
        os.kill(_wireguard_pid(f"{code}-lab"), signal.SIGKILL)

    def _namespaces_made(self) -> bool:
        report = self.settings.tunnel_report
        if not report.exists():
            return False
        tunnels = msgspec.json.decode(report.read_bytes(), type=TunnelReport).tunnels
        return {tunnel.code for tunnel in tunnels if tunnel.netns_inode} == set(self.codes)

    def _log_ends(self) -> str:
        """The last line of each process's log, and which processes ended."""
        lines = []
        for name, process in self._processes.items():
            log = (state.directory("log") / f"{name}.log").read_text(errors="replace").splitlines()
            ended = "" if process.poll() is None else f" (ended with {process.returncode})"
            lines.append(f"{name}{ended}: {log[-1] if log else ''}")
        return "\n".join(lines)

    def _start(
        self, name: str, argv: Sequence[str], namespace: str, uid: int | None = None, groups: Sequence[int] = ()
    ) -> None:
        command = argv if uid is None else processes.unprivileged(argv, uid, groups)
        environment = {key: value for key, value in os.environ.items() if key in ("PATH", "LANG")}
        with (state.directory("log") / f"{name}.log").open("ab") as log:
            self._processes[name] = processes.popen(
                namespace, command, stdout=log, stderr=log, env=environment, cwd=Path("/")
            )


def _wireguard_pid(namespace: str, interface: str | None = None) -> int:
    for pid in processes.inside([namespace]):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        if any(Path(word).name == "wireguard-go" for word in words) and (interface is None or interface in words):
            return pid
    raise ProcessLookupError(f"no wireguard-go for {interface or 'any interface'} in {namespace}")
