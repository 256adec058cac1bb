"""Signs of life and the ends of tokens, over real sockets with a quicker rhythm than the usual one."""

import asyncio
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from exchange import ON_BOTH_LOOPS, OVER_ALL_TRANSPORTS, OVER_WEBSOCKETS, Exchange
from lines import client_frame
from server import token_of
from tornado.ioloop import IOLoop

from liveguard.web.websocket import PING, PONG, TEXT, ping_frame

pytestmark = [ON_BOTH_LOOPS, pytest.mark.slow]

QUICK: dict[str, Any] = {
    "ward_ping_interval": 0.3,
    "ward_ping_timeout": 0.3,
    "guardian_ping_interval": 0.6,
    "guardian_ping_timeout": 0.3,
}


@pytest.fixture
def transport() -> str:
    return "native"


@pytest.fixture
def house(io_loop: IOLoop, tmp_path: Path, transport: str) -> Exchange:
    return Exchange(tmp_path, transport, **QUICK)


@pytest.fixture
def calm_house(io_loop: IOLoop, tmp_path: Path, transport: str) -> Exchange:
    """One with the usual rhythm."""
    return Exchange(tmp_path, transport)


# -- signs of life -------------------------------------------------------------------------------------------------


@OVER_ALL_TRANSPORTS
@pytest.mark.gen_test
async def test_a_ward_who_has_gone_silent_is_found_and_the_guardians_are_told(house):
    async with house:
        ben = await house.guardian("ben")
        ana = await house.ward("ana")
        ana.say("start-live-session")
        await ana.hear("session-started")
        silent_since = time.monotonic()
        ana.deaf = True
        found = asyncio.ensure_future(ana.closed())
        await ben.hear("session-interrupted")
        assert 0.6 <= time.monotonic() - silent_since < 1.1  # the two times and at most three turns of the wheel
        assert await found == 4408


@pytest.mark.gen_test
async def test_whoever_answers_stays(house):
    async with house:
        ana = await house.ward("ana")
        for _ in range(4):
            assert await ana.receive() == (PING, b"")
            ana.frame(PONG)
        ana.say("ping")
        assert (await ana.event())["event"] == "pong"


@pytest.mark.gen_test
async def test_any_bytes_are_a_sign_of_life(house):
    async with house:
        ana = await house.ward("ana")
        ana.raw(client_frame(TEXT, b"x" * 60_000)[:100])
        for _ in range(4):
            assert await ana.receive() == (PING, b"")
            ana.raw(b"x")


@OVER_WEBSOCKETS
@pytest.mark.gen_test
async def test_who_reads_slowly_lives_also_where_the_question_lies_behind_much_else(io_loop, tmp_path, transport):
    async with Exchange(tmp_path, transport, ward_ping_interval=0.8, ward_ping_timeout=0.8, rate_limit=0) as house:
        ana, ben = await house.ward("ana", receive_buffer=4096), await house.guardian("ben")
        ana.say("start-live-session")
        await ana.hear("session-started")
        await ben.hear("guardian:session-started")
        lost = asyncio.ensure_future(ben.hear("session-interrupted"))
        for _ in range(40):
            ben.say("send-message", {"wardId": "ana", "text": "x" * 2000})
        for _ in range(40):
            await asyncio.sleep(0.1)  # a slow line: all of it takes two and a half times as long as the dead are given
            await ana.hear("message")
        assert (await ana.receive())[0] in (PING, TEXT)
        assert not lost.done()
        lost.cancel()


@pytest.mark.gen_test
async def test_a_silent_guardian_is_found_later_than_a_ward(house):
    async with house:
        ben, ana = await house.guardian("ben"), await house.ward("ana")
        ben.deaf = ana.deaf = True
        both = {asyncio.ensure_future(ben.closed()): "ben", asyncio.ensure_future(ana.closed()): "ana"}
        first, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        assert [both[one] for one in first] == ["ana"]
        assert [await one for one in both] == [4408, 4408]


@pytest.mark.gen_test
async def test_dead_connections_of_a_guardian_soon_make_room_and_those_that_live_stay(io_loop, tmp_path):
    quick_ward = {"ward_ping_interval": 0.3, "ward_ping_timeout": 0.3}
    async with Exchange(tmp_path, max_connections=2, **quick_ward) as house:
        dead, alive = await house.guardian("ben"), await house.guardian("ben")
        await dead.hear("guardian:snapshot")
        await alive.hear("guardian:snapshot")
        dead.deaf = True
        reading = asyncio.ensure_future(alive.event())
        refused = 0
        while (event := await (newest := await house.guardian("ben")).event())["event"] == "session-error":
            assert event["data"]["code"] == "rate_limited" and await newest.closed() == 4429
            refused += 1
        assert refused and event["event"] == "guardian:snapshot"
        assert await dead.closed() == 4408
        began = time.monotonic()
        reading_too = asyncio.ensure_future(newest.event())
        while time.monotonic() - began < 1:  # time itself is tried: nobody else has to go
            assert await (await house.guardian("ben")).closed() == 4429
        assert not reading.done() and not reading_too.done()
        reading.cancel()
        reading_too.cancel()


@pytest.mark.gen_test
async def test_a_guardian_who_takes_in_what_lies_before_the_question_need_not_make_room(io_loop, tmp_path):
    async with Exchange(tmp_path, max_connections=1, rate_limit=0, ward_ping_timeout=1) as house:
        ben, ana = await house.guardian("ben", receive_buffer=4096), await house.ward("ana")
        ana.say("start-live-session")
        await ben.hear("guardian:session-started")
        await asyncio.sleep(0.3)  # the sweep has been there, and does not come again for twenty seconds
        for _ in range(15):
            ana.say("send-message", {"text": "x" * 2000})
            await ana.hear("message")
        for _ in range(15):
            assert (await (await house.guardian("ben")).event())["event"] == "session-error"
            await asyncio.sleep(0.1)  # a slow line, as for a ward
            await ben.hear("message")


class Diligent(threading.Thread):
    """A client in a thread of its own, which answers each ping at once, whatever the loop is doing."""

    def __init__(self, port: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(daemon=True)
        self.heard = bytearray()
        self.asked = asyncio.Event()
        self._loop = loop
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.sendall(
            b"GET /ws/ward HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            b"Authorization: Bearer %s\r\n\r\n" % (port, token_of("ana").encode())
        )
        self.start()

    def run(self) -> None:
        while data := self._socket.recv(4096):
            self.heard += data
            if data.endswith(ping_frame()):
                self._socket.sendall(client_frame(PONG))
                self._loop.call_soon_threadsafe(self.asked.set)

    def leave(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self.join()
        self._socket.close()


@pytest.mark.gen_test
async def test_a_loop_that_was_held_up_takes_nobody_for_dead(house):
    async with house:
        ana = await asyncio.to_thread(Diligent, house.port, asyncio.get_running_loop())
        for pause in (0.31, 0.65, 1.3, 0.31):
            await ana.asked.wait()
            time.sleep(pause)  # the loop is held up
            ana.asked.clear()
        await ana.asked.wait()
        assert len(house.connections.of("ana")) == 1
        assert ana.heard.partition(b"\r\n\r\n")[2].strip(ping_frame()) == b""
        await asyncio.to_thread(ana.leave)


# -- tokens --------------------------------------------------------------------------------------------------------


@OVER_ALL_TRANSPORTS
@pytest.mark.gen_test
async def test_no_connection_outlives_its_token(calm_house):
    async with calm_house as house:
        ben = await house.guardian("ben")
        ana = await house.ward("ana", seconds=1)
        ana.say("start-live-session")
        error = await ana.hear("session-error")
        assert (error["data"]["code"], error["data"]["message"]) == ("token_expired", "Token expired")
        assert await ana.closed() == 4401
        await ben.hear("session-interrupted")


@pytest.mark.gen_test
async def test_a_token_grows_older_while_the_machine_sleeps(house, monkeypatch):
    async with house:
        ana, since_boot = await house.ward("ana"), time.clock_gettime
        ana.say("ping")
        assert (await ana.event())["event"] == "pong"
        # The monotonic clock, on which all else here is measured, has stood still meanwhile.
        monkeypatch.setattr(time, "clock_gettime", lambda clock: since_boot(clock) + 3600)
        error = await ana.hear("session-error")
        assert error["data"]["code"] == "token_expired"
        assert await ana.closed() == 4401


@OVER_ALL_TRANSPORTS
@pytest.mark.gen_test
async def test_a_newer_token_prolongs_a_connection(calm_house):
    async with calm_house as house:
        ana, witness = await house.ward("ana", seconds=1), await house.ward("ana", seconds=1.5)
        ana.say("refresh-token", {"token": token_of("ana", 60)}, id="1")
        refreshed = await ana.event()
        assert (refreshed["event"], refreshed["replyTo"]) == ("token-refreshed", "1")
        assert refreshed["data"]["expiresAt"].endswith("Z")
        assert await witness.closed() == 4401
        ana.say("ping")
        assert (await ana.event())["event"] == "pong"


@OVER_ALL_TRANSPORTS
@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("token", "code"),
    [
        (token_of("tom"), "invalid_token"),
        (token_of("ana", -1), "token_expired"),
        ("rubbish", "invalid_token"),
        (token_of("nobody"), "user_not_found"),
        (7, "invalid_payload"),
    ],
    ids=["somebody else's", "expired", "rubbish", "nobody's", "no text"],
)
async def test_a_token_that_prolongs_nothing_is_refused(calm_house, token, code):
    async with calm_house as house:
        ana = await house.ward("ana")
        ana.say("refresh-token", {"token": token}, id="1")
        refused = await ana.event()
        assert (refused["event"], refused["data"]["code"], refused["replyTo"]) == ("session-error", code, "1")
        ana.say("ping")
        assert (await ana.event())["event"] == "pong"


@OVER_ALL_TRANSPORTS
@pytest.mark.gen_test
async def test_tokens_are_looked_at_one_after_the_other(calm_house):
    async with calm_house as house:
        ana = await house.ward("ana")
        with house.locked_database():
            for id in ("1", "2"):
                ana.say("refresh-token", {"token": token_of("ana", 60)}, id=id)
            refused = await ana.event()
            assert (refused["data"]["code"], refused["replyTo"]) == ("rate_limited", "2")
        refreshed = await ana.event()
        assert (refreshed["event"], refreshed["replyTo"]) == ("token-refreshed", "1")
        ana.say("refresh-token", {"token": token_of("tom", 60)})
        assert (await ana.event())["data"]["code"] == "invalid_token"
        ana.say("refresh-token", {"token": token_of("ana", 60)})
        assert (await ana.event())["event"] == "token-refreshed"


@OVER_ALL_TRANSPORTS
@pytest.mark.gen_test
async def test_a_refused_token_leaves_the_old_one_as_it_is(calm_house):
    async with calm_house as house:
        ana = await house.ward("ana", seconds=1)
        ana.say("refresh-token", {"token": token_of("tom")})
        assert [(await ana.event())["data"]["code"] for _ in range(2)] == ["invalid_token", "token_expired"]
        assert await ana.closed() == 4401
