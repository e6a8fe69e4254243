"""What the doctor looks at of the parts: journal, ledger, store; or the process that has them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any
from urllib.parse import quote

import httpx2
import orjson

from api.backup import ledger_file
from api.doctor import Check, Examination, Patient
from api.doctor_journals import check_journals, others
from api.home import HomeBusy, Running
from api.services import open_store
from ingest.journal_folder import META_NAME, list_entries, read_meta, with_following
from ingest.journal_reader import JournalReader
from ingest.journal_records import Parser
from ingest.sealed import content_sha256, read_footer
from ingest.segments import JournalError, RawSegment
from metering.ledger.port import LedgerUnavailable
from metering.ledger.sql_ledger import open_ledger
from metering.store.port import ReadingStore, StoreDamaged, StoreUnavailable

_ASK_S = 15.0
_LAG = 10_000
"""More messages than this behind is worth a look; a burst is worked off in seconds."""

_DAYS_LEFT = 30


def check_process(patient: Patient) -> Sequence[Check]:
    """Whether `up` runs, and what it says of itself."""
    running, home = patient.running, patient.home
    if running is None and home.run_file.exists():
        text = "Nothing runs; run.json is of a process that did not end cleanly, and is ignored."
        return [Check("process", "warn", text, f"Start it: tanyuan --home {home.path} up")]
    if running is None:
        return [Check("process", "ok", "Nothing runs.")]
    try:
        ready, status = _asked(patient, running)
    except (httpx2.HTTPError, ValueError) as error:
        remedy = "Look at its log; if it is stuck, end it (kill) and start it again."
        text = f"Process {running.pid} does not answer within {_ASK_S:.0f} s ({error!r})."
        return [Check("process", "fail", text, remedy)]
    role = status.get("role") or "up"
    text = f"Process {running.pid}, `{role}` of version {status.get('version')}, is ready."
    first = Check("process", "ok", text)
    if not ready:
        remedy = "Mend what it names; it goes on by itself."
        problems = " ".join(status.get("problems") or ()) or "Not ready."
        first = Check("process", "fail", problems, remedy)
    return [first, *_what_it_says(status)]


def _asked(patient: Patient, running: Running) -> tuple[bool, dict[str, Any]]:
    bind = patient.settings.http_bind
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind, bind)
    base = f"http://{f'[{host}]' if ':' in host else host}:{running.http_port}"
    headers = {"authorization": f"Bearer {running.token}"}
    with httpx2.Client(base_url=base, headers=headers, timeout=_ASK_S, trust_env=False) as client:
        ready = client.get("/readyz").status_code == 200
        answer = client.get("/api/v1/status")
        answer.raise_for_status()
        return ready, orjson.loads(answer.content)


def _what_it_says(status: dict[str, Any]) -> list[Check]:
    """What stands in a status; a part leaves out, and `up` says null to, what it cannot know."""
    lag, journal, broker = (status.get(name) or {} for name in ("lag", "journal", "broker"))
    found: list[Check] = []
    if lag.get("messages") is not None:
        found.append(_lag(lag["messages"], lag.get("last_error")))
    elif lag:
        remedy = "Mend what `process` and `ledger` name, then ask again."
        text = "How far the store is behind the journal cannot be known now."
        found.append(Check("lag", "warn", text, remedy))
    days = journal.get("days_left")
    if days is not None and days < _DAYS_LEFT:
        remedy = "Add room, or move sealed segments to TANYUAN_JOURNAL_ARCHIVE."
        found.append(Check("disk", "warn", f"The disk is full in {days:.0f} days.", remedy))
    if broker:
        found.append(_broker(broker))
    if error := (status.get("displays") or {}).get("last_error"):
        text = f"Displays are not given their figures: {error}"
        remedy = "Mend what it names; it goes on by itself, and hours that are missing are written."
        found.append(Check("displays", "fail", text, remedy))
    if waiting := sum((status.get("quarantine") or {}).values()):
        text = f"{waiting} messages or readings could not be read."
        found.append(Check("quarantine", "warn", text, "tanyuan quarantine list says why."))
    if silent := status.get("silent_meters"):
        names = ", ".join(str(each["meter"]) for each in silent[:5])
        text = f"{len(silent)} meters are silent: {names}{', …' if len(silent) > 5 else ''}."
        found.append(Check("meters", "warn", text, "Look at their gateways, then the quarantine."))
    return found


def _broker(broker: dict[str, Any]) -> Check:
    if broker.get("connected"):
        return Check("broker", "ok", f"{broker.get('url')} is connected.")
    remedy = "See that the broker runs and takes the user of TANYUAN_BROKER."
    text = f"{broker.get('url')} is not connected: {broker.get('last_error')}"
    return Check("broker", "fail", text, remedy)


def _lag(messages: int, error: str | None) -> Check:
    text = f"{messages} messages are not in the store yet."
    if error:
        remedy = "Mend what it names; it goes on by itself."
        return Check("lag", "fail", f"{text} The last attempt failed: {error}", remedy)
    remedy = "Wait and ask again; if it grows, the machine or the store is too slow."
    return Check("lag", "warn", text, remedy) if messages > _LAG else Check("lag", "ok", text)


def check_journal(patient: Patient) -> Sequence[Check]:
    """The newest segments of the journal are whole; with `deep` all of them."""
    folder, older = patient.home.journal, patient.settings.journal_archive
    if not (folder / META_NAME).is_file():
        if any(folder.glob("*.log")) or any(folder.glob("*.sealed")):
            text = f"{META_NAME} is missing beside the segments in {folder}."
            return [Check("journal", "fail", text, "Put it back from a backup.")]
        if registered := others(patient):
            text = f"This home keeps none; {len(registered)} of other processes are registered."
            return [Check("journal", "ok", text)]
        text = "This home keeps none yet; `up`, `listen` or `collect` begins one."
        return [Check("journal", "ok", text)]
    try:
        lost = read_meta(folder).lost
        if patient.deep:
            whole = JournalReader(folder, archive=older).verify()
            problems, said = list(whole.problems), f"all {whole.messages} messages were read"
        else:
            problems, said = _newest(patient), "the newest segments were read (--deep reads all)"
    except (JournalError, OSError) as error:
        problems, said, lost = [str(error)], "", ()
    for each in lost:
        said += f"; messages {each.first} to {each.last} are lost"
    if problems:
        remedy = (
            "Look at the disk. Put good copies of the files named in their place from a backup; "
            "then tanyuan rebuild."
        )
        return [Check("journal", "fail", " ".join(problems[:3]), remedy)]
    return [Check("journal", "ok", f"It is whole: {said}.")]


def _newest(patient: Patient) -> list[str]:
    """What is wrong with the newest sealed segment, and with those that are not sealed."""
    lost = read_meta(patient.home.journal).lost
    entries = list_entries(patient.home.journal, patient.settings.journal_archive)
    problems: list[str] = []
    for entry, after in with_following(entries, lost):
        if entry.raw is not None and entry.path.exists():
            raw = RawSegment(entry.path, entry.first)
            raw.scan(Parser(), before=after)
            problems += [str(damage) for damage in raw.damages]
    sealed = [entry.path for entry in entries if entry.raw is None]
    if sealed:
        footer = read_footer(sealed[-1])
        if content_sha256(sealed[-1], footer) != footer.manifest.sha256:
            problems.append(f"{sealed[-1]}: the records do not have the SHA-256 of the manifest")
    return problems


def check_ledger(patient: Patient) -> Sequence[Check]:
    """The ledger answers, is whole, and is at this program's schema."""
    file = ledger_file(patient.settings)
    if file is not None and not file.is_file():
        return [Check("ledger", "ok", "There is none yet; `up` begins one.")]
    if file is not None and (damage := _sqlite_damage(str(file.absolute()))):
        text = f"The ledger {file} is damaged: {damage}"
        return [Check("ledger", "fail", text, "Restore a backup into a new home.")]
    try:
        ledger = open_ledger(patient.settings.ledger_url, migrate=False)
    except LedgerUnavailable as error:
        older = "open it once with migration" in str(error)
        remedy = "Make a backup, then start `up`." if older else "Do what the message says."
        return [Check("ledger", "warn" if older else "fail", str(error), remedy)]
    with closing(ledger):
        ledger.check()
    return [Check("ledger", "ok", "It answers, at the schema of this version.")]


def _sqlite_damage(path: str) -> str:
    """What SQLite finds wrong with a file; empty if nothing."""
    try:
        with closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True)) as opened:
            verdict = opened.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        return f"{error}."
    return "" if verdict == "ok" else f"{verdict}."


def check_store(patient: Patient) -> Sequence[Check]:
    """The store answers, and how far it is behind the journal."""
    home, settings = patient.home, patient.settings
    if patient.running is not None:
        return _shared_store(patient)
    if settings.store == "duckdb" and not home.store.is_file():
        return [Check("store", "ok", "There is none in the home yet; `up` makes it.")]
    if not home.path.is_dir():
        return []  # said by its own check
    try:
        with home.owned(), closing(open_store(settings, home)) as store:
            store.check()
            return _counted(patient, store)
    except HomeBusy as error:
        return [Check("store", "warn", str(error), "Ask again when that process has ended.")]
    except StoreDamaged as error:
        return [Check("store", "fail", str(error), f"tanyuan --home {home.path} rebuild")]
    except StoreUnavailable as error:
        return [Check("store", "fail", str(error), "Do what the message says.")]


def _shared_store(patient: Patient) -> Sequence[Check]:
    """Whether InfluxDB answers beside a process; only that process can open an embedded store."""
    if patient.settings.store == "duckdb":
        return []  # its process was asked
    try:
        with closing(open_store(patient.settings, patient.home)) as store:
            store.check()
    except (StoreDamaged, StoreUnavailable) as error:
        return [Check("store", "fail", str(error), "Do what the message says.")]
    return [Check("store", "ok", "It answers.")]


def _counted(patient: Patient, store: ReadingStore) -> list[Check]:
    settings, summaries = patient.settings, store.summaries()
    readings = sum(each.count for each in summaries)
    text = f"It answers: {readings} readings of {len({s.meter for s in summaries})} meters."
    found = [Check("store", "ok", text)]
    if not (patient.home.journal / META_NAME).is_file():
        return found
    reader = JournalReader(patient.home.journal, archive=settings.journal_archive)
    try:
        with closing(open_ledger(settings.ledger_url, migrate=False)) as ledger:
            at = ledger.position(store_id=store.store_id, journal=reader.journal_id)
    except LedgerUnavailable:
        return found  # said by its own check
    behind = reader.last_sequence - at
    if behind < 0:
        text = (
            f"The store has the journal up to message {at}, and it ends at {reader.last_sequence}: "
            "it is an older copy that was put back."
        )
        remedy = (
            "Put the newer one back, or sealed segments that were copied since, if there are any. "
            f"Then start: it goes on behind {at}, and says what is lost. Do not rebuild, which "
            "makes the store without that."
        )
        return [*found, Check("lag", "warn", text, remedy)]
    return [*found, _lag(behind, None)]


EXAMINATIONS: Sequence[tuple[str, Examination]] = (
    ("process", check_process),
    ("journal", check_journal),
    ("journals", check_journals),
    ("ledger", check_ledger),
    ("store", check_store),
)
