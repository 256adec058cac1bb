"""Connections that come and go, half of them rudely: nothing of them is left behind."""

import asyncio
import contextlib
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from lines import Client, client_frame
from server import Process, Stage, house, move_in, process, token_of

from liveguard.app import Server
from liveguard.web.websocket import TEXT

pytestmark = pytest.mark.slow

AT_ONCE = 40
GONE = (ConnectionError, asyncio.IncompleteReadError, IndexError)


async def crowd(folder: Path) -> None:
    """Wards and guardians, one of each for every place in the queue."""
    guards = {f"ward-{n}": (f"guardian-{n}",) for n in range(AT_ONCE)}
    cast = {name: name for ward, (guardian,) in guards.items() for name in (ward, guardian)}
    await move_in(folder / "liveguard.db", cast=cast, guarded_by=guards)


async def opened(home: Stage, role: str, number: int) -> Client:
    client = await Client.open(home.port, f"/ws/{role}", token=token_of(f"{role}-{number}"))
    with contextlib.suppress(GONE):
        await client.answer()
    return client


async def walk_and_leave(home: Stage, number: int) -> None:
    ward = await opened(home, "ward", number)
    ward.say("start-live-session")
    await ward.hear("session-started")
    ward.say("stop-live-session")
    await ward.hear("session-ended")
    ward.close(1000)
    await ward.ended()
    ward.hang_up()


async def watch_and_leave(home: Stage, number: int) -> None:
    guardian = await opened(home, "guardian", number)
    await guardian.hear("guardian:snapshot")
    guardian.close()
    await guardian.ended()
    guardian.hang_up()


async def be_refused(home: Stage, number: int) -> None:
    stranger = await Client.open(home.port, "/ws/ward", token="rubbish")
    assert await _code(stranger) == 4401
    stranger.hang_up()


async def _code(client: Client) -> int:
    await client.answer()
    return await client.closed()


async def reset_in_a_session(home: Stage, number: int) -> None:
    ward = await opened(home, "ward", number)
    ward.say("start-live-session")
    await ward.hear("session-started")
    ward.reset()


async def reset_in_mid_frame(home: Stage, number: int) -> None:
    guardian = await opened(home, "guardian", number)
    guardian.raw(client_frame(TEXT, b"x" * 60_000)[:1000])
    with contextlib.suppress(GONE):
        await guardian.drained()
    guardian.reset()


async def half_a_request(home: Stage, number: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", home.port)
    writer.write(b"GET /ws/ward HTTP/1.1\r\nHost: 127")
    writer.transport.abort()


async def no_wait_for_the_answer(home: Stage, number: int) -> None:
    ward = await Client.open(home.port, "/ws/guardian", token=token_of(f"guardian-{number}"))
    await ward.drained()
    ward.reset()


KINDS = [walk_and_leave, reset_in_a_session, watch_and_leave, reset_in_mid_frame, be_refused, half_a_request]
KINDS += [watch_and_leave, no_wait_for_the_answer]


async def come_and_go(home: Stage, connections: int) -> None:
    """So many connections, each kind in its turn, and some of them at once."""
    numbers = itertools.count()

    async def visitor(place: int) -> None:
        while (number := next(numbers)) < connections:
            await KINDS[number % len(KINDS)](home, place)

    await asyncio.gather(*map(visitor, range(AT_ONCE)))


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that nobody announces."""
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.05)  # nobody says it


def held(home: Process) -> tuple[int, int]:
    """The server's descriptors, and its memory in KiB."""
    place = Path(f"/proc/{home.child.pid}")
    return len(os.listdir(place / "fd")), int((place / "statm").read_text().split()[1]) * 4


async def figures(home: Process) -> dict[str, float]:
    """What the server says is there now."""
    lines = [line.split() for line in (await home.fetch("/metrics")).text.splitlines()]
    names = [f"liveguard_{what}" for what in ("connections", "sessions", "wards", "guardians")]
    return {line[0]: float(line[1]) for line in lines if line[0] in names}


async def quiet(home: Process) -> tuple[int, int]:
    """What the server holds once everybody is gone."""
    async with asyncio.timeout(20):
        while any((await figures(home)).values()):
            await asyncio.sleep(0.1)  # nobody says that they are gone
        # Whoever never finished a request is found at the first word that is missing, and then the port is free.
        while held(home)[0] > BARE:
            await asyncio.sleep(0.1)  # nobody says that they are closed
    return held(home)


BARE = 40
"""More descriptors than a server has to which nobody is connected, and fewer than one with many who were forgotten."""


@pytest.mark.gen_test(timeout=900)
async def test_after_many_connections_a_server_holds_what_it_held_before(tmp_path: Path, torture: bool) -> None:
    await crowd(tmp_path)
    count = 100_000 if torture else 1_000
    async with process(tmp_path, reconnect_grace=0, log_level="warning") as home:
        await come_and_go(home, 2000 if torture else 400)
        descriptors, memory = await quiet(home)
        await come_and_go(home, count)
        descriptors_after, memory_after = await quiet(home)
        assert "Traceback" not in home.log
    print(f"{count} connections: {descriptors} descriptors, then {descriptors_after}")
    print(f"{count} connections: {memory} KiB, then {memory_after} KiB")
    # The question itself has one, and what was asked before it may have one still.
    assert descriptors_after <= descriptors + 2
    # An allocator gives back what it likes; this is four KiB for each of few, and less than a hundred bytes of many.
    assert memory_after <= memory + (8192 if torture else 4096)


def registered(server: Server) -> dict[str, int]:
    """What the server's registries hold."""
    live = server.live
    return {
        "connections": len(server.connections),
        "wires": len(server.wires),
        "sweep": len(server.connections.sweep),
        "wards": len(live.wards),
        "guardians": len(live.audience.present),
        "sessions": live.sessions.get_active_session_count(),
        "tasks": len(asyncio.all_tasks()),
    }


@pytest.mark.gen_test
async def test_after_many_connections_no_registry_and_no_task_is_left(tmp_path: Path) -> None:
    await crowd(tmp_path)
    async with house(tmp_path, reconnect_grace=0) as home:
        before = registered(home.server)
        assert not any(count for name, count in before.items() if name != "tasks")
        await come_and_go(home, 400)
        await until(lambda: registered(home.server) == before)
