"""What the data commands do: find a dataset, look at its files, prepare it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import pydantic

from sslrec_core.choice import Choice, Of
from sslrec_core.config import Config, Layer, explain, merge, parse_assignment
from sslrec_core.data import Data, Dataset, File, Interactions, Prepared, Raw, Scenario, load_prepared
from sslrec_core.errors import DataError
from sslrec_core.ingest import download
from sslrec_core.ingest.cache import Cache
from sslrec_core.ingest.places import data_root
from sslrec_core.ingest.prepare import prepare_interactions
from sslrec_core.registry import registry
from sslrec_core.settings import reference


class Plain(Scenario):
    """Interactions and nothing else: for looking at a dataset that belongs to no scenario."""

    def process(self, raw: Raw) -> Prepared:
        return prepare_interactions(raw, self.config)

    def data(self, prepared: Prepared) -> Data:
        raise DataError("a scenario is needed to train on this dataset")


class _Within(Config):
    data: Annotated[Choice, Of("dataset")]
    scenario: Annotated[Choice, Of("scenario")]


class _Without(Config):
    data: Annotated[Choice, Of("dataset")]
    scenario: Scenario.Config = Scenario.Config()


class Source:
    """A dataset as the command line names it, with its options, in its scenario."""

    scenario: Scenario

    def __init__(self, dataset: str, assignments: Sequence[str], root: Path | None) -> None:
        base = Layer("command line", {"data": reference(dataset)})
        values, origins = merge([base, *(Layer("--set", parse_assignment(text)) for text in assignments)])
        entry = registry().find("dataset", str(values["data"]["name"]))
        given = values.get("scenario", {})
        scenario = entry.scenario or (given.get("name") if isinstance(given, dict) else given)
        if scenario is not None:
            values["scenario"] = {**(given if isinstance(given, dict) else {}), "name": scenario}
        try:
            if scenario is None:
                without = _Without.model_validate(values)
                chosen, self.scenario = without.data, Plain(without.scenario)
            else:
                within = _Within.model_validate(values, context={"scenario": scenario})
                chosen, self.scenario = within.data, within.scenario.build()
        except pydantic.ValidationError as error:
            named = {"data": registry().written(entry), "scenario": scenario}
            pages = {section: f"sslrec show {name}" for section, name in named.items() if name}
            raise explain(error, registry().written(entry), origins, otherwise=pages) from error
        self.name: str = chosen.name
        self.dataset: Dataset = chosen.build()
        self.scenario_name = scenario
        self.root = root
        self.folder = (root or data_root()) / self.name

    @property
    def missing(self) -> list[File]:
        """Required files that are not there."""
        return [file for file in self.dataset.files if not file.optional and not (self.folder / file.name).is_file()]

    def files(self) -> Iterator[dict[str, Any]]:
        """Each file with its state: ``verified``, ``here`` (no checksum is known), ``wrong`` or ``missing``."""
        store = Cache()
        for file in self.dataset.files:
            path = self.folder / file.name
            yield {
                "name": file.name, "path": str(path), "size": file.size, "sha256": file.sha256, "url": file.url,
                "optional": file.optional, "state": self._state(file, path, store),
            }  # fmt: skip
        if not self.dataset.files:
            for path in self.dataset.paths(self.folder):
                yield {"name": path.name, "path": str(path), "size": path.stat().st_size, "state": "here"}

    def _state(self, file: File, path: Path, store: Cache) -> str:
        if not path.is_file():
            return "missing"
        try:
            download.verify(path, file.sha256, file.size, self.name, store)
        except DataError:
            return "wrong"
        return "verified" if file.sha256 else "here"

    def prepare(self, say: Callable[[str], None]) -> Prepared:
        """Prepared arrays, from the cache where they are."""
        return load_prepared(self.dataset, self.scenario, name=self.name, root=self.root, say=say)


def statistics(prepared: Prepared) -> dict[str, Any]:
    """Counts of the preparation, and how dense and how uneven the training part is."""
    interactions = Interactions.of(prepared)
    train = interactions.parts["train"]
    cells = max(interactions.n_users * interactions.n_items, 1)
    popular = interactions.item_counts.sort(descending=True).values
    top = max(1, len(popular) // 10)
    return {
        **prepared.meta["counts"],
        "density of training": train.nnz / cells,
        "items per training user, median": float(train.counts[train.counts > 0].float().median()),
        "share of the most popular tenth of items": float(popular[:top].sum() / max(train.nnz, 1)),
    }


def read_tables(files: Sequence[Path], assignments: Sequence[str]) -> tuple[Raw, Scenario.Config]:
    """The interactions of ``files`` as one table, and how the options say to prepare them."""
    from sslrec_core.ingest.export import combine

    sources = [Source(str(path.absolute()), assignments, None) for path in files]
    return combine([source.dataset.read(source.folder) for source in sources]), sources[0].scenario.config
