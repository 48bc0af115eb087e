"""HTML of the report: text is escaped here, and pictures become data URIs, so that the page needs nothing but itself.

A picture of its own cannot meet the names within another one, as SVG that stands in the page would.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from peer.version import VERSION

if TYPE_CHECKING:
    from netsim.experiments.report.style import Plot

STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem clamp(.8rem, 3vw, 2.5rem) 3rem; max-width: 84rem; background: #fff;
  color: #222; font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .7rem; padding-bottom: .2rem; border-bottom: 1px solid #ddd; }
p { margin: .3rem 0 .8rem; max-width: 46rem; }
.faint, figcaption, th { color: #5c5c5c; }
pre { background: #f5f5f3; border: 1px solid #e3e3df; border-radius: 4px; padding: .6rem .8rem; overflow-x: auto;
  font: .82rem/1.45 ui-monospace, "DejaVu Sans Mono", monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .7rem; margin: 1rem 0; }
.tile { border: 1px solid #e3e3df; border-radius: 4px; padding: .5rem .8rem; }
.tile b { display: block; font-size: 1.35rem; font-weight: 600; line-height: 1.3; }
.tile span { font-size: .82rem; color: #5c5c5c; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); gap: 1.4rem 1.6rem; }
figure { margin: 0; break-inside: avoid; }
figure img { width: 100%; height: auto; display: block; }
figcaption { font-size: .82rem; line-height: 1.4; margin-top: .2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .87rem; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 500; vertical-align: bottom; }
th, td { padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #ececea; vertical-align: top; }
td.n, th.n { text-align: right; }
td.n, td.k { white-space: nowrap; }
.key { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .45em; }
.facts td:first-child { color: #5c5c5c; white-space: nowrap; }
.facts td:last-child { overflow-wrap: anywhere; }
footer { margin-top: 3rem; font-size: .82rem; color: #5c5c5c; }
@media print { body { padding: 0; font-size: 11pt; max-width: none; } .plots { grid-template-columns: 1fr 1fr; }
  h2 { break-after: avoid; } .wide { overflow: visible; } }
"""


def document(title: str, body: str) -> str:
    """Return a whole page."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n"
        f"<footer>Written by murmuration {escaped(VERSION)}.</footer>\n</body>\n</html>\n"
    )


def figures(plots: Iterable[Plot]) -> str:
    """Return plots side by side, as many as there is room for."""
    return f'<div class="plots">{"".join(map(_figure, plots))}</div>'


def _figure(plot: Plot) -> str:
    from netsim.experiments.report.style import png, svg

    kind, content = ("png", png(plot.figure)) if plot.is_dense else ("svg+xml", svg(plot.figure))
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
    return (
        f'<figure id="{escaped(plot.name)}"><img alt="{escaped(plot.title)}" src="{source}">'
        f"<figcaption>{escaped(plot.caption)}</figcaption></figure>"
    )


def tiles(entries: Iterable[tuple[str, str]]) -> str:
    """Return figures to be seen at a glance: (value, what it is)."""
    shown = (f'<div class="tile"><b>{escaped(value)}</b><span>{escaped(name)}</span></div>' for value, name in entries)
    return f'<div class="tiles">{"".join(shown)}</div>'


def facts_table(facts: Iterable[tuple[str, str]]) -> str:
    """Return a table of (name, value)."""
    rows = (f"<tr><td>{escaped(name)}</td><td>{escaped(value)}</td></tr>" for name, value in facts)
    return f'<table class="facts">{"".join(rows)}</table>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numeric: Sequence[int] = ()) -> str:
    """Return a table; cells are HTML already."""

    def row(cells: Sequence[str], tag: str) -> str:
        kinds = ["n" if place in numeric else "" if place else "k" for place in range(len(cells))]
        return "".join(f'<{tag} class="{kind}">{cell}</{tag}>' for kind, cell in zip(kinds, cells, strict=True))

    top = f"<thead><tr>{row(head, 'th')}</tr></thead>" if any(head) else ""
    inner = "".join(f"<tr>{row(cells, 'td')}</tr>" for cells in rows)
    return f'<div class="wide"><table>{top}<tbody>{inner}</tbody></table></div>'


def paragraph(about: object) -> str:
    """Return a paragraph, or nothing for what is no text."""
    return f"<p>{escaped(' '.join(about.split()))}</p>" if isinstance(about, str) and about.strip() else ""


def swatch(colour: str) -> str:
    """Return a small square of a colour, which names a curve in a table."""
    return f'<span class="key" style="background:{colour}"></span>'


def preformatted(text: str) -> str:
    """Return text whose lines are kept."""
    return f"<pre>{escaped(text)}</pre>"


def escaped(text: str) -> str:
    """Return text that HTML shows as it is."""
    return html.escape(text)
