"""The newest readings by a moment, be it now or long ago."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np

from metering.periods import Period, to_us
from metering.readings import Readings
from metering.store.port import ReadingStore

AHEAD = timedelta(minutes=5)
"""A clock may be ahead of ours by as much before its readings are flagged for it."""


def latest_by(store: ReadingStore, meters: Sequence[str], moment: datetime) -> Readings:
    """The newest reading of every register of some meters by a moment, SET_ASIDE ones left out.

    A meter's newest reading counts also where its clock is a little ahead of ours; a register that
    has later ones than that is looked at as it was at the moment.
    """
    latest = store.latest(meters=meters)
    later = latest.read_at > to_us(moment + AHEAD)
    if not later.any():
        return latest
    names = {latest.meters[code] for code in np.unique(latest.meter[later])}
    past = Period(moment + timedelta(microseconds=1), moment + timedelta(microseconds=1))
    before = store.read(past, meters=sorted(names), before=1)
    others = ~np.isin(latest.meter, np.unique(latest.meter[later]))
    return Readings.concat([latest.take(others), before])
