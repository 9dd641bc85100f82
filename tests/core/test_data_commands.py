"""`sslrec data`: list, show, check, import."""

from __future__ import annotations

import hashlib
import json

import pytest

from sslrec_core.cli import main
from sslrec_core.testing.plugins import PluginMaker

TRAIN = "\n".join(f"{user} " + " ".join(str((user * 3 + step) % 20) for step in range(8)) for user in range(10))
TEST = "\n".join(f"{user} {(user * 3 + 9) % 20}" for user in range(10))

PLUGIN = """
    from sslrec_core import hookimpl

    @hookimpl
    def sslrec_datasets():
        return {"toys/lists": "shop.parts:Lists"}

    @hookimpl
    def sslrec_scenarios():
        return {"toys": "shop.parts:Toys"}
"""

PARTS = f'''
    """Parts of a shop."""

    from sslrec_core.data import Dataset, File, Interactions, Scenario
    from sslrec_core.ingest.lists import read_parts
    from sslrec_core.ingest.prepare import prepare_interactions


    class Lists(Dataset):
        """Ten users and their toys."""

        licence = "for tests"
        citation = "Nobody, 2020"
        homepage = "https://example.org/toys"
        files = (
            File("train.txt", "{hashlib.sha256(TRAIN.encode()).hexdigest()}", {len(TRAIN)}),
            File("test.txt", "{hashlib.sha256(TEST.encode()).hexdigest()}", {len(TEST)}),
        )

        def read(self, root):
            return read_parts(root, {{"train": "train.txt", "test": "test.txt"}})


    class Toys(Scenario):
        """Toys."""

        def process(self, raw):
            return prepare_interactions(raw, self.config)

        def data(self, prepared):
            return Interactions.of(prepared)
'''


@pytest.fixture
def sslrec(capsys, make_plugin: PluginMaker, tmp_path, monkeypatch):
    monkeypatch.setenv("SSLREC_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SSLREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "80")
    make_plugin("shop", PLUGIN, files={"parts.py": PARTS})

    def run(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as done:
            main(["data", *map(str, arguments)])
        out, err = capsys.readouterr()
        return done.value.code, out, err

    return run


@pytest.fixture
def lists(tmp_path):
    folder = tmp_path / "data" / "toys" / "lists"
    folder.mkdir(parents=True)
    (folder / "train.txt").write_text(TRAIN)
    (folder / "test.txt").write_text(TEST)
    return folder


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "my.csv"
    rows = [f"u{row % 9},{row * row % 31},{row}" for row in range(200)]
    path.write_text("\n".join(["uid,sku,ts", *rows]))
    return path


def test_list_says_what_is_here(sslrec, lists):
    code, out, _ = sslrec("list")
    assert code == 0
    assert str(lists.parent.parent) in out
    rows = [json.loads(line) for line in sslrec("list", "--json")[1].splitlines()]
    assert {row["name"]: row["here"] for row in rows}["toys/lists"] is True
    assert not any(
        json.loads(line)["here"] for line in sslrec("list", "--json", "--data-dir", "/nonexistent")[1].splitlines()
    )


def test_show_tells_everything_known_of_a_dataset(sslrec, lists):
    code, out, _ = sslrec("show", "toys/lists")
    assert code == 0
    for wanted in (
        "Ten users",
        "for tests",
        "Nobody, 2020",
        "https://example.org/toys",
        "train.txt",
        "verified",
        "- validation",
    ):
        assert wanted in out
    assert all(len(line) <= 80 for line in out.splitlines())
    facts = json.loads(sslrec("show", "lists", "--json")[1])
    assert facts["statistics"]["train"] == 70
    assert facts["statistics"]["valid"] == 10
    assert [file["state"] for file in facts["files"]] == ["verified", "verified"]


def test_show_of_a_dataset_that_is_not_here_says_so_and_fetches_nothing(sslrec):
    code, out, _ = sslrec("show", "toys/lists")
    assert code == 0
    assert "missing" in out and "sslrec data check toys/lists" in out
    assert json.loads(sslrec("show", "toys/lists", "--json")[1])["statistics"] is None


def test_check_reports_counts_and_notes(sslrec, lists):
    code, out, _ = sslrec("check", "toys/lists", "--set", "scenario.holdout=0")
    assert code == 0
    assert "toys/lists is fine" in out and "validation" not in out


def test_check_names_what_is_missing_or_wrong(sslrec, lists):
    (lists / "test.txt").unlink()
    code, _, err = sslrec("check", "toys/lists")
    assert code == 2
    assert str(lists / "test.txt") in err and hashlib.sha256(TEST.encode()).hexdigest() in err
    (lists / "test.txt").write_text(TEST.replace("9", "8"))
    code, _, err = sslrec("check", "toys/lists")
    assert code == 2
    assert "is not the file" in err
    assert "wrong" in sslrec("show", "toys/lists")[1]


def test_check_of_an_own_file_needs_no_scenario(sslrec, table):
    code, out, _ = sslrec("check", table, "--set", "data.user=uid", "--set", "scenario.split=time")
    assert code == 0
    assert "split at one moment for all" in out
    answer = json.loads(sslrec("check", table, "--set", "data.user=uid", "--json")[1])
    assert answer["statistics"]["users"] == 9
    assert sslrec("check", table, "--set", "data.user=uid", "--set", "scenario.name=toys")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--set", "data.user=uids"], "closest: uid"),
        (["--set", "data.usr=uid"], "data.usr: no such key, closest: user"),
        (["--set", "scenario.k_cores=5"], "k_core"),
        (["--set", "scenario.split=randomly"], "leave-one-out"),
    ],
)
def test_mistakes_are_explained(sslrec, table, arguments, wanted):
    code, out, err = sslrec("check", table, *arguments)
    assert (code, out) == (2, "")
    assert wanted in err
    assert "Traceback" not in err


@pytest.mark.parametrize("layout", ["parquet", "lists"])
def test_import_writes_a_folder_that_is_a_dataset(sslrec, table, tmp_path, layout):
    target = tmp_path / "mine"
    code, out, _ = sslrec("import", table, "--to", target, "--layout", layout, "--set", "scenario.k_core=3")
    assert code == 0
    assert f"--dataset {target}" in out
    first = json.loads(sslrec("check", target, "--json")[1])["statistics"]
    again = json.loads(sslrec("import", table, "--to", tmp_path / "two", "--set", "scenario.k_core=3", "--json")[1])
    assert [first[part] for part in ("train", "valid", "test")] == [
        again["counts"][part] for part in ("train", "valid", "test")
    ]
    code, _, err = sslrec("import", table, "--to", target)
    assert code == 2
    assert "exists already" in err


def test_import_joins_files(sslrec, table, tmp_path):
    more = tmp_path / "more.csv"
    more.write_text("uid,sku,ts\nsomeone,1,1\nsomeone,2,2\nsomeone,3,3\n")
    answer = json.loads(sslrec("import", table, more, "--to", tmp_path / "both", "--json")[1])
    assert answer["counts"]["users"] == 10
    code, _, err = sslrec("import", table, "--to", tmp_path / "x", "--layout", "excel")
    assert code == 2
    assert "--layout parquet" in err
