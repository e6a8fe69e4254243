"""The fields that MQTT packets are made of, read in order and checked.

`check_strings` goes through a packet of MQTT 5 before the codec sees it: the codec panics on a
string that is not UTF-8, and every panic writes a page to stderr, which a stranger could fill a
disk with.

Source: MQTT Version 5.0, OASIS Standard 2019-03-07, 1.5 and 2.2.2 (the same in 3.1.1, 1.5).
"""

from __future__ import annotations

from ingest.mqtt_packets import BadPacket, Reason

_NUMBERS = {
    1: (0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A),
    2: (0x13, 0x21, 0x22, 0x23),
    4: (0x02, 0x11, 0x18, 0x27),
}
_NUMBER_SIZES = {name: size for size, names in _NUMBERS.items() for name in names}
_TEXTS = {0x03: 1, 0x08: 1, 0x12: 1, 0x15: 1, 0x1A: 1, 0x1C: 1, 0x1F: 1, 0x26: 2}
_BINARIES = {0x09, 0x16}
_SUBSCRIPTION_ID = 0x0B


class Fields:
    """Reads the fields of one packet, or a part of it, in order."""

    def __init__(self, data: bytes) -> None:
        self._data, self._position = data, 0

    @property
    def left(self) -> int:
        """Bytes that were not read yet."""
        return len(self._data) - self._position

    def take(self, count: int) -> bytes:
        """Read some bytes."""
        stop = self._position + count
        if stop > len(self._data):
            raise BadPacket(Reason.MALFORMED, "a field reaches beyond the end of its packet")
        field = self._data[self._position : stop]
        self._position = stop
        return field

    def number(self, size: int = 2) -> int:
        """Read a number of a fixed size."""
        return int.from_bytes(self.take(size), "big")

    def variable(self) -> int:
        """Read a number of one to four bytes."""
        value = 0
        for shift in (0, 7, 14, 21):
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise BadPacket(Reason.MALFORMED, "a length of more than four bytes")

    def binary(self) -> bytes:
        """Read bytes with their length before them."""
        return self.take(self.number())

    def text(self) -> str:
        """Read a string."""
        return decode_text(self.binary())

    def properties(self) -> None:
        """Go through MQTT 5 properties and check their strings."""
        fields = Fields(self.take(self.variable()))
        while fields.left:
            name = fields.number(1)
            if name in _NUMBER_SIZES:
                fields.take(_NUMBER_SIZES[name])
            elif name in _TEXTS:
                for _ in range(_TEXTS[name]):
                    fields.text()
            elif name in _BINARIES:
                fields.binary()
            elif name == _SUBSCRIPTION_ID:
                fields.variable()
            else:
                raise BadPacket(Reason.MALFORMED, f"an unknown property {name:02X}h")

    def finish(self) -> None:
        """Check that nothing is left."""
        if self.left:
            raise BadPacket(Reason.MALFORMED, f"{self.left} bytes too many in a packet")


def decode_text(data: bytes) -> str:
    """Decode an MQTT string: UTF-8 without surrogates and without U+0000."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise BadPacket(Reason.MALFORMED, f"a string is not UTF-8: {data[:40]!r}") from error
    if "\0" in text:
        raise BadPacket(Reason.MALFORMED, f"a string holds U+0000: {data[:40]!r}")
    return text


def check_strings(kind: int, body: bytes) -> None:
    """Check every string of an MQTT 5 packet that a client may send, but PUBLISH.

    Args:
        kind: The packet type.
        body: What follows the fixed header.

    Raises:
        BadPacket: A string is not UTF-8, or a field reaches beyond the end.
    """
    fields = Fields(body)
    if kind == 1:
        _check_connect(fields)
    elif kind == 8 or kind == 10:
        fields.number()
        fields.properties()
        while fields.left:
            fields.text()
            fields.take(1 if kind == 8 else 0)
    elif kind == 14 and fields.left:
        fields.number(1)
        if fields.left:
            fields.properties()


def _check_connect(fields: Fields) -> None:
    fields.text()
    fields.number(1)
    flags = fields.number(1)
    fields.number()
    fields.properties()
    fields.text()
    if flags & 0x04:
        fields.properties()
        fields.text()
        fields.binary()
    if flags & 0x80:
        fields.text()
    if flags & 0x40:
        fields.binary()


def remaining_length(length: int) -> bytes:
    """Encode a remaining length."""
    encoded = bytearray()
    while True:
        length, low = divmod(length, 128)
        encoded.append(low | 0x80 if length else low)
        if not length:
            return bytes(encoded)
