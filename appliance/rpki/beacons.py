"""Beacons as data: which there are, and whether their routes are in the states that make them beacons."""

from __future__ import annotations

import json
from collections import Counter
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from appliance.errors import ConfigError
from appliance.model.rov import BeaconKind, RpkiState, Target
from appliance.rpki.vrps import IpNetwork, Vrps

PUBLIC_BEACONS = Path(__file__).parent / "data" / "beacons.json"
"""The public ones; `rov.beacons_file` replaces them."""

_MAX_BYTES = 256 * 1024
# What is accepted in the global table at most: announced beacons are not longer.
_LONGEST_ANNOUNCED = {4: 24, 6: 48}

Asn = Annotated[int, Field(ge=1, le=4294967295)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]


class _Value(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BeaconSide(_Value):
    """One side of a beacon: where, of which origin. `{nonce}` in `url` is random each time. `prefixes`: as announced;
    without, the /24 or /48 of the address. The other keys: see `appliance.model.rov.Target`."""

    url: Annotated[str, StringConstraints(pattern=r"^https?://[A-Za-z0-9.:\[\]{}-]+/[^\s?#]*$")]
    origin_asn: Asn
    prefixes: tuple[IPv4Network | IPv6Network, ...] = ()
    members: dict[str, str | None] = {}
    address_member: str | None = None
    site_member: str | None = None

    def target(self) -> Target:
        """What a worker is asked to reach."""
        return Target(self.url, tuple(sorted(self.members.items())), self.address_member, self.site_member)

    def announced(self, address: str) -> IpNetwork | None:
        """The announced prefix that `address` lies in; None where it lies in none of those that were listed."""
        parsed = ip_address(address)
        listed = [one for one in self.prefixes if one.version == parsed.version]
        if not listed:
            return ip_network((parsed, _LONGEST_ANNOUNCED[parsed.version]), strict=False)
        return max((one for one in listed if parsed in one), key=lambda one: one.prefixlen, default=None)


class Beacon(_Value):
    """One beacon. `valid` and `invalid`: the sides of a pair. With a cover `invalid` is the invalid more-specific, and the
    answer's `site_member` is `valid_site` where the less-specific route was taken. `source`: who runs and describes it.
    `last_verified`: ISO date on which somebody saw it work, None = not since it was listed."""

    name: Name
    operator: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    kind: BeaconKind
    versions: Annotated[tuple[Literal[4, 6], ...], Field(min_length=1)] = (4, 6)
    valid: BeaconSide | None = None
    invalid: BeaconSide
    valid_site: str | None = None
    source: str = ""
    last_verified: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}$")] | None = None

    @model_validator(mode="after")
    def _sides(self) -> Beacon:
        if self.kind is BeaconKind.PAIR and self.valid is None:
            raise ValueError("a pair needs its valid side")
        if self.kind is BeaconKind.COVER and (self.valid is not None or not self.valid_site):
            raise ValueError("a cover has valid_site, and no valid side of its own")
        if self.kind is BeaconKind.COVER and self.invalid.site_member is None:
            raise ValueError("a cover's answer names its site: site_member is missing")
        if self.kind is BeaconKind.COVER and not self.invalid.prefixes:
            raise ValueError("a cover needs the prefixes of its invalid more-specific")
        return self

    def route_problem(self, vrps: Vrps, valid_address: str | None, invalid_address: str) -> str | None:
        """How its routes are not in the states they should be in (RFC 6811), in words; None where they are."""
        sides = [(self.invalid, invalid_address, RpkiState.INVALID)]
        if self.valid is not None and valid_address is not None:
            sides.append((self.valid, valid_address, RpkiState.VALID))
        for side, address, wanted in sides:
            prefix = side.announced(address)
            if prefix is None:
                return f"{address} is in none of its listed prefixes"
            state = vrps.state(prefix, side.origin_asn)
            if state is not wanted:
                return f"{prefix} of AS{side.origin_asn} is {state.value}, should be {wanted.value}"
        return None


class _Document(_Value):
    beacons: Annotated[tuple[Beacon, ...], Field(max_length=16)]


def read_beacons(path: Path) -> tuple[Beacon, ...]:
    """The beacons in the JSON file at `path`. Raises `ConfigError` with `file: key: rule` lines."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise ConfigError([f"{path}: more than {_MAX_BYTES} bytes"])
        beacons = _Document.model_validate(json.loads(content)).beacons
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from error
    except ValidationError as error:
        raise ConfigError(
            [f"{path}: {'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        ) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError([f"{path}: not JSON: {error}"]) from error
    twice = sorted(name for name, times in Counter(one.name for one in beacons).items() if times > 1)
    if twice:
        raise ConfigError([f"{path}: beacons: {name} is there twice" for name in twice])
    return beacons
