"""What dashboards say, in Chinese and English: every title, description, column and mapping."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Final

import yaml

LANGUAGES: Final = ("zh", "en")


class TextMissing(LookupError):
    """A dashboard asked for a text that `texts.yaml` does not have."""


class Texts:
    """The texts of one language, and which of them were asked for."""

    def __init__(self, language: str) -> None:
        if language not in LANGUAGES:
            raise TextMissing(f"Wanted one of {', '.join(LANGUAGES)}, found {language!r}.")
        self.language = language
        self.used: set[str] = set()

    def __call__(self, key: str) -> str:
        """The text of a key.

        Raises:
            TextMissing: The key or its translation is not there.
        """
        found = all_texts().get(key, {}).get(self.language)
        if not found:
            raise TextMissing(f"texts.yaml: no {self.language!r} text {key!r}. Add it there.")
        self.used.add(key)
        return found

    def begins(self, prefix: str) -> dict[str, str]:
        """The texts whose keys begin so, by what follows: the words of a mapping."""
        keys = [key for key in all_texts() if key.startswith(prefix)]
        if not keys:
            raise TextMissing(f"texts.yaml: no text begins with {prefix!r}. Add some there.")
        return {key.removeprefix(prefix): self(key) for key in keys}


@cache
def all_texts() -> dict[str, dict[str, str]]:
    """Every text by key and language."""
    text = resources.files("dashboards").joinpath("texts.yaml").read_text(encoding="utf-8")
    found: dict[str, dict[str, str]] = yaml.safe_load(text)
    return found
