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
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

PLAN: dict[str, Any] = json.loads(Path("/root/plan.json").read_text())
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
    for namespace in ("internet", *(f"egress-{code}" for code in PLAN["codes"])):
        run("ip", "netns", "add", namespace)
        run("ip", "-n", namespace, "link", "set", "lo", "up")
    for key in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
        run("ip", "netns", "exec", "internet", "sh", "-c", f"echo 1 >/proc/sys/{key}")
    link("uplink0", "", "to-site", PLAN["host"], PLAN["router"])
    for code in PLAN["codes"]:
        link("uplink0", f"egress-{code}", f"to-{code}", PLAN["egress"][code], PLAN["egress_router"][code])
    run("ip", "-n", "internet", "link", "add", "servers", "type", "dummy")
    run("ip", "-n", "internet", "link", "set", "servers", "up")
    for address in (address for pair in PLAN["servers"].values() for address in pair):
        plain = ["/128", "nodad"] if ":" in address else ["/32"]
        run("ip", "-n", "internet", "addr", "add", address + plain[0], "dev", "servers", *plain[1:])
    addresses = "".join(f" ip-address: {address}\n" for address in PLAN["servers"]["root"])
    Path("/root/nsd.conf").write_text(
        f'server:\n{addresses} username: ""\n chroot: ""\n pidfile: /root/nsd.pid\n xfrdfile: ""\n zonesdir: /root\n'
        ' database: ""\nremote-control:\n control-enable: no\nzone:\n name: .\n zonefile: root.zone\n'
    )
    for argv in (["nsd", "-d", "-c", "/root/nsd.conf"], [sys.executable, "/root/internet.py"]):
        subprocess.Popen(["ip", "netns", "exec", "internet", *argv], stdin=subprocess.PIPE, start_new_session=True)


def start_egress(code: str) -> None:
    """The package's units, in the namespace of one egress node and with its files."""
    config, told = f"/etc/mpic/egress-{code}.toml", f"/run/mpic-egress/{code}.json"
    changed = {
        "/etc/mpic/egress.toml": config,
        "mpic-egress apply": f"mpic-egress apply --config {config}",
        "status --write": f"status --write --config {config} --file {told}",
        "mpic-egress serve": f"mpic-egress serve --file {told}",
        "=mpic-egress.service": f"=mpic-egress-{code}.service",
        "WatchdogSec=30": "WatchdogSec=0",
    }
    for kind in ("", "-status"):
        text = Path(f"/usr/lib/systemd/system/mpic-egress{kind}.service").read_text()
        for old, new in changed.items():
            text = text.replace(old, new)
        text += f"\n[Service]\nNetworkNamespacePath=/run/netns/egress-{code}\nTimeoutStartSec=infinity\n"
        (UNIT_DIRECTORY / f"mpic-egress-{code}{kind}.service").write_text(text)
    run("systemctl", "daemon-reload")
    # It gives each command ten seconds, which may be too few here; what is done already stays.
    wait_until(lambda: call("systemctl", "start", f"mpic-egress-{code}.service").returncode == 0, f"{code} is set up")
    run("systemctl", "start", f"mpic-egress-{code}-status.service")
    again = wait_until(lambda: on_egress(code, "apply"), f"{code} is as configured").stdout
    status = json.loads(wait_until(lambda: on_egress(code, "status", "--json"), f"{code} tells").stdout)
    check = wait_until(lambda: on_egress(code, "check"), f"{code} is checked")
    written = json.loads(Path(told).read_text())
    tell(f"egress-{code}", again=again, status=status, check=check.stdout, written=written)


def on_egress(code: str, command: str, *arguments: str) -> subprocess.CompletedProcess[str] | None:
    """What the command said, once it exits with 0."""
    argv = ("mpic-egress", command, "--config", f"/etc/mpic/egress-{code}.toml", *arguments)
    done = call("ip", "netns", "exec", f"egress-{code}", *argv)
    return done if done.returncode == 0 else None


def status() -> dict[str, Any]:
    """`mpicctl status`, or nothing yet."""
    done = call("mpicctl", "status", "--json")
    return json.loads(done.stdout) if done.stdout.startswith("{") else {}


def ready(codes: Iterable[str]) -> dict[str, Any]:
    """The status, once exactly `codes` are ready."""
    wanted, found = set(codes), status()
    parts = [found["primary"], *found["perspectives"]] if found else []
    return found if found and {part["code"] for part in parts if part["ready"]} == wanted else {}


def all_told() -> dict[str, Any]:
    """The status, once all are ready and every egress node has said how it is."""
    found = ready({PLAN["primary"], *PLAN["codes"]})
    return found if found and all(part["worker"]["egress"] for part in found["perspectives"]) else {}


def check(*arguments: str) -> dict[str, Any]:
    done = call("mpicctl", "check", *arguments, "--json")
    try:
        return {"exit": done.returncode, "answer": json.loads(done.stdout)}
    except ValueError:
        return {"exit": done.returncode, "answer": None, "said": done.stdout + done.stderr}


def passed(*arguments: str) -> dict[str, Any]:
    """The check, once it passed everywhere: on an emulated processor an answer may come too late."""
    found = check(*arguments)
    answer = found["answer"] or {}
    parts = [answer.get("primary"), *answer.get("perspectives", [])]
    return found if all(part and part["check_response"]["check_passed"] for part in parts) else {}


def requests() -> list[dict[str, Any]]:
    log = Path("/root/requests")
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
        properties = [argument for line in lines for argument in ("-p", line)]
        argv = ("systemd-run", "--quiet", "--wait", "--pipe", *properties, sys.executable, "-c", program)
        said[unit] = call(*argv).stdout.strip()
    tell("clock", said=said)


def confined() -> None:
    """A worker started outside of its namespace, and a process of its user that would use the host's uplink."""
    as_worker = ("setpriv", "--reuid=mpic-perspective", "--regid=mpic-perspective", "--clear-groups", "--no-new-privs")
    bare = ("--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--")
    worker = call(*as_worker, *bare, "mpic-perspective", PLAN["codes"][0])
    reached = {}
    for where in ("host", PLAN["codes"][0]):
        enter = () if where == "host" else ("ip", "netns", "exec", where)
        reached[where] = [
            call(*enter, *as_worker, *bare, *connect(address)).stdout for address in PLAN["servers"]["web"]
        ]
    tell("confined", worker_exit=worker.returncode, worker_said=worker.stderr, reached=reached)


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
    code = PLAN["codes"][0]
    with capture() as stop:
        by_host = [call(*connect(address)).stdout for address in PLAN["servers"]["web"]]
        control = stop()
    requests()
    run("systemctl", "stop", "mpic-tunneld")
    with capture() as stop:
        run("ip", "-n", code, "link", "del", f"wg-{code}")
        others = wait_until(lambda: ready({PLAN["primary"], *PLAN["codes"][1:]}), "one perspective is down")
        found = check(
            "acme-http-01", PLAN["name"], "--token", PLAN["token"], "--key-authorization", PLAN["key_authorization"]
        )
        inside = [call("ip", "netns", "exec", code, *connect(address)).stdout for address in PLAN["servers"]["web"]]
        leaked = stop()
    tell(
        "down", by_host=by_host, control=control, inside=inside, leaked=leaked, check=found, requests=requests(),
        ready=others["perspectives_ready"],
    )  # fmt: skip
    run("systemctl", "start", "mpic-tunneld")
    again = wait_until(lambda: ready({PLAN["primary"], *PLAN["codes"]}), "the tunnel is made anew")
    tell("again", status=again, check=wait_until(lambda: passed("caa", PLAN["name"]), "CAA passes again"))


def steps() -> None:
    tell("kernel", release=os.uname().release, wireguard_go=shutil.which("wireguard-go"))
    make_internet()
    for code in PLAN["codes"]:
        start_egress(code)
    run("systemctl", "start", "mpic.target")
    told = wait_until(all_told, "every perspective is ready, and every egress node has told how it is")
    shown = call("mpicctl", "status").stdout
    tell("ready", status=told, shown=shown, tunnels=json.loads(Path("/run/mpic/tunnels.json").read_text()))
    caa = wait_until(lambda: passed("caa", PLAN["name"]), "CAA passes")
    requests()
    http = ("acme-http-01", PLAN["name"], "--token", PLAN["token"], "--key-authorization", PLAN["key_authorization"])
    found = wait_until(lambda: passed(*http), "http-01 passes")
    tell("checked", caa=caa, http=found, requests=requests())
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
        tell("failed", error=repr(error), status=status(), journal=journal.splitlines())
        raise


if __name__ == "__main__":
    main()
