"""A perspective in two namespaces: its own, and a far end with a signed root, anchors and targets. No WireGuard: a veth
that has the tunnel's name."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import dns.dnssec
import dns.name
import dns.rdatatype
import dns.zone
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from dns.rdtypes.ANY.DNSKEY import DNSKEY

from appliance.config.schema import Settings
from appliance.model.tunnel import Backend, TunnelReport, TunnelState, TunnelStatus
from appliance.perspective.assignment import assignment_of
from appliance.perspective.prepare import prepare
from appliance.perspective.resolver import resolver_command, resolver_paths
from tests.lab import runtime
from tests.lab.certificates import Authority
from tests.lab.wait import wait_until

CODE, INTERFACE = "ams", "wg-ams"
INSIDE, OUTSIDE = "psp-in", "psp-out"
MPICD, PERSPECTIVE, RESOLVER = 64201, 64202, 64204
OWN, FAR = ("10.77.1.2", "fd77:1::2"), ("10.77.1.1", "fd77:1::1")
DNS = ("198.18.9.53", "2001:db8:9::53")
WEB = ("198.18.9.80", "2001:db8:9::80")
ANCHOR, CA_FILE = "www.test", "anchors.pem"
MTU = 1280
LIMIT_S = 20.0

ZONE = f"""\
$ORIGIN .
$TTL 3600
@ SOA ns.auth. hostmaster.auth. 1 3600 600 86400 3600
@ NS ns.auth.
ns.auth. A {DNS[0]}
ns.auth. AAAA {DNS[1]}
www.test. A {WEB[0]}
www.test. AAAA {WEB[1]}
bogus.test. TXT "its signature is missing"
hostile.test. NS ns.hostile.test.
ns.hostile.test. A {FAR[0]}
ns.hostile.test. AAAA {FAR[1]}
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def far(*words: str) -> None:
    subprocess.run(["ip", "netns", "exec", OUTSIDE, *words], check=True, capture_output=True, text=True)


Issue = Callable[[Authority, Path], None]


class Site:
    """Made by `site`. `directory` holds the state of both ends; `settings` is what `config` says. `issue`: writes the far end's
    key and certificate to a file, by default those that the anchor's name and addresses need."""

    def __init__(self, directory: Path, changes: Mapping[str, Any], issue: Issue | None = None) -> None:
        self.directory = directory
        self._issue = issue or (lambda authority, file: authority.issue(file, [ANCHOR], list(map(ip_address, WEB))))
        self.config = directory / "appliance.toml"
        self.configure(**changes)
        self.processes: list[subprocess.Popen[str]] = []

    def configure(self, **changes: Any) -> None:
        """Write the configuration; processes read it when they start."""
        document = _document(self.directory) | changes
        self.config.write_text(_toml(document))
        self.settings = Settings.model_validate(document)

    def build(self) -> None:
        for namespace in (INSIDE, OUTSIDE):
            ip("netns", "add", namespace)
            ip("-n", namespace, "link", "set", "lo", "up")
        for namespace, setting in ((INSIDE, f"ping_group_range={PERSPECTIVE} {PERSPECTIVE}"),):
            subprocess.run(
                ["ip", "netns", "exec", namespace, "sysctl", "-qw", f"net.ipv4.{setting}"],
                check=True,
                capture_output=True,
            )
        self.connect()
        for address in (*DNS, *WEB):
            ip("-n", OUTSIDE, "address", "add", address, "dev", "lo")
        self.publish()
        self._start_far_end()

    def connect(self) -> None:
        """The link, as the tunnel daemon would make it."""
        ip("-n", INSIDE, "link", "add", INTERFACE, "mtu", str(MTU), "type", "veth",
           "peer", "name", "far0", "mtu", str(MTU), "netns", OUTSIDE)  # fmt: skip
        for namespace, interface, addresses in ((INSIDE, INTERFACE, OWN), (OUTSIDE, "far0", FAR)):
            ip("-n", namespace, "address", "add", f"{addresses[0]}/24", "dev", interface)
            ip("-n", namespace, "address", "add", f"{addresses[1]}/64", "nodad", "dev", interface)
            ip("-n", namespace, "link", "set", interface, "up")
        self.route()

    def route(self) -> None:
        """The default routes of the perspective."""
        ip("-n", INSIDE, "route", "replace", "default", "dev", INTERFACE, "via", FAR[0], "onlink")
        ip("-n", INSIDE, "-6", "route", "replace", "default", "dev", INTERFACE, "via", FAR[1], "onlink")

    def publish(self, *, state: TunnelState = TunnelState.UP, netns: str = INSIDE, inode: int | None = None) -> None:
        """What the tunnel daemon would publish."""
        if inode is None:
            inode = Path("/run/netns", netns).stat().st_ino
        status = TunnelStatus(CODE, INSIDE, inode, INTERFACE, Backend.KERNEL, state, "as the test says", None, 0, 0, 0)
        path = self.settings.tunnel_report
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name("new")
        beside.write_bytes(msgspec.json.encode(TunnelReport(0, (status,))))
        beside.rename(path)

    def put_root(self, zone: str) -> None:
        """The name server serves this root from now on."""
        (self.directory / "root.zone").write_text(zone)
        self.processes[0].send_signal(signal.SIGHUP)

    def start_resolver(self, more: str = "") -> subprocess.Popen[str]:
        """`more`: further lines of its configuration."""
        prepare(self.settings, assignment_of(self.settings, CODE))
        with resolver_paths(self.settings, CODE).configuration.open("a") as file:
            file.write(more)
        process = self.start(
            resolver_command(self.settings, CODE), user=RESOLVER, stderr=self.directory / "unbound.log"
        )
        control = self.settings.runtime_directory / "resolvers" / CODE / "control.sock"
        wait_until(
            lambda: control.exists() and "status: NOERROR" in self.dig("localhost"), LIMIT_S, "the resolver answers"
        )
        return process

    def start_worker(self, **how: Any) -> subprocess.Popen[str]:
        """The worker as its unit starts it, unless `how` says otherwise; see `start`."""
        prepare(self.settings, assignment_of(self.settings, CODE))
        return self.start(self.worker_command, **({"user": PERSPECTIVE} | how))

    @property
    def worker_command(self) -> list[str]:
        return [runtime.of_this_process().program("mpic-perspective"), CODE, "--config", str(self.config)]

    def start(
        self,
        command: Sequence[str],
        *,
        user: int,
        namespace: str | None = INSIDE,
        privileges: Sequence[str] = ("--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--no-new-privs"),
        inherited: Sequence[int] = (),
        around: Sequence[str] = (),
        stderr: Path | None = None,
    ) -> subprocess.Popen[str]:
        """`around`: a command of root's that runs the rest in surroundings of its own."""
        drop = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *privileges, "--"]
        # nsenter, not `ip netns exec`: that makes a mount namespace of its own.
        enter = [] if namespace is None else ["nsenter", f"--net=/run/netns/{namespace}", "--"]
        with (self.directory / "worker.log" if stderr is None else stderr).open("w") as log:
            process = subprocess.Popen(
                [*enter, *around, *drop, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
                pass_fds=inherited,
            )
        self.processes.append(process)
        return process

    @property
    def worker_log(self) -> str:
        return (self.directory / "worker.log").read_text()

    def requests(self, kind: str) -> list[str]:
        """What the far end was asked: `http ADDRESS PATH` or `ear ADDRESS HEX`."""
        path = self.directory / "requests"
        return [line for line in path.read_text().splitlines() if line.startswith(kind)] if path.exists() else []

    def dig(self, *words: str) -> str:
        port = str(self.settings.resolver.port)
        command = ["ip", "netns", "exec", INSIDE, "dig", "@127.0.0.1", "-p", port, "+tries=1", "+time=5", *words]
        return subprocess.run(command, check=False, capture_output=True, text=True).stdout

    def _start_far_end(self) -> None:
        authority = Authority()
        authority.write(self.directory / CA_FILE)
        self._issue(authority, self.directory / "server.pem")
        key = root_key()
        (self.directory / "root.zone").write_text(signed_root([key]))
        self.settings.resolver.trust_anchor_file.write_text(trust_anchor(key))
        (self.directory / "root.hints").write_text(
            f". 3600 IN NS ns.auth.\nns.auth. 3600 IN A {DNS[0]}\nns.auth. 3600 IN AAAA {DNS[1]}\n"
        )
        (self.directory / "nsd.conf").write_text(_NSD.format(directory=self.directory, v4=DNS[0], v6=DNS[1]))
        for command in (
            ["nsd", "-d", "-c", str(self.directory / "nsd.conf")],
            [sys.executable, "-m", "tests.system.far_end", str(self.directory), *WEB, "--ear", *FAR],
        ):
            self.processes.append(
                subprocess.Popen(
                    ["ip", "netns", "exec", OUTSIDE, *command],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    text=True,
                )
            )
        wait_until((self.directory / "listening").exists, LIMIT_S, "the far end listens")

    def remove(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        _remove_namespaces()


@contextlib.contextmanager
def site(issue: Issue | None = None, **changes: Any) -> Iterator[Site]:
    """A site that is gone afterwards. `issue`: see `Site`. `changes`: top-level tables of the configuration."""
    _remove_namespaces()
    directory = runtime.open_directory("perspective-")
    made = Site(directory, changes, issue)
    try:
        made.build()
        yield made
    finally:
        made.remove()
        shutil.rmtree(directory)


@contextlib.contextmanager
def as_user(uid: int) -> Iterator[None]:
    """Within the block this process connects to Unix sockets as user and group `uid`."""
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def _remove_namespaces() -> None:
    for namespace in (INSIDE, OUTSIDE):
        subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)


_NSD = """\
server:
    ip-address: {v4}
    ip-address: {v6}
    username: root
    chroot: ""
    zonesdir: "{directory}"
    database: ""
    pidfile: "{directory}/nsd.pid"
    xfrdfile: "{directory}/xfrd.state"
    zonelistfile: "{directory}/zone.list"
    server-count: 1
remote-control:
    control-enable: no
zone:
    name: "."
    zonefile: root.zone
"""


RootKey = tuple[ec.EllipticCurvePrivateKey, DNSKEY]


def root_key(private: ec.EllipticCurvePrivateKey | None = None, *, revoked: bool = False) -> RootKey:
    """A key of the root's: a new one, or `private` with the flags that it is to have (RFC 5011 section 7)."""
    private = private or ec.generate_private_key(ec.SECP256R1())
    return private, dns.dnssec.make_dnskey(private.public_key(), "ECDSAP256SHA256", flags=0x181 if revoked else 0x101)


def signed_root(keys: Sequence[RootKey], *, serial: int = 1, key_ttl_s: int = 3600) -> str:
    """The zone as text, signed with all `keys`."""
    zone = dns.zone.from_text(ZONE.replace("hostmaster.auth. 1 ", f"hostmaster.auth. {serial} "), ".", relativize=False)
    now = datetime.now(UTC)
    with zone.writer() as writer:
        dns.dnssec.sign_zone(
            zone, writer, keys=list(keys), add_dnskey=True, dnskey_ttl=key_ttl_s,
            inception=now - timedelta(hours=1), expiration=now + timedelta(days=1),
        )  # fmt: skip
        writer.delete(dns.name.from_text("bogus.test."), dns.rdatatype.RRSIG, dns.rdatatype.TXT)
    return zone.to_text(relativize=False)


def trust_anchor(key: RootKey) -> str:
    """`key` as the content of a trust anchor file."""
    return f". 3600 IN DNSKEY {key[1]}\n"


def _document(directory: Path) -> dict[str, Any]:
    place = {"city": "Amsterdam", "country": "NL", "latitude": 52.4, "longitude": 4.9}
    return {
        "state_directory": str(directory / "state"),
        "runtime_directory": str(directory / "run"),
        "users": {"mpicd": MPICD, "perspective": PERSPECTIVE, "primary": 64203, "resolver": RESOLVER},
        "primary": {"kind": "caller", "code": "home", "place": place},
        "resolver": {
            "trust_anchor_file": str(directory / "root.anchor"),
            "root_hints": str(directory / "root.hints"),
        },
        "targets": {
            "special_purpose_exceptions": ["198.18.0.0/15", "2001:db8::/32"],
            "special_use_exceptions": ["example", "test"],
        },
        "caa": {"issuer_domains": ["ca.test"]},
        "anchors": [{"url": f"https://{ANCHOR}/address", "ca_file": str(directory / CA_FILE)}],
        "limits": {"probe_interval_s": 0.5},
        "perspectives": [perspective(OWN)],
    }


def perspective(egress_addresses: Sequence[str]) -> dict[str, Any]:
    """The table of the one perspective. There is no NAT here, so that its inner addresses are what anchors see."""
    return {
        "code": CODE,
        "netns": INSIDE,
        "place": {"city": "Amsterdam", "country": "NL", "latitude": 52.4, "longitude": 4.9},
        "provider": "test",
        "upstreams": [64500],
        "origin_asn": 64501,
        "egress_addresses": list(egress_addresses),
        "wireguard": {
            "interface": INTERFACE,
            "private_key_file": "/nonexistent",
            "public_key": "A" * 43 + "=",
            "endpoint": "198.18.0.1:51820",
            "listen_port": 51820,
            "addresses": [f"{OWN[0]}/32", f"{OWN[1]}/128"],
            "peer_addresses": list(FAR),
            "mtu": MTU,
        },
    }


def _toml(document: Mapping[str, Any]) -> str:
    """JSON's strings, numbers and arrays are TOML's; tables become inline ones."""
    return "".join(f"{key} = {_toml_value(value)}\n" for key, value in document.items())


def _toml_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml_value(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml_value(entry) for entry in value) + "]"
    return msgspec.json.encode(value).decode()
