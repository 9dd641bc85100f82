"""Where vectors lie: maps of items, and the plane of alignment and uniformity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sslrec_core.pages.charts import RAMP, category, draw, layer, palette, quantity, series
from sslrec_core.pages.parts import Beside, Chart, Part, Remark, Table
from sslrec_core.reporting.looking import LISTENERS, SAMPLE, Map, Seen
from sslrec_core.reporting.story import Story

MAPS = 6
"""Of groups, at most."""
CROSS = "M-1,-1L1,1M-1,1L1,-1"
RANDOM = "vectors without structure"


def charts(seen: Sequence[Seen], stories: Sequence[Story]) -> list[Part]:
    """The maps and the plane, and what there is to say about those that are missing."""
    drawn = [(one.group, one.map) for one in seen if one.map is not None]
    charts = [_map_chart(group, found, len(drawn) > 1) for group, found in drawn[:MAPS]]
    if plane := _plane(seen, stories):
        charts.append(plane)
    parts: list[Part] = [Beside(charts)]
    if len(drawn) > MAPS:
        parts.append(Remark(f"Maps of the first {MAPS} groups only."))
    if without := [one.group for one in seen if one.plane == []]:
        parts.append(
            Remark(
                f"Alignment and uniformity are not defined for {', '.join(without)}: there are no vectors of users and "
                "items whose product is the score."
            )
        )
    return parts


def _map_chart(group: str, found: Map, several: bool) -> Chart:
    rows = [
        {"item": item, "x": x, "y": y, "class": place, "popularity": found.bounds[place]}
        for item, (x, y), place in zip(found.items, found.points.tolist(), found.classes.tolist(), strict=True)
    ]
    # The rare ones first, so that popular items are not hidden under them.
    rows.sort(key=lambda row: row["class"])
    people = [{"x": x, "y": y} for x, y in found.user_points.tolist()]
    titles = [
        f"{place} axis, {share:.0%} of the variance"
        for place, share in zip(("first", "second"), found.explained, strict=True)
    ]
    bare = {"grid": False, "labels": False, "ticks": False}
    x, y = (quantity(key, title, scale={"zero": False}, axis=bare) for key, title in zip("xy", titles, strict=True))
    used = sorted({row["class"] for row in rows})
    steps = max(1, len(found.bounds) - 1)
    colours = [RAMP[place * (len(RAMP) - 1) // steps] for place in used]
    scale = {"domain": [found.bounds[place] for place in used], "range": colours}
    colour = category("popularity", "training interactions", scale=scale, legend={"columns": 5})
    cross = {
        "type": "point",
        "shape": CROSS,
        "size": 12,
        "strokeWidth": 0.8,
        "opacity": 0.45,
        "color": "var(--muted)",
    }
    spec = {
        "height": 320,
        "layer": [
            layer(people, cross, x=x, y=y),
            layer(rows, {"type": "circle", "size": 14, "opacity": 0.85}, x=x, y=y, color=colour),
        ],
    }
    placed = (
        f"by the scores that {LISTENERS} users give them, because the model has no vectors of users and items"
        if found.by_scores
        else "by the model's vectors"
    )
    caption = (
        f"{len(rows):,} items, drawn at random, placed {placed}, in the plane in which they differ most (principal "
        f"components).{f' The crosses are {len(people):,} users.' if people else ''}"
    )
    cells = [(row["item"], row["x"], row["y"], row["popularity"]) for row in rows]
    table = Table("The items of the map", ("item", *titles, "training interactions"), cells)
    title = f"Map of {group}" if several else "Map of the items"
    return Chart(title, caption, draw(spec, f"{title}, coloured by popularity"), table)


def _plane(seen: Sequence[Seen], stories: Sequence[Story]) -> Chart | None:
    found = [(one.group, place) for one in seen for place in one.plane or []]
    rows = {
        (RANDOM if place.pairs == "random" else group, place.pairs): (place.alignment, place.uniformity)
        for group, place in found
    }
    if not rows:
        return None
    points = [
        {"series": name, "pairs": pairs, "alignment": alignment, "uniformity": uniformity}
        for (name, pairs), (alignment, uniformity) in rows.items()
    ]
    paths = [
        {"series": story.group, "run": story.name, "epoch": epoch, "alignment": alignment, "uniformity": uniformity}
        for story in stories
        for (epoch, alignment), (_, uniformity) in zip(
            story.curve("alignment"), story.curve("uniformity"), strict=False
        )
    ]
    colours = palette(one.group for one in seen)
    shades = {RANDOM: "var(--muted)", **{group: colours[group] for group, _ in found}}
    scale = {"zero": False, "padding": 12}
    axes: dict[str, Any] = {
        "x": quantity("uniformity", "uniformity", scale=scale), "y": quantity("alignment", "alignment", scale=scale),
        "color": series(shades),
    }  # fmt: skip
    shape = category("pairs", "pairs", sort=["training", "test", "random"], legend={"columns": 3})
    line = {"type": "line", "strokeWidth": 1, "opacity": 0.6}
    spec = {
        "layer": [
            layer(paths, line, **axes, detail={"field": "run"}, order={"field": "epoch"}),
            layer(points, {"type": "point", "size": 70, "strokeWidth": 2, "opacity": 1}, **axes, shape=shape),
        ]
    }
    caption = (
        "How near the vectors of a user and an item of theirs lie, and how evenly vectors are spread over the sphere; "
        f"lower is better for both (Wang and Isola, 2020). Of {SAMPLE:,} pairs, users and items at most."
        f"{' The lines lead from the first epoch to the last.' if paths else ''}"
    )
    said = "; ".join(f"{name}, {pairs} pairs: {a:.2f} and {u:.2f}" for (name, pairs), (a, u) in rows.items())
    cells = [(*key, *values) for key, values in rows.items()]
    table = Table("Alignment and uniformity", ("group", "pairs", "alignment", "uniformity"), cells)
    return Chart("Alignment and uniformity", caption, draw(spec, said), table)
