"""Loads device profiles: YAML files, shipped or in the home's `profiles` folder.

Adding a meter family is adding a file; it changes no Python. An unknown key stops the start. Each
file has its source and its examples, golden payloads with the readings they mean.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from ingest.json_profiles import PLACE, FieldMap, GroupMap, TimeForm, path_of
from ingest.profile_examples import TEST_KEYS, example_of, texts_of
from ingest.profile_model import Profile, Profiles
from ingest.topics import BadPattern, TopicPattern
from metering.marked_yaml import ErrorLog, FileProblem, compose
from metering.site_sections import Section
from metering.units import REGISTERS, Kind, RegisterType, UnknownUnit, unit_ratio

SHIPPED: Final = Path(__file__).parent / "data" / "profiles"
"""The profiles that come with Tanyuan."""

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_DECODERS = ("native-json", "json")
_TIME_FORMS: Final[Mapping[str, TimeForm]] = {
    "rfc3339": "rfc3339", "epoch_s": "epoch_s", "epoch_ms": "epoch_ms",
}  # fmt: skip
_SOURCE = ("title", "publisher", "edition", "locator", "url", "retrieved")
_TOP = (
    "profile", "title", "source", "transport", "decoder", "topics", "ignored_topics", "sparse",
    "registers", "readings", "tests",
)  # fmt: skip
_GROUP = ("meter", "channels", "each", "time", "registers")


class ProfileErrors(ValueError):
    """Everything that is wrong with the profile files: file, line, wish and remedy."""

    def __init__(self, errors: Iterable[FileProblem]) -> None:
        self.errors = tuple(sorted(errors, key=lambda each: each.place))
        super().__init__("\n".join(str(error) for error in self.errors))


def load_profiles(*folders: Path) -> Profiles:
    """Load the shipped profiles and those of further folders, such as the home's.

    Raises:
        ProfileErrors: A file cannot be used; all of them are looked through before.
    """
    errors: list[FileProblem] = []
    found: dict[str, Profile] = {}
    meant: dict[str, tuple[RegisterType, str]] = {}
    for path in (p for folder in (SHIPPED, *folders) for p in sorted(folder.glob("*.yaml"))):
        log = ErrorLog(path.name)
        profile = _read(path, log)
        if profile is not None:
            _check_names(profile, found, meant, log)
            found.setdefault(profile.name, profile)
        errors.extend(log.errors)
    if errors:
        raise ProfileErrors(errors)
    return Profiles([found[name] for name in sorted(found)])


def load_profile(path: Path) -> Profile:
    """Load one profile by itself.

    Raises:
        ProfileErrors: The file cannot be used.
    """
    log = ErrorLog(path.name)
    profile = _read(path, log)
    if log.errors or profile is None:
        raise ProfileErrors(log.errors)
    return profile


def _check_names(
    profile: Profile,
    found: Mapping[str, Profile],
    meant: dict[str, tuple[RegisterType, str]],
    log: ErrorLog,
) -> None:
    if (other := found.get(profile.name)) is not None:
        log.at_path(
            "profile", wanted="a name of its own", found=f"the name of {other.file}",
            remedy="Rename one of the two; no profile replaces another silently.",
        )  # fmt: skip
    for name, kind in profile.registers.items():
        before, file = meant.setdefault(name, (kind, profile.file))
        if before != kind:
            log.at_path(
                f"registers.{name}", wanted=f"{before.unit} and {before.kind} as in {file}",
                found=f"{kind.unit} and {kind.kind}", remedy="Give the register another name.",
            )  # fmt: skip


def _read(path: Path, log: ErrorLog) -> Profile | None:
    content = path.read_bytes()
    root = compose(content, log, wanted="a profile", begin="profile:")
    if root is None:
        return None
    log.remember("", root.start_mark)
    top = Section(root, "", log, _TOP)
    top.require("profile", "title", "source", "transport", "decoder", "tests")
    top.choice("transport", ("mqtt",), what="a transport")
    name, decoder = top.identifier("profile"), top.choice("decoder", _DECODERS, what="a decoder")
    topics = _patterns(top, "topics")
    registers = _registers(top)
    groups = [_group(each, topics, registers) for each in top.sections("readings", _GROUP)]
    if decoder == "json" and not (groups and topics):
        top.fail(
            "decoder", "`topics` and `readings` with it", "none",
            "Say on which topics the devices publish, and where their registers are.",
        )  # fmt: skip
    if decoder == "native-json" and (top.has("topics") or top.has("readings")):
        top.fail("decoder", "no `topics` or `readings`", "some", "Remove them, or use `json`.")
    examples = [example_of(each) for each in top.sections("tests", TEST_KEYS)]
    if not examples:
        top.fail("tests", "at least one golden payload", "none", "Add `- what: …` with one.")
    return Profile(
        name=name,
        title=top.text("title") or "",
        source=_source(top),
        decoder=decoder or "",
        topics=topics,
        ignored=_patterns(top, "ignored_topics"),
        sparse=top.flag("sparse"),
        registers=registers,
        groups=tuple(groups),
        examples=tuple(examples),
        file=path.name,
        sha256=hashlib.sha256(content).hexdigest(),
    )


def _source(top: Section) -> Mapping[str, str]:
    section = top.section("source", _SOURCE)
    if section is None:
        return {}
    section.require("title", "publisher", "edition", "locator")
    if section.has("url") != section.has("retrieved"):
        section.fail(
            "url", "an address and the day it was seen, or neither", "only one",
            "Add `retrieved: YYYY-MM-DD` beside `url`.",
        )  # fmt: skip
    texts = {key: section.text(key) for key in _SOURCE if key != "retrieved"}
    if (seen := section.day("retrieved")) is not None:
        texts["retrieved"] = seen.isoformat()
    return {key: text for key, text in texts.items() if text is not None}


def _patterns(section: Section, key: str) -> tuple[TopicPattern, ...]:
    patterns = []
    for text in texts_of(section, key):
        try:
            patterns.append(TopicPattern.of(text))
        except BadPattern as error:
            section.fail(key, "topic patterns", repr(text), str(error))
    return tuple(patterns)


def _registers(top: Section) -> dict[str, RegisterType]:
    holder = top.section("registers")
    added = {}
    for name in holder.names() if holder else []:
        section = holder.section(name, ("unit", "kind", "multiplied")) if holder else None
        if section is None:
            continue
        section.require("unit", "kind")
        unit = section.text("unit", what="a unit")
        kind = section.choice("kind", tuple(Kind), what="a kind of register")
        if not _NAME.fullmatch(name) or name in REGISTERS:
            section.log.at_path(
                section.path, wanted="a new name in small letters, such as reactive_import",
                found=name, remedy="Canonical registers need no entry here.",
            )  # fmt: skip
        if unit is not None and not _is_canonical(unit):
            section.fail("unit", "a canonical unit", unit, "Use kWh, kW, m3, m3/h, degC or 1.")
        elif unit is not None and kind is not None:
            added[name] = RegisterType(unit, Kind(kind), multiplied=section.flag("multiplied"))
    return added


def _is_canonical(unit: str) -> bool:
    try:
        return unit_ratio(unit, to=unit) == 1.0
    except (UnknownUnit, KeyError):
        return False


def _group(
    section: Section, topics: Sequence[TopicPattern], added: Mapping[str, RegisterType]
) -> GroupMap:
    section.require("meter", "registers")
    time = section.section("time", ("path", "format"))
    form = None
    if time is not None:
        time.require("path", "format")
        form = time.choice("format", tuple(_TIME_FORMS), what="a format of time")
    each, path = section.text("each"), time.text("path") if time else None
    places = set.intersection(*(set(t.names) for t in topics)) if topics else set()
    return GroupMap(
        meter=_template(section, "meter", places | ({"each"} if each else set())) or "",
        channels=_template(section, "channels", places | {"each", "channel"}),
        each=path_of(each) if each else None,
        time=path_of(path) if path else None,
        time_form=_TIME_FORMS[form] if form else "rfc3339",
        fields=tuple(_fields(section, {**REGISTERS, **added})),
    )


def _template(section: Section, key: str, places: set[str]) -> str | None:
    text = section.text(key)
    for place in PLACE.findall(text or ""):
        if place not in places and not place.startswith("payload:"):
            section.fail(
                key, f"places named {', '.join(sorted(places))} or payload:PATH",
                f"{{{place}}}", "Every topic pattern must have the name.",
            )  # fmt: skip
    return text


def _fields(section: Section, known: Mapping[str, RegisterType]) -> list[FieldMap]:
    holder = section.section("registers")
    fields = []
    for name in holder.names() if holder else []:
        each = holder.section(name, ("path", "unit", "scale", "text")) if holder else None
        if each is None:
            continue
        each.require("path", "unit")
        path, unit = each.text("path"), each.text("unit", what="a unit")
        scale = each.number("scale", above=0)
        if name not in known:
            each.log.at_path(
                each.path, wanted="a register", found=name,
                remedy="Name a canonical one, or add it under the profile's `registers`.",
            )  # fmt: skip
        elif unit is not None:
            try:
                unit_ratio(unit, to=known[name].unit)
            except UnknownUnit as error:
                each.fail("unit", "a unit that fits", unit, str(error))
        if path is not None:
            fields.append(FieldMap(name, path_of(path), unit, scale or 1.0, text=each.flag("text")))
    return fields
