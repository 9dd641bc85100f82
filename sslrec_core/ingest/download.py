"""Files of named datasets: verified where they are, fetched where they are not, explained where neither works."""

from __future__ import annotations

import gzip
import http.client
import lzma
import os
import shutil
import ssl
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import urlsplit

from filelock import FileLock

from sslrec_core.data import Dataset, File
from sslrec_core.errors import DataError, SslrecError, StorageError
from sslrec_core.ingest.cache import Cache
from sslrec_core.ingest.packed import OPENERS
from sslrec_core.ingest.progress import Meter, meter

BLOCK = 2**18
ATTEMPTS = 5
"""Connections in a row that may bring nothing before it is given up."""
TIMEOUT = 30.0
PAUSE = 0.5
"""Seconds before the second attempt; doubled for each further one."""
PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Answers after which another attempt makes sense."""

Say = Callable[[str], None]


class Unreachable(Exception):
    """A file that could not be fetched, and why."""


def provide(dataset: Dataset, folder: Path, *, name: str, store: Cache, say: Say) -> None:
    """See to it that the declared files of ``dataset`` stand in ``folder`` and are the right ones.

    Files that are there are verified once (and again when they change); missing ones are downloaded.

    Raises:
        DataError: a file is wrong, or missing and not to be had; each missing one is named with its place and checksum.
        StorageError: a file cannot be written.
    """
    missing: list[File] = []
    for file in dataset.files:
        if (folder / file.name).is_file():
            verify(folder / file.name, file.sha256, file.size, name, store)
        elif file.member and (folder / archive_name(file)).is_file():
            unpack(folder / archive_name(file), folder / file.name, file, name, store)
        else:
            missing.append(file)
    required = [file for file in missing if not file.optional]
    if any(file.url is None for file in required):
        raise absent(dataset, folder, name, required, "not all of them can be downloaded")
    for file in sorted(missing, key=lambda file: file.optional):
        if file.url is None:
            continue
        try:
            fetch(file, folder, name, store, say)
        except Unreachable as reason:
            if file.optional:
                say(f"{file.name} could not be fetched ({reason}); {name} does without it")
                continue
            still = [other for other in required if not (folder / other.name).is_file()]
            raise absent(dataset, folder, name, still, str(reason)) from reason
        except StorageError as error:
            raise StorageError(error.problem, *error.facts, *_described(folder, required), fix=error.fix) from error


def verify(path: Path, sha256: str | None, size: int | None, name: str, store: Cache) -> None:
    """Compare a file with what is known of it.

    Raises:
        DataError: it is another file; expected and found are named.
    """
    found = path.stat().st_size
    if size is not None and found != size:
        raise _wrong(path, name, f"{size:,} bytes", f"{found:,} bytes")
    if sha256 is not None and (digest := store.digest(path)) != sha256:
        raise _wrong(path, name, f"sha256 {sha256}", f"sha256 {digest}")


def fetch(file: File, folder: Path, name: str, store: Cache, say: Say) -> None:
    """Download one file, through its archive where it comes in one.

    Raises:
        Unreachable: it cannot be had.
        DataError: what came is not the file.
        StorageError: it cannot be written.
    """
    assert file.url is not None
    target = folder / (archive_name(file) if file.member else file.name)
    # Two processes that need the same file: one fetches, the other waits and finds it.
    with _writing(folder), FileLock(store.lock(target)):
        if not target.is_file() and not (folder / file.name).is_file():
            url = mirrored(file.url)
            say(f"downloading {url}")
            checks = (file.archive_sha256, None) if file.member else (file.sha256, file.size)
            _download(url, target, *checks, name=name, store=store)
        if file.member and not (folder / file.name).is_file():
            unpack(target, folder / file.name, file, name, store)
            target.unlink()


def mirrored(url: str) -> str:
    """``url``, or its place on the server that ``SSLREC_MIRROR`` names: ``<mirror>/<host>/<path>``.

    Files are known by their checksums, wherever they come from.
    """
    base = os.environ.get("SSLREC_MIRROR")
    if not base:
        return url
    parts = urlsplit(url)
    return f"{base.rstrip('/')}/{parts.netloc}{parts.path}"


def unpack(archive: Path, target: Path, file: File, name: str, store: Cache) -> None:
    """Take ``file.member`` out of ``archive``, verify both, and put it at ``target``.

    Raises:
        DataError: the archive or the member is not what it should be.
    """
    assert file.member is not None
    verify(archive, file.archive_sha256, None, name, store)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    with _writing(target.parent):
        try:
            with _member(archive, file.member) as source, temporary.open("wb") as sink:
                shutil.copyfileobj(source, sink, BLOCK)
            verify(temporary, file.sha256, file.size, name, store)
            temporary.replace(target)
        except (EOFError, KeyError, zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, gzip.BadGzipFile) as error:
            raise DataError(
                f"{archive} does not hold a readable {file.member!r}", str(error), fix="remove it, then run again"
            ) from error
        finally:
            temporary.unlink(missing_ok=True)


def absent(dataset: Dataset, folder: Path, name: str, files: list[File], reason: str) -> DataError:
    """The error that says which files are missing, what they are and where each has to be placed."""
    facts = [*_described(folder, files), f"reason: {reason}"]
    if dataset.homepage:
        facts.append(f"source: {dataset.homepage}")
    return DataError(
        f"{name}: {len(files)} file{'s' * (len(files) != 1)} missing", *facts,
        fix=f"place each under the path above, or set SSLREC_DATA (or --data-dir) to a folder that holds {name}/",
    )  # fmt: skip


def _described(folder: Path, files: list[File]) -> list[str]:
    """Of each file: where it belongs, how to know it, where it is to be had."""
    facts = []
    for file in files:
        size = f", {file.size:,} bytes" if file.size is not None else ""
        facts.append(f"{folder / file.name}")
        facts.append(f"  sha256 {file.sha256 or 'not known'}{size}")
        if file.url:
            inside = f" (member {file.member} of this archive, sha256 {file.archive_sha256})" if file.member else ""
            facts.append(f"  from {file.url}{inside}")
    return facts


def archive_name(file: File) -> str:
    """The name of the archive that ``file`` comes in."""
    return PurePosixPath(urlsplit(file.url or "").path).name


def _download(url: str, target: Path, sha256: str | None, size: int | None, *, name: str, store: Cache) -> None:
    part = target.with_name(f"{target.name}.part")
    resumed = part.exists()
    _receive(url, part, size)
    try:
        verify(part, sha256, size, name, store)
    except DataError:
        if not resumed:
            raise _rejected(part, target, url, sha256, size, store) from None
        # What was left of an earlier attempt may have been another version: once more from the start.
        part.unlink()
        _download(url, target, sha256, size, name=name, store=store)
        return
    part.replace(target)


def _receive(url: str, part: Path, size: int | None) -> None:
    """Fill ``part`` from ``url``, going on where it ends, over as many connections as it takes."""
    idle = 0
    with meter(part.name.removesuffix(".part"), size) as progress:
        while True:
            have = part.stat().st_size if part.exists() else 0
            if size is not None and have > size:
                part.unlink()
                have = 0
            if size is not None and have == size:
                return
            try:
                if _connection(url, part, have, progress):
                    return
                reason = "the connection was cut"
            except urllib.error.HTTPError as error:
                error.close()
                if error.code == 416 and have:
                    part.unlink()
                elif error.code not in PASSING:
                    raise Unreachable(f"{url} answers {error.code} {error.reason}") from error
                reason = f"{url} answers {error.code} {error.reason}"
            except (
                http.client.HTTPException,
                urllib.error.URLError,
                ConnectionError,
                TimeoutError,
                ssl.SSLError,
            ) as error:
                reason = f"{url}: {getattr(error, 'reason', None) or error}"
            idle = 0 if part.exists() and part.stat().st_size > have else idle + 1
            if idle >= ATTEMPTS:
                raise Unreachable(reason)
            time.sleep(PAUSE * 2**idle)


def _connection(url: str, part: Path, have: int, progress: Meter) -> bool:
    """Read one answer to its end; whether the file is whole, as far as the server says."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise Unreachable(f"{url} is not a web address")
    headers = {"User-Agent": "sslrec", "Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as answer:
        start = (
            have if answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-") else 0
        )
        if answer.status == 206 and have and not start:
            raise http.client.HTTPException("the server answers with another range than the one asked for")
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length is not None else None
        progress.begin(start, total)
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab" if start else "wb") as sink:
            while block := answer.read(BLOCK):
                sink.write(block)
                progress.advance(len(block))
            have = sink.tell()
    return total is None or have >= total


def _rejected(part: Path, target: Path, url: str, sha256: str | None, size: int | None, store: Cache) -> DataError:
    aside = target.with_name(f"{target.name}.rejected")
    part.replace(aside)
    return DataError(
        f"what {url} sent is not {target.name}",
        f"expected: sha256 {sha256 or 'any'}" + (f", {size:,} bytes" if size is not None else ""),
        f"found: sha256 {store.digest(aside)}, {aside.stat().st_size:,} bytes",
        f"kept aside as {aside}, and not used",
        fix=f"try again later, or place the right file at {target}",
    )


def _wrong(path: Path, name: str, expected: str, found: str) -> DataError:
    return DataError(
        f"{path} is not the file that {name} is made of",
        f"expected: {expected}",
        f"found: {found}",
        fix="remove it to have it downloaded, or replace it; to use your own files: --dataset ./your-folder",
    )


@contextmanager
def _member(archive: Path, member: str) -> Iterator[IO[bytes]]:
    """A file inside a zip or tar archive, or the content of a single packed file."""
    name = archive.name.lower()
    if name.endswith(".zip"):
        with zipfile.ZipFile(archive) as zipped, zipped.open(member) as stream:
            yield stream
    elif name.endswith((".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")):
        with tarfile.open(archive) as bundle:
            found = bundle.extractfile(member)
            if found is None:
                raise KeyError(f"{member} is not a file")
            with found:
                yield found
    else:
        opener: Callable[..., IO[bytes]] = OPENERS.get(archive.suffix.lower(), gzip.open)
        with opener(archive, "rb") as content:
            yield content


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except (SslrecError, Unreachable):
        raise
    except OSError as error:
        raise StorageError(
            f"cannot write into {folder}", error.strerror or str(error),
            fix="free some space, or set SSLREC_DATA (or --data-dir) to a folder that can be written",
        ) from error  # fmt: skip
