"""The demonstration ends with what can be done next."""

from __future__ import annotations

import io

from rich.console import Console

from api.demo import say_where
from api.home import Running
from api.settings import load_settings


def last_words(tmp_path, running):
    out = io.StringIO()
    say_where(load_settings(tmp_path, environ={}), running, Console(file=out))
    return out.getvalue()


def test_what_stays_up_says_where_its_doors_are(tmp_path):
    said = last_words(tmp_path, Running(1, 1884, 8401, "t"))

    assert "http://127.0.0.1:8401/" in said
    assert "127.0.0.1:1884" in said


def test_what_ends_names_no_door_that_is_gone(tmp_path):
    said = last_words(tmp_path, None)

    assert "127.0.0.1" not in said
    assert f"tanyuan --home {tmp_path} up" in said
    assert f"tanyuan --home {tmp_path} energy" in said
