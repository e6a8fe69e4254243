"""What InfluxDB answers when it does not do what was asked, and what is to be done about it.

Nothing is tried again here: whoever adds a batch adds it again from the journal, and a batch that
was applied after all changes nothing.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError

from metering.store.port import StoreUnavailable

log = logging.getLogger(__name__)

_SHOWN = 400

_TO_DO = {
    401: "Give it a valid token (INFLUXDB_V2_TOKEN) and organisation (INFLUXDB_V2_ORG).",
    403: "The token may not do this: it needs read and write for both buckets.",
    413: "The request was too large: raise http-max-body-size or what stands before the server.",
    429: "It takes no more now; the same is sent again.",
}


@contextmanager
def translated(url: str, doing: str) -> Iterator[None]:
    """Turn what the client raises into `StoreUnavailable`, saying what to do.

    Args:
        url: Where the server is, for the message.
        doing: What was asked, such as "write to bucket tanyuan".

    Raises:
        StoreUnavailable: The server did not do it, or did not say so.
    """
    try:
        yield
    except ApiException as error:
        raise StoreUnavailable(told(url, doing, error)) from error
    except (HTTPError, OSError) as error:
        raise StoreUnavailable(
            f"InfluxDB at {url} did not {doing}: {_cause(error)}. Is it running and reachable? "
            f"Nothing is lost; the same is asked again."
        ) from error


def told(url: str, doing: str, error: ApiException) -> str:
    """One sentence on what the server answered, and one on what to do."""
    status, text = error.status, message_of(error)
    if status == 404:
        to_do = (
            "A bucket or the organisation is missing. Make the bucket again, or start Tanyuan "
            "anew, which makes it; it is then filled from the journal."
        )
    elif status in (400, 422):
        to_do = "This is a fault in the lines or the query; nothing is dropped. Report it."
        if "retention" in text:
            to_do = "Set the bucket's retention to infinite: it drops what is older."
    else:
        to_do = _TO_DO.get(status or 0, "It may have been applied; it is asked again, unchanged.")
    return f"InfluxDB at {url} did not {doing}: {status} {text}. {to_do}"


def message_of(error: ApiException) -> str:
    """What the server says, in short."""
    body = error.body or b""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body)
    try:
        text = json.loads(text).get("message", text)
    except (ValueError, AttributeError):
        text = text or str(error.reason)
    return " ".join(text.split())[:_SHOWN]


def refused_line(error: ApiException, lines: Sequence[bytes]) -> bytes | None:
    """The line a 400 or 422 speaks of, if it can be found.

    The server quotes the line, or names the number of the first bad one.
    """
    text = message_of(error)
    if found := re.search(r"unable to parse '(.+?)':", text):
        start = found[1].encode()
        return next((line for line in lines if line.startswith(start)), None)
    if found := re.search(r"line (\d+)", text):
        number = int(found[1]) - 1
        if 0 <= number < len(lines):
            return lines[number]
    return None


def _cause(error: BaseException) -> str:
    """The last cause in a chain such as urllib3's, without the client's retries."""
    reason = getattr(error, "reason", None)
    inner = reason if isinstance(reason, BaseException) else error
    return f"{type(inner).__name__}: {' '.join(str(inner).split())[:_SHOWN]}"
