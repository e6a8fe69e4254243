"""Reads the golden payloads of a profile file."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from yaml.nodes import Node, ScalarNode, SequenceNode

from ingest.profile_model import EXAMPLE_ARRIVAL, Example, Expected
from ingest.rejections import CODES
from metering.marked_yaml import describe
from metering.readings import Flag
from metering.site_sections import Section

TEST_KEYS: Final = (
    "what", "topic", "payload", "received_at", "meters", "expect", "expect_quarantine",
)  # fmt: skip
"""What one golden payload may say."""

_EXPECT = ("meter", "register", "value", "read_at", "flags")
_FLAGS = tuple(flag.name.lower() for flag in Flag if flag.name)


def texts_of(section: Section, key: str) -> list[str]:
    """The texts in a list under a key; a single text stands for a list of one."""
    node = section.node(key)
    if node is None:
        return []
    if isinstance(node, ScalarNode):
        return [text] if (text := section.text(key)) is not None else []
    items: list[Node] = node.value if isinstance(node, SequenceNode) else [node]
    texts = [item.value for item in items if isinstance(item, ScalarNode)]
    if len(texts) != len(items):
        section.fail(key, "a list of texts", describe(node), "Write `[one, two]`.")
    return texts


def example_of(section: Section) -> Example:
    """Read one golden payload."""
    section.require("what", "topic", "payload")
    if not section.has("expect") and not section.has("expect_quarantine"):
        section.fail("expect", "what the payload means", "nothing", "Add `expect: [...]`.")
    expect = [_expected(each) for each in section.sections("expect", _EXPECT)]
    codes = texts_of(section, "expect_quarantine")
    for code in codes:
        if code not in CODES:
            section.fail("expect_quarantine", "a reason code", code, f"Known: {', '.join(CODES)}.")
    payload = section.node("payload")
    return Example(
        what=section.text("what") or "",
        topic=section.text("topic") or "",
        payload=payload.value.encode() if isinstance(payload, ScalarNode) else b"",
        received_at=section.instant("received_at") or EXAMPLE_ARRIVAL,
        meters=tuple(texts_of(section, "meters") or dict.fromkeys(each.meter for each in expect)),
        expect=tuple(expect),
        quarantined=tuple(codes),
    )


def _expected(section: Section) -> Expected:
    section.require("meter", "register", "value")
    flags = texts_of(section, "flags")
    for flag in flags:
        if flag not in _FLAGS:
            section.fail("flags", "names of flags", flag, f"Known: {', '.join(_FLAGS)}.")
    value = section.number("value")
    read_at: datetime | None = section.instant("read_at")
    return Expected(
        section.identifier("meter"), section.text("register") or "",
        value if value is not None else 0.0, read_at, tuple(sorted(flags)),
    )  # fmt: skip
