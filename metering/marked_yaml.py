"""Turns the bytes of a file into YAML nodes that know their lines, and collects what is wrong.

PyYAML's own loader drops lines, takes the last of two equal keys and guesses types; so a file is
composed into nodes only. `metering.site_sections` reads those of sites and device profiles,
`carbon.factor_yaml` those of factors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

Loader: TypeAlias = yaml.CSafeLoader | yaml.SafeLoader

MAX_BYTES: Final = 10 * 1024 * 1024
MAX_DEPTH: Final = 32

LOADER: Final[type[Loader]] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
TAG: Final = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class FileProblem:
    """One thing wrong with a file."""

    file: str
    line: int
    """Counted from 1; 0 is the file as a whole."""
    wanted: str
    found: str
    remedy: str
    path: str = ""
    """Where in the content, such as `buildings[0].points[2].meter.serial`."""
    column: int = 1

    @property
    def place(self) -> tuple[str, int, int, str]:
        """What problems are sorted by."""
        return self.file, self.line, self.column, self.path

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        path = f"{self.path}: " if self.path else ""
        return f"{where}: {path}wanted {self.wanted}, found {self.found}. {self.remedy}"


class ErrorLog:
    """Collects the errors of one file, and knows where each path stands in it."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.errors: list[FileProblem] = []
        self._marks: dict[str, tuple[int, int]] = {}

    def remember(self, path: str, mark: yaml.Mark) -> None:
        """Note where a path stands."""
        self._marks[path] = (mark.line + 1, mark.column + 1)

    def at_path(self, path: str, *, wanted: str, found: str, remedy: str) -> None:
        """Add an error at a path, or at the nearest one around it that is in the file."""
        near = path
        while near and near not in self._marks:
            near = near[: max(near.rfind("."), near.rfind("["), 0)]
        line, column = self._marks.get(near, (1, 1))
        self.errors.append(FileProblem(self.file, line, wanted, found, remedy, path, column))

    def at_line(self, line: int, column: int, *, wanted: str, found: str, remedy: str) -> None:
        """Add an error that has no path, because the file could not be read that far."""
        self.errors.append(FileProblem(self.file, line, wanted, found, remedy, column=column))


def compose(
    content: bytes, log: ErrorLog, *, wanted: str, begin: str, loader: type[Loader] = LOADER
) -> MappingNode | None:
    """The file's root mapping; None with an error in the log if it cannot be read as one.

    Args:
        content: The file's bytes.
        log: Takes what is wrong.
        wanted: What the file is to be, such as `a site`.
        begin: How such a file begins.
        loader: PyYAML's, or one made from it that tells types apart differently.
    """
    if len(content) > MAX_BYTES:
        log.at_line(
            0, 0, wanted="a file of 10 MiB at most", found=f"{len(content) / 2**20:.1f} MiB",
            remedy="Split it into several files.",
        )  # fmt: skip
        return None
    text = decoded(content, log)
    if text is None:
        return None
    try:
        root = yaml.compose(text, Loader=loader) if _is_safe(text, log) else None
    except yaml.MarkedYAMLError as error:
        _log_syntax(error, text, log)
        return None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        found = f"the control character {ord(text[error.position]):02X}h"
        log.at_line(line, 1, wanted="printable text", found=found, remedy="Delete it.")
        return None
    if log.errors:
        return None
    if not isinstance(root, MappingNode):
        found = "an empty file" if root is None else describe(root)
        log.at_line(1, 1, wanted=wanted, found=found, remedy=f"Begin with `{begin}`.")
        return None
    return root


def decoded(content: bytes, log: ErrorLog) -> str | None:
    """UTF-8 text, with or without a byte order mark; None with an error in the log if not."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = f"the byte {content[error.start]:02X}h, which is not UTF-8"
        remedy = "Save the file with the encoding UTF-8."
        log.at_line(line, 1, wanted="text in UTF-8", found=byte, remedy=remedy)
        return None


def _is_safe(text: str, log: ErrorLog) -> bool:
    """Whether nothing in the text can blow up: no aliases, no deep nesting."""
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        mark: Any = event.start_mark
        line, column = mark.line + 1, mark.column + 1
        if isinstance(event, yaml.AliasEvent):
            remedy = "Write the content out again here."
            found = f"the alias *{event.anchor}"
            log.at_line(line, column, wanted="no aliases", found=found, remedy=remedy)
            return False
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            wanted = f"at most {MAX_DEPTH} levels"
            remedy = "Look for brackets that are never closed."
            log.at_line(line, column, wanted=wanted, found="more", remedy=remedy)
            return False
    return True


def _log_syntax(error: yaml.MarkedYAMLError, text: str, log: ErrorLog) -> None:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    lines = text.splitlines()
    content = lines[line - 1] if line <= len(lines) else ""
    if "\t" in content[: len(content) - len(content.lstrip())]:
        remedy = "Indent with spaces; YAML allows no tabs there."
        log.at_line(line, column, wanted="spaces", found="a tab", remedy=remedy)
        return
    found = " ".join(part for part in (error.context, error.problem) if part)
    remedy = "Look here and at the line above for a missing quote, bracket, colon or space."
    log.at_line(line, column, wanted="valid YAML", found=f"an error: {found}", remedy=remedy)


def describe(node: Node | None) -> str:
    """What stands there, in the words of an error message."""
    if isinstance(node, MappingNode):
        return "a mapping"
    if isinstance(node, SequenceNode):
        return "a list"
    if not isinstance(node, ScalarNode) or node.tag == f"{TAG}null":
        return "nothing"
    text = node.value if len(node.value) <= 60 else node.value[:57] + "..."
    kind = {"bool": "the truth value ", "int": "the number ", "float": "the number "}
    return f"{kind.get(node.tag.removeprefix(TAG), '')}{text!r}"
