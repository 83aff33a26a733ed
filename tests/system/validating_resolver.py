"""A namespace with a signed tree (NSEC, NSEC3 opt-out, Insecure, bogus, dead) and an unbound that validates under it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dns.dnssec
import dns.name
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec

from tests.lab.wait import wait_until

NAMESPACE = "chk-dns"
SERVER, NOBODY = "198.18.77.53", "198.18.77.99"
PORT = 5335
LIMIT_S = 20.0

_APEX = "$TTL 60\n@ SOA ns.auth. hostmaster.auth. 1 3600 600 86400 60\n@ NS ns.auth.\n"
_DEAD = f"dead NS ns.dead\nns.dead A {NOBODY}\n"
_ZONES = {
    "insecure.com.": '@ CAA 0 issue "ca.example"\nwww TXT "value"\n',
    "bogus.com.": '@ CAA 0 issue "ca.example"\n',
    "com.": _DEAD + "insecure NS ns.auth.\nbogus NS ns.auth.\nbogus DS 12345 13 2 " + "ab" * 32 + "\n"
    'host TXT "value"\nhost CAA 0 issue "ca.example"\nhost A 198.18.77.80\n',
    "net.": _DEAD,
    "plain.": _DEAD,
}
_SIGNED = ("com.", "net.")
_OPT_OUT = ("net.",)

_UNBOUND = """\
server:
    directory: "{directory}"
    username: ""
    chroot: ""
    pidfile: ""
    use-syslog: no
    logfile: ""
    interface: 127.0.0.1
    port: {port}
    do-ip6: no
    trust-anchor-file: "{directory}/anchor"
    root-hints: "{directory}/hints"
    module-config: "validator iterator"
    ede: yes
    aggressive-nsec: no
    max-udp-size: 4096
    local-zone: "test." nodefault
"""
_NSD = """\
server:
    ip-address: {server}
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
"""


class Tree:
    """The running tree. `inside` runs Python in its namespace."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def inside(self, module: str, *words: str) -> Any:
        """What the module prints, as JSON."""
        command = [*_enter(), sys.executable, "-m", module, *words]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)


@contextlib.contextmanager
def validating_tree() -> Iterator[Tree]:
    """A tree that is gone afterwards."""
    _remove()
    processes: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(prefix="chk-dns-") as name:
        directory = Path(name)
        try:
            _write(directory)
            _ip("netns", "add", NAMESPACE)
            _ip("-n", NAMESPACE, "link", "set", "lo", "up")
            for address in (SERVER, NOBODY):
                _ip("-n", NAMESPACE, "address", "add", f"{address}/32", "dev", "lo")
            for command in (["nsd", "-d", "-c", f"{name}/nsd.conf"], ["unbound", "-d", "-c", f"{name}/unbound.conf"]):
                with (directory / f"{command[0]}.log").open("wb") as log:
                    processes.append(subprocess.Popen([*_enter(), *command], stdout=log, stderr=log))
            wait_until(_answers, LIMIT_S, "the resolver validates")
            yield Tree(directory)
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(10)
            _remove()


def _write(directory: Path) -> None:
    signed: dict[str, tuple[str, str]] = {}
    conf = _NSD.format(server=SERVER, directory=directory)
    for origin, body in _ZONES.items():
        text = f"$ORIGIN {origin}\n{_APEX}{body}"
        if origin in _SIGNED:
            text, ds, _ = _opt_out(directory, origin, body) if origin in _OPT_OUT else _signed(origin, text)
            signed[origin] = text, ds
        conf += _zone(directory, origin, text)
    delegations = "".join(
        f"{origin} NS ns.auth.\n{signed[origin][1] if origin in signed else ''}"
        for origin in _ZONES
        if origin.count(".") == 1
    )
    root, _, key = _signed(".", f"$ORIGIN .\n{_APEX}ns.auth. A {SERVER}\n{delegations}")
    (directory / "nsd.conf").write_text(conf + _zone(directory, ".", root))
    (directory / "anchor").write_text(key)
    (directory / "hints").write_text(f". 3600 IN NS ns.auth.\nns.auth. 3600 IN A {SERVER}\n")
    (directory / "unbound.conf").write_text(_UNBOUND.format(directory=directory, port=PORT))


def _zone(directory: Path, origin: str, text: str) -> str:
    file = directory / f"{origin}zone"
    file.write_text(text)
    return f'zone:\n    name: "{origin}"\n    zonefile: "{file}"\n'


def _signed(origin: str, text: str) -> tuple[str, str, str]:
    """The zone signed with NSEC, its DS and its DNSKEY."""
    zone = dns.zone.from_text(text, origin=origin, relativize=False)
    private = ec.generate_private_key(ec.SECP256R1())
    key = dns.dnssec.make_dnskey(private.public_key(), "ECDSAP256SHA256", flags=257)
    now = datetime.now(UTC)
    with zone.writer() as writer:
        dns.dnssec.sign_zone(
            zone,
            writer,
            keys=[(private, key)],
            add_dnskey=True,
            dnskey_ttl=60,
            inception=now - timedelta(hours=1),
            expiration=now + timedelta(days=1),
        )
    ds = dns.dnssec.make_ds(dns.name.from_text(origin), key, "SHA256")
    return zone.to_text(relativize=False), f"{origin} DS {ds}\n", f"{origin} 60 IN DNSKEY {key}\n"


def _opt_out(directory: Path, origin: str, delegations: str) -> tuple[str, str, str]:
    """As `_signed`, with NSEC3 and opt-out: delegations are added after signing, so that no NSEC3 record is theirs."""
    plain = directory / "plain-zone"
    plain.write_text(f"$ORIGIN {origin}\n{_APEX}")
    made = subprocess.run(
        ["ldns-keygen", "-k", "-a", "ECDSAP256SHA256", "-r", "/dev/urandom", origin],
        cwd=directory,
        check=True,
        capture_output=True,
        text=True,
    )
    key = made.stdout.strip()
    subprocess.run(["ldns-signzone", "-n", "-p", "-f", "opt-out-zone", plain.name, key], cwd=directory, check=True)
    dnskey = (directory / f"{key}.key").read_text()
    signed = (directory / "opt-out-zone").read_text() + f"$ORIGIN {origin}\n{delegations}"
    return signed, (directory / f"{key}.ds").read_text(), dnskey


def _enter() -> list[str]:
    return ["ip", "netns", "exec", NAMESPACE]


def _answers() -> bool:
    command = [*_enter(), "dig", "@127.0.0.1", "-p", str(PORT), "+tries=1", "+time=1", "com", "SOA"]
    answer = subprocess.run(command, check=False, capture_output=True, text=True).stdout
    return " ad;" in answer or " ad " in answer


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def _remove() -> None:
    subprocess.run(["ip", "netns", "del", NAMESPACE], check=False, capture_output=True)
