#!/usr/bin/env python3
"""Makes `appliance/policy/data/borders.json` from the npm package `@rapideditor/country-coder`.

    npm pack @rapideditor/country-coder@5.6.1 && tar xzf rapideditor-country-coder-5.6.1.tgz
    packaging/borders.py package

Kept of each area: its rings, and the ISO 3166-1 alpha-2 codes that describe it, the most specific first. An area is a piece of
a country's land or sea; country-coder cuts some countries into several.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[1] / "appliance" / "policy" / "data"
# Areas whose ISO 3166-1 code the package cannot tell: ISO has no code for Northern Cyprus; ISO 3166-2 lists Crimea under UA,
# although Russia holds it; XK is user-assigned, and ISO's own code for Kosovo is still RS. All are served by the RIPE NCC.
_DISPUTED = {"Q23681": ["CY"], "Q7835": ["UA", "RU"], "XK": ["XK", "RS"]}
# Reserved by ISO at somebody's wish, which makes no country of them: Ascension, Clipperton, Sark, the European Union, ...
_RESERVED = "excRes"


def thinned(document: Mapping[str, Any], version: str) -> dict[str, Any]:
    """The data file, of the package's `borders.json`."""
    features = [feature["properties"] for feature in document["features"]]
    official = {of["iso1A2"]: of for of in features if of.get("iso1A2") and of.get("isoStatus") != _RESERVED}
    areas = [
        {"codes": _codes(feature["properties"], official), "rings": list(_rings(feature["geometry"]))}
        for feature in document["features"]
        if feature["geometry"]
    ]
    return {
        "source": f"npm @rapideditor/country-coder {version}, src/data/borders.json",
        "licence": "ISC, see country-coder.LICENSE",
        "names": {code: of["nameEn"] for code, of in sorted(official.items())},
        "areas": areas,
    }


def _codes(area: Mapping[str, Any], official: Mapping[str, Any]) -> list[str]:
    for key in ("wikidata", "iso1A2"):
        if area.get(key) in _DISPUTED:
            return _DISPUTED[area[key]]
    named = [area.get("iso1A2"), *area.get("groups", ()), area.get("country")]
    found = [code for code in named if code in official]
    # A piece of a territory: the territory's own code may have a country above it.
    found += [official[code]["country"] for code in found if official[code].get("country")]
    return list(dict.fromkeys(found))


def _rings(geometry: Mapping[str, Any]) -> Iterator[list[float]]:
    """Each ring as longitude, latitude, longitude, latitude, ...; the even-odd rule needs no other order."""
    for polygon in geometry["coordinates"]:
        for ring in polygon:
            yield [number for point in ring for number in point]


def main(package: Path) -> None:
    """Writes the data file, one area a line, and the licence beside it."""
    version = json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]
    document = json.loads((package / "src/data/borders.json").read_text(encoding="utf-8"))
    made = thinned(document, version)
    areas = ",\n".join(json.dumps(area, separators=(",", ":")) for area in made.pop("areas"))
    head = ",\n".join(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in made.items())
    (TARGET / "borders.json").write_text(f'{{{head},\n"areas": [\n{areas}\n]}}\n', encoding="utf-8")
    (TARGET / "country-coder.LICENSE").write_bytes((package / "LICENSE.md").read_bytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
