"""The version of the program."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed


def version() -> str:
    """The version as it is installed."""
    try:
        return installed("tanyuan")
    except PackageNotFoundError:
        return "0+unknown"
