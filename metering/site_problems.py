"""Contradictions between the parts of a site model; a file that has one is refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from metering.sites import Building, Meter, MeterPoint, Placement, Quota, Site, closest

Subject: TypeAlias = Site | Building | MeterPoint | Meter | Quota


@dataclass(frozen=True, slots=True)
class Problem:
    """A contradiction in the model, at a key of one of its parts."""

    subject: Subject
    key: str
    wanted: str
    found: str
    remedy: str


def model_problems(site: Site) -> Iterator[Problem]:
    """Every contradiction between the parts of a site; a good site has none."""
    yield from _repeated_ids("building", site.buildings)
    yield from _repeated_ids("point", site.all_points())
    yield from _repeated_ids("quota", site.quotas)
    for serial in site.serials:
        yield from _overlaps(site.placements_of(serial))
    known = {point.id: point for point in site.all_points()}
    for point in site.all_points():
        yield from _upstream_problems(site, point, known)
    for quota in site.quotas:
        yield from _subject_problems(site, quota)


def _repeated_ids(
    what: str, parts: Iterable[Building] | Iterable[MeterPoint] | Iterable[Quota]
) -> Iterator[Problem]:
    seen: set[str] = set()
    for part in parts:
        if part.id and part.id in seen:
            remedy = f"Give one of the two {what}s another id."
            yield Problem(part, "id", f"each {what} id once", f"{part.id!r} again", remedy)
        seen.add(part.id)


def _overlaps(placements: tuple[Placement, ...]) -> Iterator[Problem]:
    """A serial that serves two points at once. Overlaps at one point are found in its list."""
    for before, after in pairwise(placements):
        if before.point is after.point or before.meter.ends <= after.meter.starts:
            continue
        serial = after.meter.serial
        yield Problem(
            after.meter,
            "serial",
            "each serial at one point at a time",
            f"{serial!r} also at {before.point.id!r}",
            f"Correct the serial; if the meter was moved, give `removed` at {before.point.id!r} "
            f"and a later `installed` at {after.point.id!r}.",
        )


def exchange_problems(meters: tuple[Meter, ...]) -> Iterator[Problem]:
    """Meters of one point, oldest first, that would serve it at the same time."""
    for before, after in pairwise(meters):
        if before.ends <= after.starts:
            continue
        if before.removed is None or after.installed is None:
            wanted = "meters one after the other, with the dates of the exchange"
            missing = (
                f"no `removed` at {before.serial!r}"
                if before.removed is None
                else f"no `installed` at {after.serial!r}"
            )
            remedy = f"Give `removed` at {before.serial!r} and `installed` at {after.serial!r}."
            yield Problem(after, "serial", wanted, missing, remedy)
        else:
            wanted = f"{after.serial!r} installed after {before.serial!r} was removed"
            found = f"{after.starts:%Y-%m-%dT%H:%MZ} before {before.ends:%Y-%m-%dT%H:%MZ}"
            yield Problem(after, "installed", wanted, found, "Correct one of the two times.")


def _upstream_problems(
    site: Site, point: MeterPoint, known: Mapping[str, MeterPoint]
) -> Iterator[Problem]:
    if point.upstream is None:
        return
    wanted = "the id of the point that feeds this one"
    found = repr(point.upstream)
    if point.upstream == point.id:
        yield Problem(point, "upstream", wanted, "the point itself", "Name another, or none.")
    elif point.upstream not in known:
        # A point may hang below one that the file does not describe: a finding. Only a name that
        # is almost one of the file's is taken for a slip of the pen.
        others = [each for each in known if each != point.id]
        near = closest(point.upstream, others, cutoff=0.8)
        if near:
            remedy = f"Did you mean {near[0]}?"
            yield Problem(point, "upstream", wanted, f"the unknown id {found}", remedy)
    elif known[point.upstream].carrier != point.carrier:
        other = f"{found}, which carries {known[point.upstream].carrier}"
        remedy = "Name a point of the same carrier."
        yield Problem(point, "upstream", f"a point that carries {point.carrier}", other, remedy)
    else:
        chain = [point.id, *(up.id for up in site.upstream_of(point))]
        # A circle is reported once, at its first point in the file.
        if known[chain[-1]].upstream == point.id and point.id == min(chain, key=[*known].index):
            circle = " < ".join([*chain, point.id])
            remedy = "Take `upstream` away from the point nearest the supply."
            yield Problem(point, "upstream", "a tree of points", f"the circle {circle}", remedy)


def _subject_problems(site: Site, quota: Quota) -> Iterator[Problem]:
    if not quota.subject:
        return
    kinds = {
        "site": [site.id],
        "building": [building.id for building in site.buildings],
        "point": [point.id for point in site.all_points()],
    }
    found = [kind for kind, ids in kinds.items() if quota.subject in ids]
    if not found:
        everything = [each for ids in kinds.values() for each in ids]
        near = closest(quota.subject, everything, count=3)
        remedy = f"Closest: {', '.join(near)}." if near else "Add it, or correct the id."
        wanted = "the id of the site, of a building or of a point"
        yield Problem(quota, "subject", wanted, f"the unknown id {quota.subject!r}", remedy)
    elif len(found) > 1:
        wanted = "an id that names one thing"
        both = f"{quota.subject!r}, which is a {' and a '.join(found)}"
        yield Problem(quota, "subject", wanted, both, f"Give the {found[1]} another id.")
