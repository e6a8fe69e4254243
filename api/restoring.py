"""Makes a home from a backup, in an empty place, after every file of it was checked."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from api.answers import Document
from api.archive import ArchiveDamaged, extract, read_manifest
from api.backup import GIVEN, LEDGER, ledger_file
from api.backup_shared import is_shared
from api.home import Home, HomeBusy
from api.rebuilding import rebuild_home
from api.settings import FILE, Settings
from ingest.journal_folder import META_NAME, read_meta, write_meta
from ingest.journal_reader import JournalReader

_MAY_BE_THERE = {"home.lock", "lost+found", FILE}
"""An operator may have put the settings with their secrets there first; they stay."""


class RestoreRefused(RuntimeError):
    """Nothing was restored; the message says why and what to do."""


def check_backup(file: Path) -> Document:
    """Read a backup to its end and hold every file against its hash; nothing is written.

    Raises:
        ArchiveDamaged: It cannot be relied on.
        RestoreRefused: It cannot be read.
    """
    try:
        manifest = read_manifest(file)
    except OSError as error:
        raise RestoreRefused(f"The backup {file} cannot be read: {error}.") from error
    return _about(file, manifest)


def restore(
    settings: Settings, file: Path, *, say: Callable[[str], None] = lambda _: None
) -> Document:
    """Make a home from a backup, and its store from the journal unless it is in there too.

    A store and a ledger that other processes use as well stay as they are.

    Args:
        settings: Of the home to be made.
        file: The backup.
        say: Is told what is being done.

    Raises:
        HomeBusy: A running process owns that home.
        RestoreRefused: There is something in that place; or the backup does not fit.
        ArchiveDamaged: The backup cannot be relied on; nothing was made.
    """
    home = Home(settings.home, settings.config)
    _check_place(home)
    say(f"checking {file}")
    try:
        manifest = read_manifest(file)
        _check_fit(home, settings, manifest, file)
        targets = _targets(home, settings, manifest)
        with home.owned():
            _check_place(home)
            say(f"writing {len(targets)} files to {home.path}")
            extract(file, targets)
            _check_journal(home, manifest, file)
            _mark_restored(home)
    except OSError as error:
        raise RestoreRefused(
            f"The backup {file} was not restored: {error}. See that there is room and that this "
            f"user may write {home.path}; empty that folder, then try again."
        ) from error
    store: Document = {"rebuilt": False}
    if _is_part(settings, manifest):
        store["note"] = _left_alone(home)
        say(store["note"])
    elif home.store not in targets.values():
        say("making the store from the journal; this takes minutes for millions of messages")
        store = {"rebuilt": True, "kind": settings.store, **rebuild_home(settings)}
    return {"home": str(home.path), **_about(file, manifest), "store": store}


def _is_part(settings: Settings, manifest: dict[str, Any]) -> bool:
    """Whether other processes use the store as well, or neither backup nor ledger can tell."""
    if settings.store == "duckdb":
        return False
    journal = manifest["journal"]
    now = is_shared(settings, journal["id"] if journal else None)
    said = manifest.get("shared", False)
    return True in (said, now) or (said is None and now is None)


def _left_alone(home: Home) -> str:
    """What there is to say of a store and a ledger that are not of this home alone."""
    return (
        "Store and ledger are shared with other processes and were left alone. Put sealed segments "
        f"that were copied after the backup into {home.journal} now. Then start this home's "
        "process: its journal goes on behind every number the ledger knows. Do not rebuild while "
        "the store is whole: it holds readings of messages that are lost. If it is lost too, "
        "restore every home, start those that collect, and then: tanyuan --home HOME rebuild (the "
        "home of a `schedule` that is stopped)."
    )


def _about(file: Path, manifest: dict[str, Any]) -> Document:
    about = {name: value for name, value in manifest.items() if name != "files"}
    return {"backup": str(file), **about, "files": len(manifest["files"])}


def _check_place(home: Home) -> None:
    running = home.running()
    if running is not None:
        raise HomeBusy(
            f"The home {home.path} is in use by process {running.pid}. Stop it; a backup is "
            "restored into an empty home, so move the old one away or name another."
        )
    there = {path.name for path in home.path.iterdir()} if home.path.is_dir() else set()
    if extra := sorted(there - _MAY_BE_THERE):
        raise RestoreRefused(
            f"Wanted an empty folder at {home.path}, found {', '.join(extra[:5])}"
            f"{' and more' if len(extra) > 5 else ''}. Nothing was changed; move what is there "
            "away, or name another home."
        )


def _check_fit(home: Home, settings: Settings, manifest: dict[str, Any], file: Path) -> None:
    ledger = ledger_file(settings)
    if ledger is not None and ledger.exists() and not _is_part(settings, manifest):
        raise RestoreRefused(f"There is a ledger at {ledger} already; move it away first.")
    if LEDGER in manifest["files"] and ledger_file(settings) is None:
        raise RestoreRefused(
            f"The backup {file} holds an SQLite ledger, and TANYUAN_LEDGER names another "
            "database. Leave TANYUAN_LEDGER out to restore."
        )
    kind = manifest["store"]["kind"]
    if kind != settings.store and "store" not in settings.model_fields_set:
        raise RestoreRefused(
            f"The backup {file} is of a home whose store is {kind}, and nothing here says so. Put "
            f'a tanyuan.toml with `store = "{kind}"`, its secrets (they are in no backup) and '
            f"`ledger`, where that is a database of its own, into {home.path} first; or set "
            f"TANYUAN_STORE={settings.store} to have the store made in {settings.store} from now "
            "on. Nothing was changed."
        )
    needed = sum(int(about["size"]) for about in manifest["files"].values())
    place = next(path for path in (home.path, *home.path.parents) if path.is_dir())
    free = shutil.disk_usage(place).free
    if needed + (settings.min_free_mb << 20) > free:
        raise RestoreRefused(
            f"The files of {file} take {needed >> 20} MiB, and {place} has {free >> 20} MiB free, "
            f"of which {settings.min_free_mb} stay free. Make room."
        )


def _targets(home: Home, settings: Settings, manifest: dict[str, Any]) -> dict[str, Path]:
    """Where each file goes; of the store nothing, where another is used.

    Site files, factors and profiles that TANYUAN_CONFIG names stay as they are there.
    """
    targets = {name: home.path / name for name in manifest["files"]}
    for name in [each for each in targets if each.startswith(f"{GIVEN}/")]:
        targets[name] = home.given / name.removeprefix(f"{GIVEN}/")
        if home.config is not None and home.has_sites:
            del targets[name]
    ledger = ledger_file(settings)
    if LEDGER in targets and ledger is not None:
        targets[LEDGER] = ledger
        if ledger.exists():
            del targets[LEDGER]
    if targets.get(FILE, home.path).exists() and FILE in targets:
        del targets[FILE]
    if settings.store != "duckdb":
        targets = {
            name: path
            for name, path in targets.items()
            if not (path.parent == home.path and name.startswith(home.store.name))
        }
    return targets


def _check_journal(home: Home, manifest: dict[str, Any], file: Path) -> None:
    wanted = manifest["journal"]
    if wanted is None:
        return
    reader = JournalReader(home.journal)
    found = (reader.journal_id, reader.last_sequence)
    if found != (wanted["id"], wanted["last_sequence"]):
        raise ArchiveDamaged(
            file,
            f"its journal is {found}, its manifest says {wanted['id']}, {wanted['last_sequence']}",
        )


def _mark_restored(home: Home) -> None:
    """See that no number is given before the ledger was asked, which is done at the next start."""
    if (home.journal / META_NAME).is_file():
        meta = replace(read_meta(home.journal), is_restored=True)
        write_meta(home.journal, meta, sync=True)
