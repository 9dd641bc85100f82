"""The shell of every page: a template filled in, styles and scripts inside, and a policy that lets nothing else in.

A page is a Jinja template that extends ``page.html`` (blocks ``header``, ``contents``, ``main``) and may import
``parts.html`` (macros for tables, charts and remarks).  Whatever is not marked as HTML is escaped; what a script
reads is embedded as ``<script type="application/json" id="…">{{ values | tojson }}</script>``.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

HOUSE = "sslrec_core.pages"
"""The package whose ``templates`` every page can extend and import."""


def render(
    template: str,
    values: Mapping[str, Any],
    *,
    package: str = HOUSE,
    styles: Sequence[str] = (),
    scripts: Sequence[str] = (),
    dormant: Mapping[str, str] | None = None,
    connect: bool = False,
) -> str:
    """A whole page: ``template`` of ``package``, filled with ``values``, which give at least ``title``.

    Args:
        template: File name in the folder ``templates`` of ``package``, or of this package.
        styles: Names of further style sheets in those folders.
        scripts: Names of further scripts in those folders; they run when the document is there.
        dormant: Large scripts, which another starts if need be, by the ``id`` of the element that holds their text.
        connect: Whether scripts may ask the server that the page came from.
    """
    asleep = dormant or {}
    environment = _environment(package)
    css = [_source(environment, name) for name in ("page.css", *styles)]
    js = [_source(environment, name) for name in ("page.js", *scripts)]
    inside = {
        "styles": [*map(Markup, css)],
        "scripts": [*map(Markup, js)],
        "dormant": {name: Markup(text) for name, text in asleep.items()},
        "policy": policy(css, [*js, *asleep.values()], connect),
    }
    page = environment.get_template(template).render({**values, **inside})
    # A file's name may hold bytes that are no text in any encoding.
    return page.encode("utf-8", "replace").decode("utf-8")


def policy(styles: Sequence[str], scripts: Sequence[str], connect: bool = False) -> str:
    """The Content-Security-Policy under which a browser runs these styles and scripts, and loads nothing."""
    allowed = {
        "default-src": ["'none'"],
        "style-src": [*map(_hash, styles)],
        "script-src": [*map(_hash, scripts)],
        "img-src": ["data:"],
        "connect-src": ["'self'"] if connect else ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
    }
    return "; ".join(" ".join([name, *values]) for name, values in allowed.items())


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _environment(package: str) -> Environment:
    loader = ChoiceLoader([PackageLoader(name) for name in dict.fromkeys([package, HOUSE])])
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["figure"] = figure
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return environment


def _source(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def figure(value: object) -> object:
    """A number as it is printed: whole ones with thousands apart, others to four places; None is a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4f}" if value == 0 or 1e-3 <= abs(value) < 1e6 else f"{value:.3g}"
    return value
