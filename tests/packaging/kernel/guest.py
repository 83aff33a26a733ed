"""Runs in the emulated machine: makes its small Internet, starts both packages, and tells on the second serial port."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PLAN: dict[str, Any] = json.loads(Path("/srv/plan.json").read_text())
READY_S = 900.0
UNIT_DIRECTORY = Path("/etc/systemd/system")
ETH_P_ALL = 3
UDP = 17


def tell(step: str, **told: Any) -> None:
    with Path("/dev/ttyS1").open("w") as port:
        port.write(json.dumps({"step": step, "s": round(time.monotonic(), 1)} | told) + "\n")


def run(*argv: str, limit_s: float = 600) -> str:
    done = call(*argv, limit_s=limit_s)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: exit status {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def call(*argv: str, limit_s: float = 600) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=limit_s, check=False, stdin=subprocess.DEVNULL)


def wait_until(predicate: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + READY_S
    while not (value := predicate()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {READY_S:g} s")
        time.sleep(1)
    return value


def link(name: str, namespace: str, router_name: str, addresses: list[str], router: list[str]) -> None:
    """`name` in `namespace` (empty: the machine's own), its other end at the router."""
    enter = ["-n", namespace] if namespace else []
    run("ip", *enter, "link", "add", name, "type", "veth", "peer", "name", router_name, "netns", "internet")
    for where, device, own in ((enter, name, addresses), (["-n", "internet"], router_name, router)):
        for address in own:
            size = 64 if ":" in address else 24
            run("ip", *where, "addr", "add", f"{address}/{size}", "dev", device, *(["nodad"] if size == 64 else []))
        run("ip", *where, "link", "set", device, "up")
    for gateway in router:
        run("ip", *enter, "route", "add", "default", "via", gateway)


def make_internet() -> None:
    for namespace in ("internet", "egress"):
        run("ip", "netns", "add", namespace)
        run("ip", "-n", namespace, "link", "set", "lo", "up")
    for key in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
        run("ip", "netns", "exec", "internet", "sh", "-c", f"echo 1 >/proc/sys/{key}")
    link("uplink0", "", "to-site", PLAN["host"], PLAN["router"])
    link("uplink0", "egress", "to-egress", PLAN["egress"], PLAN["egress_router"])
    run("ip", "-n", "internet", "link", "add", "servers", "type", "dummy")
    run("ip", "-n", "internet", "link", "set", "servers", "up")
    for address in (address for pair in PLAN["servers"].values() for address in pair):
        plain = ["/128", "nodad"] if ":" in address else ["/32"]
        run("ip", "-n", "internet", "addr", "add", address + plain[0], "dev", "servers", *plain[1:])
    addresses = "".join(f" ip-address: {address}\n" for address in PLAN["servers"]["root"])
    Path("/srv/nsd.conf").write_text(
        f'server:\n{addresses} username: ""\n chroot: ""\n pidfile: /srv/nsd.pid\n xfrdfile: ""\n zonesdir: /srv\n'
        ' database: ""\n server-count: 1\nremote-control:\n control-enable: no\nzone:\n name: .\n zonefile: root.zone\n'
    )
    for argv in (["nsd", "-d", "-c", "/srv/nsd.conf"], [sys.executable, "/srv/internet.py"]):
        subprocess.Popen(["ip", "netns", "exec", "internet", *argv], stdin=subprocess.PIPE, start_new_session=True)


def start_egress() -> None:
    """The package's units, in the egress node's namespace."""
    for unit in ("mpic-egress", "mpic-egress-status"):
        below = UNIT_DIRECTORY / f"{unit}.service.d"
        below.mkdir(exist_ok=True)
        (below / "namespace.conf").write_text("[Service]\nNetworkNamespacePath=/run/netns/egress\n")
    run("systemctl", "daemon-reload")
    # It gives each command ten seconds, which may be too few here; what is done already stays.
    wait_until(lambda: call("systemctl", "start", "mpic-egress").returncode == 0, "the egress node is set up")
    again = wait_until(lambda: on_egress("apply"), "the egress node is as configured").stdout
    status = json.loads(wait_until(lambda: on_egress("status", "--json"), "the egress node tells").stdout)
    check = wait_until(lambda: on_egress("check"), "the egress node is checked").stdout
    tell("egress", again=again, status=status, check=check)


def on_egress(*command: str) -> subprocess.CompletedProcess[str] | None:
    """What `mpic-egress COMMAND` said, once it exits with 0."""
    done = call("ip", "netns", "exec", "egress", "mpic-egress", *command)
    return done if done.returncode == 0 else None


def worker(*method: str) -> dict[str, Any]:
    """Status and observation of the worker, asked with `mpicd`'s user: see `ask.py`."""
    python = ("/usr/lib/mpic-appliance/bin/python3", "-I", "/srv/ask.py", PLAN["code"], *method)
    as_mpicd = ("setpriv", "--reuid=mpic", "--regid=mpic", "--init-groups", "--")
    found: dict[str, Any] = json.loads(run(*as_mpicd, *python, limit_s=2 * READY_S))
    return found


def matched(method: str) -> dict[str, Any]:
    """What the worker saw, once it is a match: on an emulated processor an answer may come too late."""
    found = worker(method)
    return found if found["observation"]["outcome"] == "match" else {}


def tunnel() -> dict[str, Any]:
    """What the tunnel daemon publishes of the one tunnel."""
    (found,) = json.loads(Path("/run/mpic/tunnels.json").read_text())["tunnels"]
    return dict(found)


def requests() -> list[dict[str, Any]]:
    log = Path("/srv/requests")
    found = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    log.unlink(missing_ok=True)
    return found


def clock() -> None:
    """What adjtimex(2) says within the units that ask it, and without any unit."""
    program = "import ctypes; print(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(208)))"
    said = {"unconfined": call(sys.executable, "-c", program).stdout.strip()}
    for unit in ("mpicd", "mpic-egress"):
        text = Path(f"/usr/lib/systemd/system/{unit}.service").read_text().splitlines()
        lines = [line for line in text if line.startswith(("ProtectClock", "SystemCall", "CapabilityBounding"))]
        service = [
            "[Service]",
            "Type=oneshot",
            f"ExecStart={sys.executable} -c '{program}'",
            f"StandardOutput=file:/srv/{unit}",
        ]
        (UNIT_DIRECTORY / f"clock-of-{unit}.service").write_text("\n".join([*service, *lines, ""]))
        run("systemctl", "daemon-reload")
        run("systemctl", "start", f"clock-of-{unit}.service")
        said[unit] = Path(f"/srv/{unit}").read_text().strip()
    tell("clock", said=said)


def confined() -> None:
    """A worker started outside of its namespace, and a process of its user that would use the host's uplink."""
    as_worker = ("setpriv", "--reuid=mpic-perspective", "--regid=mpic-perspective", "--clear-groups", "--no-new-privs")
    bare = ("--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--")
    misplaced = call(*as_worker, *bare, "mpic-perspective", PLAN["code"])
    reached = {}
    for where, enter in (("host", ()), ("namespace", ("ip", "netns", "exec", PLAN["code"]))):
        reached[where] = [
            call(*enter, *as_worker, *bare, *connect(address)).stdout for address in PLAN["servers"]["web"]
        ]
    tell("confined", worker_exit=misplaced.returncode, worker_said=misplaced.stderr, reached=reached)


def connect(address: str) -> tuple[str, ...]:
    """A program that says whether it reached `address`, by TCP, and by a UDP query that it sends as well."""
    program = (
        "import socket\nfamily = socket.AF_INET6 if ':' in A else socket.AF_INET\n"
        "try:\n socket.socket(family, socket.SOCK_DGRAM).sendto(b'leak', (A, 53))\nexcept OSError:\n pass\n"
        "try:\n s = socket.socket(family)\n s.settimeout(5)\n s.connect((A, 80))\n print('reached')\n"
        "except OSError as error:\n print(error)\n"
    )
    return (sys.executable, "-c", f"A = {address!r}\n{program}")


@contextlib.contextmanager
def capture() -> Iterator[Callable[[], list[str]]]:
    """What crosses the site's uplink, but for the primary's own packets, the tunnels' and link-local ones."""
    tap = subprocess.Popen(
        ["ip", "netns", "exec", "internet", sys.executable, __file__, "capture"], stdout=subprocess.PIPE, text=True
    )
    assert tap.stdout is not None
    assert tap.stdout.readline() == "listening\n"

    def stop() -> list[str]:
        time.sleep(1)
        tap.terminate()
        return tap.communicate()[0].splitlines()

    try:
        yield stop
    finally:
        tap.kill()


def write_packets() -> None:
    """Until it is ended: a line for each IP packet from or to the host on the router's side of its uplink."""
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    opened.bind(("to-site", 0))
    print("listening", flush=True)
    while True:
        frame = opened.recv(65535)
        if text := described(frame[12:14], frame[14:]):
            print(text, flush=True)


def described(kind: bytes, packet: bytes) -> str:
    """`protocol source port > destination port` of what is the host's and no tunnel's; empty: of no concern."""
    if kind == b"\x08\x00":
        family, protocol = socket.AF_INET, packet[9]
        source, destination, rest = packet[12:16], packet[16:20], packet[(packet[0] & 15) * 4 :]
    elif kind == b"\x86\xdd":
        family, protocol = socket.AF_INET6, packet[6]
        source, destination, rest = packet[8:24], packet[24:40], packet[40:]
    else:
        return ""
    ends = [socket.inet_ntop(family, end) for end in (source, destination)]
    ports = [int.from_bytes(rest[at : at + 2], "big") for at in (0, 2)]
    if protocol == UDP and set(ports) <= set(PLAN["ports"]):
        return ""
    theirs = {*PLAN["host"], *PLAN["router"]}
    neighbours = any(end.startswith(("fe80:", "ff02:", "224.0.0.")) for end in ends)
    if neighbours or not theirs & set(ends) or set(ends) <= theirs:
        return ""
    return f"{protocol} {ends[0]} {ports[0]} > {ends[1]} {ports[1]}"


def tunnel_down() -> None:
    """The appliance's end is taken away, with nobody to bring it back: nothing may leave by the host instead."""
    code = PLAN["code"]
    with capture() as stop:
        by_host = [call(*connect(address)).stdout for address in PLAN["servers"]["web"]]
        control = stop()
    requests()
    run("systemctl", "stop", "mpic-tunneld")
    with capture() as stop:
        run("ip", "-n", code, "link", "del", f"wg-{code}")
        checks = [worker(method) for method in ("caa", "acme-http-01")]
        inside = [call("ip", "netns", "exec", code, *connect(address)).stdout for address in PLAN["servers"]["web"]]
        leaked = stop()
    tell("down", by_host=by_host, control=control, inside=inside, leaked=leaked, checks=checks, requests=requests())
    run("systemctl", "start", "mpic-tunneld")
    again = worker()
    tell("again", worker=again, tunnel=tunnel(), check=wait_until(lambda: matched("caa"), "CAA is a match again"))


def steps() -> None:
    tell("kernel", release=os.uname().release, wireguard_go=shutil.which("wireguard-go"))
    make_internet()
    start_egress()
    run("systemctl", "start", "mpic-tunneld", f"mpic-resolver@{PLAN['code']}", f"mpic-perspective@{PLAN['code']}")
    tell("ready", worker=worker(), tunnel=tunnel(), link=run("ip", "-n", PLAN["code"], "-d", "link"))
    with capture() as stop:
        caa = wait_until(lambda: matched("caa"), "CAA is a match")
        http = wait_until(lambda: matched("acme-http-01"), "http-01 is a match")
        leaked = stop()
    tell("checked", caa=caa, http=http, requests=requests(), leaked=leaked)
    system = call("systemctl", "is-system-running").stdout.strip()
    tell("system", state=system, failed=call("systemctl", "--failed", "--plain", "--no-legend").stdout)
    clock()
    confined()
    tunnel_down()
    tell("end")


def main() -> None:
    if sys.argv[1:] == ["capture"]:
        write_packets()
    try:
        steps()
    except Exception as error:
        journal = call("journalctl", "--no-pager", "--lines=80", "--output=short-monotonic").stdout
        tell("failed", error=repr(error), journal=journal.splitlines())
        raise


if __name__ == "__main__":
    main()
