"""Sends packets that were encoded beforehand over raw sockets, and counts what is acknowledged.

A process of its own: `python -m tests.bench.sender OPTIONS`. It says "ready" once the packets are
there, waits for a line, sends, and says when it began, when the last acknowledgement had come, and
how much processor time that took it. [s on the monotonic clock, which all processes share]
"""

from __future__ import annotations

import argparse
import json
import selectors
import socket
import sys
import time

from tests.bench import messages
from tests.ingest.raw_mqtt import connect_packet

_PATIENCE_S = 60.0


class Lane:
    """One connection with its packets and how far they are."""

    def __init__(self, port: int, version: int, number: int, rows: tuple[bytes, int]) -> None:
        self.packets, self.size = memoryview(rows[0]), rows[1]
        self.sent = 0
        self.acked = 0
        self.count = len(self.packets) // self.size
        self._ack_size = 0
        self._rest = b""
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(connect_packet(version, f"bench-gateway-{number}"))
        answer = self.socket.recv(4096)
        if answer[:1] != b"\x20" or answer[3] != 0:
            raise ConnectionError(f"Wanted to be let in, found {answer.hex(' ')}.")
        self.socket.setblocking(False)

    def write(self, window: int) -> bool:
        """Send what the window allows; True if the socket takes no more now."""
        limit = min((self.acked + window) * self.size, len(self.packets))
        while self.sent < limit:
            try:
                self.sent += self.socket.send(self.packets[self.sent : limit])
            except BlockingIOError:
                return True
        return False

    def read(self) -> None:
        """Count acknowledgements, all of one length."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionError(f"closed after {self.acked} of {self.count} acknowledgements")
        data = self._rest + data
        if not self._ack_size and len(data) > 1:
            self._ack_size = data[1] + 2
        whole = len(data) // max(self._ack_size, 1)
        if data[: whole * self._ack_size : self._ack_size].count(0x40) != whole:
            raise ConnectionError(f"Wanted acknowledgements, found {data[:40].hex(' ')}.")
        self.acked += whole
        self._rest = data[whole * self._ack_size :]


def drive(lanes: list[Lane], window: int) -> None:
    """Keep every lane full until all is acknowledged."""
    with selectors.DefaultSelector() as selector:
        for lane in lanes:
            selector.register(lane.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, lane)
        left = len(lanes)
        while left:
            found = selector.select(_PATIENCE_S)
            if not found:
                acked = sum(lane.acked for lane in lanes)
                raise TimeoutError(f"silent for {_PATIENCE_S:.0f} s after {acked} messages")
            for key, events in found:
                lane = key.data
                if events & selectors.EVENT_READ:
                    lane.read()
                blocked = lane.write(window)
                if lane.acked == lane.count:
                    selector.unregister(lane.socket)
                    left -= 1
                else:
                    wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if blocked else 0)
                    selector.modify(lane.socket, wanted, lane)


def main() -> None:
    """Encode, wait, send, tell."""
    parser = argparse.ArgumentParser()
    for name in ("port", "version", "messages", "meters", "connections", "window"):
        parser.add_argument(f"--{name}", type=int, required=True)
    asked = parser.parse_args()
    share = asked.messages // asked.connections
    rows = [
        messages.packets(
            share,
            version=asked.version,
            meters=asked.meters,
            connection=number,
            connections=asked.connections,
        )
        for number in range(asked.connections)
    ]
    tell({"ready": True, "packet_bytes": rows[0][1]})
    sys.stdin.readline()
    lanes = [Lane(asked.port, asked.version, n, row) for n, row in enumerate(rows)]
    used, start = time.process_time(), time.monotonic()
    drive(lanes, asked.window)
    end = time.monotonic()
    for lane in lanes:
        lane.socket.sendall(b"\xe0\x00")
        lane.socket.close()
    acked = sum(lane.acked for lane in lanes)
    tell({"start": start, "end": end, "acked": acked, "cpu_s": time.process_time() - used})


def tell(document: dict[str, object]) -> None:
    """Write one line for the process that started this one."""
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
