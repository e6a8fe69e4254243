"""The Flux queries of panels: files with `{{name}}` where a Flux expression belongs."""

from __future__ import annotations

import re
from importlib import resources

_PLACE = re.compile(r"\{\{(\w+)\}\}")


class FluxQueryError(ValueError):
    """A query was asked for without an expression it needs, or with one it does not know."""


def flux_query(name: str, **expressions: str) -> str:
    """A query with its places filled in.

    Args:
        name: The file, without `.flux`.
        expressions: Flux for each place, such as `"park"` in quotes, or `v.timeRangeStart`.

    Raises:
        FluxQueryError: An expression is missing, or there is no place for it.
    """
    lines = _text(name).splitlines()
    query = "\n".join(line for line in lines if not line.startswith("//"))
    wanted = set(_PLACE.findall(query))
    if wanted != set(expressions):
        raise FluxQueryError(
            f"{name}.flux wants {', '.join(sorted(wanted))}, "
            f"found {', '.join(sorted(expressions)) or 'nothing'}."
        )
    return _PLACE.sub(lambda place: expressions[place[1]], query) + "\n"


def flux_query_names() -> list[str]:
    """The queries there are, sorted."""
    folder = resources.files("metering.store") / "flux"
    return sorted(
        f.name.removesuffix(".flux") for f in folder.iterdir() if f.name.endswith(".flux")
    )


def _text(name: str) -> str:
    file = resources.files("metering.store") / "flux" / f"{name}.flux"
    if not file.is_file():
        raise FluxQueryError(f"No query {name}. There are {', '.join(flux_query_names())}.")
    return file.read_text(encoding="utf-8")
