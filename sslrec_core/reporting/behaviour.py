"""The sections of a report that need the trained models and their data."""

from __future__ import annotations

from collections.abc import Sequence

from sslrec_core.pages.parts import Beside, Part, Remark, Section, Table, Text, name
from sslrec_core.reporting import lists, space
from sslrec_core.reporting.looking import Example, Seen
from sslrec_core.reporting.story import Story

SLICES, POPULARITY, SPACE, EXAMPLES = (
    "Metrics by slice", "Popularity of what is recommended", "Embeddings", "Example recommendations",
)  # fmt: skip
KNOWN_LENGTH = 60
"""Letters of the name of a training item."""


def sections(seen: Sequence[Seen], stories: Sequence[Story]) -> list[Section]:
    """Each with what was found, and with the reasons for what was not."""
    return [
        Section(SLICES, [*lists.slices(seen, stories[0].judge or ""), *_missing(seen, "slices")]),
        Section(POPULARITY, [*lists.popularity(seen), *_missing(seen, "lists")]),
        Section(SPACE, [*space.charts(seen, stories), *_missing(seen, "map", "plane")]),
        Section(EXAMPLES, _examples(seen)),
    ]


def left_out(why: str) -> list[Section]:
    """The same sections, each with ``why`` there is nothing in it."""
    return [Section(title, [Remark(why)]) for title in (SLICES, POPULARITY, SPACE, EXAMPLES)]


def _missing(seen: Sequence[Seen], *fields: str) -> list[Remark]:
    return [
        Remark(why) for why in dict.fromkeys(one.missing[key] for one in seen for key in fields if key in one.missing)
    ]


def _examples(seen: Sequence[Seen]) -> list[Part]:
    """Those of the first run that has some: groups come best first."""
    first = next((one for one in seen if one.examples), None)
    if first is None or first.examples is None:
        return [*(_missing(seen, "examples") or [Remark("No user has both training and test items.")])]
    of = f" Lists of {first.group}." if len(seen) > 1 else ""
    intro = Text(
        f"Users with few to many training items, the same in every report about these data.{of} Popularity is the "
        "number of training interactions of an item; a hit is an item of the user's test part."
    )
    return [intro, Beside([_person(example) for example in first.examples])]


def _person(example: Example) -> Section:
    named = any(line.name for line in example.lines)
    rows = [
        (
            str(rank),
            line.item,
            *([name(line.name)] if named else []),
            line.score,
            line.popularity,
            "hit" if line.hit else "",
        )
        for rank, line in enumerate(example.lines, 1)
    ]
    columns = ("rank", "item", *(["name"] if named else []), "score", "popularity", "test")
    known = ", ".join(text if len(text) <= KNOWN_LENGTH else f"{text[:KNOWN_LENGTH]}…" for text in example.some)
    more = example.known - len(example.some)
    hits = sum(line.hit for line in example.lines)
    about = (
        f"{example.known:,} training items: {known}{f' and {more:,} more' if more else ''}. "
        f"{hits} of {example.wanted:,} test items are among the first {len(example.lines)}."
    )
    title = f"User {example.user}"
    return Section(title, [Text(about), Table(f"Recommended to user {example.user}", columns, rows)])
