"""Plain data out of a factor file, and the line each part of it came from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from metering.marked_yaml import LOADER, ErrorLog, FileProblem, compose

Loc = Sequence[str | int]


class BadFile(ValueError):
    """A file that is not what it should be."""

    def __init__(self, problem: FileProblem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True, slots=True)
class MarkedDocument:
    """Plain data, and the line each part of it came from."""

    data: dict[str, object]
    root: yaml.Node

    def line(self, loc: Loc) -> int:
        """Return the line of the deepest part of a path that exists."""
        node = self.root
        line = node.start_mark.line
        for step in loc:
            child = _child(node, step)
            if child is None:
                break
            line, node = child
        return int(line) + 1


def _child(node: yaml.Node, step: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return key.start_mark.line, value
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        item = node.value[step]
        return item.start_mark.line, item
    return None


class _Loader(LOADER):  # type: ignore[misc,valid-type]
    """YAML 1.2's booleans (`on` and `NO` are text), no key twice, dates that exist."""

    file = ""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        """Refuse a key that comes twice; plain YAML would keep the last silently."""
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if key.value in seen:
                wanted, found = f"the key `{key.value}` once", f"first on line {seen[key.value]}"
                raise self._bad(key, wanted, f"it again, {found}", "Remove one of the two.")
            seen[key.value] = key.start_mark.line + 1
        mapping: dict[object, object] = super().construct_mapping(node, deep=deep)
        return mapping

    def construct_date(self, node: yaml.ScalarNode) -> object:
        """Read a date or time, naming the line of one that does not exist."""
        try:
            return self.construct_yaml_timestamp(node)
        except ValueError as error:
            found = f"{node.value} ({error})"
            raise self._bad(node, "a date of the calendar", found, "Correct the date.") from error

    def _bad(self, node: yaml.Node, wanted: str, found: str, remedy: str) -> BadFile:
        return BadFile(FileProblem(self.file, node.start_mark.line + 1, wanted, found, remedy))


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _letter, _word in (("t", "true"), ("f", "false")):
    _Loader.yaml_implicit_resolvers.setdefault(_letter, []).append(
        ("tag:yaml.org,2002:bool", re.compile(f"^{_word}$"))
    )
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _Loader.construct_date)


def load_marked(path: Path) -> MarkedDocument:
    """Load one YAML mapping.

    Raises:
        BadFile: Not UTF-8, not YAML, a key twice, a date that does not exist, not a mapping.
    """
    log = ErrorLog(path.name)
    root = compose(
        path.read_bytes(), log, wanted="a mapping", begin="key: …` or `factors:", loader=_Loader
    )
    if root is None:
        raise BadFile(log.errors[0])
    loader = _Loader("")
    loader.file = path.name
    try:
        data = loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        # An explicit tag that means nothing, or a value that does not fit its tag.
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        found = str(error.problem)
        raise BadFile(
            FileProblem(path.name, line, "plain YAML", found, "Remove the tag.")
        ) from error
    finally:
        loader.dispose()
    return MarkedDocument(data, root)
