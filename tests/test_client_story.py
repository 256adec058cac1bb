"""The client for programs against the real server: Ana walks home, Ben watches, and the server restarts meanwhile."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from server import environment_of as environment
from server import house, run_cli, token_of

from liveguard.client import Client, Disconnected, Event, GuardianClient, Refused, WardClient


async def hear(client: Client, name: str) -> Event:
    """The next event of this name."""
    async for event in client:
        if event.name == name:
            return event
    raise AssertionError(f"the client ended before {name} came")


@pytest.mark.gen_test
async def test_a_guardian_sees_a_ward_home(tmp_path: Path) -> None:
    async with (
        house(tmp_path) as home,
        WardClient(home.url, token_of("ana")) as ana,
        GuardianClient(home.url, token_of("ben")) as ben,
    ):
        session = await ana.start({"note": "Walking home"})
        started = await hear(ben, "guardian:session-started")
        assert started.data["sessionId"] == session["sessionId"]
        assert started.data["metadata"] == {"note": "Walking home"}
        assert (await ana.locate(53.55, 9.99, battery=64))["guardianCount"] == 1
        assert (await hear(ben, "location-updated")).data["location"]["battery"] == 64
        assert (await ben.say("ana", "I see you"))["from"]["role"] == "guardian"
        assert (await hear(ana, "message")).data["text"] == "I see you"
        assert (await ana.stop())["reason"] == "manual_stop"
        assert (await hear(ben, "session-ended")).data["sessionId"] == session["sessionId"]
        with pytest.raises(Refused) as refused:
            await ana.stop()
        assert refused.value.code == "no_active_session"


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_restart_of_the_server_ends_nothing(tmp_path: Path, free_port: int) -> None:
    async with AsyncExitStack() as clients:
        async with house(tmp_path, port=free_port) as home:
            ana = await clients.enter_async_context(WardClient(home.url, token_of("ana")))
            ben = await clients.enter_async_context(GuardianClient(home.url, token_of("ben")))
            session = await ana.start()
            await hear(ben, "guardian:session-started")
        async with house(tmp_path, port=free_port):
            assert (await hear(ana, "session-started")).data["sessionId"] == session["sessionId"]
            assert (await ana.stop())["sessionId"] == session["sessionId"]
            assert (await hear(ben, "session-ended")).data["reason"] == "manual_stop"
            await clients.aclose()


@pytest.mark.gen_test
async def test_a_guardian_who_says_where_they_stood_hears_of_what_they_missed(tmp_path: Path) -> None:
    async with house(tmp_path) as home, WardClient(home.url, token_of("ana")) as ana:
        async with GuardianClient(home.url, token_of("ben")) as ben:
            await ana.start()
            seen = (await hear(ben, "guardian:session-started")).data["seq"]
        ended = await ana.stop()
        async with GuardianClient(home.url, token_of("ben"), since=seen) as ben:
            assert (await hear(ben, "session-ended")).data["sessionId"] == ended["sessionId"]


@pytest.mark.gen_test
async def test_leaving_with_1001_leaves_the_session_to_its_grace_period(tmp_path: Path) -> None:
    async with house(tmp_path) as home, GuardianClient(home.url, token_of("ben")) as ben:
        await hear(ben, "guardian:snapshot")
        async with WardClient(home.url, token_of("ana")) as ana:
            await ana.start()
            await ana.close(1001)
        await hear(ben, "session-interrupted")
        async with WardClient(home.url, token_of("ana")) as ana:
            await hear(ben, "session-resumed")
        assert (await hear(ben, "session-ended")).data["reason"] == "ward_disconnected"


@pytest.mark.slow
@pytest.mark.gen_test
async def test_who_is_shut_out_is_told_so_and_does_not_come_back(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        async with GuardianClient(home.url, token_of("ben")) as ben:
            listening = asyncio.ensure_future(hear(ben, "pong"))
            status, _, complaint = await run_cli(environment(tmp_path), "user", "disable", "ben@example.org")
            assert status == 0, complaint
            with pytest.raises(Refused, match="Account inactive"):
                await listening
        with pytest.raises(Refused, match="Account inactive"):
            await GuardianClient(home.url, token_of("ben")).__aenter__()
        with pytest.raises(Refused, match="Token expired"):
            await WardClient(home.url, token_of("ana", -10)).__aenter__()


@pytest.mark.gen_test
async def test_who_finds_no_room_is_told_so(tmp_path: Path) -> None:
    async with (
        house(tmp_path, max_connections=1) as home,
        GuardianClient(home.url, token_of("ben")),
    ):
        with pytest.raises(Disconnected, match="Too many connections"):
            await GuardianClient(home.url, token_of("ben")).__aenter__()
