"""What decoding must know: the meters of every site, and which decoder a topic gets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from ingest.columns import DecodeSettings, RegisterBook, ShapeCache
from ingest.native import Caches, SiteMeters
from ingest.profile_model import Profile, Profiles
from ingest.rejections import Rejected, shown
from ingest.times import TimeCache
from ingest.topics import NATIVE_FORM, parse_native
from metering.findings import Finding
from metering.sites import Site

_CACHED: Final = 1 << 16


class Claim(NamedTuple):
    """A profile whose topic pattern fits."""

    profile: Profile
    places: Mapping[str, str]


class Ignored(NamedTuple):
    """A topic that carries no readings, as a profile says."""

    profile: Profile


Route: TypeAlias = SiteMeters | tuple[Claim, ...] | Ignored | Rejected
"""What is done with the messages of a topic."""


class Context:
    """What decoding needs to know, and what it remembers from message to message.

    Made anew when a site or a profile changes. Threads may share it.

    Args:
        sites: Site -> serial -> the meter's profile.
        profiles: All of the installation.
        settings: What is believed of a message.
    """

    def __init__(
        self,
        sites: Mapping[str, Mapping[str, str]],
        profiles: Profiles,
        settings: DecodeSettings | None = None,
    ) -> None:
        self.profiles = profiles
        self.settings = settings or DecodeSettings()
        book = RegisterBook(profiles.registers)
        self.caches = Caches(book, ShapeCache(book), TimeCache())
        self.meters = tuple(f"{site}/{serial}" for site, has in sites.items() for serial in has)
        code_of = {meter: code for code, meter in enumerate(self.meters)}
        self.sites = {
            site: SiteMeters(site, {serial: code_of[f"{site}/{serial}"] for serial in has})
            for site, has in sites.items()
        }
        self.site_of = {serial: site for site, has in sites.items() for serial in has}
        self.by_profile: dict[tuple[str, str], list[int]] = {}
        for site, has in sites.items():
            for serial, name in has.items():
                code = code_of[f"{site}/{serial}"]
                self.by_profile.setdefault((name, serial), []).append(code)
        self.native_codes = _NativeCodes(self.sites)
        self._routes: dict[str, Route] = {}
        self.fingerprint = _fingerprint(self.meters, sites, profiles)

    @classmethod
    def of(
        cls, sites: Iterable[Site], profiles: Profiles, settings: DecodeSettings | None = None
    ) -> Context:
        """The context of some site models."""
        meters = {
            site.id: {m.serial: m.profile for point in site.all_points() for m in point.meters}
            for site in sites
        }
        return cls(meters, profiles, settings)

    def route(self, topic: str) -> Route:
        """Return what is done with the messages of a topic."""
        known = self._routes.get(topic)
        if known is None:
            if len(self._routes) >= _CACHED:
                self._routes.clear()
            known = self._routes[topic] = self._new_route(topic)
        return known

    def _new_route(self, topic: str) -> Route:
        native = parse_native(topic)
        if native is not None:
            if (site := self.sites.get(native.site)) is not None:
                return site
            return Rejected(
                "unknown_site",
                f"Wanted one of the sites {', '.join(self.sites)}, found {shown(native.site)} in "
                f"the topic. Correct the topic at the gateway, or add the site.",
            )
        claims = tuple(
            Claim(profile, places)
            for profile in self.profiles
            for pattern in profile.topics
            if (places := pattern.match(topic)) is not None
        )
        if claims:
            return claims
        for profile in self.profiles:
            if any(pattern.match(topic) is not None for pattern in profile.ignored):
                return Ignored(profile)
        return Rejected(
            "unknown_topic",
            f"Wanted {NATIVE_FORM} or a topic that a profile claims, found {shown(topic)}. "
            f"Correct the topic at the gateway, or add a profile.",
        )


class _NativeCodes(dict[str, Mapping[str, int] | None]):
    """Topic -> the meters of the site it names; None for anything else."""

    def __init__(self, sites: Mapping[str, SiteMeters]) -> None:
        super().__init__()
        self._sites = sites

    def __missing__(self, topic: str) -> Mapping[str, int] | None:
        native = parse_native(topic)
        site = self._sites.get(native.site) if native else None
        if len(self) >= _CACHED:
            self.clear()
        codes = self[topic] = site.codes if site else None
        return codes


def check_profiles(sites: Iterable[Site], profiles: Profiles) -> list[Finding]:
    """Return a finding for every meter whose profile is not there."""
    return [
        Finding(
            "site.unknown_profile",
            f"Wanted a profile there is for meter {meter.serial} at {point.id} of {site.id}, found "
            f"{meter.profile!r}. Known: {', '.join(profiles.names)}. Correct the site file, or add "
            f"the profile.",
            {"site": site.id, "point": point.id, "meter": meter.serial, "profile": meter.profile},
        )
        for site in sites
        for point in site.all_points()
        for meter in point.meters
        if meter.profile not in profiles.by_name
    ]


def _fingerprint(
    meters: Sequence[str], sites: Mapping[str, Mapping[str, str]], profiles: Profiles
) -> str:
    names = [name for has in sites.values() for name in has.values()]
    lines = [f"{meter} {name}" for meter, name in zip(meters, names, strict=True)]
    text = "\n".join([*sites, *lines, profiles.fingerprint])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
