"""Charts as SVG, drawn by Vega-Lite when a page is written: pages need no script and no network to show them.

Colours are names of the page's style sheet (``var(--series-1)``), so that a drawing follows the page's theme.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from itertools import cycle
from typing import Any
from xml.etree import ElementTree

from markupsafe import Markup

from sslrec_core.errors import ConfigError

SERIES = tuple(f"var(--series-{number})" for number in range(1, 9))
"""Colours that tell things apart."""
RAMP = tuple(f"var(--ramp-{number})" for number in range(1, 6))
"""Colours from little to much."""
WIDTH, HEIGHT = 400, 220
"""Of the plotted area; a chart and its axes then fit a telephone without shrinking much."""

THEME: Mapping[str, Any] = {
    "aria": False,  # the drawing has one name, and its figures stand beside it as a table
    "background": None,
    "font": "sans-serif",
    "view": {"stroke": None},
    "range": {"category": SERIES, "ordinal": RAMP},
    "axis": {
        "domainColor": "var(--rule)", "gridColor": "var(--rule)", "tickColor": "var(--rule)", "gridOpacity": 0.6,
        "labelColor": "var(--muted)", "titleColor": "var(--muted)", "titleFontWeight": "normal",
        "labelFontSize": 11, "titleFontSize": 11, "tickCount": 5, "labelLimit": 160, "titlePadding": 6,
    },
    "legend": {
        "orient": "top", "direction": "horizontal", "labelColor": "var(--ink)", "titleColor": "var(--muted)",
        "titleFontWeight": "normal", "labelFontSize": 11, "titleFontSize": 11, "labelLimit": 360, "columns": 2,
        "symbolStrokeWidth": 2, "offset": 8, "columnPadding": 16,
    },
    "line": {"strokeWidth": 1.75},
}  # fmt: skip
"""The configuration of every chart."""

_IDLE = ("role", "version", "class", "pointer-events", "stroke-miterlimit")
"""Attributes of the drawing that a page has no use for."""
_GEOMETRY = {"transform", "d", "x", "x2", "y", "y2"}
_LONG = re.compile(r"\d+\.\d{3,}")
"""A number with more places than a screen can show."""


def quantity(field: str, title: str | None = None, **options: Any) -> dict[str, Any]:
    """A channel of numbers."""
    return {"field": field, "type": "quantitative", "title": title, **options}


def category(field: str, title: str | None = None, **options: Any) -> dict[str, Any]:
    """A channel of names."""
    return {"field": field, "type": "nominal", "title": title, **options}


def palette(names: Iterable[str]) -> dict[str, str]:
    """A colour for each name, so that it has the same in every chart of a page."""
    return dict(zip(dict.fromkeys(names), cycle(SERIES), strict=False))


def series(colours: Mapping[str, str], legend: bool = True) -> dict[str, Any]:
    """The channel of the field ``series``, in these colours; a page about a single thing needs no legend for it."""
    if not legend and len(colours) == 1:
        return {"value": next(iter(colours.values()))}
    return category("series", scale={"domain": list(colours), "range": list(colours.values())})


def layer(rows: Iterable[Mapping[str, Any]], mark: Mapping[str, Any], **channels: Any) -> dict[str, Any]:
    """Rows drawn with a mark."""
    return {"data": {"values": list(rows)}, "mark": mark, "encoding": channels}


def draw(spec: Mapping[str, Any], name: str) -> Markup:
    """The Vega-Lite ``spec`` as an SVG element in the page's colours.

    Args:
        spec: Without configuration; ``width`` and ``height`` where the chart is not of the usual size.
        name: What it shows, in a few words, for screen readers.

    Raises:
        ConfigError: the extra ``report`` is not installed.
    """
    whole = {"width": WIDTH, "height": HEIGHT, **spec, "config": THEME}
    return _inline(_library().vegalite_to_svg(json.dumps(whole)), name)


def library() -> str:
    """The script of Vega-Embed with all that it needs, for pages whose charts follow what a reader chooses.

    Raises:
        ConfigError: the extra ``report`` is not installed.
    """
    return str(_library().javascript_bundle())


def _library() -> Any:
    try:
        import vl_convert
    except ImportError as error:
        raise ConfigError(
            "charts need the library vl-convert", "it is not installed", fix="pip install 'sslrec-core[report]'"
        ) from error
    return vl_convert


def _inline(svg: str, name: str) -> Markup:
    """``svg`` as one image called ``name``, whose parts are not read out one by one."""
    # Names that people gave to runs and groups may hold letters that XML has no place for.
    svg = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "\N{REPLACEMENT CHARACTER}", svg)
    root = ElementTree.fromstring(svg.replace(' xmlns="http://www.w3.org/2000/svg"', "", 1))
    for element in root.iter():
        for attribute in [key for key in element.attrib if key in _IDLE or key.startswith("aria-")]:
            del element.attrib[attribute]
        for attribute in _GEOMETRY & element.attrib.keys():
            element.set(attribute, _LONG.sub(lambda number: f"{float(number[0]):.2f}", element.attrib[attribute]))
    root.set("role", "img")
    root.set("aria-label", name)
    return Markup(ElementTree.tostring(root, encoding="unicode"))
