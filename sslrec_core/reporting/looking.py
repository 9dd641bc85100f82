"""What a trained model does with its data: lists and whom they favour, vectors and where they lie, examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from sslrec_core import metrics
from sslrec_core.evaluate import best_unseen, check_numbers, found, judging, portion
from sslrec_core.reporting.story import Story, reason
from sslrec_core.running import Run

if TYPE_CHECKING:
    from sslrec_core.data import Queries

Names: TypeAlias = Callable[[Run, Tensor], "list[str | None]"]
"""What people call items, given by number; None for those without a name."""

ITEMS_SHOWN, USERS_SHOWN = 1500, 500
"""Points of a map, at most."""
LISTENERS = 256
"""Users whose scores place the items of a model without embeddings."""
SAMPLE = 10_000
"""Pairs, users and items that alignment and uniformity look at, at most."""
SEED = 20200713
"""Which ones is the same for every model and run."""
TAIL = 0.8
"""The tail lies outside the most popular items that together hold this share of the training interactions."""
CLASSES = (0.4, 0.7, 0.9, 0.98)
"""Where classes of popularity end, as shares of the items from the rarest on: a catalogue's head is short."""
EXAMPLE_LENGTH = 10
"""Items of a list that is shown."""
KNOWN_SHOWN = 10
"""Training items that are shown beside it."""
ROUNDING = 1e-6
"""Share of the variance below which an axis is nothing but rounding."""
HISTORIES = (0.02, 0.2, 0.4, 0.6, 0.8, 0.98)
"""Users shown as examples, by their place in the order of the lengths of their histories."""


@dataclass(frozen=True)
class Lists:
    """How often each item was recommended to the users of the test part, beside how often it was chosen."""

    k: int
    users: int
    recommended: Tensor
    """Long ``[items]``"""
    chosen: Tensor
    """Test interactions of the same users.  Long ``[items]``"""
    training: Tensor
    """Long ``[items]``"""

    def measures(self) -> dict[str, float]:
        """Coverage, Gini, mean popularity and tail share of what was recommended."""
        tail = ~metrics.leading(self.training, TAIL)
        return {
            "coverage": metrics.coverage(self.recommended),
            "gini": metrics.gini(self.recommended),
            "popularity": metrics.average_popularity(self.recommended, self.training),
            "tail": metrics.tail_share(self.recommended, tail),
        }


@dataclass(frozen=True)
class Place:
    """A point of the alignment-uniformity plane."""

    pairs: str
    """Whose pairs are aligned: ``training``, ``test``, or ``random`` for vectors without any structure."""
    alignment: float
    uniformity: float


@dataclass(frozen=True)
class Map:
    """Items, and users where the model has vectors of theirs, in the plane in which items differ most."""

    items: list[str]
    """Raw ids."""
    points: Tensor
    """``[shown, 2]``"""
    classes: Tensor
    """Class of popularity of each item that is shown.  Long ``[shown]``"""
    bounds: tuple[str, ...]
    """Training interactions of each class, rarest first, such as ``4–9``."""
    user_points: Tensor
    """``[users shown, 2]``; none where items are placed by scores."""
    explained: tuple[float, float]
    """Shares of the variance that the two axes hold."""
    by_scores: bool
    """Whether items are placed by the scores that users give them, for want of vectors."""


class Line(NamedTuple):
    """One recommended item."""

    item: str
    """Raw id."""
    name: str | None
    score: float
    popularity: int
    """Training interactions."""
    hit: bool
    """Whether it is an item of the user's test part."""


@dataclass(frozen=True)
class Example:
    """One user's list."""

    user: str
    """Raw id."""
    known: int
    """Training items."""
    some: tuple[str, ...]
    """A few of them, by name where they have one."""
    wanted: int
    """Test items."""
    lines: tuple[Line, ...]
    """Best first; fewer than were asked for where too few items remain."""


@dataclass
class Seen:
    """What was found out about one run; None with a reason in :attr:`missing` where that failed."""

    group: str
    data: str
    """Fingerprint of the data, which curves share that are drawn together."""
    slices: Mapping[str, float] | None = None
    lists: Lists | None = None
    plane: list[Place] | None = None
    map: Map | None = None
    examples: list[Example] | None = None
    missing: dict[str, str] = field(default_factory=dict)
    """Why, by field."""


def look(
    story: Story, names: Names, *, device: str, data_root: Path | None = None, say: Callable[[str], None]
) -> Seen:  # fmt: skip
    """Open the run of ``story`` and look at what its model does.  Whatever fails is said, and the rest goes on."""
    facts = story.record.environment.get("data", {})
    seen = Seen(story.group, str(facts.get("interactions", facts.get("fingerprint"))))
    say(f"opening {story.record.directory}")
    try:
        run = Run.open(story.record.directory, device=device, data_root=data_root)
    except Exception as error:
        why = f"{story.name} cannot be opened: {reason(error)}."
        seen.missing = dict.fromkeys(("slices", "lists", "plane", "map", "examples"), why)
        return seen
    recorded = story.record.result.metrics
    sliced = any("/" in key for key in recorded)
    looks: dict[str, Callable[[], Any]] = {
        "slices": lambda: recorded if sliced else measured(run),
        "lists": lambda: lists(run, story.length),
        "plane": lambda: plane(run),
        "map": lambda: draw_map(run),
        "examples": lambda: examples(run, EXAMPLE_LENGTH, names),
    }
    for key, find in looks.items():
        say(f"looking at {story.name}: {key}")
        try:
            setattr(seen, key, find())
        except Exception as error:
            seen.missing[key] = f"{story.name}: {reason(error)}."
    return seen


def measured(run: Run) -> Mapping[str, float]:
    """The test metrics with those of groups of users and items, where the run's evaluator can tell them apart.

    Raises:
        DataError: nobody has anything to find in the test part.
        TypeError: the evaluator has no groups.
    """
    choice = run.config.eval
    if "slices" not in type(choice.config).model_fields:
        raise TypeError(f"the evaluator {choice.name} does not tell groups apart")
    run.evaluator = choice.entry.load()(choice.config.model_copy(update={"slices": True}))
    values: Mapping[str, float] = run.hook.sslrec_evaluate(run=run, split="test")
    return values


def lists(run: Run, k: int) -> Lists:
    """What is recommended to everybody who has a test item."""
    interactions = run.data.interactions
    recommended, chosen = (torch.zeros(interactions.n_items, dtype=torch.long, device=run.device) for _ in range(2))
    users = 0
    with judging(run.model):
        scorer = run.model.scorer()
        for queries in run.data.queries("test", portion(interactions.n_items, run.device)):
            scores = scorer(queries)
            items, values = best_unseen(scores, queries.seen, k)
            check_numbers(values.isnan().any(), run.config.model.name)
            recommended += torch.bincount(items[items >= 0], minlength=len(recommended))
            chosen += torch.bincount(queries.truth.columns, minlength=len(chosen))
            users += len(queries)
    return Lists(k, users, recommended.cpu(), chosen.cpu(), interactions.item_counts.cpu())


def plane(run: Run) -> list[Place]:
    """Alignment of training and test pairs and uniformity, beside vectors without structure; empty without embeddings.

    As Wang and Isola (2020) define them; uniformity is the mean of that of users and of items.
    """
    with judging(run.model):
        vectors = run.model.embeddings()
    if vectors is None:
        return []
    generator = torch.Generator().manual_seed(SEED)

    def some(n: int) -> Tensor:
        return torch.randperm(n, generator=generator)[:SAMPLE]

    users, items = (x.detach().float().cpu() for x in vectors)
    uniformity = float(sum(metrics.uniformity(x[some(len(x))]) for x in (users, items))) / 2
    places = []
    for name, part in (("training", "train"), ("test", "test")):
        rows = run.data.interactions.parts[part].to("cpu")
        pairs = some(rows.nnz)
        if len(pairs):
            alignment = metrics.alignment(users[rows.row_index[pairs]], items[rows.columns[pairs]])
            places.append(Place(name, float(alignment), uniformity))
    one, other = (torch.randn(min(SAMPLE, len(items)), items.shape[1], generator=generator) for _ in range(2))
    random = Place("random", float(metrics.alignment(one, other)), float(metrics.uniformity(one)))
    return [*places, random]


def draw_map(run: Run) -> Map:
    """The plane in which the vectors of the items differ most, found by principal components of all of them.

    A model without embeddings is asked for scores: an item's vector is then what some users' scores for it are.
    """
    generator = torch.Generator().manual_seed(SEED)
    n = run.data.n_items
    shown = torch.randperm(n, generator=generator)[:ITEMS_SHOWN].sort().values
    with judging(run.model):
        vectors = run.model.embeddings()
        if vectors is None:
            queries = next(iter(run.data.queries("test", LISTENERS)))
            items, users = run.model.scorer()(queries)[:, shown.to(run.device)].T, None
        else:
            users, items = vectors
    items = items.detach().float().cpu()
    if not items.isfinite().all():
        raise ValueError("some scores are infinite")
    centre = items.mean(0)
    axes, explained = _principal(items - centre)
    points = (items - centre) @ axes
    user_points = torch.zeros(0, 2)
    if users is not None:
        points = points[shown]
        chosen = torch.randperm(len(users), generator=generator)[:USERS_SHOWN]
        user_points = (users.detach().float().cpu()[chosen] - centre) @ axes
    classes, bounds = _classes(run.data.interactions.item_counts.cpu(), shown)
    return Map(_raw(run, shown), points, classes, bounds, user_points, explained, by_scores=users is None)


def _classes(popularity: Tensor, items: Tensor) -> tuple[Tensor, tuple[str, ...]]:
    """The class of popularity of each of ``items``, and what the classes are called, rarest first."""
    ordered = popularity.sort().values
    cuts = torch.unique(ordered[(torch.tensor(CLASSES) * (len(ordered) - 1)).long()])
    cuts = cuts[cuts < ordered[-1]]
    lows = [int(ordered[0]), *(cuts + 1).tolist()]
    highs = [*cuts.tolist(), int(ordered[-1])]
    bounds = tuple(str(low) if low >= high else f"{low:,}–{high:,}" for low, high in zip(lows, highs, strict=True))
    return torch.bucketize(popularity[items], cuts), bounds


def _principal(centred: Tensor) -> tuple[Tensor, tuple[float, float]]:
    """The two axes of greatest variance ``[dim, 2]``, each towards its largest coordinate, and the shares they hold."""
    values, axes = torch.linalg.eigh(centred.double().T @ centred.double())
    values, axes = values.flip(0)[:2].clamp(min=0), axes.flip(1)[:, :2]
    shares = values / values.new_tensor(float(centred.double().square().sum())).clamp(min=torch.finfo().tiny)
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    # Where all vectors lie on a line, what is left is rounding, which would be drawn as large as the rest.
    axes = axes * torch.where(largest < 0, -1.0, 1.0) * (shares > ROUNDING)
    missing = 2 - len(shares)
    first, second = F.pad(shares, (0, missing)).tolist()
    return F.pad(axes, (0, missing)).to(centred.dtype), (first, second)


def examples(run: Run, k: int, names: Names) -> list[Example]:
    """Lists of users with few and with many training items, always the same ones."""
    parts = run.data.interactions.parts
    known, wanted = (parts[name].counts for name in ("train", "test"))
    asking = ((known > 0) & (wanted > 0)).nonzero().squeeze(1)
    if not len(asking):
        return []
    ordered = asking[known[asking].argsort(stable=True)]
    places = torch.unique((torch.tensor(HISTORIES) * (len(ordered) - 1)).round().long())
    with judging(run.model):
        scorer = run.model.scorer()
        (queries,) = run.data.queries("test", len(places), users=ordered[places.to(run.device)])
        items, scores = best_unseen(scorer(queries), queries.seen, k)
    check_numbers(scores.isnan().any(), run.config.model.name)
    hits = found(items, queries.truth)
    return [
        _example(run, queries, place, items[place], scores[place], hits[place], names) for place in range(len(places))
    ]


def _example(
    run: Run, queries: Queries, place: int, items: Tensor, scores: Tensor, hits: Tensor, names: Names
) -> Example:  # fmt: skip
    interactions, user = run.data.interactions, queries.users[place : place + 1]
    history = interactions.parts["train"].select(user).columns
    some = history[:KNOWN_SHOWN]
    items = items[items >= 0]
    popularity = interactions.item_counts[items].tolist()
    lines = zip(_raw(run, items), names(run, items), scores.tolist(), popularity, hits.tolist(), strict=False)
    return Example(
        user=str(run.data.users.raw(user.cpu().numpy())[0]),
        known=len(history),
        some=tuple(name or raw for name, raw in zip(names(run, some), _raw(run, some), strict=True)),
        wanted=int(interactions.parts["test"].counts[user]),
        lines=tuple(Line(*line) for line in lines),
    )


def _raw(run: Run, items: Tensor) -> list[str]:
    return [str(raw) for raw in run.data.items.raw(items.cpu().numpy()).tolist()]
