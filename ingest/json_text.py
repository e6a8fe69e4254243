"""JSON as gateways write it: strict first, and a more patient second reading."""

from __future__ import annotations

import json

import orjson

from ingest.rejections import Rejected, shown


def load_json(payload: bytes) -> object:
    """Return what a JSON payload says; NaN and Infinity, which JSON has not, are let through.

    A gateway that writes NaN for one register then loses only that one.

    Raises:
        Rejected: `invalid_utf8` or `bad_json`.
    """
    try:
        return orjson.loads(payload)
    except ValueError:
        pass
    try:
        text = payload.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Rejected(
            "invalid_utf8",
            f"Wanted UTF-8 text, found byte {payload[error.start]:02X}h at {error.start} of "
            f"{len(payload)}. Set the gateway to UTF-8, or give its meters a fitting profile.",
        ) from None
    try:
        return json.loads(text, parse_int=_whole)
    except RecursionError:
        reason = "brackets nested too deep"
    except ValueError as error:
        reason = str(error)
    raise Rejected(
        "bad_json",
        f"Wanted JSON, found {shown(text)}: {reason}. Correct the gateway's template.",
    )


def _whole(digits: str) -> int | float:
    """A JSON integer; one that no register can show need not be exact."""
    return int(digits) if len(digits) < 300 else float(digits)
