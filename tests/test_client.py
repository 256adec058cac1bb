"""The client for programs, against a small server of these tests that says what each of them needs."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from liveguard import client, client_connection
from liveguard.client import Client, Disconnected, Event, GuardianClient, Refused, WardClient


def token(name: str = "ana", seconds: float = 3600) -> str:
    return jwt.encode({"sub": name, "exp": time.time() + seconds}, "0" * 32)


ANA = token()


class Server:
    """Where the clients of a test connect. Unless told to be deaf, it answers a ping by itself."""

    def __init__(self) -> None:
        self.arrived: asyncio.Queue[Door] = asyncio.Queue()
        self.refusal: tuple[str, str] | None = None
        self.deaf = False
        sock, port = bind_unused_port()
        self.url = f"http://127.0.0.1:{port}"
        routes: list[Any] = [
            ("/ws/(?:ward|guardian)", Door, {"server": self}),
            ("/closed/ws/ward", Closed),
        ]
        self._http = HTTPServer(Application(routes, log_function=lambda _: None))
        self._http.add_sockets([sock])

    async def connection(self) -> "Door":
        return await self.arrived.get()

    async def close(self) -> None:
        self._http.stop()
        await self._http.close_all_connections()


class Closed(RequestHandler):
    def prepare(self) -> None:
        self.send_error(403)


class Door(WebSocketHandler):
    def initialize(self, server: Server) -> None:
        self.server = server
        self.frames: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.closed: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self.heard_goodbye = False

    def open(self) -> None:
        assert self.ws_connection is not None
        handle = self.ws_connection._handle_message

        def listen(opcode: int, data: bytes) -> Any:
            self.heard_goodbye = self.heard_goodbye or opcode == 0x8
            return handle(opcode, data)

        self.ws_connection._handle_message = listen
        if self.server.refusal:
            code, message = self.server.refusal
            self.say("session-error", {"code": code, "message": message})
            self.close(4401)
        else:
            self.server.arrived.put_nowait(self)

    def on_message(self, message: str | bytes) -> None:
        frame = json.loads(message)
        if frame["event"] != "ping":
            self.frames.put_nowait(frame)
        elif not self.server.deaf:
            self.say("pong", {}, frame["id"])

    def on_close(self) -> None:
        self.closed.set_result(self.close_code)

    def say(self, name: str, data: dict[str, Any], reply_to: str | None = None) -> None:
        self.write_message({"event": name, "data": data} | ({"replyTo": reply_to} if reply_to else {}))

    def cut(self) -> None:
        assert self.ws_connection is not None
        self.ws_connection._abort()


@pytest.fixture
def server(io_loop: IOLoop) -> Iterator[Server]:
    async def begin() -> Server:
        return Server()

    server = io_loop.run_sync(begin)
    yield server
    io_loop.run_sync(server.close)


async def answered(door: Door, name: str, data: dict[str, Any], asking: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    """What a call returns when the server answers it with this event."""
    call = asyncio.ensure_future(asking)
    frame = await door.frames.get()
    door.say(name, data, frame["id"])
    return await call


@pytest.mark.gen_test
async def test_start_returns_its_own_answer_and_leaves_the_rest_to_the_iteration(server: Server) -> None:
    async with WardClient(server.url, ANA) as ana:
        door = await server.connection()
        starting = asyncio.ensure_future(ana.start({"note": "walking home"}))
        frame = await door.frames.get()
        assert (frame["event"], frame["data"]) == ("start-live-session", {"note": "walking home"})
        door.say("guardians-changed", {"connectedGuardians": 1})
        door.say("session-started", {"sessionId": "other"}, "an-id-of-nobody")
        door.say("session-started", {"sessionId": "s1"}, frame["id"])
        assert await starting == {"sessionId": "s1"}
        assert await anext(ana) == Event("guardians-changed", {"connectedGuardians": 1})
        assert (await anext(ana)).data == {"sessionId": "other"}


@pytest.mark.gen_test
async def test_each_verb_sends_its_event(server: Server) -> None:
    async with WardClient(server.url, ANA) as ana:
        door = await server.connection()
        place = {"latitude": 52.5, "longitude": 13.4, "battery": 80}
        asked = [
            (ana.stop(), "stop-live-session", {}),
            (ana.locate(52.5, 13.4, battery=80), "update-location", place),
            (ana.say("I am home"), "send-message", {"text": "I am home"}),
        ]
        for call, name, data in asked:
            asking = asyncio.ensure_future(call)
            frame = await door.frames.get()
            assert (frame["event"], frame["data"]) == (name, data)
            door.say("pong", {}, frame["id"])
            await asking
    async with GuardianClient(server.url, token("ben")) as ben:
        door = await server.connection()
        asking = asyncio.ensure_future(ben.say("ana", "Good night"))
        frame = await door.frames.get()
        assert frame["data"] == {"wardId": "ana", "text": "Good night"}
        door.say("message", {}, frame["id"])
        await asking


@pytest.mark.parametrize("answer", ["session-error", "location-error"])
@pytest.mark.gen_test
async def test_a_refusal_is_raised_and_the_connection_lives_on(server: Server, answer: str) -> None:
    async with WardClient(server.url, ANA) as ana:
        door = await server.connection()
        refusal = {"code": "no_active_session", "message": "No active session found"}
        with pytest.raises(Refused, match="No active session found") as refused:
            await answered(door, answer, refusal, ana.locate(0, 0))
        assert refused.value.code == "no_active_session"
        assert await answered(door, "message", {"text": "hello"}, ana.say("hello")) == {"text": "hello"}


@pytest.mark.gen_test
async def test_entering_with_a_bad_token_raises_what_the_server_says(server: Server) -> None:
    server.refusal = ("invalid_token", "Invalid token")
    with pytest.raises(Refused, match="Invalid token") as refused:
        await WardClient(server.url, ANA).__aenter__()
    assert refused.value.code == "invalid_token"


@pytest.mark.gen_test
async def test_entering_where_it_is_forbidden_or_nobody_listens_raises_at_once(server: Server, free_port: int) -> None:
    with pytest.raises(Refused, match="403"):
        await WardClient(server.url + "/closed/", ANA).__aenter__()
    with pytest.raises(OSError):
        await WardClient(f"http://127.0.0.1:{free_port}", ANA).__aenter__()


@pytest.mark.parametrize("address", ["127.0.0.1:8080", "localhost:8080", "a.example", "https://", "ftp://a.b", ""])
def test_an_address_that_is_none_is_refused_with_a_sentence(address: str) -> None:
    with pytest.raises(ValueError, match="begins with http:// or https://"):
        GuardianClient(address, ANA)


@pytest.mark.gen_test
async def test_the_token_travels_in_the_header_alone(server: Server) -> None:
    async with GuardianClient(server.url, ANA, since=7):
        door = await server.connection()
        assert door.request.headers["Authorization"] == f"Bearer {ANA}"
        assert door.request.uri == "/ws/guardian?since=7"


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_lost_connection_is_made_anew_and_a_call_waits_for_it(server: Server) -> None:
    async with WardClient(server.url, ANA) as ana:
        first = await server.connection()
        first.cut()
        await first.closed
        second = await server.connection()
        assert await answered(second, "session-ended", {"duration": 3}, ana.stop()) == {"duration": 3}


@pytest.mark.gen_test
async def test_a_call_cut_off_before_its_answer_says_so(server: Server) -> None:
    async with WardClient(server.url, ANA) as ana:
        door = await server.connection()
        stopping = asyncio.ensure_future(ana.stop())
        await door.frames.get()
        door.cut()
        with pytest.raises(Disconnected):
            await stopping


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_guardian_comes_back_where_they_stood(server: Server) -> None:
    async with GuardianClient(server.url, token("ben")) as ben:
        door = await server.connection()
        assert door.request.uri == "/ws/guardian"
        door.say("guardian:snapshot", {"sessions": [], "seq": 40})
        door.say("session-ended", {"sessionId": "s1", "seq": 42})
        door.say("guardian:session-started", {"sessionId": "s2", "seq": 41})
        for _ in range(3):
            await anext(ben)
        door.close(1012)
        again = await server.connection()
        assert again.request.uri == "/ws/guardian?since=42"


@pytest.mark.gen_test
async def test_a_guardian_follows_a_server_whose_numbers_went_back(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "pause", lambda tries: 0)
    async with GuardianClient(server.url, token("ben"), since=42) as ben:
        door = await server.connection()
        door.say("guardian:snapshot", {"sessions": [], "seq": 5})
        door.say("guardian:session-started", {"sessionId": "s1", "seq": 3})
        for _ in range(2):
            await anext(ben)
        door.close(1012)
        again = await server.connection()
        assert again.request.uri == "/ws/guardian?since=5"


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_server_that_no_longer_answers_is_left(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_connection, "KEEP_ALIVE", 0.05)
    monkeypatch.setattr(client_connection, "PATIENCE", 0.2)
    async with WardClient(server.url, ANA):
        silent = await server.connection()
        server.deaf = True
        await silent.closed
        # One would be the ward's own word, and end the session.
        assert not silent.heard_goodbye
        server.deaf = False
        await server.connection()


def renewal(*tokens: str) -> tuple[Callable[[], Awaitable[str]], list[str]]:
    left = list(tokens)

    async def refresh() -> str:
        return left.pop(0)

    return refresh, left


@pytest.mark.slow
@pytest.mark.gen_test
async def test_an_expired_token_is_renewed_by_the_callback(server: Server) -> None:
    refresh, left = renewal(newer := token(seconds=7200))
    async with WardClient(server.url, ANA, refresh=refresh):
        door = await server.connection()
        door.say("session-error", {"code": "token_expired", "message": "Token expired"})
        door.close(4401)
        again = await server.connection()
        assert again.request.headers["Authorization"] == f"Bearer {newer}"
        assert not left


@pytest.mark.slow
@pytest.mark.gen_test
async def test_the_token_is_renewed_before_it_expires(server: Server) -> None:
    refresh, _ = renewal(newer := token(seconds=3600))
    async with WardClient(server.url, token(seconds=2), refresh=refresh):
        door = await server.connection()
        frame = await door.frames.get()
        assert (frame["event"], frame["data"]) == ("refresh-token", {"token": newer})
        door.say("token-refreshed", {}, frame["id"])
        door.cut()
        again = await server.connection()
        assert again.request.headers["Authorization"] == f"Bearer {newer}"


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_callback_that_fails_is_asked_again(server: Server) -> None:
    failed = asyncio.Event()

    async def refresh() -> str:
        if failed.is_set():
            return token(seconds=7200)
        failed.set()
        raise RuntimeError("the provider is away")

    async with WardClient(server.url, ANA, refresh=refresh):
        door = await server.connection()
        server.refusal = ("token_expired", "Token expired")
        door.say("session-error", {"code": "token_expired", "message": "Token expired"})
        door.close(4401)
        await failed.wait()
        server.refusal = None
        await server.connection()


@pytest.mark.parametrize(("code", "callback"), [("token_expired", False), ("account_inactive", True)])
@pytest.mark.gen_test
async def test_a_final_refusal_ends_the_iteration_and_every_call(server: Server, code: str, callback: bool) -> None:
    refresh = renewal(ANA)[0] if callback else None
    async with WardClient(server.url, ANA, refresh=refresh) as ana:
        door = await server.connection()
        stopping = asyncio.ensure_future(ana.stop())
        await door.frames.get()
        door.say("session-error", {"code": code, "message": "No longer"})
        door.close(4401)
        assert (await anext(ana)).name == "session-error"
        for call in (anext(ana), stopping, ana.stop()):
            with pytest.raises(Refused, match="No longer") as refused:
                await call
            assert refused.value.code == code


@pytest.mark.gen_test
async def test_after_a_final_refusal_nobody_is_asked_for_tokens(server: Server) -> None:
    async def refresh() -> str:
        return token(seconds=2)

    async with WardClient(server.url, token(seconds=2), refresh=refresh) as ana:
        door = await server.connection()
        door.say("session-error", {"code": "account_inactive", "message": "Account inactive"})
        door.close(4401)
        with pytest.raises(Refused, match="inactive"):
            await collect(ana)
        _, going_on = await asyncio.wait(ana._tasks, timeout=3)
        assert not going_on


@pytest.mark.parametrize("code", [1000, 1001])
@pytest.mark.gen_test
async def test_closing_says_goodbye_and_ends_the_iteration(server: Server, code: int) -> None:
    async with WardClient(server.url, ANA) as ana:
        door = await server.connection()
        listening = asyncio.ensure_future(collect(ana))
        await ana.close(code)
        assert await door.closed == code
        assert door.heard_goodbye
        assert await listening == []
        with pytest.raises(Disconnected, match="closed"):
            await ana.stop()


@pytest.mark.slow
@pytest.mark.gen_test
async def test_closing_while_not_connected_ends_what_waits_for_the_connection(server: Server) -> None:
    async with WardClient(server.url, ANA) as ana:
        door = await server.connection()
        server.deaf = True
        door.cut()
        await server.connection()
        waiting = [asyncio.ensure_future(ana.stop()), asyncio.ensure_future(collect(ana))]
    with pytest.raises(Disconnected):
        await waiting[0]
    assert await waiting[1] == []


@pytest.mark.gen_test
async def test_leaving_while_connecting_leaves_nothing_behind(server: Server) -> None:
    server.deaf = True
    entering = asyncio.ensure_future(WardClient(server.url, ANA).__aenter__())
    door = await server.connection()
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert await door.closed == 1001


@pytest.mark.gen_test
async def test_what_the_client_does_not_know_does_not_hurt_it(server: Server) -> None:
    async with WardClient(server.url, ANA) as ana:
        door = await server.connection()
        for rubbish in ("not JSON", "[]", '{"data": {}}', '{"event": 5}', '{"event": "x", "data": 7}'):
            door.write_message(rubbish)
        door.write_message(b"\x00\xff", binary=True)
        door.say("weather-changed", {"rain": True})
        assert await anext(ana) == Event("weather-changed", {"rain": True})


@pytest.mark.gen_test
async def test_only_the_newest_events_wait_for_somebody_who_does_not_iterate(server: Server) -> None:
    async with GuardianClient(server.url, ANA) as ben:
        door = await server.connection()
        for number in range(client.MAX_WAITING_EVENTS + 5):
            door.say("message", {"number": number})
        await answered(door, "message", {}, ben.say("ana", "hello"))
        assert (await anext(ben)).data == {"number": 5}


@pytest.mark.gen_test
async def test_locations_put_out_no_end_that_waits(server: Server) -> None:
    async with GuardianClient(server.url, ANA) as ben:
        door = await server.connection()
        door.say("location-updated", {"number": 0})
        door.say("session-ended", {"seq": 7})
        for number in range(client.MAX_WAITING_EVENTS + 5):
            door.say("location-updated", {"number": number})
        await answered(door, "message", {}, ben.say("ana", "hello"))
        assert (await anext(ben)).data == {"seq": 7}
        assert (await anext(ben)).data == {"number": 6}


@pytest.mark.gen_test
async def test_a_location_puts_out_no_end_also_where_only_ends_wait(server: Server) -> None:
    async with GuardianClient(server.url, ANA) as ben:
        door = await server.connection()
        for number in range(client.MAX_WAITING_EVENTS):
            door.say("session-ended", {"seq": number})
        door.say("location-updated", {"number": 1})
        door.say("location-updated", {"number": 2})
        await answered(door, "message", {}, ben.say("ana", "hello"))
        assert (await anext(ben)).data == {"seq": 0}


@pytest.mark.gen_test
async def test_a_token_may_come_with_the_end_of_its_line(server: Server) -> None:
    async with GuardianClient(server.url, f"{ANA}\n"):
        door = await server.connection()
        assert door.request.headers["Authorization"] == f"Bearer {ANA}"


def test_what_is_no_token_is_refused_and_not_shown() -> None:
    with pytest.raises(ValueError, match="A token is one line") as refusal:
        GuardianClient("http://a.example", "secret\nsecret")
    assert "secret" not in str(refusal.value)


@given(st.integers(min_value=0, max_value=10_000))
def test_a_pause_is_never_nothing_and_never_forever(tries: int) -> None:
    assert 0.1 <= client.pause(tries) <= min(client.LONGEST_PAUSE, 0.5 * 2.0 ** min(tries, 10))


async def collect(events: AsyncIterator[Event] | Client) -> list[Event]:
    return [event async for event in events]
