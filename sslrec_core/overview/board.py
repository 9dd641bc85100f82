"""The board's figures: runs in tables by dataset and protocol, seeds folded, in the shape that the page reads."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sslrec_core.overview.events import Events, thinned
from sslrec_core.overview.scan import Seen
from sslrec_core.records import METRICS, telling, unlike

Link = Callable[[Seen], str]
"""The address of a run's report."""
Json = dict[str, Any]


def board(runs: Sequence[Seen], root: Path, link: Link) -> Json:
    """What the page shows.

    ``tables`` come by dataset and protocol, each with the names of its columns (``metrics``, and ``keys`` of settings)
    and the ids of its groups.  ``groups`` by id hold runs that differ by their seed alone, with figures in the order of
    those names.  ``unreadable`` is a list of paths and reasons.
    """
    together: dict[tuple[str, str, str], list[Seen]] = {}
    for seen in runs:
        if seen.state != "unreadable":
            together.setdefault((seen.dataset, seen.protocol, seen.label or ""), []).append(seen)
    made = [_table(key, together[key], root, link) for key in sorted(together)]
    return {
        "root": str(root),
        "tables": [table for table, _ in made],
        "groups": {name: group for _, groups in made for name, group in groups.items()},
        "unreadable": [[seen.place(root), seen.why] for seen in runs if seen.state == "unreadable"],
    }


def curves(runs: Iterable[Seen], root: Path) -> Json:
    """Of each run, by path: the judging metric and the sum of its losses by epoch, as lists of pairs."""
    found = {}
    for seen in runs:
        if seen.state == "unreadable":
            continue
        try:
            events = seen.events or Events(seen.directory / METRICS, seen.select_on, seen.judge).refresh()
        except OSError:
            continue  # deleted in the meantime: the next scan leaves it out
        found[seen.place(root)] = {"judged": _points(events.judged, 60), "lost": _points(events.lost, 30)}
    return found


def _table(key: tuple[str, str, str], runs: Sequence[Seen], root: Path, link: Link) -> tuple[Json, Json]:
    dataset, protocol, label = key
    metrics = list(dict.fromkeys(name for seen in runs for name in _metrics(seen)))
    together: dict[str, list[Seen]] = {}
    for seen in runs:
        together.setdefault(_text(seen.settings), []).append(seen)
    settings = [group[0].settings for group in together.values()]
    keys = _differing(settings)
    usual = _usual(runs)
    groups = {}
    for name, members, options in zip(together, together.values(), telling(settings), strict=True):
        first = members[0]
        groups[_id(*key, name)] = {
            "model": first.model,
            "options": {option: _plain(value) for option, value in options.items()},
            "judge": first.judge,
            "values": [_plain(first.settings.get(option)) for option in keys],
            "other": _unlike(first.terms, usual),
            "runs": [_run(seen, metrics, root, link) for seen in sorted(members, key=lambda seen: seen.seed or 0)],
        }
    table = {
        "id": _id(*key),
        "dataset": dataset,
        "protocol": protocol,
        "label": label,
        "metrics": metrics,
        "keys": keys,
    }
    judges = Counter(seen.judge for seen in runs if seen.judge)
    return {**table, "judge": judges.most_common(1)[0][0] if judges else None, "groups": list(groups)}, groups


def _run(seen: Seen, metrics: Sequence[str], root: Path, link: Link) -> Json:
    test = seen.result.metrics if seen.result is not None else {}
    return {
        "path": seen.place(root),
        "seed": seen.seed,
        "state": seen.state,
        "preset": seen.preset,
        "stage": seen.events.stage if seen.events else None,
        "epoch": seen.events.epoch if seen.events else None,
        "epochs": seen.limit,
        "best": _short(seen.best),
        "at": seen.best_epoch,
        "test": [_short(test.get(name)) for name in metrics],
        "selection": [_short(seen.selection.get(name)) for name in metrics],
        "seconds": _short(seen.seconds),
        "memory": seen.result.memory if seen.result is not None else None,
        "changed": round(seen.changed),
        "report": link(seen) if seen.report else None,
    }


def _metrics(seen: Seen) -> list[str]:
    """Names of a run's metrics without slices, which are too many for a table."""
    test = seen.result.metrics if seen.result is not None else {}
    return [name for name in {**test, **seen.selection} if "/" not in name]


def _differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    keys = dict.fromkeys(key for one in settings for key in one)
    return [key for key in keys if any(one.get(key) != settings[0].get(key) for one in settings)]


def _usual(runs: Sequence[Seen]) -> Mapping[str, Any]:
    """The data and protocol that most runs of a table share."""
    texts = Counter(_text(seen.terms) for seen in runs)
    common: Mapping[str, Any] = json.loads(texts.most_common(1)[0][0])
    return common


def _unlike(terms: Mapping[str, Any], usual: Mapping[str, Any]) -> list[str]:
    return unlike(json.loads(_text(terms)), usual)


def _points(curve: Sequence[tuple[int, float]], points: int) -> list[tuple[int, float | None]]:
    return [(epoch, _short(value)) for epoch, value in thinned(curve, points)]


def _short(value: float | None) -> float | None:
    """Five digits are what anybody compares; what is not finite is not a figure."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.5g}")


def _plain(value: Any) -> str | int | float | bool | None:
    return value if isinstance(value, (str, int, float, bool)) or value is None else _text(value)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _id(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:10]
