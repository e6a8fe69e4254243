"""Sends like `sender`, some of it unreadable by order: `python -m tests.bench.drain_sender`.

Whatever is unreadable is as long as what it replaces, so that packets stay of one length.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from tests.bench import messages
from tests.bench.sender import Lane, drive, tell
from tests.ingest.raw_mqtt import publish_packet

CONNECTIONS = 8
_WINDOW = 1000


@dataclass(frozen=True, slots=True)
class Sending:
    """Which of the messages are sent.

    Attributes:
        messages: How many of all connections together, the earliest first.
        meters: Meters that publish by turns.
        after: How many were sent before.
        garbage_every: Every so many is unreadable; 0 for none.
    """

    messages: int
    meters: int
    after: int = 0
    garbage_every: int = 0

    def of(self, connection: int) -> Iterator[tuple[bytes, bool]]:
        """Payloads of one connection, and whether they can be read."""
        before, share = self.after // CONNECTIONS, self.messages // CONNECTIONS
        made = messages.payloads(
            before + share, meters=self.meters, connection=connection, connections=CONNECTIONS
        )
        for number, payload in enumerate(made):
            if number < before:
                continue
            place = number * CONNECTIONS + connection + 1
            if self.garbage_every and place % self.garbage_every == 0:
                yield garbage(payload, place // self.garbage_every), False
            else:
                yield payload, True

    def points(self) -> set[tuple[str, str]]:
        """Meter and time of every message that can be read."""
        found = set()
        times: dict[str, str] = {}
        for connection in range(CONNECTIONS):
            for payload, readable in self.of(connection):
                if readable:
                    said = json.loads(payload)
                    at = said["at"]
                    if at not in times:
                        moment = datetime.fromisoformat(at).astimezone(UTC)
                        times[at] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
                    found.add((said["meter"], times[at]))
        return found


def garbage(payload: bytes, turn: int) -> bytes:
    """Something of the same length that cannot be read, of four kinds by turns."""
    size = len(payload)
    kinds = (
        payload[: size // 2] + b" " * (size - size // 2),  # cut off
        bytes((turn * 7 + place * 31) % 256 for place in range(size)),  # noise
        payload.replace(b'"at":"20', b'"at":"xx'),  # no time
        b"[" + b" " * (size - 2) + b"]",  # nothing
    )
    return kinds[turn % len(kinds)]


def main() -> None:
    """Encode, wait, send, tell."""
    parser = argparse.ArgumentParser()
    for name in ("port", "messages", "meters", "after", "garbage-every"):
        parser.add_argument(f"--{name}", type=int, required=True)
    asked = parser.parse_args()
    sending = Sending(asked.messages, asked.meters, asked.after, asked.garbage_every)
    rows = [_packets(sending, number) for number in range(CONNECTIONS)]
    tell({"ready": True})
    sys.stdin.readline()
    start = time.monotonic()
    lanes = [Lane(asked.port, 5, number, row) for number, row in enumerate(rows)]
    drive(lanes, _WINDOW)
    end = time.monotonic()
    for lane in lanes:
        lane.socket.sendall(b"\xe0\x00")
        lane.socket.close()
    tell({"start": start, "end": end, "acked": sum(lane.acked for lane in lanes)})


def _packets(sending: Sending, connection: int) -> tuple[bytes, int]:
    topic = messages.topic(connection)
    made = [
        publish_packet(5, topic, payload, number % messages.PACKET_IDS + 1)
        for number, (payload, _) in enumerate(sending.of(connection))
    ]
    size = len(made[0])
    if any(len(packet) != size for packet in made):
        raise ValueError("Wanted packets of one length, found several.")
    return b"".join(made), size


if __name__ == "__main__":
    main()
