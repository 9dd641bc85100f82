"""The contract of a scenario."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from sslrec_core.data import Data, Dataset, PairBatch, Prepared, Raw, Rows, Scenario
from sslrec_core.registry import registry
from sslrec_core.settings import TrainConfig
from sslrec_core.testing.contract import Contract
from sslrec_core.testing.recording import Reads
from sslrec_core.testing.tensors import same, tensors
from sslrec_core.testing.worlds import TRAIN, VALID


class ScenarioContract(Contract):
    """What every scenario keeps::

    class TestKG(ScenarioContract):
        scenario = "kg"
    """

    scenario: ClassVar[str]
    """Name of the scenario."""
    dataset: ClassVar[str] = "checkerboard"
    """Name of a dataset with parts of its own that this scenario can read."""
    options: ClassVar[Mapping[str, Any]] = {}
    """The scenario's options."""
    variants: ClassVar[Sequence[Mapping[str, Any]]] = tuple(
        {"split": split, "k_core": 1} for split in ("ratio", "time", "leave-one-out")
    )
    """Further options under which those are read that the defaults do not read."""
    meaningless: ClassVar[Set[str]] = frozenset()
    """Options of every scenario that this one refuses, because they could mean nothing in it."""

    # ---- what the checks are made of ------------------------------------------------------------

    def component_class(self) -> type[Any]:
        """The scenario's class."""
        found: type[Any] = registry().find("scenario", self.scenario).load()
        return found

    def component_config(self) -> Any:
        """The scenario's config under ``options``."""
        return self.component_class().Config(**self.options)

    def build(self, **options: Any) -> Scenario:
        """The scenario, under further ``options``."""
        found = self.component_class()
        scenario: Scenario = found(found.Config(**{**self.options, **options}))
        return scenario

    def raw(self, **options: Any) -> Raw:
        """The world's tables."""
        found = registry().find("dataset", self.dataset, self.scenario).load()
        dataset: Dataset = found(found.Config(**options))
        return dataset.read(Path())

    def data(self, raw: Raw | None = None, **options: Any) -> Data:
        """The world's data."""
        scenario = self.build(**options)
        return scenario.data(scenario.process(raw or self.raw()))

    # ---- options --------------------------------------------------------------------------------

    def test_no_dead_knobs(self) -> None:
        """Every option is read while tables are made into data."""
        unread: set[str] | None = None
        for options in ({}, *self.variants):
            reads = Reads(self.component_class().Config(**{**self.options, **options}))
            scenario: Scenario = self.component_class()(reads.config)
            scenario.data(scenario.process(self.raw()))
            unread = reads.unread if unread is None else unread - reads.read
        unread = (unread or set()) - self.meaningless
        assert not unread, f"options that nobody reads: {', '.join(sorted(unread))}"

    # ---- ids and parts --------------------------------------------------------------------------

    def test_processing_twice_agrees(self) -> None:
        """The same tables and options give the same arrays, whatever the state of torch's generator."""
        for options in ({}, *self.variants):
            scenario = self.build(**options)
            first = scenario.process(self.raw())
            torch.manual_seed(987654321)
            assert _equal(first, scenario.process(self.raw())), f"two different results with options {options}"

    def test_ids_lead_there_and_back(self) -> None:
        """Users and items are found by their raw ids, and parts hold the interactions of the table."""
        raw, data = self.raw(), self.data()
        for vocabulary in (data.users, data.items):
            known = range(len(vocabulary))
            assert [vocabulary.index(raw_id) for raw_id in vocabulary.raw(np.array(known)).tolist()] == list(known)
        table = _table(raw)
        for code, name in enumerate(("train", "valid", "test")):
            wanted = {(u, i) for u, i, p in zip(table["user"], table["item"], table["part"], strict=True) if p == code}
            assert _pairs(data, name) == wanted, f"the part {name} is not the table's own"

    def test_parts_are_disjoint(self) -> None:
        """No interaction is in two parts, however the split is made."""
        for options in ({}, *self.variants):
            data = self.data(**options)
            parts = [_pairs(data, name) for name in ("train", "valid", "test")]
            assert sum(map(len, parts)) == len(set().union(*parts)), f"parts overlap with options {options}"
            assert parts[0] and parts[2], f"nothing to train on or to test with options {options}"

    def test_validation_always_exists(self) -> None:
        """Where the table has no validation part one is held out of training, and none with ``holdout = 0``."""
        raw = _without_validation(self.raw())
        full, kept = self.data(raw, holdout=0.0), self.data(raw, holdout=0.2)
        assert not _pairs(full, "valid"), "holdout = 0 holds something out"
        assert _pairs(kept, "valid"), "no validation part is held out"
        assert _pairs(kept, "valid") | _pairs(kept, "train") == _pairs(full, "train"), "validation is not from training"
        assert _pairs(kept, "test") == _pairs(full, "test"), "holding out changes the test part"

    # ---- batches and queries --------------------------------------------------------------------

    def test_batches_come_from_torchs_generator(self) -> None:
        """One seed, one order; another seed, another."""
        data, train = self.data(), TrainConfig(batch_size=64)
        epochs = []
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            epochs.append(list(data.batches(train)))
        assert len(epochs[0]) > 1, "one batch does not make an epoch"
        assert same(epochs[0], epochs[1]), "two epochs from one seed differ"
        assert not same(epochs[0], epochs[2]), "epochs from two seeds are the same"

    def test_pairs_are_known_and_negatives_are_not(self) -> None:
        """An epoch has each training pair once, and no negative that the user is known to like."""
        data = self.data()
        train = data.interactions.parts["train"]
        if not isinstance(next(iter(data.batches(TrainConfig(batch_size=64)))), PairBatch):
            pytest.skip(f"the batches of {self.scenario} are not pairs")
        batches = list(data.batches(TrainConfig(batch_size=64, negatives=3)))
        users, positives = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("users", "positives"))
        drawn = Rows.of(users, positives, data.n_users, data.n_items)
        assert len(users) == train.nnz and torch.equal(drawn.keys, train.keys), "an epoch is not each pair once"
        negatives = torch.cat([batch.negatives for batch in batches])
        assert negatives.shape == (train.nnz, 3), f"negatives have shape {tuple(negatives.shape)}"
        assert not train.contains(users[:, None], negatives).any(), "a negative is an item that the user likes"

    def test_training_never_sees_the_test_part(self) -> None:
        """With another test part the batches are the same."""
        epochs = []
        for test in ("diagonal", "wrong"):
            data = self.data(self.raw(test=test))
            torch.manual_seed(1)
            epochs.append(list(data.batches(TrainConfig(batch_size=64))))
        assert same(*epochs), "batches change when only the test part does"

    def test_options_of_ranking_leave_training_alone(self) -> None:
        """With another value of an option that may change after training, the batches are the same."""
        epochs = []
        usual = self.component_config()
        switched = [{option: not getattr(usual, option)} for option in sorted(self.component_class().ranking)]
        for options in ({}, *switched):
            data = self.data(None, **options)
            torch.manual_seed(1)
            epochs.append(list(data.batches(TrainConfig(batch_size=64))))
        for options, epoch in zip(switched, epochs[1:], strict=True):
            assert same(epochs[0], epoch), f"batches change with {', '.join(options)}, which may change after training"

    def test_queries_hide_what_is_known(self) -> None:
        """What is asked for is the part's, is not hidden, and everything the user is known for before it is."""
        data = self.data()
        parts = {name: _pairs(data, name) for name in ("train", "valid", "test")}
        for split, hide, hidden in (
            ("valid", "train+valid", parts["train"]),
            ("test", "train", parts["train"]),
            ("test", "train+valid", parts["train"] | parts["valid"]),
        ):
            truth, seen = set(), set()
            for query in data.queries(split, 5, hide):
                truth |= _raw_pairs(data, query.truth, query.users)
                seen |= _raw_pairs(data, query.seen, query.users)
            asked = {user for user, _ in parts[split]}
            assert truth == parts[split], f"queries for {split} ask for something else"
            known = {(user, item) for user, item in hidden if user in asked}
            assert seen == known, f"queries for {split} hide something else"

    @pytest.mark.gpu
    def test_moves_to_a_device(self) -> None:
        """On another device no tensor stays behind, and an epoch is drawn there."""
        data = self.data().to("cuda")
        found = [*tensors(data), *tensors(list(data.batches(TrainConfig(batch_size=64))))]
        assert found and {value.device.type for value in found} == {"cuda"}


def _table(raw: Raw) -> dict[str, Any]:
    table = raw.tables["interactions"]
    return {name: np.asarray(column).tolist() for name, column in table.items()}


def _without_validation(raw: Raw) -> Raw:
    """The same tables with the validation part given to training."""
    table: dict[str, Any] = {name: np.asarray(column) for name, column in raw.tables["interactions"].items()}
    table["part"] = np.where(table["part"] == VALID, TRAIN, table["part"]).astype(table["part"].dtype)
    return Raw({**raw.tables, "interactions": table}, raw.notes, raw.identity_ids, raw.sizes)


def _pairs(data: Data, part: str) -> set[tuple[Any, Any]]:
    rows = data.interactions.parts[part]
    return _raw_pairs(data, rows, torch.arange(len(rows)))


def _raw_pairs(data: Data, rows: Rows, users: torch.Tensor) -> set[tuple[Any, Any]]:
    raw_users, raw_items = data.users.raw(users[rows.row_index]), data.items.raw(rows.columns)
    return set(zip(raw_users.tolist(), raw_items.tolist(), strict=True))


def _equal(first: Prepared, second: Prepared) -> bool:
    mine, its = first.arrays, second.arrays
    return mine.keys() == its.keys() and all(np.array_equal(mine[key], its[key]) for key in mine)
