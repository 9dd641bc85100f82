"""The cache: found by content, shared by processes, never half there."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest

from sslrec_core.data import Dataset, Prepared, Raw, Scenario
from sslrec_core.errors import DataError, StorageError
from sslrec_core.ingest import cache as module
from sslrec_core.ingest.cache import Cache
from sslrec_core.ingest.places import cache_root, data_root

ARRAYS = {"a": np.arange(10), "b.c": np.array([1.5, 2.5], np.float32), "empty": np.empty(0, np.int64)}


class Files(Dataset):
    class Config(Dataset.Config):
        option: int = 1

    def read(self, root: Path) -> Raw:
        raise AssertionError("not read here")


class Pairs(Scenario):
    def process(self, raw: Raw) -> Prepared:
        raise AssertionError("not processed here")

    def data(self, prepared: Prepared):
        raise AssertionError("not made here")


def build():
    return Prepared({name: array.copy() for name, array in ARRAYS.items()}, {"notes": ["one"], "counts": {}})


def never():
    raise AssertionError("made again")


def same(prepared):
    return all(np.array_equal(prepared.arrays[name], array) for name, array in ARRAYS.items())


def age(path, seconds=10):
    moment = time.time() - seconds
    os.utime(path, (moment, moment))


def test_what_was_made_is_found_again_and_mapped(tmp_path):
    store = Cache(tmp_path)
    assert same(store.fetch("cf/x", "k1", build))
    found = store.fetch("cf/x", "k1", never)
    assert same(found)
    assert found.meta["notes"] == ["one"]
    assert isinstance(found.arrays["a"], np.memmap)
    with pytest.raises(AssertionError, match="made again"):
        store.fetch("cf/x", "k2", never)


def key(store, paths, option=1, holdout=0.1, name="cf/x"):
    return store.key(name, Files(Files.Config(option=option)), Pairs(Pairs.Config(holdout=holdout)), paths)


def test_the_key_follows_contents_options_and_revisions(tmp_path, monkeypatch):
    store, path = Cache(tmp_path / "cache"), tmp_path / "train.txt"
    path.write_text("0 1")
    first = key(store, [path])
    assert key(store, [path]) == first
    others = {
        key(store, [path], option=2),
        key(store, [path], holdout=0.2),
        key(store, [path], name="cf/y"),
        key(store, []),
    }
    path.write_text("0 2")
    others.add(key(store, [path]))
    path.write_text("0 1")
    assert key(store, [path]) == first
    monkeypatch.setattr(Files, "revision", 2)
    others.add(key(store, [path]))
    monkeypatch.setattr(module, "FORMAT", module.FORMAT + 1)
    others.add(key(store, [path]))
    assert len(others) == 7 and first not in others


def test_checksums_are_remembered_until_the_file_changes(tmp_path, monkeypatch):
    store, path = Cache(tmp_path / "cache"), tmp_path / "big"
    path.write_bytes(b"one")
    age(path)
    first = store.digest(path)
    reads = []
    real = module.hashlib.file_digest
    monkeypatch.setattr(module.hashlib, "file_digest", lambda *given: reads.append(1) or real(*given))
    assert store.digest(path) == Cache(tmp_path / "cache").digest(path) == first
    assert not reads
    path.write_bytes(b"two")
    assert store.digest(path) != first
    assert reads == [1]


def test_the_checksum_of_a_file_just_written_is_not_trusted(tmp_path):
    store, path = Cache(tmp_path / "cache"), tmp_path / "f"
    path.write_bytes(b"one")
    moment = path.stat().st_mtime_ns
    first = store.digest(path)
    path.write_bytes(b"two")
    os.utime(path, ns=(moment, moment))
    assert store.digest(path) != first


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="no-such"):
        Cache(tmp_path).digest(tmp_path / "no-such")


@pytest.mark.parametrize("harm", ["truncate", "remove", "meta", "shape", "empty"])
def test_a_damaged_entry_is_made_again(tmp_path, harm):
    store = Cache(tmp_path)
    store.fetch("cf/x", "k1", build)
    folder = store.entry("cf/x", "k1")
    if harm == "truncate":
        (folder / "a.npy").write_bytes((folder / "a.npy").read_bytes()[:-8])
    elif harm == "remove":
        (folder / "b.c.npy").unlink()
    elif harm == "meta":
        (folder / "meta.json").write_text("{")
    elif harm == "shape":
        np.save(folder / "a.npy", np.arange(9))
    else:
        for file in folder.iterdir():
            file.unlink()
    assert same(store.fetch("cf/x", "k1", build))
    assert same(store.fetch("cf/x", "k1", never))


def test_a_failed_or_killed_build_leaves_nothing_that_is_used(tmp_path):
    store = Cache(tmp_path)

    def fail():
        raise DataError("no")

    with pytest.raises(DataError):
        store.fetch("cf/x", "k1", fail)
    assert list((tmp_path / "prepared").iterdir()) == []
    # What a killed process leaves: arrays, but under a temporary name.
    left = tmp_path / "prepared" / ".cf-x-k1.1.abc"
    left.mkdir()
    np.save(left / "a.npy", np.zeros(3))
    assert same(store.fetch("cf/x", "k1", build))
    age(left, module.ABANDONED + 10)
    store.fetch("cf/x", "k2", build)
    assert not left.exists()


def race(folder, barrier, results):
    def slow():
        barrier.wait(30)
        return build()

    results.put(same(Cache(folder).fetch("cf/x", "k1", slow)))


def test_two_processes_may_build_at_once(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(2), context.Queue()
    both = [context.Process(target=race, args=(tmp_path, barrier, results)) for _ in range(2)]
    for process in both:
        process.start()
    assert [results.get(timeout=60), results.get(timeout=60)] == [True, True]
    for process in both:
        process.join(30)
    assert [path.name for path in (tmp_path / "prepared").iterdir()] == ["cf-x-k1"]


def test_the_loser_of_a_race_takes_the_winners_copy(tmp_path):
    store = Cache(tmp_path)

    def outrun():
        store.fetch("cf/x", "k1", build)
        return Prepared({"a": np.zeros(1)}, {})

    assert same(store.fetch("cf/x", "k1", outrun))
    assert [path.name for path in (tmp_path / "prepared").iterdir()] == ["cf-x-k1"]


def test_a_full_disk_is_named_and_nothing_is_left(tmp_path, monkeypatch):
    def full(*given, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.np, "save", full)
    with pytest.raises(StorageError) as caught:
        Cache(tmp_path).fetch("cf/x", "k1", build)
    assert str(tmp_path) in str(caught.value)
    assert "No space left on device" in str(caught.value)
    assert "SSLREC_CACHE" in str(caught.value)
    assert list((tmp_path / "prepared").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="SSLREC_CACHE"):
        Cache(tmp_path / "file" / "cache").fetch("cf/x", "k1", build)


def test_places_follow_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SSLREC_DATA", str(tmp_path / "d"))
    monkeypatch.setenv("SSLREC_CACHE", str(tmp_path / "c"))
    assert (data_root(), cache_root()) == (tmp_path / "d", tmp_path / "c")
    assert Cache().folder == tmp_path / "c"
    monkeypatch.delenv("SSLREC_DATA")
    monkeypatch.delenv("SSLREC_CACHE")
    assert "sslrec" in str(data_root()) and "sslrec" in str(cache_root())


def test_the_record_is_plain_json(tmp_path):
    store = Cache(tmp_path)
    store.fetch("cf/x", "k1", build)
    record = json.loads((store.entry("cf/x", "k1") / "meta.json").read_text())
    assert record["arrays"]["a"] == ["<i8", [10]]
