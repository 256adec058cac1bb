"""What one who comes or goes costs the server, it costs them however many others are there."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from cast import GuardianDevice, Stage, WardDevice
from server import house

from liveguard.events import Person

pytestmark = pytest.mark.gen_test

MANY = 20_000


async def cost(deed: Callable[[], Awaitable[object]]) -> float:
    """Seconds of CPU, where nothing else comes between."""
    least = float("inf")
    for _ in range(10):
        began = time.thread_time()
        await deed()
        least = min(least, time.thread_time() - began)
    return least


@pytest.mark.slow
async def test_a_ward_who_comes_costs_no_more_where_many_are(stage: Stage) -> None:
    async def come_and_go() -> None:
        (await stage.ward("ana")).leave()

    alone = await cost(come_and_go)
    for number in range(MANY):
        somebody = Person(f"p{number}", "P", f"{number}", f"p{number}@example.org")
        stage.live.wards.arrive(WardDevice(stage, somebody))
        stage.live.audience.present.arrive(GuardianDevice(stage, somebody))
    assert await cost(come_and_go) < 3 * alone


@pytest.mark.slow
async def test_whoever_leaves_socketio_costs_no_more_where_many_stay(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        roll = home.server.socketio.manager

        async def come(name: str) -> str:
            return str(await roll.connect(await roll.pre_connect(name, "/"), "/"))

        async def come_and_go() -> None:
            sid = await come("ana")
            assert roll.sid_from_eio_sid("ana", "/") == sid
            await roll.disconnect(sid, "/")
            assert roll.sid_from_eio_sid("ana", "/") is None

        alone = await cost(come_and_go)
        for number in range(MANY):
            await come(f"p{number}")
        assert await cost(come_and_go) < 3 * alone
