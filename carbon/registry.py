"""All factors there are, and the one that counts for a day."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from carbon.factors import ANY_REGION, EmissionFactor


@dataclass(frozen=True, slots=True)
class AppliedFactor:
    """The factor that counts for a day."""

    factor: EmissionFactor
    provisional: bool
    """The day's own value is not out yet; this is the newest earlier one."""


class FactorNotFound(LookupError):
    """No usable factor covers the requested day."""

    def __init__(
        self,
        key: str,
        region: str | None,
        *,
        on: date,
        known_by: date | None,
        matching: Sequence[EmissionFactor],
        all_of_key: Sequence[EmissionFactor],
    ) -> None:
        usable = [f for f in matching if f.usable]
        known = [f for f in usable if known_by is None or f.published <= known_by]
        off = sorted(f.id for f in matching if not f.usable and f.covers(on))
        regions = sorted({f.region or ANY_REGION for f in all_of_key if f.usable})
        place = region or "a site without a region"
        seen = f" in what was published by {known_by}" if known_by else ""
        parts = [
            f"No emission factor {key!r} for {place} on {on}{seen}.",
            f"Covered there: {', '.join(sorted({f.span for f in known})) or 'nothing'}.",
        ]
        if len(known) < len(usable):
            later = min(f.published for f in usable if f not in known)
            parts.append(f"More was published from {later} on.")
        if not usable:
            parts.append(f"Regions with this key: {', '.join(regions) or 'none'}.")
        if off:
            parts.append(f"Unverified and switched off until adopted: {', '.join(off)}.")
            parts.append("To adopt one, name its id, document, page and person under `adopt`.")
        parts.append(_remedy(region, on, known))
        super().__init__(" ".join(parts))
        self.key, self.region, self.on, self.known_by = key, region, on, known_by


def _remedy(region: str | None, on: date, known: Sequence[EmissionFactor]) -> str:
    own = "Add the missing version as a YAML file in the folder factors of the home"
    if known and all(f.valid_until and f.valid_until <= on for f in known):
        if any(f.carry_forward and f.series is None for f in known):
            return (
                f"{own}, or allow the newest earlier value, flagged, "
                "with `factors: {provisional: true}` in site.yaml."
            )
    elif region is None:
        return f"{own}, or give the site its region, such as `region: CN-BJ` in site.yaml."
    return f"{own}."


class Registry:
    """All factors there are, shipped and own."""

    def __init__(self, factors: Iterable[EmissionFactor]) -> None:
        """Keep the rows; `factor_files` has checked that no two of them contradict."""
        self._by_key: dict[str, list[EmissionFactor]] = {}
        self._by_id: dict[str, EmissionFactor] = {}
        for factor in factors:
            if factor.id in self._by_id:
                raise ValueError(f"two factors have the id {factor.id}")
            self._by_id[factor.id] = factor
            self._by_key.setdefault(factor.key, []).append(factor)

    @property
    def factors(self) -> list[EmissionFactor]:
        """Every row, by id."""
        return [self._by_id[key] for key in sorted(self._by_id)]

    def by_id(self, factor_id: str) -> EmissionFactor:
        """Return the version that an emission row names."""
        return self._by_id[factor_id]

    def versions(self, key: str) -> Sequence[EmissionFactor]:
        """Return all versions of a key, in every region."""
        return tuple(self._by_key.get(key, ()))

    def at(
        self,
        key: str,
        region: str | None,
        *,
        on: date,
        known_by: date | None = None,
        provisional: bool = False,
    ) -> AppliedFactor:
        """Return the factor for a day of activity, as it was known on another day.

        The row of the region itself counts first (own before shipped), then an
        own row for any region, then a row its document sets countrywide. A
        provincial factor is never replaced by a national average.

        Args:
            key: What is wanted, such as electricity.grid.location.
            region: The site's region; None finds only rows for any region.
            on: Day of activity in the site's calendar.
            known_by: Use only what was published by this day; None uses everything.
            provisional: Let the newest earlier value, flagged, stand for days after
                all that is covered. A hole between two years stays a hole.

        Raises:
            FactorNotFound: No usable version covers the day.
        """
        all_of_key = self.versions(key)
        matching = [f for f in all_of_key if _rank(f, region) is not None]
        known = [f for f in matching if f.usable and (known_by is None or f.published <= known_by)]
        if valid := [f for f in known if f.covers(on)]:
            return AppliedFactor(min(valid, key=lambda f: _preference(f, region)), False)
        if provisional and (newest := _newest_before(known, on)):
            return AppliedFactor(min(newest, key=lambda f: _preference(f, region)), True)
        raise FactorNotFound(
            key, region, on=on, known_by=known_by, matching=matching, all_of_key=all_of_key
        )

    def list(self) -> list[dict[str, object]]:
        """Return every row as plain values, for printing or JSON."""
        return [_listed(factor) for factor in self.factors]


def _rank(factor: EmissionFactor, region: str | None) -> int | None:
    """Say how closely a row fits a region, 0 the closest; None does not fit.

    Whatever the operator put into the home wins over what was shipped.
    """
    shipped = 0 if factor.own else 3
    if factor.region == region and region is not None:
        return shipped
    if factor.region is None:
        return shipped + 2
    if factor.countrywide and region is not None and region.startswith(f"{factor.region}-"):
        return shipped + 1
    return None


def _preference(factor: EmissionFactor, region: str | None) -> tuple[int, timedelta]:
    rank = _rank(factor, region)
    assert rank is not None
    return rank, date.max - factor.published


def _newest_before(known: Sequence[EmissionFactor], on: date) -> list[EmissionFactor]:
    """Return the versions that end last, if all end by a day and may be carried forward."""
    ends = [f.valid_until for f in known if f.valid_until is not None]
    if len(ends) < len(known) or not ends or max(ends) > on:
        return []
    newest = [f for f in known if f.valid_until == max(ends)]
    return [f for f in newest if f.carry_forward and f.series is None]


def _listed(factor: EmissionFactor) -> dict[str, object]:
    return {
        "id": factor.id,
        "key": factor.key,
        "region": factor.region or ANY_REGION,
        "value": factor.value,
        "series": factor.series.file if factor.series else None,
        "unit": factor.unit,
        "gas_basis": factor.gas_basis,
        "valid_from": factor.valid_from.isoformat(),
        "valid_until": factor.valid_until.isoformat() if factor.valid_until else None,
        "published": factor.published.isoformat(),
        "publisher": factor.source.publisher,
        "document": factor.source.document,
        "locator": factor.source.locator,
        "verification": factor.verification.value,
        "usable": factor.usable,
        "reference": factor.reference,
        "note": factor.note,
        "adopted": (
            f"{factor.adoption.person}, {factor.adoption.on}, "
            f"{factor.adoption.document}, {factor.adoption.page}"
            if factor.adoption
            else None
        ),
    }
