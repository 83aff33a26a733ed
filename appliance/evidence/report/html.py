"""The few pieces of HTML that reports are made of; every text goes through `safe`."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import NewType

Html = NewType("Html", str)

STYLE = """
:root { color-scheme: light; }
body { font: 10.5pt/1.45 "DejaVu Sans", "Liberation Sans", Arial, sans-serif; margin: 2em auto; max-width: 60em; color: #111; }
h1 { font-size: 17pt; margin: 0 0 .2em; } h2 { font-size: 13pt; margin: 0 0 .3em; } h3 { font-size: 10.5pt; margin: 1em 0 .3em; }
section { border-top: 2px solid #444; padding-top: .8em; margin-top: 1.6em; }
table { border-collapse: collapse; width: 100%; font-size: 9pt; margin: .4em 0; break-inside: auto; }
th, td { text-align: left; vertical-align: top; border-bottom: 1px solid #ccc; padding: .2em .8em .2em 0; }
th { border-bottom: 1px solid #444; font-weight: bold; white-space: nowrap; } tr { break-inside: avoid; }
.long { overflow-wrap: anywhere; }
.mono { font-family: "DejaVu Sans Mono", "Liberation Mono", monospace; font-size: 8pt; overflow-wrap: anywhere; }
.address { font-family: "DejaVu Sans Mono", "Liberation Mono", monospace; font-size: 8pt; }
.verdict { font-weight: bold; padding: 0 .4em; border: 1.5px solid; border-radius: 3px; }
.good { color: #14521c; } .bad { color: #8a1010; } .quiet { color: #555; } .small { font-size: 8.5pt; }
h2, h3, .timeline { break-after: avoid; } .timeline { break-inside: avoid; display: block; margin: .4em 0; width: 100%; }
@page { margin: 18mm 15mm; } @media print { body { margin: 0; max-width: none; } }
"""


def safe(text: object) -> Html:
    """`text` as it may stand in an element or a quoted attribute; what does not print is shown as an escape."""
    printable = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(text))
    return Html(escape(printable, quote=True))


def element(name: str, content: Html | Iterable[Html], css: str = "") -> Html:
    """An element; its content must have been made here."""
    inner = content if isinstance(content, str) else "".join(content)
    return Html(f'<{name} class="{css}">{inner}</{name}>' if css else f"<{name}>{inner}</{name}>")


def join(parts: Iterable[Html], between: str = "") -> Html:
    """The parts, one after the other."""
    return Html(between.join(parts))


def table(headings: Iterable[str], rows: Iterable[Iterable[Html]]) -> Html:
    """A table; empty where there are no rows."""
    body = [element("tr", (element("td", cell) for cell in row)) for row in rows]
    if not body:
        return Html("")
    head = element("tr", (element("th", safe(heading)) for heading in headings))
    return element("table", (element("thead", head), element("tbody", body)))
