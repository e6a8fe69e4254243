"""What only shows when all rows are there: blends, and versions that contradict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from itertools import pairwise

from carbon.factors import EmissionFactor, Verification
from metering.marked_yaml import FileProblem


def blended(rows: Sequence[EmissionFactor]) -> tuple[list[EmissionFactor], list[FileProblem]]:
    """Compute blends from the components of their own edition; they are never typed."""
    done: list[EmissionFactor] = []
    problems: list[FileProblem] = []
    for row in rows:
        if not row.blend:
            done.append(row)
            continue
        prefix = row.key.rsplit(".", 1)[0]
        parts = {
            name: [f for f in rows if f.key == f"{prefix}.{name}" and f.value is not None]
            for name, _ in row.blend
        }
        missing = [f"{prefix}.{name}" for name, found in parts.items() if len(found) != 1]
        share = sum(part for _, part in row.blend)
        if missing or abs(share - 1) > 1e-9:
            found = f"no single {', '.join(missing)}" if missing else f"shares of {share:g}"
            wanted = "components with one value each and shares that make 1"
            problems.append(FileProblem(row.file, row.line, wanted, found, "Correct the blend."))
            continue
        done.append(_blend(row, {name: found[0] for name, found in parts.items()}))
    return done, problems


def _blend(row: EmissionFactor, parts: Mapping[str, EmissionFactor]) -> EmissionFactor:
    value = sum(share * (parts[name].value or 0.0) for name, share in row.blend)
    off = not all(part.usable for part in parts.values())
    return replace(
        row, value=value, verification=Verification.UNVERIFIED if off else row.verification
    )


def overlaps(rows: Iterable[EmissionFactor]) -> list[FileProblem]:
    """Find versions of one day of publication that claim the same day of activity."""
    groups: dict[tuple[str, str | None, date], list[EmissionFactor]] = {}
    for row in rows:
        groups.setdefault((row.key, row.region, row.published), []).append(row)
    problems = []
    for group in groups.values():
        group.sort(key=lambda f: (f.valid_from, f.valid_until or date.max))
        for one, other in pairwise(group):
            if one.valid_until is None or other.valid_from < one.valid_until:
                problems.append(
                    FileProblem(
                        other.file,
                        other.line,
                        f"one version of {other.key} per day of activity and of publication",
                        f"{other.span}, beside {one.span} in {one.file}:{one.line}, "
                        f"both published {one.published}",
                        "A correction has a later `published`; else change the dates.",
                    )
                )
    return problems
