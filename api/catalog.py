"""The sites of a home: loaded, recorded as versions, and applied to what was derived before."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from api.compute import CODE, everything
from carbon.registry import Registry
from metering.ledger.port import Ledger
from metering.periods import Period, midnight
from metering.series import Series
from metering.site_files import LoadedSite, load_home_sites, load_site
from metering.sites import MeterPoint, Site, closest
from metering.store.port import ReadingStore, Span
from metering.units import REGISTERS, RegisterType

log = logging.getLogger(__name__)

EVER = Period(datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))
"""Longer than any meter has run."""

APPLIED = "sites.applied"
"""With a store's id: the note that says of which definitions its hours were made."""


class SiteNotFound(LookupError):
    """The home has no such site, or has several and none was named."""


@dataclass(slots=True)
class Catalog:
    """The site models in use, and the registers that profiles add."""

    home: Path
    ledger: Ledger
    extra: Mapping[str, RegisterType] = field(default_factory=dict)
    loaded: tuple[LoadedSite, ...] = ()

    def load(self, *, now: datetime) -> list[str]:
        """Read the site files and record those whose bytes differ; return the ids of the new.

        Raises:
            SiteErrors: A file cannot be used; what was loaded before stays in use.
        """
        found = load_home_sites(self.home, registers=self.known_registers)
        new = []
        for each in found:
            _, fresh = self.ledger.record_site(each.site.id, each.content, recorded_at=now)
            new += [each.site.id] if fresh else []
        self.loaded = tuple(found)
        return new

    @property
    def known_registers(self) -> frozenset[str]:
        """Names a site file may use."""
        return frozenset(REGISTERS) | frozenset(self.extra)

    def sites(self) -> dict[str, Site]:
        """The site models in use, by id."""
        return {each.site.id: each.site for each in self.loaded}

    def site(self, name: str | None) -> Site:
        """The named site, or the only one.

        Raises:
            SiteNotFound: No such site, or several and no name.
        """
        sites = self.sites()
        if name is None and len(sites) == 1:
            return next(iter(sites.values()))
        if name is None:
            raise SiteNotFound(f"This home has several sites; name one of: {', '.join(sites)}.")
        if name not in sites:
            near = closest(name, sites)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(sites)}."
            raise SiteNotFound(f"No site {name!r} in this home. {hint}")
        return sites[name]

    def known_by(self, site: Site, day: date) -> Site:
        """The site model as it was recorded by the end of a day; the oldest if none was."""
        until = midnight(day + timedelta(days=1), tz=site.timezone)
        versions = self.ledger.site_versions(site.id)
        known = [version for version in versions if version.recorded_at < until] or versions[:1]
        if not known:
            return site
        name = f"{site.id}, version {known[-1].version}"
        return load_site(known[-1].content, file=name, registers=self.known_registers)

    def apply(self, store: ReadingStore, registry: Registry) -> int:
        """Let go of hours made from other definitions than today's; return how many points.

        The meters of every point whose definition, calculation or factors changed since the hours
        were made are marked dirty, and the hours of points that are gone are removed. Repeating it
        after a crash does the same again.
        """
        wanted = {
            site.point_key(point): _definition(site, point, registry)
            for site in self.sites().values()
            for point in site.all_points()
        }
        made: dict[str, str] = json.loads(self.ledger.get(_applied_key(store)) or "{}")
        changed = [key for key in wanted | made if wanted.get(key) != made.get(key)]
        if changed:
            self._let_go(store, changed)
            text = json.dumps(wanted, sort_keys=True)
            self.ledger.put(_applied_key(store), text)
        return len(changed)

    def _let_go(self, store: ReadingStore, changed: list[str]) -> None:
        meters = [
            site.meter_key(meter.serial)
            for site in self.sites().values()
            for point in site.all_points()
            if site.point_key(point) in set(changed)
            for meter in point.meters
        ]
        self.ledger.mark_dirty(everything(store, meters))
        spans = [Span(key, EVER) for key in changed]
        store.replace("energy", Series.empty(), spans=spans)
        store.replace("emissions", Series.empty(), spans=spans)
        log.info("sites: %s points are new or changed, their hours are made again", len(changed))


def _applied_key(store: ReadingStore) -> str:
    return f"{APPLIED}.{store.store_id}"


def _definition(site: Site, point: MeterPoint, registry: Registry) -> str:
    parts = (
        point.definition_hash(),
        CODE,
        site.timezone.key,
        site.region or "",
        str(site.provisional_factors),
        factors_fingerprint(registry),
    )
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def factors_fingerprint(registry: Registry) -> str:
    """A hash of every factor that can be applied."""
    digest = hashlib.sha256()
    for factor in registry.factors:
        if factor.usable:
            digest.update(f"{factor.id}|{factor.value}|{factor.unit}\n".encode())
            if factor.series is not None:
                digest.update(factor.series.starts.tobytes())
                digest.update(factor.series.values.tobytes())
    return digest.hexdigest()[:16]
