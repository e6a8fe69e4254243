"""Use of a carrier held against a quota, as it stands at the end of a site day.

The period is the calendar year that holds the day, the year that ends with it, or the heating
season that holds it (else the last one that ended). The expected share is the plain calendar's:
days gone by / days of the period, the day itself included. A quota per m² or person is held against
the use so far / the mean area or head count so far, weighted by time; a quota that comes into
force within its period is held against the whole of it. No limit is shipped: a quota is the
site's own, with its source in the site file.

Verdicts, the first that applies:

- `not_in_scope`: not in force on the day, or it needs a coefficient nobody has verified
- `not_assessable`: nothing is known, or it cannot be put into the quota's unit
- `exceeded`: the use known is above the limit already
- `not_assessable`: less than `MIN_COVERAGE` of the time gone by is known
- `at_risk`: the projection ends above the limit; without a projection, the use so far is ahead of
  the calendar by more than `PACE_MARGIN` of the limit
- `within`: none of these; use equal to the limit is within it
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date, timedelta
from math import floor
from typing import Any, Final, Literal, TypeAlias

from metering.intervals import Rows
from metering.periods import Period, utc_text
from metering.projections import MIN_KNOWN_DAYS, Projection
from metering.quota_standing import RowsMismatch, Standing, standing_of
from metering.quota_units import CoalRatio, Scale, scale_of
from metering.sites import Quota, Site

__all__ = ["CoalRatio", "QuotaPeriod", "QuotaUse", "RowsMismatch", "period_of", "use_of"]

Verdict: TypeAlias = Literal["within", "at_risk", "exceeded", "not_assessable", "not_in_scope"]

MIN_COVERAGE: Final = 0.9
"""So much of the time gone by must be known for a verdict other than `exceeded`."""

PACE_MARGIN: Final = 0.01
"""Ahead of the calendar by this share of the limit is no risk yet: the first days are uneven."""

NOISE: Final = 1e-10
"""Sums of register differences are not more exact than this; no excess is read into it. [1]"""


@dataclass(frozen=True, slots=True)
class QuotaPeriod:
    """The period of an answer; times as answers print them, None where there is no period."""

    kind: str
    start: str | None
    end: str | None

    @classmethod
    def of(cls, kind: str, period: Period | None) -> QuotaPeriod:
        """A period of a kind as answers print it."""
        if period is None:
            return cls(kind, None, None)
        return cls(kind, utc_text(period.start), utc_text(period.end))


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """Use against a limit at the end of a day. The fields are those of the answer."""

    quota: str
    subject: str
    period: QuotaPeriod
    limit: float
    unit: str
    used: float | None
    """In the quota's unit; None if nothing is known or it cannot be converted."""
    coverage: float
    """Of the time gone by, as is `measured`."""
    measured: float
    expected_share: float | None
    used_share: float | None
    projection: Projection | None
    """The use at the end of the period, in the quota's unit."""
    verdict: Verdict
    verification: str
    """`own`; where standard coal is limited, the coefficient's if that is weaker."""
    reasons: tuple[str, ...]

    def as_document(self) -> dict[str, Any]:
        """The answer's entry for the quota."""
        return {**asdict(self), "reasons": list(self.reasons)}


def period_of(quota: Quota, site: Site, *, on: date) -> Period | None:
    """The period a quota is held against on a site day; `use_of` needs its daily rows.

    Returns:
        None for a heating season at a site that states none.
    """
    tz = site.timezone
    if quota.period == "calendar_year":
        return Period.year(on.year, tz=tz)
    if quota.period == "rolling_year":
        # 29 February has no day a year before: its year begins after 28 February
        day = 28 if (on.month, on.day) == (2, 29) else on.day
        before = date(on.year - 1, on.month, day)
        return Period.days(before + timedelta(days=1), on + timedelta(days=1), tz=tz)
    if site.heating_season is None:
        return None
    first, until = site.heating_season.days(on.year)
    if first > on:
        first, until = site.heating_season.days(on.year - 1)
    return Period.days(first, until, tz=tz)


def use_of(
    quota: Quota,
    rows: Rows | None,
    *,
    unit: str | None,
    site: Site,
    on: date,
    coal: CoalRatio | None = None,
) -> QuotaUse:
    """Hold use against a quota, as it stands at the end of a site day.

    Args:
        quota: The limit.
        rows: Every day of `period_of(quota, site, on=on)` for the quota's subject, carrier and
            register; None: nothing is known. What they hold after `on` is not used.
        unit: Of the rows' values, kWh or m3; None if no meter point of the subject measures it.
        site: Whose quota it is.
        on: The site day, itself included.
        coal: Turns `unit` into kgce, for quotas in kgce.

    Raises:
        RowsMismatch: The rows are not the days of the period.
    """
    period = period_of(quota, site, on=on)
    if period is None:
        lacking = f"Site {site.id!r} states no heating_season in its file."
        return _answer(quota, None, None, lacking, on=on, coal=coal)
    known = standing_of(rows, period, tz=site.timezone, on=on)
    scale = scale_of(quota, site, known.elapsed, unit=unit, coal=coal)
    ahead = scale_of(quota, site, period, unit=unit, coal=coal)
    projection = None
    if known.projection and isinstance(scale, Scale) and isinstance(ahead, Scale):
        found = known.projection
        projection = Projection(*(ahead.of(x) for x in (found.value, found.low, found.high)))
    return _answer(quota, known, period, scale, on=on, coal=coal, projection=projection)


def _answer(
    quota: Quota,
    known: Standing | None,
    period: Period | None,
    scale: Scale | str,
    *,
    on: date,
    coal: CoalRatio | None,
    projection: Projection | None = None,
) -> QuotaUse:
    used = None
    if known and known.total is not None and isinstance(scale, Scale):
        used = scale.of(known.total)
    verification = _verification(quota, coal)
    verdict, reasons = _verdict(quota, known, used, projection)
    if not quota.valid_on(on):
        verdict, reasons = "not_in_scope", [_not_in_force(quota, on=on)]
    elif verification == "unverified":
        verdict = "not_in_scope"
    if isinstance(scale, str):
        reasons = [*reasons, scale]
    return QuotaUse(
        quota=quota.id,
        subject=quota.subject,
        period=QuotaPeriod.of(quota.period, period),
        limit=quota.limit,
        unit=quota.unit,
        used=used,
        coverage=known.coverage if known else 0.0,
        measured=known.measured if known else 0.0,
        expected_share=known.expected_share if known else None,
        used_share=None if used is None else used / quota.limit,
        projection=projection,
        verdict=verdict,
        verification=verification,
        reasons=tuple(reasons),
    )


def _verification(quota: Quota, coal: CoalRatio | None) -> str:
    """The weaker of the site's own limit and the coefficient it is held against with."""
    if quota.measure == "kgce" and coal and coal.verification in ("second-hand", "unverified"):
        return coal.verification
    return "own"


def _not_in_force(quota: Quota, *, on: date) -> str:
    since = f" from {quota.valid_from}" if quota.valid_from else ""
    until = f" until {quota.valid_until}, that day not included" if quota.valid_until else ""
    return f"In force{since}{until}; not on {on}."


def _verdict(
    quota: Quota, known: Standing | None, used: float | None, projection: Projection | None
) -> tuple[Verdict, list[str]]:
    if known is None:
        return "not_assessable", []
    if used is None:
        nothing = f"Nothing is known of {quota.carrier} of {quota.subject!r} from {known.days}."
        return "not_assessable", [nothing] if known.total is None else []
    above = used > quota.limit * (1 + NOISE)
    sparse = known.coverage < MIN_COVERAGE * (1 - NOISE)
    lacking = (
        f"Only {_percent(known.coverage)} of the time from {known.days} is known; a verdict "
        f"needs {_percent(MIN_COVERAGE)}."
    )
    reasons = [lacking] if sparse else []
    if above and not (sparse and known.flows_back):
        what = "What is known alone" if sparse else "Use"
        excess = f"{what} is {_text(used)} {quota.unit}, the limit {_text(quota.limit)}."
        return "exceeded", [excess, *reasons]
    if sparse:
        return "not_assessable", reasons
    return _outlook(quota, known, used, projection)


def _outlook(
    quota: Quota, known: Standing, used: float, projection: Projection | None
) -> tuple[Verdict, list[str]]:
    """What is to be expected of a quota that is not exceeded."""
    if projection is not None:
        sentence = (
            f"The projection is {_text(projection.value)} {quota.unit} (90 % band "
            f"{_text(projection.low)} to {_text(projection.high)}), the limit "
            f"{_text(quota.limit)}; it repeats the days known and knows no season."
        )
        if projection.value > quota.limit * (1 + NOISE):
            return "at_risk", [sentence]
        return "within", [sentence] if projection.high > quota.limit * (1 + NOISE) else []
    share = used / quota.limit
    sentence = (
        f"Use is {_percent(share)} of the limit in {_percent(known.expected_share)} of the "
        f"period; a projection needs {MIN_KNOWN_DAYS} known days and the area or head count ahead."
    )
    ahead = share - known.expected_share > PACE_MARGIN
    return "at_risk" if ahead else "within", [sentence]


def _percent(share: float) -> str:
    """A share in words, never rounded up to a mark it does not reach."""
    return f"{floor(share * 1000 + NOISE) / 10:.1f} %"


def _text(value: float) -> str:
    """A number in a sentence, to four decimals at most."""
    return f"{value:,.4f}".rstrip("0").rstrip(".")
