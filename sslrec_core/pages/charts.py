"""Charts as SVG, drawn by Vega-Lite when a page is written: pages need no script and no network to show them.

Colours are names of the page's style sheet (``var(--series-1)``), so that a drawing follows the page's theme.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
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
        "symbolStrokeWidth": 2, "offset": 8,
    },
    "header": {"labelColor": "var(--ink)", "titleColor": "var(--muted)", "labelFontSize": 11, "title": None},
    "line": {"strokeWidth": 1.75},
    "rule": {"color": "var(--muted)"},
    "text": {"color": "var(--ink)", "fontSize": 11},
}  # fmt: skip
"""The configuration of every chart."""

_IDLE = ("role", "version", "class", "pointer-events", "stroke-miterlimit")
"""Attributes of the drawing that a page has no use for."""


def draw(spec: Mapping[str, Any], name: str) -> Markup:
    """The Vega-Lite ``spec`` as an SVG element in the page's colours.

    Args:
        spec: Without configuration; ``width`` and ``height`` where the chart is not of the usual size.
        name: What it shows, in a few words, for screen readers.

    Raises:
        ConfigError: the extra ``report`` is not installed.
    """
    size = {} if "facet" in spec or "hconcat" in spec else {"width": WIDTH, "height": HEIGHT}
    return _inline(_library().vegalite_to_svg(json.dumps({**size, **spec, "config": THEME})), name)


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
    root = ElementTree.fromstring(svg.replace(' xmlns="http://www.w3.org/2000/svg"', "", 1))
    for element in root.iter():
        for attribute in [key for key in element.attrib if key in _IDLE or key.startswith("aria-")]:
            del element.attrib[attribute]
    root.set("role", "img")
    root.set("aria-label", name)
    return Markup(ElementTree.tostring(root, encoding="unicode"))
