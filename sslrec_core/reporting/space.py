"""Where vectors lie: maps of items, and the plane of alignment and uniformity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sslrec_core.pages.charts import RAMP, SERIES, draw
from sslrec_core.pages.parts import Chart, Charts, Part, Remark, Table
from sslrec_core.reporting.looking import LISTENERS, SAMPLE, Map, Seen
from sslrec_core.reporting.story import Story

MAPS = 6
"""Of groups, at most."""


def maps(seen: Sequence[Seen]) -> list[Part]:
    drawn = [(one.group, one.map) for one in seen if one.map is not None]
    if not drawn:
        return []
    parts: list[Part] = [Charts([_map_chart(group, found, len(drawn) > 1) for group, found in drawn[:MAPS]])]
    if len(drawn) > MAPS:
        parts.append(Remark(f"Maps of the first {MAPS} groups only."))
    return parts


def _map_chart(group: str, found: Map, several: bool) -> Chart:
    classes = found.classes.tolist()
    rows = [
        {"x": x, "y": y, "class": place, "popularity": found.bounds[place]}
        for (x, y), place in zip(found.item_points.tolist(), classes, strict=True)
    ]
    # The rare ones first, so that popular items are not hidden under them.
    rows.sort(key=lambda row: row["class"])
    axes = [f"first axis, {found.explained[0]:.0%}", f"second axis, {found.explained[1]:.0%}"]
    x, y = (
        {"field": key, "type": "quantitative", "title": f"{title} of the variance", "scale": {"zero": False},
         "axis": {"grid": False, "labels": False, "ticks": False}}
        for key, title in zip(("x", "y"), axes, strict=True)
    )  # fmt: skip
    used = sorted(set(classes))
    most = max(1, len(found.bounds) - 1)
    colour = {
        "field": "popularity", "type": "nominal", "title": "training interactions",
        
        "scale": {"domain": [found.bounds[place] for place in used],
                  "range": [RAMP[place * (len(RAMP) - 1) // most] for place in used]},
        "legend": {"columns": 5},
    }  # fmt: skip
    people = [{"x": px, "y": py} for px, py in found.user_points.tolist()]
    spec = {
        "height": 320,
        "layer": [
            {"data": {"values": people}, "mark": {"type": "point", "shape": "cross", "size": 12, "opacity": 0.45,
                                                  "strokeWidth": 0.8, "color": "var(--muted)"}, "encoding": {"x": x, "y": y}},
            {"data": {"values": rows}, "mark": {"type": "circle", "size": 14, "opacity": 0.85},
             "encoding": {"x": x, "y": y, "color": colour}},
        ],
    }  # fmt: skip
    placed = (
        f"by the scores that {LISTENERS} users give them, because the model has no vectors of users and items"
        if found.by_scores
        else "by their vectors"
    )
    users = f" The crosses are {len(people):,} users." if people else ""
    caption = (
        f"{len(rows):,} items, drawn at random, {placed}, in the plane in which all items differ most (principal "
        f"components).{users}"
    )
    points = [(place + 1, row["x"], row["y"], row["popularity"]) for place, row in enumerate(rows)]
    table = Table("The items of the map", ("item", *axes, "training interactions"), points)
    title = f"Map of {group}" if several else "Map of the items"
    return Chart(title, caption, draw(spec, f"{title}, coloured by popularity"), table)


def plane(seen: Sequence[Seen], stories: Sequence[Story]) -> list[Part]:
    parts: list[Part] = []
    rows: list[dict[str, Any]] = []
    for one in seen:
        if one.plane == []:
            parts.append(
                Remark(
                    f"{one.group} has no vectors of users and items whose product is the score, so that alignment and "
                    "uniformity are not defined for it."
                )
            )
        rows += [
            {
                "series": "vectors without structure" if place.pairs == "random" else one.group, "pairs": place.pairs,
                "alignment": place.alignment, "uniformity": place.uniformity,
            }
            for place in one.plane or []
        ]  # fmt: skip
    if not rows:
        return parts
    paths = [
        {"series": story.group, "run": story.name, "epoch": epoch, "alignment": value, "uniformity": uniform}
        for story in stories
        for epoch, value in story.curve("alignment")
        if (uniform := dict(story.curve("uniformity")).get(epoch)) is not None
    ]
    domain = list(dict.fromkeys(row["series"] for row in rows))
    series = [f"var(--series-{place % 8 + 1})" for place in range(len(domain))]
    range_ = ["var(--muted)" if label == "vectors without structure" else colour for label, colour in zip(domain, series, strict=True)]
    x = {"field": "uniformity", "type": "quantitative", "scale": {"zero": False, "padding": 12}}
    y = {"field": "alignment", "type": "quantitative", "scale": {"zero": False, "padding": 12}}
    colour = {"field": "series", "type": "nominal", "title": None, "scale": {"domain": domain, "range": range_}}
    shape = {"field": "pairs", "type": "nominal", "title": "pairs", "sort": ["training", "test", "random"]}
    layers: list[dict[str, Any]] = [
        {"data": {"values": rows}, "mark": {"type": "point", "size": 70, "strokeWidth": 2, "opacity": 1},
         "encoding": {"x": x, "y": y, "color": colour, "shape": shape}}
    ]  # fmt: skip
    if paths:
        layers.insert(
            0,
            {"data": {"values": paths}, "mark": {"type": "line", "strokeWidth": 1, "opacity": 0.6},
             "encoding": {"x": x, "y": y, "color": colour, "detail": {"field": "run"}, "order": {"field": "epoch"}}},
        )  # fmt: skip
    caption = (
        "How near the vectors of a user and an item of theirs lie, and how evenly vectors are spread over the sphere; "
        f"lower is better for both (Wang and Isola, 2020). Of {SAMPLE:,} pairs, users and items at most."
    )
    said = "; ".join(f"{r['series']}, {r['pairs']} pairs: {r['alignment']:.2f} and {r['uniformity']:.2f}" for r in rows)
    table = Table(
        "Alignment and uniformity", ("group", "pairs", "alignment", "uniformity"),
        [(row["series"], row["pairs"], row["alignment"], row["uniformity"]) for row in rows],
    )  # fmt: skip
    return [Charts([Chart("Alignment and uniformity", caption, draw({"layer": layers}, said), table)]), *parts]
