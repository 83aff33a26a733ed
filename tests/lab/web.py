"""nginx for the applicants, the attacker, the echo anchors and the RPKI beacons; what it was asked is read from its access log."""

from __future__ import annotations

import grp
import json
import pwd
import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from tests.lab import certificates, processes, state, topology
from tests.lab.model import Address, Anchor
from tests.lab.zones import BENCH_VALUE

SERVERS: Final = tuple(topology.WEB_ADDRESSES)
_APPLICANTS: Final = ("quay", "sakura")
_CHALLENGE_PATH: Final = ".well-known/acme-challenge"

BENCH_KEY_AUTHORIZATION: Final = f"bench-token.{BENCH_VALUE}"
"""The body of every http-01 challenge at a host below the benchmark's zones."""

_MAIN: Final = """\
user {user};
worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    default_type text/plain;
    server_tokens off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    log_format lab escape=json '{{"time":$msec,"source":"$remote_addr","address":"$server_addr","method":"$request_method",'
        '"host":"$http_host","path":"$request_uri","scheme":"$scheme","server_name":"$ssl_server_name",'
        '"status":$status,"user_agent":"$http_user_agent"}}';
    access_log {directory}/access.log lab;
    ssl_certificate {directory}/server.pem;
    ssl_certificate_key {directory}/server.pem;
{servers}}}
"""

_EVERYWHERE: Final = "listen 80; listen [::]:80; listen 443 ssl; listen [::]:443 ssl;"

# The server that stands first answers for host names that no other has; a host's files lie in www/HOST.
_SITE: Final = """\
    server {{
        {everywhere}
        server_name {names};
        root {directory}/www/$host;
        location / {{ try_files $uri $uri/index.html @extra; }}
        location @extra {{ {extra} }}
    }}
"""

_BENCH: Final = """\
    server {{
        {everywhere}
        server_name *.bench.lab *.bench-free.lab;
        access_log off;
        location /{challenge_path}/ {{ return 200 "{bench}"; }}
    }}
"""

_ECHO: Final = """\
    server {{
        listen {address.v4}:80; listen [{address.v6}]:80;
        listen {address.v4}:443 ssl; listen [{address.v6}]:443 ssl;
        location / {{ return 200 "$remote_addr\\n"; }}
    }}
"""


_DIRECTORY: Final = """\
    server {{
        listen {address.v4}:80; listen [{address.v6}]:80;
        root {root};
    }}
"""


_FORGER: Final = """\
    server {{ listen {port} ssl; location / {{ return 200 "{address.v4}\\n"; }} }}
    server {{ listen [::]:{port} ssl ipv6only=on; location / {{ return 200 "{address.v6}\\n"; }} }}
"""


_BEACON: Final = """\
    server {{
        listen {address.v4}:80; listen [{address.v6}]:80;
        listen {address.v4}:443 ssl; listen [{address.v6}]:443 ssl;
        default_type application/json;
        location / {{ return 200 '{{"beacon":"{host}","site":"{site}","ip":"$remote_addr"}}'; }}
    }}
"""


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the server saw it; `server_name` is TLS's (SNI), empty for http; `time_s` is UNIX time."""

    server: str
    time_s: float
    source: str
    address: str
    method: str
    host: str
    path: str
    scheme: str
    server_name: str
    status: int
    user_agent: str


class ConfigurationError(Exception):
    """nginx refuses its configuration; with LAB_EXTRA the message names the file."""


def directory(server: str) -> Path:
    """Where the server has its configuration, files and log."""
    return state.directory("web", server)


def start(extra: Path | None) -> None:
    """Start every web server; `extra` is LAB_EXTRA's directory, or where it can be reached."""
    authority = certificates.Authority()
    authority.write(anchor_ca_file())
    for anchor in topology.ANCHORS:
        names = [anchor.host]
        where = _prepare(f"anchor-{anchor.name}")
        authority.issue(where / "server.pem", names, list(anchor.address))
        _start_anchor(anchor, where)
    for system in dict.fromkeys(site.system for site in topology.BEACON_SITES):
        sites = [site for site in topology.BEACON_SITES if site.system == system]
        where = _prepare(f"beacon-{system}")
        authority.issue(where / "server.pem", [site.host for site in sites], [])
        servers = "".join(_BEACON.format(address=site.address, host=site.host, site=site.site) for site in sites)
        _start(f"beacon-{system}", topology.SYSTEM_BY_NAME[system].namespace, where, servers, "www-data")
    for server in SERVERS:
        where = _prepare(server)
        certificates.self_signed(where / "server.pem", [f"{server}.lab"])
        _start_site(server, where, extra if server in _APPLICANTS else None)


def serve_directory(name: str, namespace: str, address: Address, root: Path) -> None:
    """Serve the files below `root` at an address of the machine in `namespace`, by http, until the lab is taken down."""
    where = _prepare(name)
    certificates.self_signed(where / "server.pem", [f"{name}.lab"])
    _start(name, namespace, where, _DIRECTORY.format(address=address, root=root), "www-data")


def forge_anchors(namespace: str, port: int, address: Address) -> None:
    """Answer at `port` of the machine in `namespace` as an anchor that sees `address`, until the lab is taken down.

    The certificate has the anchors' names and is self-signed.
    """
    where = _prepare("forger")
    certificates.self_signed(where / "server.pem", [anchor.host for anchor in topology.ANCHORS])
    _start("forger", namespace, where, _FORGER.format(port=port, address=address), "www-data")


def ready() -> bool:
    """Whether every web server accepts connections."""
    names = [
        *SERVERS,
        *(anchor.system for anchor in topology.ANCHORS),
        *{site.system for site in topology.BEACON_SITES},
    ]
    return all(processes.listens(topology.SYSTEM_BY_NAME[name].namespace, port) for name in names for port in (80, 443))


def anchor_ca_file() -> Path:
    """The certificate that the echo anchors' and the beacons' certificates are issued from."""
    return state.STATE_DIR / "anchor-ca.pem"


def set_file(server: str, host: str, path: str, body: str) -> None:
    """Serve `body` at http(s)://HOST/PATH from `server`."""
    file = _file(server, host, path)
    file.parent.mkdir(parents=True, exist_ok=True)
    state.write_text(file, body)


def remove_file(server: str, host: str, path: str) -> None:
    """Undo `set_file`."""
    _file(server, host, path).unlink(missing_ok=True)


def challenge_path(token: str) -> str:
    """The path of an http-01 challenge (RFC 8555 section 8.3), without the leading slash."""
    return f"{_CHALLENGE_PATH}/{token}"


def requests(server: str) -> list[Request]:
    """Every request that the server has answered so far, oldest first."""
    file = directory(server) / "access.log"
    lines = file.read_text().splitlines() if file.exists() else []
    return [_request(server, line) for line in lines]


def _request(server: str, line: str) -> Request:
    fields = json.loads(line)
    return Request(server=server, time_s=fields.pop("time"), **fields)


def _file(server: str, host: str, path: str) -> Path:
    root = directory(server) / "www" / host.lower()
    file = root / path.lstrip("/")
    if root not in file.parents or ".." in file.parts:
        raise ValueError(f"not below the host's directory: {path}")
    return file


def _prepare(server: str) -> Path:
    where = directory(server)
    state.directory("web", server, "www")
    return where


def _start_anchor(anchor: Anchor, where: Path) -> None:
    servers = _ECHO.format(address=anchor.address)
    _start(f"anchor-{anchor.name}", topology.SYSTEM_BY_NAME[anchor.system].namespace, where, servers, "www-data")


def _start_site(server: str, where: Path, extra: Path | None) -> None:
    fallback = f"root {extra}/www/$host; try_files $uri $uri/index.html =404;" if extra else "return 404;"
    site = partial(_SITE.format, everywhere=_EVERYWHERE, directory=where, extra=fallback)
    servers = site(names="_ *.example *.lab")
    servers += _BENCH.format(everywhere=_EVERYWHERE, challenge_path=_CHALLENGE_PATH, bench=BENCH_KEY_AUTHORIZATION)
    if extra:
        # Last, so that what the user configures for one of these hosts goes before its plain files.
        servers += f"    include {extra}/nginx/*.conf;\n"
        hosts = " ".join(sorted(entry.name for entry in extra.glob("www/*") if entry.is_dir()))
        servers += site(names=hosts) if hosts else ""
    # The files of LAB_EXTRA may be readable by their owner alone.
    user = _user_for(extra) if extra else "www-data"
    _start(server, topology.SYSTEM_BY_NAME[server].namespace, where, servers, user)


def _start(name: str, namespace: str, where: Path, servers: str, user: str) -> None:
    configuration = where / "nginx.conf"
    state.write_text(configuration, _MAIN.format(user=user, directory=where, servers=servers))
    argv = ["nginx", "-p", str(where), "-c", str(configuration), "-e", "stderr"]
    checked = processes.run(namespace, [*argv, "-t"])
    if checked.returncode != 0:
        raise ConfigurationError(f"nginx of {name}:\n{checked.stderr.rstrip()}")
    processes.service(namespace, f"nginx-{name}", argv)


def _user_for(extra: Path) -> str:
    """nginx's `user` for the files of LAB_EXTRA: their owner with its group, or root where the owner cannot come there."""
    try:
        owner = pwd.getpwuid(extra.stat().st_uid)
        group = grp.getgrgid(owner.pw_gid).gr_name
    except KeyError:
        return "root"
    become = ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--init-groups", "--"]
    comes_there = subprocess.run([*become, "test", "-r", extra, "-a", "-x", extra], cwd="/", check=False)
    return f"{owner.pw_name} {group}" if comes_there.returncode == 0 else "root"
