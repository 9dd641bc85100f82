"""Whom the lists serve and what they hold: metrics by slice, and popularity of what is recommended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sslrec_core.pages.charts import SERIES, draw
from sslrec_core.pages.parts import Chart, Charts, Part, Remark, Table
from sslrec_core.reporting.looking import TAIL, Lists, Seen

RANKS = 60
"""Points of a popularity curve."""


def slices(seen: Sequence[Seen], judge: str) -> list[Part]:
    tables = {one.group: one.slices for one in seen if one.slices is not None}
    metric = judge if any(f"{judge}/" in key for table in tables.values() for key in table) else _first_sliced(tables)
    if metric is None:
        return [] if not tables else [Remark("The evaluator measures no groups of users or items.")]
    rows = [
        {"series": group, "slice": key.partition("/")[2], "value": value}
        for group, table in tables.items()
        for key, value in table.items()
        if key.startswith(f"{metric}/")
    ]
    charts = [
        _slice_chart(title, metric, [row for row in rows if row["slice"].startswith(prefix)], tables)
        for prefix, title in (("users:", "Users by length of training history"), ("items:", "Items by popularity"))
    ]
    at = metric.partition("@")[2]
    shown = [key for key in next(iter(tables.values())) if "/" not in key and key.partition("@")[2] == at]
    everything: list[Part] = [
        Table(
            f"{group}: every metric at {at}, test part",
            ("slice", *(shown := [key for key in shown if any(other.startswith(f"{key}/") for other in table)])),
            [
                (cut or "all", *(table.get(f"{key}/{cut}" if cut else key) for key in shown))
                for cut in ["", *dict.fromkeys(key.partition("/")[2] for key in table if key.startswith(f"{metric}/"))]
            ],
            folded=f"Every metric of {group}",
        )
        for group, table in tables.items()
    ]
    return [Charts([chart for chart in charts if chart is not None]), *everything]


def _first_sliced(tables: Mapping[str, Mapping[str, float]]) -> str | None:
    return next((key.partition("/")[0] for table in tables.values() for key in table if "@" in key and "/" in key), None)


def _slice_chart(
    title: str, metric: str, rows: Sequence[Mapping[str, Any]], tables: Mapping[str, Mapping[str, float]]
) -> Chart | None:
    if not rows:
        return None
    order = list(dict.fromkeys(row["slice"] for row in rows))
    colour = _colour(tables)
    means = [{"series": group, "mean": table[metric]} for group, table in tables.items() if metric in table]
    y = {"field": "slice", "type": "nominal", "title": None, "sort": order}
    spec = {
        "height": {"step": 28},
        "layer": [
            {
                "data": {"values": means},
                "mark": {"type": "rule", "strokeDash": [3, 3], "opacity": 0.8},
                "encoding": {"x": {"field": "mean", "type": "quantitative"}, "color": colour},
            },
            {
                "data": {"values": list(rows)},
                "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
                "encoding": {
                    "y": y,
                    "x": {"field": "value", "type": "quantitative", "title": f"test {metric}", "scale": {"zero": True}},
                    "color": colour,
                },
            },
        ],
    }
    table = Table(
        f"test {metric}",
        ("slice", *tables),
        [(cut, *(values.get(f"{metric}/{cut}") for values in tables.values())) for cut in order],
    )
    return Chart(title, f"Test {metric}; the broken line is the mean over everybody.", draw(spec, title), table)


# ---- popularity ---------------------------------------------------------------------------------


def popularity(seen: Sequence[Seen]) -> list[Part]:
    parts: list[Part] = []
    by_data: dict[str, list[Seen]] = {}
    for one in seen:
        if one.lists is not None:
            by_data.setdefault(one.data, []).append(one)
    for together in by_data.values():
        found = {one.group: one.lists for one in together if one.lists is not None}
        first = next(iter(found.values()))
        parts.append(Charts([_popularity_chart(found)]))
        rows = [(group, *lists.measures().values()) for group, lists in found.items()]
        parts.append(
            Table(
                f"Lists of {first.k} for the {first.users:,} users of the test part: share of the catalogue that is "
                "recommended at all, inequality (0 all alike, 1 a single item), mean training interactions of a "
                f"recommended item, share from outside the items that hold {TAIL:.0%} of the training "
                "interactions",
                ("group", *first.measures()),
                rows,
            )
        )
    return parts


def _popularity_chart(found: Mapping[str, Lists]) -> Chart:
    first = next(iter(found.values()))
    order = first.training.sort(descending=True, stable=True).indices
    n = len(order)
    ranks = torch.logspace(0, torch.tensor(float(n)).log10().item(), RANKS).round().long().clamp(1, n).unique()

    def shares(counts: Tensor) -> list[float]:
        total = counts[order].double().cumsum(0)
        return [float(value) for value in (total[ranks - 1] / total[-1].clamp(min=1)).tolist()]

    columns = {"chosen in training": shares(first.training), "chosen in the test part": shares(first.chosen)}
    columns |= {
        f"recommended by {group}" if len(found) > 1 else "recommended": shares(lists.recommended)
        for group, lists in found.items()
    }
    rows = [
        {"series": series, "rank": rank, "share": share, "data": series.startswith("chosen")}
        for series, values in columns.items()
        for rank, share in zip(ranks.tolist(), values, strict=True)
    ]
    dashes = {"field": "data", "type": "nominal", "legend": None, "scale": {"domain": [False, True], "range": [[1, 0], [4, 3]]}}
    greys = ["var(--muted)", "var(--ink)"]
    colours = [*greys, *(f"var(--series-{place % 8 + 1})" for place in range(len(found)))]
    spec = {
        "data": {"values": rows},
        "mark": "line",
        "encoding": {
            "x": {"field": "rank", "type": "quantitative", "scale": {"type": "log", "domain": [1, max(n, 2)], "nice": False},
                  "title": "most popular items of the training part (log)", "axis": {"format": ",d", "tickCount": 6}},
            "y": {"field": "share", "type": "quantitative", "title": None, "axis": {"format": "%"},
                  "scale": {"domain": [0, 1]}},
            "color": {"field": "series", "type": "nominal", "title": None,
                      "scale": {"domain": list(columns), "range": colours}},
            "strokeDash": dashes,
        },
    }  # fmt: skip
    table = Table(
        "Share that falls on the most popular items",
        ("most popular items", *columns),
        [(rank, *values) for rank, *values in zip(ranks.tolist(), *columns.values(), strict=True)],
    )
    half = {series: next(r for r, v in zip(ranks.tolist(), values, strict=True) if v >= 0.5 or r == n) for series, values in columns.items()}
    said = "; ".join(f"half of what is {series} falls on the first {rank:,} items" for series, rank in half.items())
    caption = f"Share that falls on the n most popular of {n:,} items. A curve above the others favours popular items."
    return Chart("How far down the catalogue", caption, draw(spec, said), table)


def _colour(series: Mapping[str, object]) -> dict[str, Any]:
    if len(series) == 1:
        return {"value": "var(--series-1)"}
    return {"field": "series", "type": "nominal", "title": None, "scale": {"domain": list(series)}}
