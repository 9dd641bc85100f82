"""Lists for people: what may be recommended, to whom, and why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sslrec_core.cli import main
from sslrec_core.errors import ConfigError, DataError
from sslrec_core.recommending import Terms, askable, for_newcomers, for_users, in_raw_ids, numbers_of, reasons
from sslrec_core.running import Run
from sslrec_core.settings import RunConfig, resolve
from sslrec_core.testing.bench import QUIET
from sslrec_core.vocabulary import Vocabulary

Configure = Callable[..., RunConfig]


@pytest.fixture
def run(factors: Configure, tmp_path: Path) -> Run:
    Run.create(factors("model.embedding_dim=4"), tmp_path / "run").execute()
    return Run.open(tmp_path / "run")


@pytest.fixture
def baseline(factors: Configure, tmp_path: Path) -> Callable[[str], Run]:
    """A finished run of a baseline in the checkerboard world."""

    def finished(name: str) -> Run:
        scenario = {"scenario": {"name": "plain"}}
        config = resolve(name, "checkerboard", assignments=[*QUIET, "data.size=16"], options=scenario).config
        Run.create(config, tmp_path / name).execute()
        return Run.open(tmp_path / name)

    return finished


def shown(items: torch.Tensor) -> set[int]:
    return set(items[items >= 0].tolist())


# ---- what may be recommended --------------------------------------------------------------------


def test_candidates_and_filters_decide_what_is_listed(run: Run, tmp_path: Path) -> None:
    users = torch.tensor([0, 7])
    everything = shown(for_users(run, users, 32).items)
    unwanted = tmp_path / "unwanted.txt"
    unwanted.write_text("1\n\n3\n5\n")
    assert shown(for_users(run, users, 32, Terms.of(run.data, "1,2,3")).items) <= {1, 2, 3}
    assert shown(for_users(run, users, 32, Terms.of(run.data, None, [str(unwanted)])).items) == everything - {1, 3, 5}
    assert shown(for_users(run, users, 32, Terms.of(run.data, str(unwanted), [str(unwanted)])).items) == set()
    counts = run.data.interactions.item_counts
    middle = int(counts.median())
    for sign, kept in (("<=", counts <= middle), (">", counts > middle)):
        found = shown(for_users(run, users, 32, Terms.of(run.data, None, [f"popularity {sign} {middle}"])).items)
        assert found == everything & set(kept.nonzero()[:, 0].tolist())


def test_what_was_met_is_listed_when_asked_for(run: Run) -> None:
    met = run.data.interactions.together("train", "valid").select(torch.tensor([3]))
    again = for_users(run, torch.tensor([3]), 32, Terms.of(run.data, None, ["none"])).items
    assert shown(again) == set(range(32))
    assert shown(for_users(run, torch.tensor([3]), 32).items).isdisjoint(met.columns.tolist())


def test_an_unknown_id_or_filter_is_named(run: Run) -> None:
    with pytest.raises(DataError, match="--items 1,99: no id is called '99'"):
        Terms.of(run.data, "1,99")
    with pytest.raises(DataError, match="no id is called 'x1'"):
        Terms.of(run.data, "1,x1")
    with pytest.raises(DataError, match="names no item"):
        Terms.of(run.data, " , ")
    with pytest.raises(ConfigError, match="there is no filter 'popularity=3'"):
        Terms.of(run.data, None, ["popularity=3"])
    words = Vocabulary.from_array(np.array(["a", "b"], dtype=object))
    assert numbers_of(words, ["b", "a", "b"], "--items").tolist() == [1, 0, 1]


# ---- newcomers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ease", "itemknn", "rp3beta", "popularity"])
def test_a_newcomer_with_a_user_s_history_gets_the_user_s_list(name: str, baseline: Callable[[str], Run]) -> None:
    run = baseline(name)
    known = run.data.interactions.parts["train"]
    users = known.counts.nonzero().squeeze(1)
    mine = known.select(users)
    newcomers = for_newcomers(run, mine.columns, mine.counts, 5)
    # A user's list leaves out the validation part too, which a newcomer has not met.
    alike = (
        for_users(run, users, 5, Terms(again=True)),
        for_newcomers(run, mine.columns, mine.counts, 5, Terms(again=True)),
    )
    assert torch.equal(alike[0].items, alike[1].items)
    assert torch.allclose(alike[0].scores, alike[1].scores)
    assert not mine.contains(torch.arange(len(users))[:, None], newcomers.items.clamp(min=0)).any()


def test_a_model_of_users_refuses_newcomers_and_says_who_would_not(run: Run) -> None:
    with pytest.raises(ConfigError, match="nobody else") as refused:
        for_newcomers(run, torch.tensor([1]), torch.tensor([1]), 5)
    assert all(name in refused.value.facts[0] for name in ("ease", "itemknn", "popularity"))
    assert "factors" not in refused.value.facts[0]


# ---- why ----------------------------------------------------------------------------------------


def test_reasons_are_the_nearest_of_what_was_met(run: Run) -> None:
    users = torch.tensor([0, 5, 9])
    lists = for_users(run, users, 4, Terms(again=True))
    found = reasons(run, lists)
    vectors = torch.nn.functional.normalize(run.model.embeddings().items, dim=1).detach()
    for row in range(3):
        met = lists.met.select(torch.tensor([row])).columns
        for item, why, values in zip(lists.items[row], found.items[row], found.similarities[row], strict=True):
            others = met[met != item]
            alike = vectors[others] @ vectors[item]
            wanted = others[alike.argsort(descending=True)][:3][alike.sort(descending=True).values[:3] > 0]
            assert why[why >= 0].tolist() == wanted.tolist()
            torch.testing.assert_close(values[why >= 0], alike.sort(descending=True).values[: len(wanted)])
    assert found.measure == "cosine of the model's item vectors"


def test_without_vectors_the_users_of_items_tell(baseline: Callable[[str], Run]) -> None:
    run = baseline("itemknn")
    lists = for_users(run, askable(run.data), 3)
    found = reasons(run, lists, n=1)
    assert found.measure == "cosine of the items' users in training"
    matrix = torch.from_numpy(run.data.interactions.parts["train"].to_scipy().toarray())
    cosine = matrix.T @ matrix / (matrix.sum(0)[:, None] * matrix.sum(0)).sqrt().clamp(min=1)
    person, place = (int(x[0]) for x in (found.items[:, :, 0] >= 0).nonzero(as_tuple=True))
    item, why = int(lists.items[person, place]), int(found.items[person, place, 0])
    met = lists.met.select(torch.tensor([person])).columns
    assert why in met.tolist()
    assert float(found.similarities[person, place, 0]) == pytest.approx(float(cosine[item, met].max()))


# ---- as a person types it -----------------------------------------------------------------------


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    with pytest.raises(SystemExit) as end:
        main(["recommend", *words])
    assert (end.value.code or 0) == code
    out = capsys.readouterr()
    return out.err if code else out.out


def test_the_command_says_whom_what_and_why(
    baseline: Callable[[str], Run], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = baseline("itemknn")
    words = (str(run.directory), "-u", "3", "--history", "1,3", "-k", "2", "--explain", "neighbours")
    rows = [json.loads(line) for line in said(capsys, *words, "--format", "jsonl").splitlines()]
    assert rows[0]["user"] == "3" and rows[1]["history"] == ["1", "3"]
    assert [(each["item"], each["score"]) for each in rows[0]["items"]] == run.recommend(["3"], 2)["3"]
    assert {why["item"] for each in rows[1]["items"] for why in each["because"]} <= {1, 3}
    table = said(capsys, *words)
    assert "after 1, 3" in table and "because of" in table
    assert len(in_raw_ids(run, for_users(run, torch.tensor([3]), 2))[0]) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "no user is named"),
        (("--history", " , "), "a history has no item"),
        (("--history", "1,77"), "--history: no id is called '77'"),
        (("-u", "nobody"), "--user: no id is called 'nobody'"),
        (("-u", "3", "--filter", "unpopular"), "there is no filter 'unpopular'"),
        (("-u", "3", "--explain", "magic"), "there is no explanation 'magic'"),
        (("-u", "3", "--format", "xml"), "there is no format 'xml'"),
    ],
)
def test_mistakes_are_one_line(
    words: tuple[str, ...], message: str, baseline: Callable[[str], Run], capsys: pytest.CaptureFixture[str]
) -> None:
    run = baseline("popularity")
    assert message in said(capsys, str(run.directory), *words, code=2).splitlines()[0]


def test_items_go_by_their_names_where_they_have_some(
    factors: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"u{user},{item}" for user in range(4) for item in range(10, 22) if (user + item) % 2]
    (tmp_path / "likes.csv").write_text("\n".join(["user,item", *rows]))
    (tmp_path / "names.csv").write_text("\n".join(["item,name", *(f"{item},[b]Item {item}" for item in range(10, 21))]))
    settings = [*QUIET, "train.epochs=1", f"data.names={tmp_path / 'names.csv'}"]
    scenario = {"scenario": {"name": "plain"}}
    config = resolve("factors", str(tmp_path / "likes.csv"), assignments=settings, options=scenario).config
    Run.create(config, tmp_path / "run").execute()
    words = (str(tmp_path / "run"), "-u", "u1", "-k", "9", "--explain", "neighbours")
    (person,) = [json.loads(line) for line in said(capsys, *words, "--format", "jsonl").splitlines()]
    for each in (*person["items"], *(why for line in person["items"] for why in line["because"])):
        assert each.get("name") == (None if each["item"] == 21 else f"[b]Item {each['item']}")
    assert "[b]Item 1" in said(capsys, *words)
