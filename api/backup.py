"""Saves a home into one file, also beside a running `up`, which notices nothing of it.

The ledger is copied first and the journal afterwards, so that the ledger never speaks of messages
that the journal of the backup does not have. Of the journal whole records are copied: sealed
segments as they are, of the others what was on disk when it was their turn. The embedded store is
derived and made again by `restore`; it may be put in where nothing runs.
"""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from api.answers import Document
from api.archive import SUFFIX, ArchiveWriter, written
from api.backup_journal import BackupRefused, add_journal
from api.backup_shared import is_shared
from api.home import Home
from api.settings import FILE, Settings, passwords_in, secret_names
from api.version import version
from ingest.journal_folder import META_NAME
from metering.ledger.database import Database
from metering.periods import utc_text
from metering.site_files import load_home_sites

LEDGER = "ledger.sqlite"
GIVEN = "TANYUAN_CONFIG"
"""Folder of the archive for the files of the folder that this setting names."""

_WAIT_S = 30.0


def back_up(settings: Settings, target: Path, *, with_store: bool, now: datetime) -> Document:
    """Save a home.

    Args:
        settings: Of the installation.
        target: The file to make, or a folder for a file named after the sites and the time.
        with_store: Put the embedded store in as well; only while nothing runs.
        now: When the backup is made.

    Returns:
        What the manifest says, without the list of files.

    Raises:
        BackupRefused: There is such a file, or it cannot be written.
        HomeError: It is no home; or its store is asked for, and a process has it open.
        JournalError: The journal's meta file is damaged.
    """
    home = Home(settings.home, settings.config)
    if not (home.journal / META_NAME).is_file():  # a process that collects needs no site files
        home.check()
    path = target / _name(home, now) if target.is_dir() else target
    with ExitStack() as stack:
        if with_store:
            _check_embedded(settings)
            stack.enter_context(home.owned())
        try:
            return _write(settings, home, path, with_store=with_store, now=now)
        except FileExistsError:
            raise BackupRefused(
                f"{path} exists, and a backup is never written over. Name another file."
            ) from None
        except OSError as error:
            raise BackupRefused(
                f"{path} was not made: {error}. See that there is room, and that this user may "
                "read the home and write that folder."
            ) from error


def _sites(home: Home) -> list[str]:
    return [each.site.id for each in load_home_sites(home.given)] if home.has_sites else []


def _name(home: Home, now: datetime) -> str:
    sites = "-".join(_sites(home) or [home.path.name])[:60]
    return f"tanyuan-{sites}-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}{SUFFIX}"


def _check_embedded(settings: Settings) -> None:
    if settings.store != "duckdb":
        raise BackupRefused(
            f"--with-store saves the embedded store; this installation uses {settings.store}. "
            "Leave the option out: `restore` makes the store again."
        )


def _write(
    settings: Settings, home: Home, path: Path, *, with_store: bool, now: datetime
) -> Document:
    left_out: list[dict[str, str]] = []
    with written(path) as archive:
        ledger = _add_ledger(archive, settings, path.parent)
        journal = add_journal(archive, home.journal, settings.journal_archive)
        stores = _add_store(archive, home) if with_store else []
        for name, file in (*_own_files(home, settings, left_out), *_given_files(home)):
            archive.add_file(name, file)
        _add_settings(archive, home, left_out)
        about: dict[str, Any] = {
            "tanyuan": version(),
            "python": platform.python_version(),
            "made_at": utc_text(now),
            "sites": _sites(home),
            "shared": is_shared(settings, journal["id"] if journal else None),
            "journal": journal,
            "ledger": ledger,
            "store": {"kind": settings.store, "included": bool(stores)},
            "left_out": left_out,
        }
        archive.finish(about)
        count = len(archive.members)
    size = path.stat().st_size
    return {"file": str(path), "bytes": size, "files": count, **about}


# -- the ledger ---------------------------------------------------------------------------


def ledger_file(settings: Settings) -> Path | None:
    """Where the ledger is, if it is a file."""
    database = Database(settings.ledger_url)
    database.close()
    name = database.url.database
    return Path(name) if database.is_sqlite and name else None


def _add_ledger(archive: ArchiveWriter, settings: Settings, scratch: Path) -> Document:
    file = ledger_file(settings)
    if file is None:
        note = (
            "The ledger is in a database of its own, which this backup does not hold: save it "
            "with that database's tools at the same time (pg_dump), and put it back before "
            "`restore`."
        )
        return {"kind": "database", "included": False, "note": note}
    if not file.is_file():
        return {"kind": "sqlite", "included": False, "note": "There was no ledger yet."}
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".tanyuan-backup-") as folder:
        copy = Path(folder) / LEDGER
        schema = _copy_sqlite(file, copy)
        archive.add_file(LEDGER, copy)
    return {"kind": "sqlite", "included": True, "schema": schema}


def _copy_sqlite(source: Path, target: Path) -> str | None:
    """Copy a database as of one moment, while others may write to it; return its schema.

    Raises:
        BackupRefused: It is damaged, or was kept locked.
    """
    address = f"file:{quote(str(source.absolute()))}?mode=ro"
    try:
        with (
            closing(sqlite3.connect(address, uri=True, timeout=_WAIT_S)) as old,
            closing(sqlite3.connect(target)) as new,
        ):
            old.backup(new)
            verdict = new.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise BackupRefused(
                    f"The ledger {source} is damaged ({verdict}): put back a copy of it."
                )
            try:
                return str(new.execute("SELECT version_num FROM alembic_version").fetchone()[0])
            except (sqlite3.OperationalError, TypeError):
                return None
    except sqlite3.Error as error:
        raise BackupRefused(
            f"The ledger {source} cannot be copied: {error}. See that it is a whole SQLite file, "
            "and that no other program keeps it locked."
        ) from error


# -- everything else ----------------------------------------------------------------------


def _add_store(archive: ArchiveWriter, home: Home) -> list[str]:
    names = []
    for path in sorted(home.path.glob(home.store.name + "*")):
        if path.is_file() and ".old" not in path.name:
            archive.add_file(path.name, path)
            names.append(path.name)
    return names


def _own_files(
    home: Home, settings: Settings, left_out: list[dict[str, str]]
) -> Iterator[tuple[str, Path]]:
    """Everything else in the home: site files, factors, profiles, what was exported."""
    ledger = ledger_file(settings)
    for where, folders, files in os.walk(home.path):
        place = Path(where)
        if place == home.path:
            folders[:] = [name for name in folders if not _is_derived(home, name)]
        for folder in sorted(folders):
            if (place / folder).is_symlink():
                _leave_out(left_out, home, place / folder, "a link to a folder elsewhere")
        folders.sort()
        for name in sorted(files):
            path = place / name
            reason = _reason_to_leave_out(home, path, ledger)
            if reason is None:
                yield path.relative_to(home.path).as_posix(), path
            elif reason:
                _leave_out(left_out, home, path, reason)


def _given_files(home: Home) -> Iterator[tuple[str, Path]]:
    """Site files, factors and profiles, where TANYUAN_CONFIG names another folder for them."""
    if home.config is None or home.config.is_relative_to(home.path):
        return
    site = home.config / "site.yaml"
    found = [site] if site.is_file() else []
    for folder in (home.config / "sites", home.factors, home.profiles):
        found += sorted(path for path in folder.rglob("*") if path.is_file())
    for path in found:
        yield f"{GIVEN}/{path.relative_to(home.config).as_posix()}", path


def _is_derived(home: Home, folder: str) -> bool:
    """Whether a folder of the home is copied apart, or is what the store spills to disk."""
    return folder == home.journal.name or folder.startswith(home.store.name)


def _reason_to_leave_out(home: Home, path: Path, ledger: Path | None) -> str | None:
    """Why a file is not saved as it is: None if it is, empty if there is nothing to say."""
    rules: list[tuple[Callable[[], bool], str]] = [
        (lambda: path in (home.run_file, home.lock_file, home.run_file.with_suffix(".new")), ""),
        (lambda: path == home.path / FILE, ""),
        (lambda: ledger is not None and path.name.startswith(ledger.name), ""),
        (lambda: path.parent == home.path and path.name.startswith(home.store.name), ""),
        (lambda: path.name.startswith(".") and path.name.endswith(".partial"), ""),
        (lambda: path.parent.name.startswith(".tanyuan-backup-"), ""),
        (lambda: path.name.endswith(SUFFIX), "an earlier backup"),
        (lambda: path.suffix == ".key", "a private key: keep it where secrets are kept"),
        (lambda: not path.is_file(), "no ordinary file"),
    ]
    return next((reason for applies, reason in rules if applies()), None)


def _leave_out(left_out: list[dict[str, str]], home: Home, path: Path, reason: str) -> None:
    left_out.append({"name": path.relative_to(home.path).as_posix(), "reason": reason})


def _add_settings(archive: ArchiveWriter, home: Home, left_out: list[dict[str, str]]) -> None:
    """Save `tanyuan.toml`; if secrets are in it, all of it but them."""
    path = home.path / FILE
    if not path.is_file():
        return
    values = tomllib.loads(path.read_text(encoding="utf-8"))
    kept = {name: value for name, value in values.items() if not _is_secret(name, value)}
    if kept == values:
        archive.add_file(FILE, path)
        return
    for name in sorted(values.keys() - kept.keys()):
        left_out.append({"name": f"{FILE}: {name}", "reason": "a secret: set it again"})
    lines = [f"# Left out of the backup: {', '.join(sorted(values.keys() - kept.keys()))}."]
    lines += [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in kept.items()]
    with tempfile.TemporaryFile() as file:
        file.write("\n".join([*lines, ""]).encode())
        size = file.tell()
        file.seek(0)
        stat = path.stat()
        archive.add(FILE, file, size=size, mode=stat.st_mode, changed_at=stat.st_mtime)


def _is_secret(name: str, value: object) -> bool:
    known = isinstance(value, str | int | float | bool)
    in_url = isinstance(value, str) and bool(passwords_in(value))
    return name in secret_names() or in_url or not known
