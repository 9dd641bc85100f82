"""Named files: verified, fetched over bad connections, refused when wrong, explained when missing."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sslrec_core.data import Dataset, File, Raw
from sslrec_core.errors import DataError, StorageError
from sslrec_core.ingest import download
from sslrec_core.ingest.cache import Cache

CONTENT = bytes(range(256)) * 4000
SHA = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves ``files``, and misbehaves as told."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.cut: int | None = None
        """Close each connection after this many bytes."""
        self.ranges = True
        self.fail: list[int] = []
        """Statuses to answer before anything else."""
        self.asked: list[tuple[str, str | None]] = []

    def url(self, name):
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted))
        if self.server.fail:
            return self.send_error(self.server.fail.pop(0))
        body = self.server.files.get(self.path.lstrip("/"))
        if body is None:
            return self.send_error(404)
        start = 0
        if wanted and self.server.ranges:
            start = int(re.match(r"bytes=(\d+)-$", wanted)[1])
            if start >= len(body):
                return self.send_error(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        rest = body[start:]
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest if self.server.cut is None else rest[: self.server.cut])
        return None

    def log_message(self, *given):
        pass


@pytest.fixture
def server():
    with Server() as running:
        running.files["big.bin"] = CONTENT
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.0)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def dataset(*files: File) -> Dataset:
    class Named(Dataset):
        homepage = "https://example.org/named"

        def read(self, root: Path) -> Raw:
            raise AssertionError("not read here")

    Named.files = files
    return Named(Named.Config())


def provide(tmp_path, *files):
    said: list[str] = []
    folder = tmp_path / "data" / "cf" / "named"
    download.provide(dataset(*files), folder, name="cf/named", store=Cache(tmp_path / "cache"), say=said.append)
    return folder, said


def left(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_missing_file_is_fetched_once(tmp_path, server):
    file = File("big.bin", SHA, len(CONTENT), server.url("big.bin"))
    folder, said = provide(tmp_path, file)
    assert (folder / "big.bin").read_bytes() == CONTENT
    assert left(folder) == ["big.bin"]
    assert server.url("big.bin") in said[0]
    provide(tmp_path, file)
    assert len(server.asked) == 1


def test_cut_connections_are_resumed_where_they_broke(tmp_path, server):
    server.cut = 300_000
    folder, _ = provide(tmp_path, File("big.bin", SHA, len(CONTENT), server.url("big.bin")))
    assert (folder / "big.bin").read_bytes() == CONTENT
    starts = [0 if wanted is None else int(wanted[6:-1]) for _, wanted in server.asked]
    assert starts == [0, 300_000, 600_000, 900_000]


def test_a_server_that_ignores_ranges_is_asked_from_the_start(tmp_path, server):
    folder = tmp_path / "data" / "cf" / "named"
    folder.mkdir(parents=True)
    (folder / "big.bin.part").write_bytes(CONTENT[:1000])
    server.ranges = False
    provide(tmp_path, File("big.bin", SHA, len(CONTENT), server.url("big.bin")))
    assert (folder / "big.bin").read_bytes() == CONTENT


def test_a_half_downloaded_file_is_completed_by_the_next_run(tmp_path, server):
    file = File("big.bin", SHA, len(CONTENT), server.url("big.bin"))
    server.cut = 0
    server.files["big.bin"] = CONTENT
    folder = tmp_path / "data" / "cf" / "named"
    folder.mkdir(parents=True)
    (folder / "big.bin.part").write_bytes(CONTENT[:500_000])
    with pytest.raises(DataError, match="1 file missing"):
        provide(tmp_path, file)
    assert left(folder) == ["big.bin.part"]
    server.cut = None
    provide(tmp_path, file)
    assert (folder / "big.bin").read_bytes() == CONTENT
    assert server.asked[-1][1] == "bytes=500000-"


def test_the_rest_of_another_version_is_thrown_away(tmp_path, server):
    folder = tmp_path / "data" / "cf" / "named"
    folder.mkdir(parents=True)
    (folder / "big.bin.part").write_bytes(b"x" * 1000)
    provide(tmp_path, File("big.bin", SHA, None, server.url("big.bin")))
    assert (folder / "big.bin").read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == ["bytes=1000-", None]


def test_a_rest_that_is_too_long_is_thrown_away(tmp_path, server):
    folder = tmp_path / "data" / "cf" / "named"
    folder.mkdir(parents=True)
    (folder / "big.bin.part").write_bytes(CONTENT + b"more")
    provide(tmp_path, File("big.bin", SHA, len(CONTENT), server.url("big.bin")))
    assert (folder / "big.bin").read_bytes() == CONTENT


def test_passing_failures_are_waited_out(tmp_path, server):
    server.fail = [503, 500, 429]
    folder, _ = provide(tmp_path, File("big.bin", SHA, len(CONTENT), server.url("big.bin")))
    assert left(folder) == ["big.bin"]


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_wrong_bytes_are_refused_and_kept_aside(tmp_path, server, size):
    server.files["big.bin"] = CONTENT[:-1] + b"!"
    with pytest.raises(DataError) as caught:
        provide(tmp_path, File("big.bin", SHA, size, server.url("big.bin")))
    text = str(caught.value)
    assert "big.bin" in text
    assert f"expected: sha256 {SHA}" in text
    assert f"found: sha256 {hashlib.sha256(server.files['big.bin']).hexdigest()}" in text
    assert caught.value.fix
    assert left(tmp_path / "data" / "cf" / "named") == ["big.bin.rejected"]


def test_a_file_of_another_size_never_becomes_the_file(tmp_path, server):
    server.files["big.bin"] = b"<html>not what you asked for</html>"
    with pytest.raises(DataError):
        provide(tmp_path, File("big.bin", SHA, len(CONTENT), server.url("big.bin")))
    assert "big.bin" not in left(tmp_path / "data" / "cf" / "named")


def test_what_cannot_be_had_is_explained_file_by_file(tmp_path, server):
    files = (
        File("train.txt", SHA, 1234, server.url("gone.txt")),
        File("test.txt", "ab" * 32, None, server.url("also-gone.txt")),
        File("names.txt", optional=True, url=server.url("names.txt")),
    )
    with pytest.raises(DataError) as caught:
        provide(tmp_path, *files)
    text = str(caught.value)
    folder = tmp_path / "data" / "cf" / "named"
    for wanted in (f"{folder / 'train.txt'}", SHA, "1,234 bytes", f"{folder / 'test.txt'}", "ab" * 32, "404",
                   server.url("gone.txt"), "https://example.org/named", "SSLREC_DATA"):  # fmt: skip
        assert wanted in text
    assert "names.txt" not in text
    assert not folder.exists()


def test_offline_says_the_same(tmp_path):
    with pytest.raises(DataError, match=r"train.txt"):
        provide(tmp_path, File("train.txt", SHA, 9, "http://127.0.0.1:9/train.txt"))
    with pytest.raises(DataError, match="not a web address"):
        provide(tmp_path, File("train.txt", SHA, 9, "file:///etc/hostname"))


def test_a_file_without_an_address_can_only_be_placed(tmp_path, server):
    files = (File("train.txt", SHA, len(CONTENT)), File("big.bin", SHA, len(CONTENT), server.url("big.bin")))
    with pytest.raises(DataError, match="2 files missing"):
        provide(tmp_path, *files)
    assert server.asked == []
    folder = tmp_path / "data" / "cf" / "named"
    folder.mkdir(parents=True)
    (folder / "train.txt").write_bytes(CONTENT)
    provide(tmp_path, *files)
    assert left(folder) == ["big.bin", "train.txt"]


def test_a_wrong_file_placed_by_hand_is_refused(tmp_path):
    folder = tmp_path / "data" / "cf" / "named"
    folder.mkdir(parents=True)
    (folder / "train.txt").write_bytes(b"other")
    for file in (File("train.txt", SHA, len(CONTENT)), File("train.txt", SHA)):
        with pytest.raises(DataError, match="is not the file that cf/named is made of") as caught:
            provide(tmp_path, file)
        assert "expected" in str(caught.value) and "found" in str(caught.value)
    assert (folder / "train.txt").read_bytes() == b"other"


def test_optional_files_may_be_absent_but_not_wrong(tmp_path, server):
    folder, said = provide(tmp_path, File("names.txt", SHA, 5, server.url("names.txt"), optional=True))
    assert any("does without" in text for text in said)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "names.txt").write_bytes(b"wrong")
    with pytest.raises(DataError, match=r"names.txt"):
        provide(tmp_path, File("names.txt", SHA, 5, server.url("names.txt"), optional=True))


def packed(name: str) -> bytes:
    if name.endswith(".gz"):
        return gzip.compress(CONTENT, mtime=0)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("inside/kg.txt", CONTENT)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["kg.txt.zip", "kg.txt.gz"])
@pytest.mark.parametrize("by_hand", [False, True])
def test_members_of_archives_are_taken_out(tmp_path, server, name, by_hand):
    archive = packed(name)
    server.files[name] = archive
    checksum = hashlib.sha256(archive).hexdigest()
    file = File("kg.txt", SHA, len(CONTENT), server.url(name), member="inside/kg.txt", archive_sha256=checksum)
    folder = tmp_path / "data" / "cf" / "named"
    if by_hand:
        folder.mkdir(parents=True)
        (folder / name).write_bytes(archive)
    provide(tmp_path, file)
    assert (folder / "kg.txt").read_bytes() == CONTENT
    assert left(folder) == (["kg.txt", name] if by_hand else ["kg.txt"])
    assert len(server.asked) == (0 if by_hand else 1)


def test_an_archive_without_the_member_or_with_another_is_refused(tmp_path, server):
    server.files["kg.txt.zip"] = packed("kg.txt.zip")
    with pytest.raises(DataError, match=r"does not hold a readable 'elsewhere.txt'"):
        provide(tmp_path, File("kg.txt", url=server.url("kg.txt.zip"), member="elsewhere.txt"))
    with pytest.raises(DataError, match="is not the file"):
        provide(tmp_path / "two", File("kg.txt", "ab" * 32, url=server.url("kg.txt.zip"), member="inside/kg.txt"))
    assert "kg.txt" not in left(tmp_path / "two" / "data" / "cf" / "named")
    file = File("kg.txt", url=server.url("kg.txt.zip"), member="inside/kg.txt", archive_sha256="ab" * 32)
    with pytest.raises(DataError, match="expected: sha256 abab"):
        provide(tmp_path / "three", file)


def test_a_folder_that_cannot_be_written_is_named(tmp_path, server):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cf").write_text("in the way")
    with pytest.raises(StorageError) as caught:
        provide(tmp_path, File("big.bin", SHA, len(CONTENT), server.url("big.bin")))
    assert "SSLREC_DATA" in str(caught.value)
    assert SHA in str(caught.value)


def test_two_that_need_the_same_file_fetch_it_once(tmp_path, server):
    file = File("big.bin", SHA, len(CONTENT), server.url("big.bin"))
    threads = [threading.Thread(target=provide, args=(tmp_path, file)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.asked) == 1
    assert left(tmp_path / "data" / "cf" / "named") == ["big.bin"]
