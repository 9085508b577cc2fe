"""The fast lane, and that no slot is lost."""

import asyncio
from contextlib import suppress

from backupexport_operator.kube.work_queue import Slots


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_is_urgent_goes_first_and_the_others_are_not_forgotten() -> None:
    slots, order = Slots(1), []
    gate = asyncio.Event()

    async def hold() -> None:
        async with slots.one(urgent=False):
            await gate.wait()

    async def pass_through(name: str, *, urgent: bool) -> None:
        async with slots.one(urgent=urgent):
            order.append(name)

    holder = asyncio.create_task(hold())
    await settle()
    others = [asyncio.create_task(pass_through(f"o{n}", urgent=False)) for n in range(2)]
    await settle()
    urgent = [asyncio.create_task(pass_through(f"u{n}", urgent=True)) for n in range(10)]
    await settle()
    gate.set()
    await asyncio.gather(holder, *others, *urgent)
    assert order == [*(f"u{n}" for n in range(8)), "o0", "u8", "u9", "o1"]


async def test_no_more_than_the_number_are_in_at_once() -> None:
    slots, inside, most = Slots(3), 0, 0

    async def enter(number: int) -> None:
        nonlocal inside, most
        async with slots.one(urgent=number % 2 == 0):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(enter(number) for number in range(50)))
    assert most == 3


async def test_a_slot_that_comes_in_the_moment_of_a_cancellation_is_passed_on() -> None:
    slots = Slots(1)

    async def wait() -> str:
        async with slots.one(urgent=False):
            return "in"

    held = slots.one(urgent=True)
    await held.__aenter__()
    gone, stays = asyncio.create_task(wait()), asyncio.create_task(wait())
    await settle()
    await held.__aexit__(None, None, None)
    gone.cancel()
    with suppress(asyncio.CancelledError):
        await gone
    assert await asyncio.wait_for(stays, 5) == "in"
    assert await asyncio.wait_for(wait(), 5) == "in"


async def test_who_gave_up_waiting_holds_nobody_up() -> None:
    slots = Slots(1)
    gate = asyncio.Event()

    async def hold() -> None:
        async with slots.one(urgent=True):
            await gate.wait()

    async def wait() -> str:
        async with slots.one(urgent=False):
            return "in"

    holder = asyncio.create_task(hold())
    await settle()
    gone, stays = asyncio.create_task(wait()), asyncio.create_task(wait())
    await settle()
    gone.cancel()
    await settle()
    gate.set()
    await holder
    assert await asyncio.wait_for(stays, 5) == "in"
