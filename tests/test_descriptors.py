"""A crowd of strangers does not take the server's last descriptors: those who are there go on, the database works."""

import asyncio
import contextlib
import os
import resource
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from lines import Client
from server import Process, look_again, process
from socketio_lines import WEBSOCKET
from test_network import asked

from liveguard.descriptors import RESERVE, is_reserved, raise_limit

MOST = 2 * RESERVE
SIZE = MOST + 100


async def say_nothing(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


async def open_a_websocket(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Over which nobody signs in."""
    client = await Client.open(port, WEBSOCKET)
    with contextlib.suppress(ConnectionError, IndexError):  # there is no room any more
        await client.answer()
    return client._reader, client._writer


def descriptors(home: Process) -> int:
    return len(os.listdir(f"/proc/{home.child.pid}/fd"))


@pytest.mark.slow
@pytest.mark.parametrize("stranger", [say_nothing, open_a_websocket])
@pytest.mark.gen_test
async def test_a_crowd_leaves_enough_to_those_who_are_there(
    tmp_path: Path, stranger: Callable[[int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
) -> None:
    async with process(tmp_path, log_level="warning") as home:
        resource.prlimit(home.child.pid, resource.RLIMIT_NOFILE, (MOST, MOST))
        ana, ben = await home.ward("ana"), await home.guardian("ben")
        crowd = [await stranger(home.port) for _ in range(SIZE)]
        with contextlib.suppress(ConnectionResetError):  # where what it had said was not read
            assert await crowd[-1][0].read() == b""
        assert MOST - RESERVE <= descriptors(home) <= MOST - RESERVE + 10

        started = await ana.answer("start-live-session")
        assert started["event"] == "session-started" and "durable" not in started["data"]
        await ben.expect("guardian:session-started")
        ended = await ana.answer("stop-live-session")
        assert (await ben.expect("session-ended"))["seq"] == ended["data"]["seq"]
        assert home.log.count("\n") == home.log.count("Connections are turned away") == 1

        for _, writer in crowd:
            writer.close()
        async with asyncio.timeout(5):
            while not await asked(home.port):
                await look_again()  # until the server has seen that they are gone
        chloe = await home.guardian("chloe")
        assert (await chloe.answer("ping"))["event"] == "pong"
        figures = (await home.fetch("/metrics")).text
        assert 'liveguard_connections_turned_away_total{reason="descriptors"}' in figures
        assert await home.stop() == 0


@pytest.mark.slow
@pytest.mark.gen_test
async def test_it_takes_as_many_descriptors_as_it_may_have(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard - 1, hard))
    try:
        async with process(tmp_path) as home:
            assert resource.prlimit(home.child.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(("most", "first"), [(20_000, 19_800), (1024, 824), (400, 200), (256, 128)])
def test_the_last_descriptors_are_reserved_and_never_more_than_half(
    monkeypatch: pytest.MonkeyPatch, most: int, first: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (most, most))
    assert not is_reserved(first - 1)
    assert is_reserved(first)


def test_where_there_is_no_limit_nothing_is_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert not is_reserved(1_000_000)


def test_a_limit_that_cannot_be_raised_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with monkeypatch.context() as patched:
        patched.setattr(resource, "getrlimit", lambda which: (most[0], resource.RLIM_INFINITY))
        raise_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == most
