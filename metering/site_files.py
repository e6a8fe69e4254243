"""Loads site files: YAML to the site model, or every error with its line and remedy.

The keys are those of the published `site.yaml`; an unknown one is refused, because a mistyped key
that is silently ignored moves figures.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from metering.marked_yaml import MAX_BYTES, ErrorLog, FileProblem, compose
from metering.site_sections import Section
from metering.site_shapes import FILE_KEYS, SiteReader
from metering.sites import Site
from metering.units import REGISTERS


class SiteErrors(ValueError):
    """Everything that is wrong with the site files, in the order of their lines."""

    def __init__(self, errors: Iterable[FileProblem]) -> None:
        self.errors = tuple(sorted(errors, key=lambda each: each.place))
        super().__init__("\n".join(str(error) for error in self.errors))


@dataclass(frozen=True, slots=True)
class LoadedSite:
    """A site with the file it came from, for the ledger to keep."""

    site: Site
    file: str
    """Relative to the home."""
    content: bytes


def load_site(content: bytes, *, file: str, registers: Collection[str] = REGISTERS) -> Site:
    """Read one site file.

    Args:
        content: The file's bytes.
        file: What messages call it.
        registers: The names capacities and fixtures may use: the canonical ones, and what the
            device profiles add.

    Raises:
        SiteErrors: The file is refused; it has every error that was found.
    """
    log = ErrorLog(file)
    root = compose(content, log, wanted="the keys of a site", begin="site:")
    if root is None:
        raise SiteErrors(log.errors)
    site = SiteReader(log, registers).site(Section(root, "", log, FILE_KEYS))
    if log.errors:
        raise SiteErrors(log.errors)
    return site


def load_home_sites(home: Path, *, registers: Collection[str] = REGISTERS) -> list[LoadedSite]:
    """Read HOME/site.yaml, or every HOME/sites/*.yaml in the order of their names.

    Raises:
        SiteErrors: A file is refused, there is none, both kinds are there, or two files describe
            the same site.
    """
    errors: list[FileProblem] = []
    loaded: list[LoadedSite] = []
    for path in _site_paths(home):
        name = path.relative_to(home).as_posix()
        # One byte more than allowed is enough for the loader to refuse it.
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        try:
            site = load_site(content, file=name, registers=registers)
        except SiteErrors as refused:
            errors += refused.errors
            continue
        for other in loaded:
            if other.site.id == site.id:
                remedy = "Give one of the two sites another id."
                found = f"{site.id!r} also in {other.file}"
                errors.append(FileProblem(name, 0, "each site id once", found, remedy, "site.id"))
        loaded.append(LoadedSite(site, name, content))
    if errors:
        raise SiteErrors(errors)
    return loaded


def example_site() -> bytes:
    """The commented site file that a new home starts with."""
    return files("metering").joinpath("data/site.yaml").read_bytes()


def _site_paths(home: Path) -> list[Path]:
    single, folder = home / "site.yaml", home / "sites"
    several = sorted(folder.glob("*.yaml"))
    other = [
        path.relative_to(home).as_posix() for path in (*home.glob("*.yml"), *folder.glob("*.yml"))
    ]
    if single.is_file() and several:
        names = ", ".join(path.name for path in several)
        found = f"site.yaml and sites/ with {names}"
        remedy = "Move site.yaml into sites/, or the others away."
        raise SiteErrors([_home_error("site.yaml", found, remedy)])
    if single.is_file():
        return [single]
    if several:
        return several
    found = f"only {', '.join(other)}" if other else "neither"
    remedy = "Rename it to end in .yaml." if other else "`tanyuan init` writes a first one."
    raise SiteErrors([_home_error("site.yaml", f"{found} in {home}", remedy)])


def _home_error(file: str, found: str, remedy: str) -> FileProblem:
    return FileProblem(file, 0, "site.yaml or sites/*.yaml", found, remedy)
