"""Gateway names and password hashes.

A users file has one `name:hash` per line; empty lines and lines that begin with # are skipped.
A hash is `scrypt$N$r$p$salt$key`, salt and key in base64.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from pathlib import Path

_N, _R, _P = 1 << 13, 8, 1
_KEY_BYTES = 32
_MAX_MEMORY = 256 << 20


class UsersFileInvalid(ValueError):
    """A users file cannot be used."""


def hash_password(password: bytes) -> str:
    """Make the hash of a password, with a new salt each time."""
    salt = secrets.token_bytes(16)
    return _format(_N, _R, _P, salt, _derive(password, _N, _R, _P, salt))


def load_users(path: Path) -> dict[str, str]:
    """Read a users file.

    Raises:
        UsersFileInvalid: A line is not `name:hash`, or a name comes twice.
        OSError: The file cannot be read.
    """
    users: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, colon, password_hash = line.rpartition(":")
        if not colon or not name or _parse(password_hash) is None:
            raise UsersFileInvalid(
                f"{path}, line {number}: expected name:hash with a hash made for this file"
            )
        if name in users:
            raise UsersFileInvalid(f"{path}, line {number}: {name} is there twice; keep one")
        users[name] = password_hash
    return users


class PasswordCheck:
    """Checks passwords; slow on purpose, except for one that was right before.

    A fleet that reconnects at once would otherwise wait minutes for its hashes. What was right is
    remembered as a keyed digest whose key lives as long as this object.
    """

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = dict(users)
        self._unknown = hash_password(secrets.token_bytes(16))
        self._key = secrets.token_bytes(32)
        self._right: dict[str, bytes] = {}

    def is_right(self, user: str, password: bytes) -> bool:
        """Say whether a password is the user's; takes as long for a user that does not exist."""
        digest = hmac.digest(self._key, user.encode() + b"\0" + password, "sha256")
        if hmac.compare_digest(self._right.get(user, b""), digest):
            return True
        wanted = self._users.get(user)
        parsed = _parse(wanted or self._unknown)
        if parsed is None:
            return False
        *cost, salt, key = parsed
        n, r, p = cost
        right = hmac.compare_digest(_derive(password, n, r, p, salt), key) and wanted is not None
        if right:
            self._right[user] = digest
        return right


def _derive(password: bytes, n: int, r: int, p: int, salt: bytes) -> bytes:
    return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=_MAX_MEMORY, dklen=_KEY_BYTES)


def _format(n: int, r: int, p: int, salt: bytes, key: bytes) -> str:
    encoded = (base64.b64encode(part).decode() for part in (salt, key))
    return "$".join(("scrypt", str(n), str(r), str(p), *encoded))


def _parse(text: str) -> tuple[int, int, int, bytes, bytes] | None:
    """Take a hash apart; None when it is not one."""
    try:
        name, n, r, p, salt, key = text.split("$")
        parsed = (
            int(n),
            int(r),
            int(p),
            base64.b64decode(salt, validate=True),
            base64.b64decode(key, validate=True),
        )
    except (ValueError, binascii.Error):
        return None
    usable = name == "scrypt" and 128 * parsed[0] * parsed[1] * parsed[2] < _MAX_MEMORY
    return parsed if usable and parsed[3] and len(parsed[4]) == _KEY_BYTES else None
