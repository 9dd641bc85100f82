"""Whom the lists serve and what they hold: metrics by slice, and popularity of what is recommended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sslrec_core.pages.charts import category, draw, layer, palette, quantity, series
from sslrec_core.pages.parts import Beside, Chart, Part, Remark, Section, Table, Text
from sslrec_core.reporting.looking import TAIL, Lists, Seen

RANKS = 60
"""Points of a popularity curve."""
KINDS = {"users:": "Users by length of training history", "items:": "Items by popularity"}
"""Slices, by the beginning of their names."""


def slices(seen: Sequence[Seen], judge: str) -> list[Part]:
    """How users and items of several kinds are served, by the metric that judges or the first that tells them apart."""
    tables = {one.group: one.slices for one in seen if one.slices is not None}
    sliced = [key.partition("/")[0] for table in tables.values() for key in table if "@" in key and "/" in key]
    if not tables:
        return []
    if not sliced:
        return [Remark("The evaluator measures no groups of users or items.")]
    metric = judge if judge in sliced else sliced[0]
    colours = palette(one.group for one in seen)
    charts = [_slice_chart(kind, title, metric, tables, colours) for kind, title in KINDS.items()]
    return [
        Beside([chart for chart in charts if chart]),
        *(_every_metric(group, metric, table) for group, table in tables.items()),
    ]


def _slice_chart(
    kind: str, title: str, metric: str, tables: Mapping[str, Mapping[str, float]], colours: Mapping[str, str]
) -> Chart | None:  # fmt: skip
    start = f"{metric}/{kind}"
    rows = [
        {"series": group, "slice": key.removeprefix(start), "value": value}
        for group, table in tables.items()
        for key, value in table.items()
        if key.startswith(start)
    ]
    if not rows:
        return None
    order = list(dict.fromkeys(str(row["slice"]) for row in rows))
    colour = series({group: colours[group] for group in tables}, legend=len(colours) > 1)
    value = quantity("value", f"test {metric}")
    means = [{"series": group, "value": table[metric]} for group, table in tables.items() if metric in table]
    broken = {"type": "rule", "strokeDash": [3, 3], "opacity": 0.8}
    dot = {"type": "point", "filled": True, "size": 60, "opacity": 1}
    spec = {
        "height": {"step": 30},
        "layer": [
            layer(means, broken, x=value, color=colour),
            layer(rows, dot, x=value, y=category("slice", sort=order), color=colour),
        ],
    }
    cells = [(cut, *(table.get(start + cut) for table in tables.values())) for cut in order]
    drawing = draw(spec, f"{title}: {', '.join(order)}")
    caption = f"Test {metric}; the broken line is the mean over everybody."
    return Chart(title, caption, drawing, Table(f"Test {metric}", (kind.rstrip(":"), *tables), cells))


def _every_metric(group: str, metric: str, table: Mapping[str, float]) -> Table:
    """All that was measured at the metric's length of list: a row for each slice."""
    cuts = [key.partition("/")[2] for key in table if key.startswith(f"{metric}/")]
    at = metric.partition("@")[2]
    sliced = dict.fromkeys(key.partition("/")[0] for key in table if "/" in key)
    names = [name for name in sliced if name.partition("@")[2] == at]
    rows = [(cut or "all", *(table.get(f"{name}/{cut}" if cut else name) for name in names)) for cut in ("", *cuts)]
    return Table(f"{group}, test part", ("slice", *names), rows, folded=f"Every metric of {group}")


def popularity(seen: Sequence[Seen]) -> list[Part]:
    """Whether lists favour what is popular; groups on the same data are drawn together."""
    by_data: dict[str, dict[str, Lists]] = {}
    for one in seen:
        if one.lists is not None:
            by_data.setdefault(one.data, {})[one.group] = one.lists
    colours = palette(one.group for one in seen)
    return [
        Beside([_popularity_chart(found, colours), Section("In figures", _popularity_figures(found))])
        for found in by_data.values()
    ]


def _popularity_figures(found: Mapping[str, Lists]) -> list[Part]:
    measures = {group: lists.measures() for group, lists in found.items()}
    lists = next(iter(found.values()))
    rows = [(name, *(values[name] for values in measures.values())) for name in lists.measures()]
    about = (
        "Coverage is the share of the catalogue that is recommended to anybody; Gini tells how unequally (0 all alike, "
        "1 a single item); popularity is the mean of the training interactions of recommended items; the tail lies "
        f"outside the most popular items that hold {TAIL:.0%} of the training interactions."
    )
    table = Table(f"Lists of {lists.k} for the {lists.users:,} users of the test part", ("measure", *measures), rows)
    return [table, Text(about)]


def _popularity_chart(found: Mapping[str, Lists], colours: Mapping[str, str]) -> Chart:
    first = next(iter(found.values()))
    order = first.training.sort(descending=True, stable=True).indices
    n = len(order)
    ranks = torch.logspace(0, math.log10(n), RANKS).round().long().clamp(1, n).unique()

    def shares(counts: Tensor) -> list[float]:
        total = counts[order].double().cumsum(0)
        values: list[float] = (total[ranks - 1] / total[-1].clamp(min=1)).tolist()
        return values

    chosen = {"chosen in training": shares(first.training), "chosen in the test part": shares(first.chosen)}
    by = {group: f"recommended by {group}" if len(found) > 1 else "recommended" for group in found}
    columns = {**chosen, **{by[group]: shares(lists.recommended) for group, lists in found.items()}}
    shades = dict(zip(chosen, ("var(--muted)", "var(--ink)"), strict=True)) | {
        by[group]: colours[group] for group in by
    }
    rows = [
        {"series": name, "rank": rank, "share": share, "by": "users" if name in chosen else "model"}
        for name, values in columns.items()
        for rank, share in zip(ranks.tolist(), values, strict=True)
    ]
    powers = [10**power for power in range(len(str(n)))]
    x = quantity(
        "rank", "the n most popular items of the training part",
        scale={"type": "log", "domain": [1, max(n, 2)], "nice": False}, axis={"format": ",d", "values": powers},
    )  # fmt: skip
    y = quantity("share", axis={"format": "%"}, scale={"domain": [0, 1]})
    dash = category("by", legend=None, scale={"domain": ["model", "users"], "range": [[1, 0], [4, 3]]})
    spec = layer(rows, {"type": "line"}, x=x, y=y, color=series(shades), strokeDash=dash)
    cells = [(rank, *values) for rank, *values in zip(ranks.tolist(), *columns.values(), strict=True)]
    caption = (
        f"Share that falls on the n most popular of {n:,} items; a curve above the others favours what is popular."
    )
    table = Table("Share that falls on the most popular items", ("items", *columns), cells)
    return Chart("How far down the catalogue", caption, draw(spec, _halves(columns, ranks.tolist())), table)


def _halves(columns: Mapping[str, Sequence[float]], ranks: Sequence[int]) -> str:
    """What the curves show, for whoever does not see them."""
    halves = {
        name: next((rank for rank, share in zip(ranks, values, strict=True) if share >= 0.5), ranks[-1])
        for name, values in columns.items()
    }
    return "; ".join(f"half of what is {name} falls on the first {rank:,} items" for name, rank in halves.items())
