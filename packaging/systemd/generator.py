#!/usr/bin/python3 -I
"""Makes, from appliance.toml, the units of every perspective: systemd.generator(7), run at boot and by daemon-reload.

For each code: `mpic.target` wants its worker and resolver, and a drop-in of each names its network namespace and user.
`mpic.target` wants the timer of mpic-feed where there is something to fetch.
Needs nothing but Python's own library. A file that is absent or wrong gives no units: mpicd says what is wrong with it.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

CONFIG = Path("/etc/mpic/appliance.toml")
# As in the product's configuration; nothing else may get into a unit.
_CODE = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
_NETNS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}|[1-9][0-9]{0,9}")
_DROP_IN = """\
# Made by mpic-generator from {config}.
[Unit]
SourcePath={config}

[Service]
NetworkNamespacePath=/run/netns/{netns}
User={user}
"""


class WrongValueError(Exception):
    """A value that cannot be part of a unit."""


def units(document: dict[str, Any], config: Path = CONFIG) -> dict[str, str]:
    """Drop-ins by unit name. Raises `WrongValueError`, `KeyError`, `TypeError` where the document is not of its form."""
    users = document.get("users", {})
    sites = [(site["code"], site["netns"], "perspective") for site in document.get("perspectives", [])]
    primary = document["primary"]
    if primary.get("kind", "local") == "local":
        sites.append((primary["code"], primary["netns"], "primary"))
    made = {}
    for code, netns, role in sites:
        instance = _matching(_CODE, code)
        path = _matching(_NETNS, netns)
        for unit, key in (("perspective", role), ("resolver", "resolver")):
            user = _matching(_USER, str(users.get(key, f"mpic-{key}")))
            made[f"mpic-{unit}@{instance}.service"] = _DROP_IN.format(config=config, netns=path, user=user)
    return made


def fetches(document: dict[str, Any]) -> bool:
    """Whether mpic-feed has anything to do. Raises `AttributeError` where the document is not of its form."""
    feed = document.get("rov", {}).get("feed", {})
    return any(key in feed for key in ("vrp_url", "beacons_url"))


def write(made: dict[str, str], directory: Path, *, feed: bool = False) -> None:
    """Puts the drop-ins, and the wishes of `mpic.target`, below `directory`. `feed`: the timer of mpic-feed among them."""
    wants = directory / "mpic.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    for name, drop_in in made.items():
        below = directory / f"{name}.d"
        below.mkdir(exist_ok=True)
        (below / "10-mpic.conf").write_text(drop_in, encoding="utf-8")
        template = re.sub(r"@.*\.", "@.", name)
        (wants / name).symlink_to(f"/usr/lib/systemd/system/{template}")
    if feed:
        (wants / "mpic-feed.timer").symlink_to("/usr/lib/systemd/system/mpic-feed.timer")


def _matching(pattern: re.Pattern[str], value: object) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise WrongValueError(f"{value!r}: must match {pattern.pattern}")
    return value


def main() -> int:
    """Arguments: the three directories of systemd.generator(7), of which the first is written to."""
    try:
        document = tomllib.loads(CONFIG.read_text(encoding="utf-8"))
        made, feed = units(document), fetches(document)
    except FileNotFoundError:
        return 0
    except (
        OSError,
        UnicodeDecodeError,
        tomllib.TOMLDecodeError,
        WrongValueError,
        KeyError,
        TypeError,
        AttributeError,
    ) as e:
        print(f"mpic-generator: {CONFIG}: {type(e).__name__}: {e}", file=sys.stderr)  # noqa: T201 -- goes to the journal
        return 1
    write(made, Path(sys.argv[1]), feed=feed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
