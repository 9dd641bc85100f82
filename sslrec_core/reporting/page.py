"""A report: one page about one or several runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

import sslrec_core
from sslrec_core.comparing.runs import Group
from sslrec_core.errors import ConfigError
from sslrec_core.files import storage, write_text
from sslrec_core.ingest.naming import in_order, read_names
from sslrec_core.pages.parts import Section
from sslrec_core.pages.shell import render
from sslrec_core.reporting import behaviour, recorded
from sslrec_core.reporting.looking import Names, look
from sslrec_core.reporting.story import Story, read_all
from sslrec_core.running import Run


def report(
    runs: Sequence[Path],
    *,
    metrics: Sequence[str] = (),
    model: bool = True,
    names: Path | None = None,
    device: str = "auto",
    data_root: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> str:
    """The page about ``runs``, as HTML.

    Args:
        runs: Run directories; those that differ by their seed alone stand together.
        metrics: Whose curves to draw; none for the judge's and a few beside it.
        model: Whether to load models and data.  Without, the page is made of what the runs recorded.
        names: A table with columns item and name, in place of the names that the data has.
        device: Where models are loaded.
        data_root: Where the data lives now; None: where it lived then.
        say: Told what takes time.

    Raises:
        CheckpointError: a run cannot be read at all.
        ConfigError: the extra ``report`` is not installed, or no run measured one of ``metrics``.
        DataError: ``names`` cannot be read.
    """
    stories, groups = read_all(runs)
    for metric in metrics:
        if not any(story.curve(metric) for story in stories):
            known = ", ".join(dict.fromkeys(name for story in stories for name in story.metrics)) or "nothing"
            raise ConfigError(f"no run measured {metric}", f"measured: {known}", fix="--metric NAME")
    sections = [
        recorded.summary(stories, groups),
        recorded.curves(stories, metrics),
        recorded.losses(stories),
        *_behaviour(stories, groups, model, names, device, data_root, say),
        recorded.configuration(stories, groups),
        recorded.environment(stories),
    ]
    values = {"title": _title(stories), "subtitle": _subtitle(stories), "sections": sections, "made": _made()}
    return render("report.html", values, package=__package__)


def save(page: str, path: Path) -> None:
    """Write ``page`` to ``path``, in place of what stands there, and its folder where there is none.

    Raises:
        StorageError: the folder is read-only or the disk full; an earlier report is as it was.
    """
    with storage(path, "making its folder"):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page, "writing the report")


def _behaviour(
    stories: Sequence[Story], groups: Sequence[Group], model: bool, file: Path | None, device: str,
    data_root: Path | None, say: Callable[[str], None],
) -> list[Section]:  # fmt: skip
    if not model:
        return behaviour.left_out("Left out: the report was asked for without models and data (--no-model).")
    names = _names(file)
    of = {story.record.directory: story for story in stories}
    firsts = [of[group.records[0].directory] for group in groups]
    seen = [look(story, names, device=device, data_root=data_root, say=say) for story in firsts]
    return behaviour.sections(seen, stories)


def _names(file: Path | None) -> Names:
    if file is None:
        return lambda run, items: run.names(items)
    table = read_names(file)

    def names(run: Run, items: Tensor) -> list[str | None]:
        return in_order(run.data.items, *table).gather(items.cpu().numpy()).to_list()

    return names


def _title(stories: Sequence[Story]) -> str:
    models = list(dict.fromkeys(str(story.record.config["model"]["name"]) for story in stories))
    data = dict.fromkeys(str(story.record.config["data"]["name"]) for story in stories)
    return f"{', '.join(models) if len(models) <= 3 else f'{len(models)} models'} on {', '.join(data)}"


def _subtitle(stories: Sequence[Story]) -> str:
    if len(stories) == 1:
        return stories[0].name
    groups = len({story.group for story in stories})
    return f"{len(stories)} runs in {groups} groups; runs of a group differ by their seed alone"


def _made() -> str:
    return f"Written by sslrec {sslrec_core.__version__} on {time.strftime('%d %B %Y')}."
