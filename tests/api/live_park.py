"""Two small sites with readings one can add up in one's head.

`park` (Shanghai), readings from Monday 4 March 2024 to Thursday 28 March, 12:30:

- building a, E1: 10 kWh an hour on working days, 4 at weekends; 12 on the last day.
- building b, E2 (multiplier 2): 5 counts, so 10 kWh, an hour; and 55 (so 110 kW) shown at 12:20.
  On 20 March it was not heard between 12:00 and 16:00.
- building b, E9, a sub-meter: silent since 25 March, 08:30. E8 was never heard.

`mews` (London), one meter that uses as many kWh an hour as the clock shows, plus one, from 4 March
to the end of 31 March, on which the hour from 1 to 2 is skipped.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from tests.acceptance.running import write_readings

SHANGHAI, LONDON = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/London")

PARK = """
site: {id: park, name: 模拟园区, timezone: Asia/Shanghai, region: CN-BJ, language: zh}
factors: {provisional: true}
buildings:
  - id: a
    name: A座
    area_m2: 100
    points:
      - {id: a-main, carrier: electricity, role: main, meter: {serial: E1, profile: native}}
  - id: b
    name: <b>楼</b>
    area_m2: 100
    points:
      - {id: b-main, carrier: electricity, role: main,
         meter: {serial: E2, profile: native, multiplier: 2}}
      - {id: b-lift, name: 电梯, carrier: electricity, role: sub, upstream: b-main,
         meter: {serial: E9, profile: native}}
      - {id: b-pump, carrier: electricity, role: sub, upstream: b-main,
         meter: {serial: E8, profile: native}}
quotas:
  - {id: a-year, subject: a, carrier: electricity, limit: 20, unit: kWh/m2,
     period: calendar_year, source: "own budget"}
  - {id: b-year, subject: b, carrier: electricity, limit: 900, unit: kWh/m2,
     period: calendar_year, source: "own budget"}
"""

MEWS = """
site: {id: mews, name: Mews, timezone: Europe/London, region: GB, language: en}
buildings:
  - id: one
    points:
      - {id: one-main, carrier: electricity, role: main, meter: {serial: L1, profile: native}}
"""

LAST_DAY = datetime(2024, 3, 28, tzinfo=SHANGHAI)


def at(hour: int, minute: int = 0, *, day: int = 28) -> datetime:
    """An instant of March 2024 in the park."""
    return datetime(2024, 3, day, hour, minute, tzinfo=SHANGHAI).astimezone(UTC)


def make_sites(home: Path) -> Path:
    """A home with both sites."""
    (home / "sites").mkdir(parents=True)
    (home / "factors").mkdir()
    (home / "sites" / "park.yaml").write_text(PARK, encoding="utf-8")
    (home / "sites" / "mews.yaml").write_text(MEWS, encoding="utf-8")
    return home


def park_readings(path: Path) -> Path:
    """The park's readings as a file for `import`."""
    rows: list[tuple[str, str, str, object]] = []
    e1, e2, moment = 1000.0, 500.0, datetime(2024, 3, 4, tzinfo=SHANGHAI)
    while moment <= at(12):
        rows.append(("E1", "active_import", moment.isoformat(), e1))
        if not at(12, day=20) < moment < at(16, day=20):
            rows.append(("E2", "active_import", moment.isoformat(), e2))
        e1 += 12 if moment >= LAST_DAY else 4 if moment.weekday() >= 5 else 10
        e2 += 5
        moment += timedelta(hours=1)
    rows.append(("E1", "active_import", at(12, 30).isoformat(), e1 - 6))
    rows.append(("E2", "active_import", at(12, 30).isoformat(), e2 - 2.5))
    rows.append(("E2", "active_power", at(12, 20).isoformat(), 55))
    rows += [("E9", "active_import", at(8, m, day=25).isoformat(), m / 10) for m in (0, 15, 30)]
    return write_readings(path, rows)


def mews_readings(path: Path) -> Path:
    """The mews' readings as a file for `import`."""
    rows: list[tuple[str, str, str, object]] = []
    value = 0.0
    moment = datetime(2024, 3, 4, tzinfo=LONDON).astimezone(UTC)
    while moment <= datetime(2024, 3, 31, 23, tzinfo=UTC):
        rows.append(("L1", "active_import", moment.isoformat(), value))
        value += moment.astimezone(LONDON).hour + 1
        moment += timedelta(hours=1)
    return write_readings(path, rows)
