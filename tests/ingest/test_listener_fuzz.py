"""Thousands of broken packets against a live listener that serves someone else meanwhile."""

from __future__ import annotations

import contextlib
import multiprocessing
import random

import pytest

from ingest.listener import Listener, ListenerSettings
from tests.ingest.raw_mqtt import MemoryJournal, RawClient, connect_packet, puback
from tests.ingest.test_mqtt311 import mutated, sample_packets

ROUNDS = 1500


def attack(port, version, seed):
    """Open connections and send each one broken packets; ignore what the listener thinks."""
    chance = random.Random(seed)
    sample = sample_packets(version)
    for number in range(ROUNDS):
        with (
            contextlib.suppress(OSError),
            RawClient(port, version=version, connect=False) as client,
        ):
            if number % 4:
                client.send(connect_packet(version, client_id=f"bad{seed}-{number % 3}"))
            data = mutated(chance, sample)
            cut = chance.randint(0, len(data))
            client.send(data[:cut])
            client.send(data[cut:] + mutated(chance, sample))


@pytest.mark.slow
def test_broken_packets_harm_only_their_own_connection(capfd):
    journal = MemoryJournal()
    listener = Listener(journal, ListenerSettings(port=0))
    listener.start()
    processes = multiprocessing.get_context("spawn")
    attackers = [
        processes.Process(target=attack, args=(listener.port, version, seed))
        for seed, version in enumerate((4, 5))
    ]
    try:
        with RawClient(listener.port, client_id="good") as good:
            for attacker in attackers:
                attacker.start()
            sent = 0
            while any(attacker.is_alive() for attacker in attackers):
                sent += 1
                good.publish("tanyuan/good", b"%d" % sent, sent % 65535 + 1)
                assert good.packet() == puback(sent % 65535 + 1)
        counts = listener.counts
    finally:
        for attacker in attackers:
            attacker.join()
        listener.stop()
    assert sent > 100
    kept = [m.payload for m in journal.messages if m.topic == "tanyuan/good" and m.client == "good"]
    assert kept == [b"%d" % number for number in range(1, sent + 1)]
    assert counts.connections > ROUNDS
    assert counts.malformed > 300
    assert counts.open_now == 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("version", [4, 5])
def test_random_bytes_are_not_mqtt(version):
    chance = random.Random(7 + version)
    listener = Listener(MemoryJournal(), ListenerSettings(port=0))
    listener.start()
    try:
        for _ in range(300):
            with (
                contextlib.suppress(OSError),
                RawClient(listener.port, version=version, connect=False) as client,
            ):
                client.send(chance.randbytes(chance.randint(2, 200)))
        with RawClient(listener.port, version=version) as client:
            client.publish("a", b"", 1)
            assert client.packet() == puback(1)
    finally:
        listener.stop()
