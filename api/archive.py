"""The file a backup is: a tar, compressed with zstd, whose last member is its manifest.

The members under `home/` are the files of a home. The manifest (`manifest.json`) holds the size
and the SHA-256 of each, so that an archive that was cut off, changed or badly stored is noticed
before anything is made from it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

import zstandard
from typing_extensions import override

FORMAT = 1
MANIFEST = "manifest.json"
FOLDER = "home"
SUFFIX = ".tar.zst"

_CHUNK = 1 << 20


class ArchiveDamaged(ValueError):
    """A backup cannot be relied on; nothing was made from it."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"The backup {path}: {what}. Use another copy of it, or an older backup.")


@dataclass(frozen=True, slots=True)
class Member:
    """What the manifest says of one file."""

    size: int
    sha256: str


class _Hashed(io.RawIOBase):
    """Reads so many bytes of a file, and hashes what was read."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        super().__init__()
        self._file, self._left = file, size
        self.digest = hashlib.sha256()

    @override
    def readable(self) -> bool:
        return True

    @override
    def read(self, size: int = -1, /) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._file.read(wanted)
        self._left -= len(data)
        self.digest.update(data)
        return data


@dataclass(slots=True)
class ArchiveWriter:
    """Puts files into an archive; `finish` ends it with its manifest."""

    _tar: tarfile.TarFile
    members: dict[str, Member] = field(default_factory=dict)

    def add(self, name: str, file: IO[bytes], *, size: int, mode: int, changed_at: float) -> None:
        """Put in the first `size` bytes of a file, as `home/NAME`."""
        info = tarfile.TarInfo(f"{FOLDER}/{name}")
        info.size, info.mode, info.mtime = size, mode & 0o777, changed_at
        hashed = _Hashed(file, size)
        self._tar.addfile(info, cast(IO[bytes], hashed))
        self.members[name] = Member(size, hashed.digest.hexdigest())

    def add_file(self, name: str, path: Path) -> None:
        """Put in a file that nobody changes meanwhile."""
        with path.open("rb") as file:
            stat = os.fstat(file.fileno())
            self.add(name, file, size=stat.st_size, mode=stat.st_mode, changed_at=stat.st_mtime)

    def finish(self, about: dict[str, Any]) -> None:
        """Put in the manifest."""
        files = {name: {"size": m.size, "sha256": m.sha256} for name, m in self.members.items()}
        document = {"format": FORMAT, **about, "files": files}
        data = json.dumps(document, ensure_ascii=False, indent=1).encode()
        info = tarfile.TarInfo(MANIFEST)
        info.size, info.mode = len(data), 0o600
        self._tar.addfile(info, io.BytesIO(data))


@contextmanager
def written(path: Path) -> Iterator[ArchiveWriter]:
    """Write an archive; it has its name only once it is whole and on disk.

    Raises:
        FileExistsError: There is a file of that name; it stays as it is.
        OSError: It cannot be written; what was begun is removed.
    """
    if path.exists():
        raise FileExistsError(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            compressor = zstandard.ZstdCompressor(level=3, write_checksum=True)
            with (
                compressor.stream_writer(file, closefd=False) as stream,
                tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar,
            ):
                yield ArchiveWriter(tar)
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make sure that names made in a folder survive a crash."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_manifest(path: Path) -> dict[str, Any]:
    """Read all of an archive, hold every file against the manifest, and return the manifest.

    Raises:
        ArchiveDamaged: A file is missing, too many or different, or the archive was cut off.
        OSError: It cannot be read.
    """
    found: dict[str, Member] = {}
    document: dict[str, Any] | None = None
    for name, _, file in _files(path):
        if document is not None:
            raise ArchiveDamaged(path, f"{name} stands behind the manifest, which must be last")
        if name == MANIFEST:
            document = _manifest(path, file.read())
        else:
            digest, size = hashlib.sha256(), 0
            while data := file.read(_CHUNK):
                digest.update(data)
                size += len(data)
            found[_relative(path, name)] = Member(size, digest.hexdigest())
    if document is None:
        raise ArchiveDamaged(path, "its manifest is missing: the file was cut off")
    wanted = {name: Member(**about) for name, about in document["files"].items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise ArchiveDamaged(path, _difference(name, wanted.get(name), found.get(name)))
    return document


def extract(path: Path, targets: dict[str, Path]) -> None:
    """Write files of an archive that was read through before; nothing is written over.

    Args:
        path: The archive.
        targets: Where each wanted file goes.

    Raises:
        ArchiveDamaged: The archive can no longer be read.
        FileExistsError: A target is there.
    """
    folders = set()
    for name, mode, file in _files(path):
        target = targets.get(_relative(path, name)) if name != MANIFEST else None
        if target is None:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode & 0o777)
        with os.fdopen(handle, "wb") as out:
            while data := file.read(_CHUNK):
                out.write(data)
            out.flush()
            os.fsync(out.fileno())
        folders.add(target.parent)
    for folder in folders:
        sync_folder(folder)


def _files(path: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Go through the members: name, mode, content."""
    try:
        with (
            path.open("rb") as packed,
            zstandard.ZstdDecompressor().stream_reader(packed) as stream,
            tarfile.open(fileobj=stream, mode="r|") as tar,
        ):
            for info in tar:
                file = tar.extractfile(info) if info.isreg() else None
                if file is None:
                    raise ArchiveDamaged(path, f"{info.name} is no ordinary file")
                yield info.name, info.mode, file
    except (zstandard.ZstdError, tarfile.TarError, EOFError) as error:
        raise ArchiveDamaged(path, f"it cannot be read to its end ({error})") from error


def _manifest(path: Path, data: bytes) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(data)
        made = int(document["format"])
        {name: Member(**about) for name, about in document["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArchiveDamaged(path, f"its manifest cannot be read ({error!r})") from error
    if made > FORMAT:
        raise ArchiveDamaged(path, f"a newer Tanyuan made it, in format {made}; install that one")
    return document


def _relative(path: Path, name: str) -> str:
    """The name inside the home."""
    parts = PurePosixPath(name).parts
    if len(parts) < 2 or parts[0] != FOLDER or ".." in parts or name != "/".join(parts):
        raise ArchiveDamaged(path, f"{name!r} is no name of a file of a home")
    return "/".join(parts[1:])


def _difference(name: str, wanted: Member | None, found: Member | None) -> str:
    if found is None:
        return f"{name} is missing"
    if wanted is None:
        return f"{name} is not in its manifest"
    if wanted.size != found.size:
        return f"{name} has {found.size} bytes instead of {wanted.size}"
    return f"{name} has SHA-256 {found.sha256}, its manifest says {wanted.sha256}"
