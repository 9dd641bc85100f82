"""The sections of a report that need no model: what the runs recorded while they trained."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from sslrec_core.comparing.runs import Group, check_comparable, differences
from sslrec_core.config import leaves, toml_value
from sslrec_core.errors import ConfigError
from sslrec_core.pages.charts import draw, layer, palette, quantity, series
from sslrec_core.pages.parts import Beside, Cell, Chart, Number, Part, Remark, Section, Table, Text
from sslrec_core.reporting.story import Story

BESIDE_JUDGE = ("ndcg", "recall", "coverage", "popularity", "hit", "mrr")
"""Curves that are drawn beside the judge's, at the same length of list; the first three that were measured."""
POINTS = 400
"""Of a curve, at most."""
Points: TypeAlias = "Sequence[tuple[int, float]]"


def summary(stories: Sequence[Story], groups: Sequence[Group]) -> Section:
    """What was trained on what, by which protocol, and how well it does."""
    parts: list[Part] = [*_warnings(stories)]
    if len(stories) == 1:
        parts.append(Beside([_facts(stories[0]), _metrics(stories[0])]))
    else:
        parts += [_side_by_side(stories, groups), _each_run(stories)]
    return Section("Summary", parts)


def _warnings(stories: Sequence[Story]) -> Iterator[Remark]:
    if labels := sorted({story.record.result.label for story in stories if story.record.result.label}):
        which = "" if len(stories) == 1 else f" ({_listed([s.name for s in stories if s.record.result.label])})"
        yield Remark(
            f"{_listed(labels).capitalize()}{which}: the epoch was chosen on the part that is reported, so the figures "
            "flatter the model. They compare with papers that did the same, and with nothing else.",
            loud=True,
        )
    for story in stories:
        if not story.complete:
            yield Remark(
                f"{story.name} is not complete: what stands here is its best epoch so far. "
                f"It goes on with: sslrec train --resume {story.record.directory}",
                loud=True,
            )
        yield from (Remark(f"{story.name}: {gap}") for gap in story.gaps)
    try:
        check_comparable([story.record for story in stories])
    except ConfigError as error:
        yield Remark(f"These runs cannot be compared as they stand: {'; '.join(error.facts)}.", loud=True)


def _facts(story: Story) -> Table:
    config, result = story.record.config, story.record.result
    stopped = next((str(event["why"]) for event in story.events if event.get("event") == "stopped"), None)
    rows: list[tuple[str, Cell]] = [
        ("model", config["model"]["name"]),
        ("dataset", config["data"]["name"]),
        ("scenario", config.get("scenario", {}).get("name")),
        ("epoch chosen on", {"valid": "validation part", "test": "test part"}.get(story.split, story.split)),
        ("judge", story.judge),
        ("best epoch", result.best_epoch),
        ("epochs trained", sum(event.get("event") == "epoch" for event in story.events)),
        ("stopped because", stopped),
        ("seed", str(story.record.seed)),
        ("training time", duration(result.seconds)),
        ("peak memory", None if result.memory is None else f"{result.memory / 2**30:.2f} GiB"),
        ("run directory", str(story.record.directory)),
    ]
    return Table("The run", ("", ""), [row for row in rows if row[1] is not None])


def _metrics(story: Story) -> Part:
    """A row for each metric; a column for each length of list on the test part, and on the part that chose."""
    part = "validation" if story.split == "valid" else story.split
    result = story.record.result
    columns = [("test", result.metrics, at) for at in _lengths(result.metrics)]
    if story.split != "test":
        columns += [(part, result.selection, at) for at in _lengths(result.selection)]
    if not columns:
        return Remark("No epoch was judged yet, so there are no figures.")
    names = dict.fromkeys(name.partition("@")[0] for name in {**result.metrics, **result.selection} if "/" not in name)
    rows = [(name, *(values.get(f"{name}@{at}" if at else name) for _, values, at in columns)) for name in names]
    headings = [f"{part} @{at}" if at else part for part, _, at in columns]
    return Table(f"Metrics at the best epoch, which the {part} part chose", ("metric", *headings), rows)


def _lengths(values: Mapping[str, float]) -> list[str]:
    return list(dict.fromkeys(name.partition("@")[2] for name in values if "/" not in name))


def _side_by_side(stories: Sequence[Story], groups: Sequence[Group]) -> Table:
    """A row for each group, the best on the judge's metric first."""
    names = chosen_metrics(stories, ())
    columns = ["group", "seeds", *(f"test {name}" for name in names), "training time", "peak memory, GiB"]
    rows: list[list[Cell]] = []
    for group in groups:
        results = [record.result for record in group.records]
        memory = [result.memory for result in results if result.memory is not None]
        label = f" ({results[0].label})" if results[0].label else ""
        rows.append(
            [
                group.name + label,
                ", ".join(str(record.seed) for record in group.records),
                *(spread(group.metric(name, "test")) for name in names),
                duration(statistics.mean(result.seconds for result in results)),
                max(memory) / 2**30 if memory else None,
            ]
        )
    return Table("Test metrics, mean ± standard deviation over seeds", columns, rows)


def _each_run(stories: Sequence[Story]) -> Table:
    columns = ("run", "model", "dataset", "seed", "complete", "best epoch", "validation", "test", "time")
    rows = [
        (
            story.name, story.record.config["model"]["name"], story.record.config["data"]["name"],
            str(story.record.seed), "yes" if story.complete else "no", story.record.result.best_epoch,
            story.record.result.selection.get(story.judge or ""), story.record.result.metrics.get(story.judge or ""),
            duration(story.record.result.seconds),
        )
        for story in stories
    ]  # fmt: skip
    return Table("Each run, by the metric that judged it", columns, rows, folded="Each run")


def curves(stories: Sequence[Story], wanted: Sequence[str]) -> Section:
    """Metrics of the part that chooses, epoch by epoch."""
    title = "Learning curves"
    names = chosen_metrics(stories, wanted)
    colours = palette(story.group for story in stories)
    charts = [chart for name in names if (chart := _learning(name, stories, colours))]
    if not charts:
        return Section(title, [Remark("No epoch was judged: the model trains in one go, or the run has just begun.")])
    return Section(title, [Beside(charts)])


def _learning(name: str, stories: Sequence[Story], colours: Mapping[str, str]) -> Chart | None:
    lines = {story: points for story in stories if (points := story.curve(name))}
    if not lines:
        return None
    best = [
        {"epoch": epoch, "value": value, "series": story.group}
        for story, points in lines.items()
        for epoch, value in points
        if epoch == story.best
    ]
    part = "validation" if all(story.split == "valid" for story in stories) else "selecting"
    dots = "" if not best else " The dot is the best epoch by the judge."
    return line_chart(f"{name} by epoch", f"On the {part} part.{dots}", lines, colours, name, best)


def losses(stories: Sequence[Story]) -> Section:
    """Each term of the loss, epoch by epoch."""
    title = "Losses"
    found: dict[tuple[str, str], dict[Story, Points]] = {}
    for story in stories:
        for key, points in story.losses().items():
            found.setdefault(key, {})[story] = points
    if not found:
        return Section(title, [Remark("No loss was recorded: the model is fitted without steps, or has just begun.")])
    stages = {stage for stage, _ in found}
    colours = palette(story.group for story in stories)
    charts = []
    for (stage, term), lines in found.items():
        where = f", stage {stage}" if len(stages) > 1 else ""
        caption = "Mean over the epoch's steps, weighted as it is minimised."
        charts.append(line_chart(f"{term}{where}", caption, lines, colours, term))
    return Section(title, [Beside(charts)])


def line_chart(
    title: str, caption: str, lines: Mapping[Story, Points], colours: Mapping[str, str], value: str,
    dots: Sequence[Mapping[str, Any]] = (),
) -> Chart:  # fmt: skip
    """A line for each run, in the colour of its group; long ones are drawn and listed by every n-th epoch."""
    step = max(1, -(-max(map(len, lines.values())) // POINTS))
    thin = {story: _thinned(points, step, {dot["epoch"] for dot in dots}) for story, points in lines.items()}
    rows = [
        {"epoch": epoch, "value": number, "run": story.name, "series": story.group}
        for story, points in thin.items()
        for epoch, number in points
    ]
    x = quantity("epoch", "epoch", axis={"format": "d", "tickMinStep": 1})
    y = quantity("value", scale={"zero": False}, axis={"format": ".4~r"})
    used = {story.group for story in thin}
    colour = series({group: shade for group, shade in colours.items() if group in used}, legend=len(colours) > 1)
    line = {"type": "line", "point": all(len(points) == 1 for points in thin.values())}
    dot = {"type": "point", "filled": True, "size": 55, "opacity": 1}
    spec = {
        "layer": [
            layer(rows, line, x=x, y=y, color=colour, detail={"field": "run"}),
            layer(dots, dot, x=x, y=y, color=colour),
        ]
    }
    epochs = sorted({epoch for points in thin.values() for epoch, _ in points})
    by_run = [dict(points) for points in thin.values()]
    table = Table(
        f"{value} by epoch" + (f", every {step}th" if step > 1 else ""),
        ("epoch", *(story.name for story in thin)),
        [(epoch, *(values.get(epoch) for values in by_run)) for epoch in epochs],
    )
    return Chart(title, caption, draw(spec, f"{title}: {_trend(lines)}"), table)


def _thinned(points: Points, step: int, keep: set[int]) -> list[tuple[int, float]]:
    last = len(points) - 1
    return [point for place, point in enumerate(points) if place % step == 0 or place == last or point[0] in keep]


def _trend(lines: Mapping[Story, Points]) -> str:
    """What a line chart shows, for whoever does not see it."""
    said = [
        f"{story.name} from {points[0][1]:.4g} in epoch {points[0][0]} to {points[-1][1]:.4g} in epoch {points[-1][0]}"
        for story, points in list(lines.items())[:3]
    ]
    rest = len(lines) - len(said)
    return "; ".join(said) + (f"; and {rest} more" if rest > 0 else "")


def configuration(stories: Sequence[Story], groups: Sequence[Group]) -> Section:
    """Every option with its value and where that came from."""
    parts: list[Part] = []
    if len(groups) > 1 and (differing := differences(groups)):
        rows: list[list[Cell]] = [
            [key, *(None if value is None else toml_value(value) for value in values)]
            for key, values in differing.items()
        ]
        parts.append(Table("Options that differ", ("option", *(group.name for group in groups)), rows))
    parts.append(Text("An option whose origin is empty has its default."))
    of = {story.record.directory: story for story in stories}
    for group in groups:
        story = of[group.records[0].directory]
        rows = [
            [key, _value(story.record.config, key), story.origins.get(key, "")] for key in leaves(story.record.config)
        ]
        folded = f"Options of {story.name}" if len(groups) > 1 else None
        parts.append(Table(f"Options of {story.name}", ("option", "value", "origin"), rows, folded))
    return Section("Configuration", parts)


def _value(config: Mapping[str, Any], key: str) -> str:
    found: Any = config
    for word in key.split("."):
        found = found[word]
    return toml_value(found)


def environment(stories: Sequence[Story]) -> Section:
    """Where the runs were carried out, and the counts and notes of their data."""
    parts: list[Part] = []
    tables: dict[str, Part] = {}
    for story in stories:
        known = story.record.environment
        if not known:
            parts.append(Remark(f"{story.name}: its environment was not recorded, or its record cannot be read."))
            continue
        data = known.get("data", {})
        name = str(story.record.config["data"]["name"])
        counts = [(str(key), value) for key, value in data.get("counts", {}).items()]
        if counts and name not in tables:
            tables[name] = Table(f"{name} as it was prepared", ("", "count"), counts)
            parts.append(tables[name])
            parts += [Text(f"{note[:1].upper()}{note[1:]}.") for note in map(str, data.get("notes", []))]
        facts = [(key, _flat(value)) for key, value in known.items() if key != "data" and value not in (None, "")]
        folded = f"Environment of {story.name}" if len(stories) > 1 else None
        parts.append(Table(f"Environment of {story.name}", ("", ""), facts, folded))
    return Section("Data and environment", parts)


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {inner}" for key, inner in value.items())
    if isinstance(value, list):
        return " ".join(map(str, value))
    return str(value)


# ---- shared -------------------------------------------------------------------------------------


def chosen_metrics(stories: Sequence[Story], wanted: Sequence[str]) -> list[str]:
    """The metrics to draw: ``wanted``, or the judge and up to three of the usual ones at its length of list."""
    if wanted:
        return list(dict.fromkeys(wanted))
    judge = stories[0].judge or next(iter(stories[0].metrics), "")
    at = judge.partition("@")[2]
    measured = stories[0].metrics
    beside = [name for metric in BESIDE_JUDGE if (name := f"{metric}@{at}") in measured and name != judge]
    return [judge, *beside[:3]]


def spread(values: Sequence[float]) -> Cell:
    """Mean and, over several values, standard deviation."""
    if not values:
        return None
    if len(values) == 1:
        return values[0]
    return Number(f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}")


def duration(seconds: float) -> str:
    """A time for people: ``48 s``, ``12 min``, ``3.4 h``."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _listed(words: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(words))
