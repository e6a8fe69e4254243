"""Reads a mapping of a site file key by key; each value has a type, bounds and a place.

Nothing stops at the first error: what is wrong goes into the `ErrorLog`, the caller gets a harmless
value and goes on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Final

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from metering.marked_yaml import TAG, ErrorLog, FileProblem, describe
from metering.sites import closest

_INTEGER: Final = re.compile(r"0|[1-9][0-9]*")
_NUMBER: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][-+]?[0-9]+)?")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NO_ID: Final = re.compile(r"[\s/+#\x00-\x1f\x7f]")


class Section:
    """One mapping of the file. Each value is asked for by key, type and bounds."""

    def __init__(self, node: MappingNode, path: str, log: ErrorLog, keys: Sequence[str]) -> None:
        self.path = path
        self.log = log
        self._nodes: dict[str, Node] = {}
        for key, value in node.value:
            self._take(key, value, keys)

    def _take(self, key: Node, value: Node, keys: Sequence[str]) -> None:
        name = key.value if isinstance(key, ScalarNode) else describe(key)
        path = self.path_of(name)
        if name in self._nodes:
            line, column = key.start_mark.line + 1, key.start_mark.column + 1
            remedy = f"Keep one of the two `{name}`."
            self.log.errors.append(
                FileProblem(self.log.file, line, "each key once", "it again", remedy, path, column)
            )
            return
        # A missing value is reported where its key stands.
        empty = isinstance(value, ScalarNode) and not value.value
        self.log.remember(path, key.start_mark if empty else value.start_mark)
        if keys and name not in keys:
            self.log.remember(path, key.start_mark)
            near = closest(name, keys)
            remedy = f"Did you mean `{near[0]}`?" if near else f"Known keys: {', '.join(keys)}."
            self.fail(name, "a known key", f"`{name}`", remedy)
        self._nodes[name] = value

    def path_of(self, key: str) -> str:
        """The path of one of its keys."""
        return f"{self.path}.{key}" if self.path else key

    def fail(self, key: str, wanted: str, found: str, remedy: str) -> None:
        """Add an error at one of its keys."""
        self.log.at_path(self.path_of(key), wanted=wanted, found=found, remedy=remedy)

    def has(self, key: str) -> bool:
        """Whether the key is there, with or without a value."""
        return key in self._nodes

    def names(self) -> list[str]:
        """Its keys, as the file has them."""
        return list(self._nodes)

    def node(self, key: str) -> Node | None:
        """The node of a key, for a value that may have several shapes."""
        return self._nodes.get(key)

    def require(self, *keys: str) -> None:
        """Add an error for each key that is not there."""
        for key in keys:
            if key not in self._nodes:
                remedy = f"Add `{key}`."
                self.fail(key, f"the key `{key}`", "no such key here", remedy)

    def text(self, key: str, *, what: str = "text") -> str | None:
        """A text; a plain decimal number is taken as it is written. None: absent or wrong."""
        node = self._nodes.get(key)
        if node is None:
            return None
        if not isinstance(node, ScalarNode):
            self.fail(key, what, describe(node), "Write one text.")
            return None
        kind = node.tag.removeprefix(TAG)
        if kind == "str" and node.value.strip():
            return str(node.value)
        if kind in ("int", "float") and _NUMBER.fullmatch(node.value):
            return str(node.value)
        remedy = f'Quote it: "{node.value}".' if node.value.strip() else "Give it a value."
        self.fail(key, what, describe(node), remedy)
        return None

    def identifier(self, key: str, *, what: str = "an id") -> str:
        """An id or serial, or "" if there is no good one.

        A number without quotes is taken only as whole digits without leading zeros, which no
        other reader of the file can spoil.
        """
        node = self._nodes.get(key)
        numeric = isinstance(node, ScalarNode) and node.tag in (f"{TAG}int", f"{TAG}float")
        if node is not None and numeric and not _INTEGER.fullmatch(node.value):
            remedy = f'Quote it: "{node.value}".'
            self.fail(key, f"{what} as text", describe(node), remedy)
            return ""
        name = self.text(key, what=f"{what} as text")
        if name is not None and (bad := _NO_ID.search(name)):
            wanted = f"{what} without spaces and without / + #"
            remedy = f"Replace {bad.group()!r}, for example by a hyphen."
            self.fail(key, wanted, repr(name), remedy)
            return ""
        return name or ""

    def choice(self, key: str, known: Sequence[str], *, what: str) -> str | None:
        """One of the known words."""
        name = self.text(key, what=what)
        if name is None or name in known:
            return name
        near = closest(name, known)
        hint = f"Did you mean {near[0]}? " if near else ""
        self.fail(key, what, repr(name), f"{hint}Known: {', '.join(known)}.")
        return None

    def number(
        self, key: str, *, above: float | None = None, at_least: float | None = None
    ) -> float | None:
        """A finite number within its bounds; None: absent or wrong."""
        node = self._nodes.get(key)
        if node is None:
            return None
        bound = f" above {above:g}" if above is not None else ""
        bound = f" of at least {at_least:g}" if at_least is not None else bound
        wanted = f"a number{bound}"
        if not isinstance(node, ScalarNode) or node.style or not _NUMBER.fullmatch(node.value):
            self.fail(key, wanted, describe(node), _number_remedy(node))
            return None
        value = float(node.value)
        low = above is not None and value <= above
        if not math.isfinite(value) or low or (at_least is not None and value < at_least):
            self.fail(key, wanted, describe(node), "Correct the number.")
            return None
        return value

    def flag(self, key: str) -> bool:
        """True or false; absent is false."""
        node = self._nodes.get(key)
        if node is None:
            return False
        if not isinstance(node, ScalarNode) or node.tag != f"{TAG}bool":
            self.fail(key, "true or false", describe(node), "Write true or false, unquoted.")
            return False
        return node.value.lower() in ("true", "yes", "on")

    def day(self, key: str) -> date | None:
        """A date, written YYYY-MM-DD."""
        node = self._nodes.get(key)
        if node is None:
            return None
        if isinstance(node, ScalarNode) and _DATE.fullmatch(node.value):
            try:
                return date.fromisoformat(node.value)
            except ValueError:
                pass
        self.fail(key, "a date", describe(node), "Write it as 2024-01-31.")
        return None

    def instant(self, key: str) -> datetime | None:
        """An instant with an offset, as UTC."""
        node = self._nodes.get(key)
        if node is None:
            return None
        wanted = "a time with an offset"
        remedy = "Write it as 2024-01-31T10:30:00+08:00."
        try:
            found = datetime.fromisoformat(node.value if isinstance(node, ScalarNode) else "")
            if found.tzinfo is not None:
                return found.astimezone(UTC)
            remedy = f"Add the offset, for example {found.isoformat()}+08:00."
        except (ValueError, OverflowError):
            pass
        self.fail(key, wanted, describe(node), remedy)
        return None

    def section(self, key: str, keys: Sequence[str] = ()) -> Section | None:
        """The mapping under a key; without `keys` its keys are free."""
        node = self._nodes.get(key)
        return None if node is None else self._open(node, self.path_of(key), keys)

    def sections(self, key: str, keys: Sequence[str]) -> list[Section]:
        """The mappings in the list under a key; absent or empty is none."""
        node = self._nodes.get(key)
        if node is None or node.tag == f"{TAG}null":
            return []
        if not isinstance(node, SequenceNode):
            remedy = "Begin each entry with a hyphen."
            self.fail(key, "a list", describe(node), remedy)
            return []
        found = []
        for index, item in enumerate(node.value):
            path = f"{self.path_of(key)}[{index}]"
            self.log.remember(path, item.start_mark)
            found.append(self._open(item, path, keys))
        return [each for each in found if each is not None]

    def _open(self, node: Node, path: str, keys: Sequence[str]) -> Section | None:
        if isinstance(node, MappingNode) and node.tag == f"{TAG}map":
            return Section(node, path, self.log, keys)
        wanted = "a mapping" + (f" with {', '.join(keys)}" if keys else "")
        remedy = "Write `key: value` lines, or {key: value}."
        self.log.at_path(path, wanted=wanted, found=describe(node), remedy=remedy)
        return None


def _number_remedy(node: Node) -> str:
    if not isinstance(node, ScalarNode):
        return "Write one number."
    if _NUMBER.fullmatch(node.value):
        return f"Take the quotes off: {node.value}."
    return "Write plain digits with a point, such as 1250.5."
