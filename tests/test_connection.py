"""Connections over real sockets: what is asked and answered, limits, and how they end."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop
from lines import House
from tornado.ioloop import IOLoop

from liveguard.web.limits import Limits
from liveguard.web.websocket import BINARY, TEXT


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def make_loop(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    return request.param


@pytest.fixture
def house(io_loop: IOLoop, tmp_path: Path) -> House:
    return House(tmp_path, Limits(), grace=30)


@pytest.mark.gen_test
async def test_a_guardian_hears_of_a_wards_session(house):
    async with house:
        ben = await house.guardian("ben")
        assert (await ben.event())["event"] == "guardian:snapshot"
        ana = await house.ward("ana")
        ana.say("start-live-session", {"note": "home"}, id="1")
        started = await ana.event()
        assert started["event"] == "session-started"
        assert started["replyTo"] == "1"
        assert started["data"]["connectedGuardians"] == 1
        assert (await ben.event())["data"]["wardId"] == "ana"
        ana.say("stop-live-session")
        assert (await ana.event())["data"]["reason"] == "manual_stop"
        assert (await ben.event())["data"]["reason"] == "manual_stop"
