"""The words of the console in both languages, from one file."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal, TypeAlias, get_args

import yaml

Language: TypeAlias = Literal["zh", "en"]

LANGUAGES: tuple[Language, ...] = get_args(Language)

HTML_LANGUAGE: Mapping[Language, Literal["zh-CN", "en-US"]] = {"zh": "zh-CN", "en": "en-US"}
"""What the page says of itself to browsers and screen readers."""

FILE = "catalog.yaml"


class CatalogueError(ValueError):
    """An entry lacks a language, or its languages ask for different things."""


@dataclass(frozen=True, slots=True)
class Texts:
    """The words in one language."""

    language: Language
    entries: Mapping[str, str]

    def __call__(self, key: str, **filled: object) -> str:
        """The text of a key with its braces filled.

        Raises:
            KeyError: The catalogue has no such key.
        """
        return self.entries[key].format(**filled)

    def known(self, key: str, otherwise: str) -> str:
        """The text of a key, or what stands for it where the catalogue does not know it."""
        return self.entries.get(key, otherwise)


@cache
def texts(language: Language) -> Texts:
    """The words of a language.

    Raises:
        CatalogueError: The file is not complete.
    """
    content = resources.files(__package__).joinpath(FILE).read_text(encoding="utf-8")
    return parse(yaml.safe_load(content))[language]


def parse(content: Mapping[str, Mapping[str, str]]) -> dict[Language, Texts]:
    """Check a catalogue and take it apart by language.

    Raises:
        CatalogueError: An entry lacks a language, or its languages differ in their braces.
    """
    for key, entry in content.items():
        if set(entry) != set(LANGUAGES):
            raise CatalogueError(
                f"{FILE}: {key}: wanted {' and '.join(LANGUAGES)}, found {', '.join(entry)}."
            )
        wanted, *others = (_braces(entry[language]) for language in LANGUAGES)
        if any(other != wanted for other in others):
            raise CatalogueError(f"{FILE}: {key}: the languages fill in different things.")
    return {
        language: Texts(language, {key: entry[language] for key, entry in content.items()})
        for language in LANGUAGES
    }


def _braces(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def chosen(asked: str | None, default: str) -> Language:
    """The language to show: the one asked for if there is one of it, else the site's."""
    for name in (asked, default):
        for language in LANGUAGES:
            if name and name.casefold().startswith(language):
                return language
    return "en"
