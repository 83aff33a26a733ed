"""What preflight.yml holds the inventory to: each filter gives lines of the form `host: rule`."""

from __future__ import annotations

import functools
import importlib.util
import math
import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from itertools import combinations
from pathlib import Path
from types import ModuleType
from typing import Any

# BR 3.2.2.9
NEAREST_KM = 500
# As in the product: with fewer nobody asks for a proof of place.
LEAST_ANCHORS = 3
ECHO_PORT = 51821
ENDPOINT_PORT = 51820
# WGS-84
_A_M = 6378137.0
_F = 1 / 298.257223563
_NEEDED = ("index", "place", "provider", "upstreams", "origin_asn", "addresses")
_POLICY = Path(__file__).resolve().parents[3] / "appliance" / "policy"
# As in the configuration's schema.
_OVERRIDE = re.compile(r"[^\x00-\x1f\x7f]{10,200}")
_COUNTRY = re.compile(r"[A-Z]{2}")
_ANCHOR_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
_KEY = re.compile(r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=")
_URLS = {"appliance_vrp_url": r"https?://\S+", "appliance_beacons_url": r"https://\S+"}
Host = Mapping[str, Any]


def distance_km(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """The geodesic distance of two places in kilometres, by Lambert's formula: some 10 m wrong in thousands of km."""
    reduced = [math.atan((1 - _F) * math.tan(math.radians(place["latitude"]))) for place in (one, other)]
    middle, difference = (reduced[0] + reduced[1]) / 2, (reduced[1] - reduced[0]) / 2
    turn = math.radians(other["longitude"] - one["longitude"]) / 2
    half = math.sin(difference) ** 2 + math.cos(reduced[0]) * math.cos(reduced[1]) * math.sin(turn) ** 2
    angle = 2 * math.asin(min(1.0, math.sqrt(half)))
    if angle < 1e-9 or math.pi - angle < 1e-9:
        return angle * _A_M / 1000
    x = (angle - math.sin(angle)) * (math.sin(middle) * math.cos(difference) / math.cos(angle / 2)) ** 2
    y = (angle + math.sin(angle)) * (math.cos(middle) * math.sin(difference) / math.sin(angle / 2)) ** 2
    return _A_M * (angle - _F / 2 * (x + y)) / 1000


def inventory_problems(egresses: Sequence[Host], appliances: Sequence[Host]) -> list[str]:
    """Rules that the inventory breaks; hosts are their variables, `inventory_hostname` among them. Empty: none."""
    found = [line for host in egresses for line in _described(host)]
    found += [line for host in appliances for line in _appliance(host)]
    if not egresses or not appliances:
        found.append("inventory: the groups mpic_egresses and mpic_appliances each need a host")
    if not found:
        found = [problem for host in (*egresses, *appliances) for problem, _ in _countries(host) if problem]
        found += [*_apart(egresses, appliances), *_unique(egresses, appliances), *_anchor_names(egresses, appliances)]
    return found


def inventory_warnings(egresses: Sequence[Host], appliances: Sequence[Host]) -> list[str]:
    """What the inventory lacks although the product works without; no host's variables are wrong."""
    found = [warning for host in (*egresses, *appliances) for _, warning in _countries(host) if warning]
    echoes = {host["inventory_hostname"] for host in egresses if _echoes(host)}
    for host in appliances:
        found += [
            f"{host['inventory_hostname']}: appliance_anchors: {url} proves nothing, since its answer can be forged; use https://"
            for url in host.get("appliance_anchors", ())
            if not str(url).startswith("https://")
        ]
        named = len(host.get("appliance_place_anchors", ()))
        codes = [host["appliance_code"], *(egress["inventory_hostname"] for egress in egresses)]
        anchors = {code: len(echoes - {code}) + named for code in codes}
        for concerned, what, therefore in (
            ([code for code in codes if anchors[code] < LEAST_ANCHORS], "fewer than", "is not proven"),
            ([code for code in codes if anchors[code] == LEAST_ANCHORS], "no more than", "lapses with the loss of one"),
        ):
            if concerned:
                found.append(
                    f"{host['inventory_hostname']}: {what} {LEAST_ANCHORS} authenticated anchors (egress_echo of the other egress "
                    f"nodes, appliance_place_anchors): the place of {', '.join(concerned)} {therefore}"
                )
    return found


def key_problems(egresses: Sequence[Host], appliances: Sequence[Host]) -> list[str]:
    """No two of the hosts' public keys are the same, as they are where a machine was cloned."""
    tunnels = [(host["inventory_hostname"], host.get("egress_public_key")) for host in egresses]
    tunnels += [
        (f"{host['inventory_hostname']}/{key['code']}", key["public_key"])
        for host in appliances
        for key in host.get("appliance_public_keys", ())
    ]
    nodes = [(host["inventory_hostname"], host.get("egress_echo_server", {}).get("public_key")) for host in egresses]
    found = list(_twice(tunnels, "each end of each tunnel needs its own"))
    for host in appliances:
        # Each may have another name for an anchor of several.
        anchors = [(anchor["name"], anchor["public_key"]) for anchor in host.get("appliance_place_anchors", ())]
        found += _twice([*nodes, *anchors], "each mpic-echo needs its own")
    return list(dict.fromkeys(found))


def _twice(keys: Sequence[tuple[str, Any]], rule: str) -> Iterator[str]:
    for (one, key), (other, same) in combinations(sorted((name, key) for name, key in keys if key), 2):
        if key == same:
            yield f"{one}: has the same key as {other}; {rule}"


def _described(host: Host) -> Iterator[str]:
    name = host["inventory_hostname"]
    for key in _NEEDED:
        if host.get(f"egress_{key}") in (None, ""):
            yield f"{name}: egress_{key} is missing"
    if host.get("egress_place") is not None:
        yield from _place(name, "egress_place", host["egress_place"])
    port = host.get("egress_echo_port", ECHO_PORT)
    if _echoes(host) and port == host.get("egress_listen_port", ENDPOINT_PORT):
        yield f"{name}: egress_echo_port {port} is already egress_listen_port"


def _echoes(host: Host) -> bool:
    """Whether the node is an anchor. On the command line a word is no boolean."""
    return str(host.get("egress_echo", True)).lower() not in {"false", "no", "off", "0"}


def _appliance(host: Host) -> Iterator[str]:
    name = host["inventory_hostname"]
    for key in ("index", "code", "place", "issuer_domains", "uplink", "addresses", "gateways"):
        if host.get(f"appliance_{key}") in (None, ""):
            yield f"{name}: appliance_{key} is missing"
    if host.get("appliance_place") is not None:
        yield from _place(name, "appliance_place", host["appliance_place"])
    for index, anchor in enumerate(host.get("appliance_place_anchors", ())):
        yield from _anchor(name, f"appliance_place_anchors.{index}", anchor)
    for key, form in _URLS.items():
        if host.get(key) and not re.fullmatch(form, host[key]):
            yield f"{name}: {key}: must begin with {form.partition(':')[0].replace('s?', '(s)')}://"
    yield from _extra(name, host)


def _anchor(name: str, key: str, anchor: Any) -> Iterator[str]:
    if not isinstance(anchor, Mapping):
        yield f"{name}: {key}: must have name, address, public_key and place"
        return
    for part, form in (("name", _ANCHOR_NAME), ("public_key", _KEY)):
        if not form.fullmatch(str(anchor.get(part, ""))):
            yield f"{name}: {key}.{part}: must match {form.pattern}"
    try:
        ip_address(anchor.get("address", ""))
    except ValueError:
        yield f"{name}: {key}.address: must be an IP address"
    yield from _place(name, f"{key}.place", anchor.get("place"))


def _extra(name: str, host: Host) -> Iterator[str]:
    """What is written for other variables is not to be said twice."""
    try:
        extra = tomllib.loads(host.get("appliance_extra", ""))
    except tomllib.TOMLDecodeError as error:
        yield f"{name}: appliance_extra: not TOML: {error}"
        return
    if "rov" in extra and any(host.get(key) for key in ("appliance_rov", *_URLS)):
        yield f"{name}: appliance_extra: has [rov], which is made from appliance_rov"


def _place(name: str, key: str, place: Any) -> Iterator[str]:
    for part, most in (("latitude", 90), ("longitude", 180)):
        value = place.get(part) if isinstance(place, Mapping) else None
        # Not-a-number is not beyond the most, nor within.
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= most:
            yield f"{name}: {key}.{part}: must be a number of degrees of at most {most}"
    if not isinstance(place, Mapping) or not place.get("city"):
        yield f"{name}: {key}.city is missing"
    # In YAML a bare NO is a boolean.
    if not isinstance(place, Mapping) or not _COUNTRY.fullmatch(str(place.get("country"))):
        yield f"{name}: {key}.country: must be an ISO 3166-1 code of two capital letters, in quotes"


def _countries(host: Host) -> Iterator[tuple[str | None, str | None]]:
    """The problem and the warning about each of the host's places, held against its country as the appliance does."""
    places = {key: host[key] for key in ("egress_place", "appliance_place") if key in host}
    for index, anchor in enumerate(host.get("appliance_place_anchors", ())):
        places[f"appliance_place_anchors.{index}.place"] = anchor["place"]
    for key, place in places.items():
        at, override = f"{host['inventory_hostname']}: {key}", place.get("country_override")
        if override is not None and not _OVERRIDE.fullmatch(str(override)):
            yield f"{at}.country_override: must be a reason of 10 to 200 characters in one line", None
            continue
        found = _borders().compare(str(place["country"]), place["latitude"], place["longitude"], override)
        yield (
            found.problem and f"{at}.country: {found.problem}",
            found.warning and f"{at}.country: {found.warning}",
        )


@functools.cache
def _borders() -> Any:
    """The borders of the appliance's own code, read by path: it need not be installed where the playbooks run."""
    served = _module(_POLICY / "served.py")
    return _module(_POLICY / "borders.py").read(served.REGIONS)


def _module(path: Path) -> ModuleType:
    if not path.exists():
        raise FileNotFoundError(f"{path}: the playbooks need it; run them from the whole source tree")
    spec = importlib.util.spec_from_file_location(f"mpic_policy_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path}: cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    # Data classes look for their module by its name.
    sys.modules[module.__name__] = module
    spec.loader.exec_module(module)
    return module


def _apart(egresses: Sequence[Host], appliances: Sequence[Host]) -> Iterator[str]:
    places = {host["inventory_hostname"]: host["egress_place"] for host in egresses}
    places |= {host["appliance_code"]: host["appliance_place"] for host in appliances}
    for one, other in combinations(places, 2):
        distance = distance_km(places[one], places[other])
        if distance < NEAREST_KM:
            yield f"{one}: {distance:.0f} km from {other}; BR 3.2.2.9 asks for at least {NEAREST_KM} km"


def _unique(egresses: Sequence[Host], appliances: Sequence[Host]) -> Iterator[str]:
    for hosts, keys in ((egresses, ("egress_index", "egress_addresses")), (appliances, ("appliance_index",))):
        for key in keys:
            seen: dict[Any, str] = {}
            for host in hosts:
                values = host[key] if isinstance(host[key], list) else [host[key]]
                for value in values:
                    other = seen.setdefault(value, host["inventory_hostname"])
                    if other != host["inventory_hostname"]:
                        yield f"{host['inventory_hostname']}: {key} {value} is already that of {other}"


def _anchor_names(egresses: Sequence[Host], appliances: Sequence[Host]) -> Iterator[str]:
    for host in appliances:
        taken = {host["appliance_code"], *(egress["inventory_hostname"] for egress in egresses)}
        for index, anchor in enumerate(host.get("appliance_place_anchors", ())):
            if anchor["name"] in taken:
                key = f"appliance_place_anchors.{index}.name"
                yield f"{host['inventory_hostname']}: {key}: {anchor['name']} is already taken"
            taken.add(anchor["name"])


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """The filters by name."""
        return {
            "mpic_inventory_problems": inventory_problems,
            "mpic_inventory_warnings": inventory_warnings,
            "mpic_key_problems": key_problems,
        }
