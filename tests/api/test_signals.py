"""A signal stops the process or reads its files again."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time

import pytest

from api.signals import stop_signals


@pytest.mark.parametrize(
    ("reload", "level", "words"),
    [
        (lambda: ["park"], logging.INFO, "reloaded; new site versions: park"),
        (lambda: 1 / 0, logging.ERROR, "not reloaded"),
    ],
    ids=["well", "refused"],
)
def test_reload_that_went_well_is_no_warning(caplog, reload, level, words):
    caplog.set_level(logging.INFO, logger="api.signals")

    with stop_signals(threading.Event(), reload):
        os.kill(os.getpid(), signal.SIGHUP)
        until = time.monotonic() + 10
        while not caplog.records and time.monotonic() < until:
            time.sleep(0.01)

    (record,) = caplog.records
    assert record.levelno == level
    assert words in record.getMessage()
