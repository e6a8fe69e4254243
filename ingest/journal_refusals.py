"""Why a journal takes no message, in words for whoever has to mend it."""

from __future__ import annotations

import errno
from pathlib import Path

from ingest.segments import JournalError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class JournalFull(JournalError):
    """There is no room for more messages; nothing of the batch was kept."""


def refusal(path: Path, error: OSError) -> JournalError:
    """Say what the disk said."""
    if error.errno in _NO_ROOM:
        return JournalFull(
            f"no room to write to {path} ({error.strerror}): make room or move sealed segments to "
            f"the archive. Messages stay unacknowledged and are sent again."
        )
    return JournalError(
        f"{path} cannot be written ({error}): look at the disk. Messages stay unacknowledged and "
        f"are sent again."
    )


def held(folder: Path) -> JournalError:
    """Say what a journal waits for that comes from a backup."""
    return JournalError(
        f"the journal in {folder} was restored and takes no message before the ledger was asked "
        f"which numbers are given already: see that the ledger answers. Messages stay "
        f"unacknowledged and are sent again."
    )
