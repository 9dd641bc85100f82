"""Named datasets: their declarations, reading, and what bad files say."""

from __future__ import annotations

import hashlib
import io
import os
import re
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from sslrec_core.builtin.datasets import Table
from sslrec_core.data import load_data, load_prepared
from sslrec_core.errors import DataError
from sslrec_core.ingest import download
from sslrec_kg import datasets
from sslrec_kg.data import KG, KGData
from sslrec_kg.datasets import AlibabaFashion, AmazonBook, LastFMDedup, LastFMMusic, ListsAndTriples
from sslrec_kg.plugin import sslrec_datasets

CLASSES = {name: getattr(datasets, target.rpartition(":")[2]) for name, target in sslrec_datasets().items()}
NAMED = {name: kind for name, kind in CLASSES.items() if issubclass(kind, ListsAndTriples)}


class Small(ListsAndTriples):
    """Three users, four items, six entities."""

    sizes = {"user": 3, "item": 4, "entity": 6, "relation": 2}


def write(folder: Path, **files: str) -> Path:
    content = {"train": "0 0 1\n1 1 2\n2 3\n", "test": "0 2\n1 3\n", "kg_final": "0 0 4\n1 0 4\n3\t1 5\n", **files}
    for name, text in content.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


def test_all_named_datasets_are_here() -> None:
    assert len(NAMED) == 4
    assert len(CLASSES) == 5


@pytest.mark.parametrize("name", CLASSES)
def test_declarations_are_complete(name: str) -> None:
    kind = CLASSES[name]
    assert kind.licence
    for file in kind.files:
        assert file.sha256 or file.archive_sha256
        for digest in (file.sha256, file.archive_sha256):
            assert digest is None or re.fullmatch("[0-9a-f]{64}", digest)
        if file.url is not None:
            assert re.match(r"https://[^/]+/[^/]+/[^/]+/[0-9a-f]{40}/", file.url), "a link to a commit, not to a branch"


@pytest.mark.parametrize("name", NAMED)
def test_named_datasets_say_where_they_come_from(name: str) -> None:
    kind = NAMED[name]
    assert kind.homepage.startswith("https://")
    assert kind.citation
    assert {"train.txt", "test.txt", "kg_final.txt"} <= {file.name for file in kind.files}
    assert set(kind.sizes) == {"user", "item", "entity", "relation"}


def test_reading_gives_both_tables(tmp_path: Path) -> None:
    raw = Small(Small.Config()).read(write(tmp_path))
    assert raw.identity_ids
    assert raw.tables["triples"]["tail"].tolist() == [4, 4, 5]
    assert raw.tables["interactions"]["part"].tolist() == [0, 0, 0, 0, 0, 2, 2]
    assert raw.sizes == dict(Small.sizes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 0 4\n\n1 0 6\n", r"kg_final\.txt:3: the tail is no entity, the last one is 5"),
        ("0 2 4\n", r"kg_final\.txt:1: the relation is no relation, the last one is 1"),
        ("0 0 4\n9 0 1\n", r"kg_final\.txt:2: the head is no entity"),
        ("0 0 4\n1 0 -3\n", r"kg_final\.txt:2: expected whole numbers from 0 on"),
        ("0 0 4\n1 0\n", r"kg_final\.txt:2: expected 3 numbers"),
        ("0 born_in 4\n", r"kg_final\.txt:1: expected whole numbers"),
        ("", r"kg_final\.txt is empty"),
    ],
)
def test_bad_triples_name_file_and_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        Small(Small.Config()).read(write(tmp_path, kg_final=text))


def test_a_graph_without_items_is_refused(tmp_path: Path) -> None:
    raw = Small(Small.Config()).read(write(tmp_path, kg_final="4 0 5\n"))
    with pytest.raises(DataError, match="mentions no item"):
        KG(KG.Config()).process(raw)


# ---- a user's own folder


def own(folder: Path, cache: Path) -> tuple[KGData, list[str]]:
    table, scenario = Table(Table.Config(path=str(folder))), KG(KG.Config(holdout=0, inverse=False))
    prepared = load_prepared(table, scenario, name="table", root=folder, cache=cache)
    return scenario.data(prepared), prepared.meta["notes"]


def triples(data: KGData) -> list[list[int]]:
    return torch.stack([data.triples.heads, data.triples.relations, data.triples.tails], 1).tolist()


def test_a_folder_of_lists_may_say_which_entity_an_item_is(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    write(folder, train="0 10 11\n1 11 12\n", test="0 12\n1 10\n", kg_final="70 0 90\n71 0 90\n90 1 91\n")
    (folder / "item_index2entity_id.txt").write_text("10\t70\n11\t71\n12\t72\n")
    data, notes = own(folder, tmp_path / "cache")
    at = {int(raw): place for place, raw in enumerate(data.items.raw(torch.arange(data.n_items)))}
    ninety = data.n_items
    assert triples(data) == [[at[10], 0, ninety], [at[11], 0, ninety], [ninety, 1, ninety + 1]]
    assert any("items have no triple" in note for note in notes)
    assert "1 links to entities that no triple mentions" in notes


def test_lists_that_are_numbered_as_entities_need_no_links(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    write(folder)
    (folder / "item_index2entity_id.txt").write_text("20\t0\n21\t1\n22\t2\n23\t3\n")
    data, notes = own(folder, tmp_path / "cache")
    assert triples(data) == [[0, 0, 4], [1, 0, 4], [3, 1, 5]]
    assert "item_index2entity_id.txt is not used: the items have the numbers of its entities already" in notes


@pytest.mark.parametrize(
    ("links", "words"),
    [
        ("10 70\n11\n", r"item_index2entity_id\.txt:2: expected 2 numbers \(item entity\), found 1"),
        ("10 m.0x\n", r"item_index2entity_id\.txt:1: expected whole numbers from 0 on, found 'm\.0x'"),
        ("10 99\n", "the knowledge graph mentions no item"),
    ],
)
def test_bad_links_are_refused(tmp_path: Path, links: str, words: str) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    write(folder, train="0 10 11\n1 11 12\n", test="0 12\n1 10\n", kg_final="70 0 90\n")
    (folder / "item_index2entity_id.txt").write_text(links)
    with pytest.raises(DataError, match=words):
        own(folder, tmp_path / "cache")


ATOMIC = {
    "mine.inter": "user_id:token\titem_id:token\nu\ta\nu\tb\nv\tb\nv\tc\nu\tc\nv\ta\n",
    "mine.kg": "head_id:token\trelation_id:token\ttail_id:token\nm.1\tgenre\tm.9\nm.2\tgenre\tm.9\n",
    "mine.link": "item_id:token\tentity_id:token\na\tm.1\nb\tm.2\n",
}


def test_atomic_files_with_links_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, text in ATOMIC.items():
        (folder / name).write_text(text)
    data, notes = own(folder, tmp_path / "cache")
    a, b = (data.items.raw(torch.arange(3)).tolist().index(name) for name in ("a", "b"))
    assert triples(data) == sorted([[a, 0, 3], [b, 0, 3]])
    assert "1 of 3 items have no triple" in notes


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("mine.kg", "head_id:token\ttail_id:token\nm.1\tm.9\n", "relation_id"),
        ("mine.kg", "head_id\trelation_id:token\ttail_id:token\nm.1\tg\tm.9\n", "the field 'head_id' has no type"),
        ("mine.link", "item_id:token\tentity:token\na\tm.1\n", "entity_id"),
        ("mine.link", "item_id:token\tentity_id:token\na\tm.7\n", "check the links between items and entities"),
    ],
)
def test_bad_atomic_files_are_refused(tmp_path: Path, name: str, text: str, words: str) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for file, content in {**ATOMIC, name: text}.items():
        (folder / file).write_text(content)
    with pytest.raises(DataError) as caught:
        own(folder, tmp_path / "cache")
    assert words in str(caught.value)


@pytest.mark.parametrize("kind", [AlibabaFashion, LastFMDedup, LastFMMusic])
def test_what_cannot_be_downloaded_is_named(kind: type[ListsAndTriples], tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_data(kind(kind.Config()), KG(KG.Config()), name="kg/some", root=tmp_path, cache=tmp_path / "cache")
    said = str(caught.value)
    assert str(tmp_path / "kg/some/train.txt") in said
    assert str(kind.files[0].sha256) in said


DATA = os.environ.get("SSLREC_DATA")


@pytest.mark.skipif(not DATA or not Path(DATA, "kg/lastfm-music").is_dir(), reason="set SSLREC_DATA to have it")
def test_lastfm_music_is_what_it_says(tmp_path: Path) -> None:
    assert DATA
    scenario = KG(KG.Config(holdout=0))
    data = load_data(
        LastFMMusic(LastFMMusic.Config()), scenario, name="kg/lastfm-music", root=Path(DATA), cache=tmp_path
    )
    assert (data.n_users, data.n_items, data.n_entities, data.n_relations) == (1872, 3846, 9366, 120)
    assert data.kg.n_edges == 2 * 15_518
    assert (data.interactions.parts["train"].nnz, data.interactions.parts["test"].nnz) == (16_939, 4_234)


# ---- downloads: files of the form of amazon-book, from a server on this machine


class Server(ThreadingHTTPServer):
    """Serves ``files`` by path, and cuts the first connections after half of what was asked for."""

    daemon_threads = True
    cuts = 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        body = self.server.files.get(self.path)
        if body is None:
            self.send_error(404)
            return
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        rest = body[start:]
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if self.server.cuts:
            self.server.cuts -= 1
            rest = rest[: len(rest) // 2]
        self.wfile.write(rest)

    def log_message(self, *given: object) -> None:
        pass


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A mirror of amazon-book's addresses with small files, whose checksums the dataset is told to expect."""
    lists = write(tmp_path, entity_list="org_id remap_id\n", relation_list="org_id remap_id\n")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("kg_final.txt", (lists / "kg_final.txt").read_bytes())
    contents = {file.name: (lists / file.name).read_bytes() for file in AmazonBook.files}
    known = []
    with Server() as server:
        for file in AmazonBook.files:
            assert file.url is not None
            sent = packed.getvalue() if file.member else contents[file.name]
            server.files["/" + file.url.removeprefix("https://")] = sent
            sums = {"archive_sha256": sha256(sent)} if file.member else {"sha256": sha256(sent), "size": len(sent)}
            known.append(replace(file, **sums))
        monkeypatch.setattr(AmazonBook, "files", tuple(known))
        monkeypatch.setattr(AmazonBook, "sizes", dict(Small.sizes))
        monkeypatch.setattr(download, "PAUSE", 0.0)
        monkeypatch.setenv("SSLREC_MIRROR", f"http://127.0.0.1:{server.server_port}/")
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def amazon_book(tmp_path: Path) -> KGData:
    scenario = KG(KG.Config(holdout=0))
    place = {"root": tmp_path / "root", "cache": tmp_path / "cache"}
    data = load_data(AmazonBook(AmazonBook.Config()), scenario, name="kg/amazon-book", **place)
    assert isinstance(data, KGData)
    return data


def test_amazon_book_is_downloaded_once(mirror: Server, tmp_path: Path) -> None:
    data = amazon_book(tmp_path)
    assert (data.n_users, data.n_items, data.n_entities, data.kg.n_edges) == (3, 4, 6, 6)
    assert len(mirror.asked) == 5
    amazon_book(tmp_path)
    assert len(mirror.asked) == 5


def test_cut_connections_go_on_where_they_stopped(mirror: Server, tmp_path: Path) -> None:
    mirror.cuts = 3
    assert amazon_book(tmp_path).n_items == 4
    assert len(mirror.asked) == 8


@pytest.mark.parametrize("name", ["train.txt", "kg_final.txt.zip"])
def test_a_wrong_file_is_refused(name: str, mirror: Server, tmp_path: Path) -> None:
    (path,) = [path for path in mirror.files if path.endswith(f"/{name}")]
    mirror.files[path] = mirror.files[path][:-1] + b"!"
    with pytest.raises(DataError, match=f"is not {name}"):
        amazon_book(tmp_path)
    assert not (tmp_path / "root/kg/amazon-book" / name.removesuffix(".zip")).exists()


def test_without_a_server_each_file_and_its_place_is_named(mirror: Server, tmp_path: Path) -> None:
    mirror.files.clear()
    with pytest.raises(DataError) as caught:
        amazon_book(tmp_path)
    said = str(caught.value)
    for name in ("train.txt", "test.txt", "kg_final.txt"):
        assert str(tmp_path / "root/kg/amazon-book" / name) in said
    assert "kg_final.txt.zip (member kg_final.txt of this archive, sha256" in said
