"""YAML that remembers its lines, so that an error can point at one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

Loc = Sequence[str | int]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a file that keeps it from being used."""

    file: str
    line: int
    wanted: str
    found: str
    remedy: str

    def __str__(self) -> str:
        """Say where, what was wanted, what is there and what to do."""
        return f"{self.file}, line {self.line}: {self.wanted}; found {self.found}. {self.remedy}"


class BadYaml(ValueError):
    """A file that is not the YAML it should be."""

    def __init__(self, problem: Problem) -> None:
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


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]
    """YAML 1.2's booleans (`on` and `NO` are text), no key twice, dates that exist."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        """Refuse a key that comes twice; plain YAML would keep the last silently."""
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if key.value in seen and key.value != "<<":
                raise _marked(
                    key,
                    f"the key `{key.value}` once",
                    f"it again, first on line {seen[key.value]}",
                    "Remove one of the two.",
                )
            seen[key.value] = key.start_mark.line + 1
        mapping: dict[object, object] = super().construct_mapping(node, deep=deep)
        return mapping

    def construct_date(self, node: yaml.ScalarNode) -> object:
        """Read a date or time, naming the line of one that does not exist."""
        try:
            return self.construct_yaml_timestamp(node)
        except ValueError as error:
            raise _marked(
                node, "a date of the calendar", f"{node.value} ({error})", "Correct the date."
            ) from error


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _letter, _word in (("t", "true"), ("f", "false")):
    _Loader.yaml_implicit_resolvers.setdefault(_letter, []).append(
        ("tag:yaml.org,2002:bool", re.compile(f"^{_word}$"))
    )
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _Loader.construct_date)


def _marked(node: yaml.Node, wanted: str, found: str, remedy: str) -> BadYaml:
    return BadYaml(Problem("", node.start_mark.line + 1, wanted, found, remedy))


def read_text(path: Path) -> str:
    """Read a UTF-8 file, with or without a byte order mark.

    Raises:
        BadYaml: The file is not UTF-8.
    """
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        byte = f"the byte {raw[error.start]:02X}h"
        raise BadYaml(
            Problem(path.name, line, "UTF-8 text", byte, "Save the file as UTF-8.")
        ) from error


def load_marked(path: Path) -> MarkedDocument:
    """Load one YAML mapping.

    Raises:
        BadYaml: Not UTF-8, not YAML, a key twice, a date that does not exist, not a mapping.
    """
    loader = _Loader(read_text(path))
    try:
        root = loader.get_single_node()
        data = loader.construct_document(root) if root is not None else None
    except BadYaml as error:
        found = error.problem
        raise BadYaml(
            Problem(path.name, found.line, found.wanted, found.found, found.remedy)
        ) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        line = mark.line + 1 if mark else 1
        raise BadYaml(
            Problem(path.name, line, "valid YAML", what, "Correct the indentation or the quotes.")
        ) from error
    finally:
        loader.dispose()
    if root is None or not isinstance(data, dict):
        found_type = "nothing" if data is None else f"a {type(data).__name__}"
        raise BadYaml(
            Problem(path.name, 1, "a mapping", found_type, "Begin with `key: …` or `factors:`.")
        )
    return MarkedDocument(data, root)
