"""What one who comes or goes costs the server, it costs them however many others are there."""

import time
from collections.abc import Awaitable, Callable

import pytest
from cast import GuardianDevice, Stage, WardDevice

from liveguard.events import Person

pytestmark = pytest.mark.gen_test(timeout=30)

MANY = 20_000


async def cost(deed: Callable[[], Awaitable[object]]) -> float:
    """Seconds of CPU, where nothing else comes between."""
    least = float("inf")
    for _ in range(10):
        began = time.thread_time()
        await deed()
        least = min(least, time.thread_time() - began)
    return least


async def test_a_ward_who_comes_costs_no_more_where_many_are(stage: Stage) -> None:
    async def come_and_go() -> None:
        (await stage.ward("ana")).leave()

    alone = await cost(come_and_go)
    for number in range(MANY):
        somebody = Person(f"p{number}", "P", f"{number}", f"p{number}@example.org")
        stage.live.wards.arrive(WardDevice(stage, somebody))
        stage.live.audience.present.arrive(GuardianDevice(stage, somebody))
    assert await cost(come_and_go) < 3 * alone
