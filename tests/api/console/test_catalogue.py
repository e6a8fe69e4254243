"""One catalogue, two languages, no word missing and none too many."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest

from api.console.catalogue import LANGUAGES, CatalogueError, chosen, parse, texts
from api.console.charts import WORST_FIRST
from ingest.rejections import CODES
from metering.readings import Flag
from metering.sites import QUOTA_PERIODS

CONSOLE = Path(str(resources.files("api.console")))

MADE_UP = {"reason", "verdict", "period", "flag", "carrier", "unit", "languages"}
"""Families whose keys are put together while the program runs."""

_KEY = re.compile(r"""["']([a-z]+\.[a-z_]+)["']""")


def used_keys() -> set[str]:
    files = [*CONSOLE.glob("*.py"), *CONSOLE.glob("templates/*.html")]
    found = {key for file in files for key in _KEY.findall(file.read_text(encoding="utf-8"))}
    then = {f"{key}_then" for key in found if f"{key}_then" in texts("en").entries}
    return {key for key in found | then if not key.endswith((".html", ".css", ".yaml"))}


def test_both_languages_have_the_same_keys():
    assert texts("zh").entries.keys() == texts("en").entries.keys()
    assert all(text.strip() for name in LANGUAGES for text in texts(name).entries.values())


def test_every_key_the_console_uses_is_in_the_catalogue():
    families = {key.partition(".")[0] for key in texts("en").entries}
    asked = {key for key in used_keys() if key.partition(".")[0] in families}

    assert asked - texts("en").entries.keys() == set()


def test_every_key_of_the_catalogue_is_used():
    kept = {key for key in texts("en").entries if key.partition(".")[0] not in MADE_UP}

    assert kept - used_keys() == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_verdicts_periods_flags_and_reasons_have_words(language):
    entries = texts(language).entries
    flags = [flag.name.lower() for flag in Flag if flag]

    assert [verdict for verdict in WORST_FIRST if f"verdict.{verdict}" not in entries] == []
    assert [code for code in CODES if f"reason.{code}" not in entries] == []
    assert [kind for kind in QUOTA_PERIODS if f"period.{kind}" not in entries] == []
    assert [name for name in flags if f"flag.{name}" not in entries] == []


def test_an_entry_without_a_language_is_refused_by_its_key():
    with pytest.raises(CatalogueError, match=r"power\.title: wanted zh and en, found zh"):
        parse({"power.title": {"zh": "功率"}})


def test_languages_that_fill_in_different_things_are_refused():
    with pytest.raises(CatalogueError, match="age"):
        parse({"age": {"zh": "{n} 秒", "en": "{seconds} s"}})


@pytest.mark.parametrize(
    ("asked", "default", "wanted"),
    [("en", "zh", "en"), ("zh-CN", "en", "zh"), (None, "zh", "zh"), ("fr", "zh", "zh"),
     ("", "de", "en")],
)  # fmt: skip
def test_the_language_is_the_one_asked_for_else_the_site_s(asked, default, wanted):
    assert chosen(asked, default) == wanted
