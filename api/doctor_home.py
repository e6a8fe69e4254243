"""What the doctor looks at in the home: its files, who may read them, the disk, the clock."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from api.backup import ledger_file
from api.doctor import Check, Examination, Patient
from api.home import HomeError
from api.settings import FILE, secret_names
from carbon.factor_files import check as check_factor_files
from ingest.context import check_profiles
from ingest.golden import failed_examples
from ingest.journal_folder import META_NAME, list_entries
from ingest.mqtt_users import UsersFileInvalid, load_users
from ingest.profiles import ProfileErrors, load_profiles
from metering.site_checks import check_site
from metering.site_files import SiteErrors, load_home_sites
from metering.units import REGISTERS

_FIRST_YEAR = 2024
_AHEAD_S = 300.0
_LOW_TIMES = 4
_SHORTEST_TOKEN = 16


def check_settings(patient: Patient) -> Sequence[Check]:
    """The settings fit together, and strangers need a secret."""
    settings, found = patient.settings, []
    token = settings.http_token
    if token is not None and len(token.get_secret_value()) < _SHORTEST_TOKEN:
        text = f"TANYUAN_HTTP_TOKEN has fewer than {_SHORTEST_TOKEN} characters."
        remedy = 'Make a new one: python3 -c "import secrets; print(secrets.token_urlsafe(24))"'
        found.append(Check("settings", "warn", text, remedy))
    if not settings.is_local:
        for name, value in (
            ("TANYUAN_HTTP_TOKEN", settings.http_token),
            ("TANYUAN_MQTT_USERS", settings.mqtt_users),
        ):
            if value is None:
                text = f"{name} is not set, so that door stays on this machine."
                remedy = f"Set {name} if others are to reach it."
                found.append(Check("settings", "warn", text, remedy))
    if settings.mqtt_users is not None:
        found += _users(settings.mqtt_users)
    return found or [Check("settings", "ok", "They can be used.")]


def _users(path: Path) -> list[Check]:
    try:
        load_users(path)
    except (UsersFileInvalid, OSError) as error:
        remedy = "Mend the file that TANYUAN_MQTT_USERS names."
        return [Check("settings", "fail", f"{error}.", remedy)]
    return []


def check_home(patient: Patient) -> Sequence[Check]:
    """The home is one, and this user may write it."""
    home = patient.home
    try:
        home.check()
    except HomeError as error:
        return [Check("home", "fail", str(error), f"tanyuan --home {home.path} init")]
    locked = [p for p in (home.path, home.journal) if p.exists() and not os.access(p, os.W_OK)]
    ledger = ledger_file(patient.settings)
    if ledger is not None and ledger.exists() and not os.access(ledger, os.W_OK):
        locked.append(ledger)
    if locked:
        names = ", ".join(str(path) for path in locked)
        owner = home.path.stat().st_uid
        remedy = f"Run as the user the home belongs to (uid {owner}), or give it to this one."
        return [Check("home", "fail", f"This user may not write {names}.", remedy)]
    return [Check("home", "ok", f"{home.path} is a home and can be written.")]


def check_secrets(patient: Patient) -> Sequence[Check]:
    """Files with secrets are for their owner alone."""
    paths = [patient.home.run_file]
    settings_file = patient.home.path / FILE
    if settings_file.is_file():
        text = settings_file.read_text(encoding="utf-8")
        if any(name in text for name in secret_names()):
            paths.append(settings_file)
    if patient.settings.mqtt_users is not None:
        paths.append(patient.settings.mqtt_users)
    ledger = ledger_file(patient.settings)
    if ledger is not None:
        paths.append(ledger)
    private = _journal_is_private(patient.home.path)
    wide = [p for p in paths if p.is_file() and p.stat().st_mode & stat.S_IROTH]
    if wide and not private:
        names = " ".join(str(path) for path in wide)
        text = f"Everyone on this machine can read {names}."
        return [Check("secrets", "warn", text, f"chmod o-rwx {names}")]
    return [Check("secrets", "ok", "No file with a secret can be read by everyone.")]


def _journal_is_private(home: Path) -> bool:
    """Whether others cannot get into the home at all."""
    return home.is_dir() and not home.stat().st_mode & stat.S_IXOTH


def check_disk(patient: Patient) -> Sequence[Check]:
    """There is room, and it lasts."""
    place = next(p for p in (patient.home.path, *patient.home.path.parents) if p.is_dir())
    free, least = shutil.disk_usage(place).free >> 20, patient.settings.min_free_mb
    remedy = "Make room, or move sealed journal segments to TANYUAN_JOURNAL_ARCHIVE."
    text = f"{free} MiB are free under {place}; below {least} MiB nothing more is accepted."
    entries = os.statvfs(place)
    if free < least:
        return [Check("disk", "fail", text, remedy)]
    if entries.f_files and entries.f_favail < 1000:
        text = f"{place} has room for only {entries.f_favail} more files."
        return [Check("disk", "warn", text, "Remove small files.")]
    return [Check("disk", "warn" if free < _LOW_TIMES * least else "ok", text, remedy)]


def check_left_overs(patient: Patient) -> Sequence[Check]:
    """What was put aside after damage is looked at, and not kept for ever."""
    home = patient.home
    aside = sorted(home.path.glob(f"{home.store.name}*.old*"))
    damaged = sorted(home.journal.glob("*.damaged"))
    found = []
    if aside:
        size = sum(path.stat().st_size for path in aside) >> 20
        names = " ".join(path.name for path in aside)
        text = f"Stores that were set aside take {size} MiB: {names}."
        found.append(Check("left_overs", "warn", text, f"Remove them from {home.path}."))
    if damaged:
        names = " ".join(path.name for path in damaged)
        remedy = "Look at the disk, and keep the files until a backup was compared with them."
        found.append(
            Check("left_overs", "warn", f"Damaged segments were put aside: {names}.", remedy)
        )
    return found


def check_clock(patient: Patient) -> Sequence[Check]:
    """The clock is not behind what it wrote itself."""
    now, remedy = patient.now, "Set the clock, and keep it by NTP: timedatectl set-ntp true"
    if now.year < _FIRST_YEAR:
        return [Check("clock", "fail", f"It is said to be {now:%Y-%m-%d %H:%M} UTC.", remedy)]
    newest = max(_times(patient), default=None)
    if newest is not None and newest[0] > now.timestamp() + _AHEAD_S:
        at = datetime.fromtimestamp(newest[0], UTC)
        text = f"It is {now:%Y-%m-%d %H:%M} UTC, but {newest[1]} is of {at:%Y-%m-%d %H:%M} UTC."
        return [Check("clock", "fail", text, remedy)]
    return [Check("clock", "ok", f"It is {now:%Y-%m-%d %H:%M:%S} UTC, after all that was written.")]


def _times(patient: Patient) -> Iterator[tuple[float, str]]:
    """When the newest things were written, as far as the clock said."""
    home = patient.home
    for path in (
        home.store,
        home.run_file,
        home.journal / META_NAME,
        ledger_file(patient.settings),
    ):
        if path is not None and path.is_file():
            yield path.stat().st_mtime, path.name
    if (home.journal / META_NAME).is_file():
        for entry in list_entries(home.journal, None)[-2:]:
            yield entry.path.stat().st_mtime, entry.path.name


def check_sites(patient: Patient) -> Sequence[Check]:
    """The site files can be used."""
    profiles = load_profiles(*_own_profiles(patient))
    try:
        registers = frozenset(REGISTERS) | frozenset(profiles.registers)
        loaded = load_home_sites(patient.home.given, registers=registers)
    except SiteErrors as errors:
        return [Check("sites", "fail", str(errors), "Mend the lines named, then: tanyuan check")]
    sites = [each.site for each in loaded]
    findings = [f for site in sites for f in (*check_site(site), *check_profiles([site], profiles))]
    meters = sum(len(site.serials) for site in sites)
    text = f"{', '.join(site.id for site in sites)}: {meters} meters."
    if findings:
        said = " ".join(finding.message for finding in findings[:3])
        remedy = "tanyuan check names all of them."
        return [Check("sites", "warn", f"{text} {len(findings)} findings: {said}", remedy)]
    return [Check("sites", "ok", text)]


def check_factors(patient: Patient) -> Sequence[Check]:
    """The factor files can be used."""
    problems = check_factor_files(patient.home.factors)
    if problems:
        text = " ".join(str(problem) for problem in problems[:3])
        return [Check("factors", "fail", text, "Mend them; tanyuan factor check names all.")]
    return [Check("factors", "ok", "The shipped factors and your own can be used.")]


def check_device_profiles(patient: Patient) -> Sequence[Check]:
    """Every profile reads its own golden payloads as it says."""
    try:
        profiles = load_profiles(*_own_profiles(patient))
    except ProfileErrors as errors:
        return [Check("profiles", "fail", str(errors), "Mend the lines named.")]
    failed = [sentence for each in profiles for sentence in failed_examples(each, profiles)]
    if failed:
        remedy = "Mend the profile, or its example if the manual says so."
        return [Check("profiles", "fail", " ".join(failed), remedy)]
    return [Check("profiles", "ok", f"{len(profiles.names)} read their golden payloads rightly.")]


def _own_profiles(patient: Patient) -> list[Path]:
    return [patient.home.profiles] if patient.home.profiles.is_dir() else []


EXAMINATIONS: Sequence[tuple[str, Examination]] = (
    ("settings", check_settings),
    ("home", check_home),
    ("secrets", check_secrets),
    ("disk", check_disk),
    ("clock", check_clock),
    ("left_overs", check_left_overs),
    ("sites", check_sites),
    ("factors", check_factors),
    ("profiles", check_device_profiles),
)
