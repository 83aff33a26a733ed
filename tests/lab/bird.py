"""BIRD 2 in every AS: roles by RFC 9234, route origin validation by RFC 6811 where the topology says so."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from tests.lab import netns, processes, state, topology
from tests.lab.addresses import link_ends
from tests.lab.model import Address, AutonomousSystem, Hijack, Link

# By our own role: routes of customers before those of peers before those of providers.
_LOCAL_PREFERENCE: Final = {"provider": 300, "peer": 200, "customer": 100}
# Large communities (attacker's ASN, 1, neighbour's ASN) on a false route say to whom it is announced.
_SELECTIVE: Final = 1

_COMMON: Final = """\
log stderr {{ info, warning, error, auth, fatal, bug }};
router id {router_id};
protocol device {{ scan time 10; }}
protocol kernel {{ ipv4 {{ export filter {{ {source} accept; }}; import none; }}; scan time 60; }}
protocol kernel {{ ipv6 {{ export filter {{ {source6} accept; }}; import none; }}; scan time 60; }}
"""

_ROV: Final = """\
roa4 table r4 {{ min settle time 50 ms; max settle time 200 ms; }};
roa6 table r6 {{ min settle time 50 ms; max settle time 200 ms; }};
protocol rpki cache {{
    roa4 {{ table r4; }};
    roa6 {{ table r6; }};
    remote 127.0.0.1 port {port};
    retry keep 1; refresh keep 600; expire keep 7200;
}}
"""

RTR_PORT: Final = 8282


def directory(system: AutonomousSystem) -> Path:
    """Where the AS's BIRD has its configuration and control socket."""
    return state.directory("bird", system.name, mode=0o700)


def start(system: AutonomousSystem) -> None:
    """Start BIRD in the AS's namespace; sessions come up by themselves."""
    where = directory(system)
    state.write_text(where / "hijack.conf", "")
    state.write_text(where / "bird.conf", configuration(system))
    processes.service(
        system.namespace,
        f"bird-{system.name}",
        ["bird", "-f", "-c", str(where / "bird.conf"), "-s", str(where / "bird.ctl"), "-P", str(where / "bird.pid")],
    )


def configuration(system: AutonomousSystem) -> str:
    """The whole configuration of one AS."""
    index = list(topology.SYSTEM_BY_NAME).index(system.name)
    own = system.addresses[0] if system.addresses else _lan_gateway(system)
    parts = [
        _COMMON.format(
            router_id=f"198.19.255.{index + 1}",
            source=f"krt_prefsrc = {own.v4};",
            source6=f"krt_prefsrc = {own.v6};",
        )
    ]
    if system.rov:
        parts.append(_ROV.format(port=RTR_PORT))
    for family in ("ipv4", "ipv6"):
        routes = " ".join(
            f"route {prefix.v4 if family == 'ipv4' else prefix.v6} blackhole;"
            for prefix in (*system.prefixes, *system.invalid_prefixes)
        )
        parts.append(f"protocol static {{ {family}; {routes} }}\n")
    parts.append(_default_route(system))
    parts.append(f'include "{directory(system) / "hijack.conf"}";\n')
    parts += [
        _sessions(system, link, number) for number, link in enumerate(topology.LINKS) if system.name in _ends(link)
    ]
    return "".join(parts)


def reconfigure(system: AutonomousSystem) -> None:
    """Have the AS of that name run as `system` says from now on; sessions whose filters change start anew by themselves."""
    state.write_text(directory(system) / "bird.conf", configuration(system))
    answer = control(system, "configure")
    if "Reconfigured" not in answer and "Reconfiguration in progress" not in answer:
        raise netns.CommandError(f"birdc configure of {system.name}:\n{answer}")


def hijack_configuration(hijack: Hijack, via: tuple[str, ...]) -> str:
    """The attacker's false routes, marked for the neighbours in `via`."""
    attacker = topology.SYSTEM_BY_NAME["mallory"].asn
    marks = " ".join(
        f"bgp_large_community.add(({attacker}, {_SELECTIVE}, {topology.SYSTEM_BY_NAME[name].asn}));" for name in via
    )
    forged = f"bgp_path.prepend({hijack.forged_origin});" if hijack.forged_origin else ""
    return "".join(
        f"protocol static {{ {family}; route {prefix} blackhole {{ {forged} {marks} }}; }}\n"
        for family, prefix in (("ipv4", hijack.prefix.v4), ("ipv6", hijack.prefix.v6))
    )


def announce(hijack: Hijack, via: tuple[str, ...]) -> None:
    """Have the attacker announce; BIRD's sessions stay up."""
    _reconfigure_attacker(hijack_configuration(hijack, via))


def withdraw() -> None:
    """Have the attacker announce nothing but his own."""
    _reconfigure_attacker("")


def control(system: AutonomousSystem, *words: str) -> str:
    """The answer of `birdc WORDS`; `CommandError` when BIRD does not run or refuses."""
    argv = ["birdc", "-s", str(directory(system) / "bird.ctl"), *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    if done.returncode != 0 or "syntax error" in done.stdout:
        raise netns.CommandError(f"{' '.join(argv)}\n{done.stdout}{done.stderr}")
    return done.stdout


def sessions_up(system: AutonomousSystem) -> bool:
    """Whether every BGP session is established and, where the AS validates, VRPs of both families have arrived."""
    try:
        protocols = control(system, "show", "protocols")
        rov_ready = not system.rov or all(
            "0 of 0 routes" not in control(system, "show", "route", "count", "table", table) for table in ("r4", "r6")
        )
    except netns.CommandError:
        return False
    bgp = [line for line in protocols.splitlines() if " BGP " in line]
    return rov_ready and bool(bgp) and all(line.rstrip().endswith("Established") for line in bgp)


def _reconfigure_attacker(text: str) -> None:
    attacker = topology.SYSTEM_BY_NAME["mallory"]
    state.write_text(directory(attacker) / "hijack.conf", text)
    answer = control(attacker, "configure")
    if "Reconfigured" not in answer and "Reconfiguration in progress" not in answer:
        raise netns.CommandError(f"birdc configure of {attacker.name}:\n{answer}")


def _ends(link: Link) -> tuple[str, str]:
    return link.a, link.b


def _lan_gateway(system: AutonomousSystem) -> Address:
    return next(lan.gateway for lan in topology.LANS if lan.router == system.name)


def _default_route(system: AutonomousSystem) -> str:
    if system.default_via is None:
        return ""
    for number, link in enumerate(topology.LINKS):
        if _ends(link) == (system.name, system.default_via):
            gateway = link_ends(number)[1]
            return (
                f"protocol static {{ ipv4; route 0.0.0.0/0 via {gateway.v4}; }}\n"
                f"protocol static {{ ipv6; route ::/0 via {gateway.v6}; }}\n"
            )
    raise ValueError(f"{system.name}: no link to {system.default_via}")


def _sessions(system: AutonomousSystem, link: Link, number: int) -> str:
    first = link.a == system.name
    own_end, other_end = link_ends(number) if first else reversed(link_ends(number))
    neighbour = topology.SYSTEM_BY_NAME[link.b if first else link.a]
    own_role = link.role if first or link.role == "peer" else "provider"
    return "".join(
        _session(system, neighbour, family, own=str(own), other=str(other), own_role=own_role)
        for family, own, other in zip(("ipv4", "ipv6"), own_end, other_end, strict=True)
    )


def _session(
    system: AutonomousSystem,
    neighbour: AutonomousSystem,
    family: str,
    *,
    own: str,
    other: str,
    own_role: str,
) -> str:
    table, validates = ("r4", system.rov_v4) if family == "ipv4" else ("r6", system.rov_v6)
    validation = f"if roa_check({table}, net, bgp_path.last) = ROA_INVALID then reject; " if validates else ""
    # The sites of one anycast operator have no link of their own: they hear of each other through the Internet.
    twins = "allow local as 1; " if [one.asn for one in topology.SYSTEMS].count(system.asn) > 1 else ""
    default = "0.0.0.0/0" if family == "ipv4" else "::/0"
    marked, for_this = f"({system.asn}, {_SELECTIVE}, *)", f"({system.asn}, {_SELECTIVE}, {neighbour.asn})"
    return f"""\
protocol bgp {neighbour.name}_{family} {{
    local {own} as {system.asn};
    neighbor {other} as {neighbour.asn};
    local role {own_role};
    require roles on; {twins}
    connect delay time 1; connect retry time 1; error wait time 1, 2;
    {family} {{
        import table on;
        import filter {{
            {validation}bgp_local_pref = {_LOCAL_PREFERENCE[own_role]};
            accept;
        }};
        export filter {{
            if net = {default} then reject;
            if bgp_large_community ~ [{marked}] then {{
                if !({for_this} ~ bgp_large_community) then reject;
                bgp_large_community.delete([{marked}]);
            }}
            accept;
        }};
    }};
}}
"""
