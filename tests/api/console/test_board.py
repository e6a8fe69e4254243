"""Parts are computed once for all who look, not more often than they may, and survive failures."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from api.console.board import REST, Part
from metering.store.port import StoreUnavailable


async def settle(part):
    """Look until nothing is under way."""
    part.look()
    while part._task is not None and not part._task.done():
        await asyncio.sleep(0.001)


def counted(results):
    """Gives one result after the other, and counts."""
    calls = []

    def compute():
        calls.append(threading.current_thread())
        found = results[min(len(calls), len(results)) - 1]
        if isinstance(found, Exception):
            raise found
        return found

    return compute, calls


def test_many_lookers_cause_one_computation_in_another_thread():
    async def look():
        compute, calls = counted([{"value": 1}])
        part = Part("power", compute, every_s=60)
        assert part.look() is None
        await settle(part)
        for _ in range(50):
            assert part.look() == {"value": 1}
        assert calls == [calls[0]]
        assert calls[0] is not threading.current_thread()

    asyncio.run(look())


def test_an_old_part_is_shown_while_it_is_computed_again():
    async def look():
        compute, _ = counted([{"value": 1}, {"value": 2}])
        part = Part("power", compute, every_s=0)
        await settle(part)
        await asyncio.sleep(REST * part._took)
        assert part.look() == {"value": 1}
        await settle(part)
        assert part.value == {"value": 2}
        assert part.version == 2

    asyncio.run(look())


def test_the_same_value_keeps_its_version():
    async def look():
        compute, calls = counted([{"value": 1}])
        part = Part("power", compute, every_s=0)
        while len(calls) < 3:
            await settle(part)
        assert part.version == 1

    asyncio.run(look())


def test_what_takes_long_is_computed_less_often():
    async def look():
        def compute():
            time.sleep(0.05)
            return {}

        part = Part("day", compute, every_s=0)
        await settle(part)
        first = part._task
        part.look()
        assert part._task is first
        await asyncio.sleep(REST * 0.05 + 0.1)
        part.look()
        assert part._task is not first
        await settle(part)

    asyncio.run(look())


@pytest.mark.parametrize("error", [StoreUnavailable("The disk is full."), KeyError("x")])
def test_a_failure_keeps_the_old_value_and_says_how_old_it_is(error):
    async def look():
        compute, calls = counted([{"value": 1}, error, {"value": 3}])
        part = Part("power", compute, every_s=0)
        await settle(part)
        assert part.stale_s is None
        while len(calls) < 2:
            await settle(part)
        assert part.value == {"value": 1}
        assert part.error
        assert part.stale_s is not None
        while len(calls) < 3:
            await settle(part)
        assert (part.value, part.error, part.stale_s) == ({"value": 3}, "", None)

    asyncio.run(look())
