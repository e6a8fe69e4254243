"""Topic -> site, gateway and meter: the native topic, and the patterns profiles claim."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

NATIVE_FORM: Final = "tanyuan/<site>/<gateway>/readings"
"""The topic of the native dialect."""

_PLACE = re.compile(r"\{([a-z_]+)\}|(\+)|([^{}+#]+)")


class BadPattern(ValueError):
    """A topic pattern that cannot be read."""


@dataclass(frozen=True, slots=True)
class NativeTopic:
    """Where a native message comes from."""

    site: str
    gateway: str


def native_topic(site: str, gateway: str) -> str:
    """The topic on which a gateway of a site publishes native readings."""
    return f"tanyuan/{site}/{gateway}/readings"


def parse_native(topic: str) -> NativeTopic | None:
    """Return site and gateway of a native topic, None for any other."""
    levels = topic.split("/")
    if len(levels) != 4 or levels[0] != "tanyuan" or levels[3] != "readings":
        return None
    return NativeTopic(levels[1], levels[2]) if levels[1] and levels[2] else None


@dataclass(frozen=True, slots=True)
class TopicPattern:
    """A topic with places: `{name}` stands for text within a level, `+` for a whole level."""

    text: str
    names: tuple[str, ...]
    expression: re.Pattern[str]

    @classmethod
    def of(cls, text: str) -> TopicPattern:
        """Read a pattern such as `tele/{device}/SENSOR`.

        Raises:
            BadPattern: It has a `#`, a broken brace, or one name twice.
        """
        found = list(_PLACE.finditer(text))
        if not text or "".join(match.group() for match in found) != text:
            raise BadPattern(
                f"Wanted a topic with places such as tele/{{device}}/SENSOR, found {text!r}."
            )
        names = tuple(match.group(1) for match in found if match.group(1))
        if len(set(names)) != len(names):
            raise BadPattern(f"Wanted each name once in a topic pattern, found {text!r}.")
        return cls(text, names, re.compile("".join(_expression(match) for match in found)))

    def match(self, topic: str) -> dict[str, str] | None:
        """Return what stands at the places, None if the topic is another one."""
        match = self.expression.fullmatch(topic)
        return match.groupdict() if match else None


def _expression(match: re.Match[str]) -> str:
    name, level, literal = match.groups()
    if name:
        return f"(?P<{name}>[^/]+?)"
    return "[^/]+" if level else re.escape(literal)
