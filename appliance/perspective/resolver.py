"""The configuration of a perspective's own unbound: pure text from settings. Written by `appliance.perspective.prepare`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from appliance.config.schema import Settings
from appliance.net.special_purpose import special_purpose_networks
from appliance.perspective.assignment import Assignment

# Half of the ports may wait for servers that never answer before good names are jostled (see jostle-timeout).
_OUTGOING_PORTS = 4096
_QUERIES = _OUTGOING_PORTS // 2

# What is the same for every perspective; unbound.conf(5). Grouped by what it guards.
_FIXED = """\
    # The process: unprivileged from the start, in the foreground, nothing of queries in its log.
    username: ""
    chroot: ""
    pidfile: ""
    do-daemonize: no
    num-threads: 1
    use-syslog: no
    logfile: ""
    verbosity: 0
    log-queries: no
    log-replies: no
    log-servfail: no
    log-local-actions: no
    val-log-level: 0
    hide-identity: yes
    hide-version: yes

    # The questions: from this namespace alone, answered whole and with the reason of a failure (RFC 8914).
    access-control: 127.0.0.0/8 allow
    max-udp-size: 4096
    incoming-num-tcp: 128
    minimal-responses: yes
    rrset-roundrobin: no
    ede: yes
    # These are looked up like any other name; only what no public DNS may hold keeps its built-in answer.
    unblock-lan-zones: yes

    # The Internet: unpredictable ports, ids and no trust in what was not asked for.
    edns-buffer-size: 1232
    outgoing-port-permit: 1024-65535
    unwanted-reply-threshold: 10000000
    # A minimised question is not counted as a step of a CNAME chain (seen in 1.17): an endless chain would be followed for
    # ever. What it would hide, names that certificates are asked for, is published anyway (RFC 9162).
    qname-minimisation: no
    use-caps-for-id: no
    harden-glue: yes
    harden-short-bufsize: yes
    harden-large-queries: yes
    harden-dnssec-stripped: yes
    harden-below-nxdomain: yes
    harden-referral-path: no
    harden-algo-downgrade: no
    # Addresses of name servers are looked up when they are needed, not beforehand.
    target-fetch-policy: "0 0 0 0 0"
    outgoing-num-tcp: 64

    # Nothing is remembered for long, nor fetched or concluded before it is asked.
    cache-min-ttl: 0
    serve-expired: no
    prefetch: no
    prefetch-key: no
    aggressive-nsec: no
    msg-cache-size: 4m
    rrset-cache-size: 8m
    key-cache-size: 1m
    neg-cache-size: 256k
    infra-host-ttl: 60
    infra-keep-probing: yes

    # Validation (RFC 4035).
    module-config: "validator iterator"
    val-permissive-mode: no
    val-bogus-ttl: 5
    val-clean-additional: yes
    jostle-timeout: 200
"""


class ResolverPaths(msgspec.Struct, frozen=True):
    """`trust_anchor` is the resolver's own RFC 5011 state; its directory must be writable, for it is replaced by renaming."""

    runtime_directory: Path
    state_directory: Path

    @property
    def configuration(self) -> Path:
        """`unbound.conf`."""
        return self.runtime_directory / "unbound.conf"

    @property
    def control_socket(self) -> Path:
        """Where the worker tells the resolver to forget which servers did not answer."""
        return self.runtime_directory / "control.sock"

    @property
    def trust_anchor(self) -> Path:
        """The root's keys and their RFC 5011 states."""
        return self.state_directory / "root.key"

    @property
    def trust_anchor_seed(self) -> Path:
        """The anchor file that `trust_anchor` was begun from."""
        return self.state_directory / "root.seed"


def resolver_paths(settings: Settings, code: str) -> ResolverPaths:
    """Where the resolver of perspective `code` keeps its files."""
    return ResolverPaths(settings.runtime_directory / "resolvers" / code, settings.state_directory / "resolvers" / code)


def resolver_command(settings: Settings, code: str) -> list[str]:
    """The command that runs the resolver of `code` in the foreground; it has to be started in its namespace, as its user."""
    return ["unbound", "-d", "-p", "-c", str(resolver_paths(settings, code).configuration)]


def render_resolver(settings: Settings, assignment: Assignment) -> str:
    """`unbound.conf` for the resolver of one perspective."""
    paths = resolver_paths(settings, assignment.code)
    port = settings.resolver.port
    ttl_s = settings.resolver.cache_max_ttl_s
    lines = [
        f"directory: {_quoted(paths.state_directory)}",
        "interface: 127.0.0.1",
        f"port: {port}",
        f"outgoing-port-avoid: {port}",
        f"outgoing-range: {_OUTGOING_PORTS}",
        f"num-queries-per-thread: {_QUERIES}",
        "do-ip4: yes",  # the questions come over IPv4, so it cannot be off; see do-not-query-address
        f"do-ip6: {'yes' if 6 in assignment.versions else 'no'}",
        f"cache-max-ttl: {ttl_s}",
        f"cache-max-negative-ttl: {ttl_s}",
        f"auto-trust-anchor-file: {_quoted(paths.trust_anchor)}",
        *([] if settings.resolver.root_hints is None else [f"root-hints: {_quoted(settings.resolver.root_hints)}"]),
        *(f"do-not-query-address: {network}" for network in _not_queried(settings, assignment)),
        # Of the names for tests, unbound answers for this one by itself.
        *(['local-zone: "test." nodefault'] if "test" in settings.targets.special_use_exceptions else []),
    ]
    return "\n".join(
        [
            f"# The resolver of perspective {assignment.code}. Made by mpic-perspective --prepare; changes here are lost.",
            "server:",
            *(f"    {line}" for line in lines),
            "",
            _FIXED,
            "remote-control:",
            "    control-enable: yes",
            "    control-use-cert: no",
            f"    control-interface: {_quoted(paths.control_socket)}",
            "",
        ]
    )


def _not_queried(settings: Settings, assignment: Assignment) -> Iterable[str]:
    if 4 not in assignment.versions:
        return ["0.0.0.0/0", *map(str, special_purpose_networks(settings.targets.special_purpose_exceptions))]
    return map(str, special_purpose_networks(settings.targets.special_purpose_exceptions))


def _quoted(path: Path) -> str:
    return f'"{path}"'
