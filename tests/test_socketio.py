"""Socket.IO's door, packet by packet: who is let in, what is refused, and that nothing is left behind."""

import asyncio
import inspect
import json
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import engineio
import jwt
import pytest
import socketio
from exchange import Exchange
from lines import Client
from server import house, token_of
from socketio_lines import (
    POLLING,
    WEBSOCKET,
    PollingClient,
    WebSocketClient,
    emptied,
    nothing_left,
    shake_hands,
)
from tornado.ioloop import IOLoop

from liveguard.web import line
from liveguard.web.websocket import BINARY, CLOSE, TEXT


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is waited for long who does not fetch the last words."""
    monkeypatch.setattr(line, "LINGER", 0.1)


@pytest.fixture
def exchange(io_loop: IOLoop, tmp_path: Path) -> Exchange:
    return Exchange(tmp_path, "Socket.IO over WebSocket")


@pytest.fixture(params=["Socket.IO over WebSocket", "Socket.IO over polling"])
def either(io_loop: IOLoop, tmp_path: Path, request: pytest.FixtureRequest) -> Exchange:
    return Exchange(tmp_path, request.param)


# -- signing in ------------------------------------------------------------------------------------------------------

REFUSALS = [
    (None, "Authentication required", "authentication_required"),
    ({}, "Authentication required", "authentication_required"),
    ({"token": None}, "Authentication required", "authentication_required"),
    ({"token": ""}, "Authentication required", "authentication_required"),
    ([token_of("ana")], "Authentication required", "authentication_required"),
    (token_of("ana"), "Authentication required", "authentication_required"),
    (7, "Authentication required", "authentication_required"),
    ({"token": token_of("ana", -1)}, "Token expired", "token_expired"),
    ({"token": token_of("nobody", -1)}, "Token expired", "token_expired"),
    ({"token": token_of("ana") + "x"}, "Invalid token", "invalid_token"),
    ({"token": jwt.encode({"sub": "ana", "exp": 2e9}, "x" * 40, "HS256")}, "Invalid token", "invalid_token"),
    ({"token": 7}, "Invalid token", "invalid_token"),
    ({"token": [token_of("ana")]}, "Invalid token", "invalid_token"),
    ({"token": {"token": token_of("ana")}}, "Invalid token", "invalid_token"),
    ({"token": "\ud800"}, "Authentication required", "authentication_required"),
    ({"token": token_of("nobody")}, "User not found", "user_not_found"),
    ({"token": token_of("tom")}, "Account inactive", "account_inactive"),
]


@pytest.mark.gen_test
async def test_whoever_is_not_let_in_hears_why_and_the_line_is_closed(exchange):
    async with exchange:
        await exchange.people.accounts.disable("tom")
        rubbish = [
            "[" * 60_000,
            "nonsense",
            '{"token":',
            "\x00",
            '{"token":1e999}',
            '{"a":' * 5000,
            '{"token":"\\ud800"}',
        ]
        auths = [(json.dumps(auth) if auth is not None else "", message, code) for auth, message, code in REFUSALS]
        for auth, message, code in auths + [(one, None, None) for one in rubbish]:
            client = await WebSocketClient.open(exchange.port, "")
            await Client.answer(client)
            assert (await Client.message(client))[1].startswith(b"0{")
            client.packet(f"40{auth}")
            _, packet = await Client.message(client)
            refusal = json.loads(packet.removeprefix(b"44"))
            if message is not None:
                assert refusal == {"message": message, "data": {"code": code}}, auth[:50]
            assert await Client.closed(client) == 4401
            client.hang_up()
        await emptied(exchange)


@pytest.mark.gen_test
async def test_over_polling_the_refusal_is_read_before_the_end(tmp_path):
    async with house(tmp_path) as home:
        sid = await shake_hands(home)
        polling = asyncio.ensure_future(home.fetch(f"{POLLING}&sid={sid}"))
        assert (await home.fetch(f"{POLLING}&sid={sid}", "POST", body='40{"token":"x"}')).text == "OK"
        assert (await polling).text == '44{"message":"Invalid token","data":{"code":"invalid_token"}}'
        assert (await home.fetch(f"{POLLING}&sid={sid}")).text == "1"
        await emptied(home.server)


@pytest.mark.slow
@pytest.mark.gen_test
async def test_when_nobody_can_be_looked_up_the_client_may_try_again(exchange):
    async with exchange:
        with exchange.locked_database():
            client = await WebSocketClient.open(exchange.port, "")
            await Client.answer(client)
            await Client.message(client)
            client.packet("40" + json.dumps({"token": token_of("ana")}))
            assert await Client.closed(client) == 1013
        client.hang_up()
        await emptied(exchange)


@pytest.mark.gen_test
async def test_whoever_goes_while_they_are_signed_in_leaves_nothing_behind(either):
    async with either:
        clients = [await type(client).open(either.port, "") for client in [await either.ward("ida")] for _ in range(3)]
        with either.locked_database():
            for client in clients:
                await enter_halfway(client)
                client.hang_up()
        (await either.ward("ana")).say("ping")
        either.connections.close(1012)
        for client in either._clients:
            client.hang_up()
        await emptied(either)


async def enter_halfway(client: Any) -> None:
    """Shake hands and ask to be let in, without waiting for what comes of it."""
    client._token = token_of("tom")
    entering = asyncio.ensure_future(client.answer())
    while not client.sid:
        await asyncio.sleep(0)  # nobody says that the shake is done
    for _ in range(20):
        await asyncio.sleep(0)  # some turns, in which it gets half way
    entering.cancel()
    if not hasattr(client, "_tasks"):
        client._tasks = []


@pytest.mark.gen_test
async def test_only_the_default_namespace_is_there(exchange):
    async with exchange:
        ana = await exchange.ward("ana")
        for namespace in ("/admin", "/a?b=c", "/" + "x" * 1000):
            ana.packet(f'40{namespace},{{"token":"{token_of("ana")}"}}')
            assert (await Client.message(ana))[1].decode() == f'44{namespace},{{"message":"Invalid namespace"}}'
        ana.say("ping")
        assert (await ana.event())["event"] == "pong"


@pytest.mark.gen_test
@pytest.mark.parametrize("packet", ['42["ping"]', "41", "43[]", "451-[]", "4", "4x", "2", "7", "x", "", "5"])
async def test_before_they_are_in_nobody_may_say_anything(exchange, packet):
    async with exchange:
        client = await Client.open(exchange.port, WEBSOCKET)
        await client.answer()
        await client.message()
        client.frame(TEXT, packet.encode())
        assert await client.closed() == 1002
        client.hang_up()
        await emptied(exchange)


@pytest.mark.gen_test
async def test_whoever_asks_twice_to_be_let_in_is_shown_out(exchange):
    async with exchange:
        ana, ben = await exchange.ward("ana"), await exchange.guardian("ben")
        ana.say("start-live-session")
        await ben.hear("guardian:session-started")
        ana.packet("40" + json.dumps({"token": token_of("ana")}))
        assert await ana.closed() == 1002
        await ben.hear("session-interrupted")
        tom = await Client.open(exchange.port, WEBSOCKET)
        await tom.answer()
        await tom.message()
        for _ in range(2):
            tom.frame(TEXT, b"40" + json.dumps({"token": token_of("tom")}).encode())
        assert await tom.closed() == 1002
        tom.hang_up()
        ana.hang_up()
        ben.hang_up()
        await emptied(exchange)


@pytest.mark.gen_test
async def test_whoever_takes_their_leave_may_come_again_over_the_same_line(exchange):
    async with exchange:
        ana, ben = await exchange.ward("ana"), await exchange.guardian("ben")
        for _ in range(2):
            ana.say("start-live-session")
            await ana.hear("session-started")
            ana.packet("41")
            assert (await ben.hear("session-ended"))["data"]["reason"] == "ward_disconnected"
            assert len(exchange.connections) == 1
            await ana.enter()
        ana.say("ping")
        assert (await ana.event())["event"] == "pong"


@pytest.mark.slow
@pytest.mark.gen_test
async def test_whoever_has_taken_their_leave_and_does_not_come_again_is_closed(exchange, monkeypatch):
    async with exchange:
        ana = await exchange.ward("ana")
        monkeypatch.setattr(line, "PATIENCE", 0.2)
        ana.packet("41")
        assert await ana.closed() == 1000


@pytest.mark.slow
@pytest.mark.gen_test
async def test_whoever_comes_and_goes_over_one_line_has_the_rate_of_one(tmp_path):
    async with Exchange(tmp_path, "Socket.IO over WebSocket", rate_limit=1, rate_burst=8) as exchange:
        ana, ben = await exchange.ward("ana"), await exchange.guardian("ben")
        for _ in range(3):
            ana.say("start-live-session")
            await ana.hear("session-started")
            ana.packet("41")
            await ben.hear("session-ended")
            await ana.enter()
        for _ in range(8):
            ana.say("start-live-session")
        # Nobody is kept from an end.
        ana.packet("41")
        while (await ana.hear("session-error"))["data"]["code"] != "rate_limited":
            pass
        assert (await ben.hear("session-ended"))["data"]["reason"] == "ward_disconnected"
        assert await ana.closed() == 4429


@pytest.mark.gen_test
@pytest.mark.parametrize("inside", [True, False])
async def test_whoever_asks_for_too_many_namespaces_is_closed(tmp_path, inside):
    async with Exchange(tmp_path, "Socket.IO over WebSocket", rate_limit=1, rate_burst=8) as exchange:
        if inside:
            client: Client = await exchange.ward("ana")
        else:
            client = await exchange.client(WEBSOCKET)
            await client.message()
        for _ in range(20):
            client.frame(TEXT, b"40/a,")
        answers = [await Client.message(client) for _ in range(8)]
        assert set(answers) == {(TEXT, b'44/a,{"message":"Invalid namespace"}')}
        rest = [await Client.message(client) for _ in range(2)]
        assert rest == [(TEXT, b"41"), (CLOSE, (4429).to_bytes(2, "big"))]


# -- what is said ----------------------------------------------------------------------------------------------------

DEEP = "[" * 20 + "]" * 20
RUBBISH: list[tuple[str, str, str | None]] = [
    ("2", "invalid_message", None), ("2[]", "invalid_message", None), ("2{}", "invalid_message", None),
    ("2null", "invalid_message", None), ('2"ping"', "invalid_message", None), ("2[7]", "invalid_message", None),
    ("2[null]", "invalid_message", None), ("2[[]]", "invalid_message", None), ('2[{"a":1}]', "invalid_message", None),
    ('2[""]', "invalid_message", None), ('2["ping"', "invalid_message", None),
    ('2["\\ud800"]', "invalid_message", None),
    ('2["ping"]]', "invalid_message", None), ('2/x,["ping"]', "invalid_message", None),
    ('2-1["ping"]', "invalid_message", None), (f'2{"9" * 16}["ping"]', "invalid_message", None),
    (f'2["start-live-session",{DEEP}]', "invalid_message", None), ("2" + "[" * 60_000, "invalid_message", None),
    ("3[]", "invalid_message", None), ("37[1]", "invalid_message", None), ("4", "invalid_message", None),
    ('4{"message":"x"}', "invalid_message", None), ("6", "invalid_message", None), ("5", "invalid_message", None),
    ("9", "invalid_message", None), ("x", "invalid_message", None), ("", "invalid_message", None),
    ('2["dance"]', "unknown_event", "dance"), ('2["connect",{}]', "unknown_event", "connect"),
    ('2["disconnect",{}]', "unknown_event", "disconnect"), ('2["__proto__",{}]', "unknown_event", "__proto__"),
    ('2["connect_error"]', "unknown_event", "connect_error"),
    ('2["session-started",{}]', "unknown_event", "session-started"),
    ("1/admin", "invalid_message", None), ("1{}", "invalid_message", None),
    *((f'2["{event}",{data}]', "invalid_payload", event)
      for event in ("start-live-session", "send-message", "refresh-token")
      for data in ("7", '"x"', "[]", "[1]", "true", "{},{}", "null,null", "1,2,3")),
    *((f'2["{event}"{data}]', "invalid_payload", event)
      for event in ("send-message", "refresh-token") for data in ("", ",null", ",{}", ',{"text":7,"token":7}')),
    ('2["start-live-session",{"a":NaN}]', "invalid_message", None),
    ('2["start-live-session",{"a":1e999}]', "invalid_payload", "start-live-session"),
    ('2["start-live-session",{"a":"' + "x" * 4100 + '"}]', "invalid_payload", "start-live-session"),
    ('2["start-live-session",{"a":"\\ud800"}]', "invalid_message", None),
    ('2["stop-live-session",1,2]', "no_active_session", "stop-live-session"),
]  # fmt: skip
NO_PLACE = [
    "", ",null", ",7", ',"x"', ",[]", ",{}", ',{"latitude":1}', ',{"latitude":"1","longitude":1}', ",{},{}",
    ',{"latitude":91,"longitude":1}', ',{"latitude":1,"longitude":-181}', ',{"latitude":1,"longitude":1,"battery":101}',
    ',{"latitude":null,"longitude":null}', ',{"latitude":[1],"longitude":{}}', ',{"latitude":1e999,"longitude":1}',
    ',{"latitude":' + "9" * 5000 + ',"longitude":1}', ',{"latitude":1,"longitude":1,"recordedAt":"yesterday"}',
    ',{"latitude":1,"longitude":1},{"latitude":1,"longitude":1}',
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.gen_test
async def test_rubbish_in_every_position_is_refused_and_the_connection_stays(either):
    async with either:
        either.connections.limits = replace(either.connections.limits, rate=0)
        ana = await either.ward("ana")
        for packet, code, event in RUBBISH:
            ana.packet(f"4{packet}")
            answer = await ana.event()
            assert (answer["event"], answer["data"]["code"]) == ("session-error", code), packet[:60]
            assert answer["data"].get("event") == event, packet[:60]
        for data in NO_PLACE:
            ana.packet(f'42["update-location"{data}]')
            answer = await ana.event()
            assert (answer["event"], answer["data"]["code"]) == ("location-error", "invalid_payload"), data[:60]
        for data in ("", ",null", ",{}", ",[]", ",7", ",1,2,3"):
            ana.packet(f'42["ping"{data}]')
            assert (await ana.event())["event"] == "pong"
        assert len(either.connections) == 1


@pytest.mark.gen_test
async def test_an_acknowledgement_says_what_the_event_says(exchange):
    async with exchange:
        ana = await exchange.ward("ana")
        for packet, name, ok in [
            ('4270["start-live-session",{"note":"home"}]', "session-started", True),
            ('4271["start-live-session"]', "session-error", False),
            ('4272["update-location",{"latitude":1,"longitude":1}]', "location-acknowledged", True),
            ('4273["update-location"]', "location-error", False),
            ('4274["dance"]', "session-error", False),
            ("4275[]", "session-error", False),
            ('4276["stop-live-session"]', "session-ended", True),
            ('42' + "9" * 15 + '["ping"]', "pong", True),
        ]:  # fmt: skip
            id = packet[2:].partition("[")[0]
            ana.packet(packet)
            acknowledged = (await Client.message(ana))[1].decode()
            event = (await Client.message(ana))[1].decode()
            told = json.loads(event.removeprefix("42"))
            assert told[0] == name
            assert json.loads(acknowledged.removeprefix(f"43{id}")) == [{"ok": ok, "event": name, "data": told[1]}]


@pytest.mark.gen_test
async def test_what_is_binary_is_refused_once_and_kept_nowhere(exchange):
    async with exchange:
        ana = await exchange.ward("ana")
        ana.packet('451-5["send-message",{"text":{"_placeholder":true,"num":0}}]')
        acknowledged = (await Client.message(ana))[1].decode()
        assert json.loads(acknowledged.removeprefix("435"))[0]["data"]["code"] == "invalid_message"
        assert (await ana.event())["data"]["code"] == "invalid_message"
        ana.frame(BINARY, b"attached")
        ana.say("ping")
        assert (await ana.event())["event"] == "pong"
        ana.frame(BINARY, b"\x00\xff")
        assert (await ana.event())["data"]["code"] == "invalid_message"
        ana.packet("b" + "AAAA")
        assert (await ana.event())["data"]["code"] == "invalid_message"
        ana.packet(f'45{"9" * 15}-["send-message"]')
        assert (await ana.event())["data"]["code"] == "invalid_message"
        for _ in range(11):
            ana.frame(BINARY, b"x" * 60_000)
        assert (await ana.event())["data"]["code"] == "invalid_message"
        ana.say("ping")
        assert (await ana.event())["event"] == "pong"


@pytest.mark.gen_test
async def test_one_connection_speaks_as_ward_and_as_guardian(exchange):
    async with exchange:
        ben, ana = await exchange.ward("ben"), await exchange.client("/ws/ward", token=token_of("ana"))
        ana.say("start-live-session")
        await ben.hear("guardian:session-started")
        ben.say("start-live-session")
        await ben.hear("session-started")
        ben.say("send-message", {"text": "I see you", "wardId": "ana"})
        assert (await ben.hear("message"))["data"]["from"]["role"] == "guardian"
        assert (await ana.hear("message"))["data"]["wardId"] == "ana"
        ben.say("send-message", {"text": "My own", "wardId": "ben"})
        assert (await ben.hear("message"))["data"]["from"]["role"] == "ward"
        ben.say("send-message", {"text": "Not mine", "wardId": "chloe"})
        assert (await ben.hear("session-error"))["data"]["code"] == "not_in_room"


@pytest.mark.gen_test
async def test_a_guardian_hears_first_what_was_missed_and_then_what_runs(either):
    async with either:
        ben = await either.guardian("ben")
        ana = await either.client("/ws/ward", token=token_of("ana"))
        tom = await either.client("/ws/ward", token=token_of("tom"))
        ana.say("start-live-session")
        await ben.hear("guardian:session-started")
        ben.say("ping")
        await ben.hear("pong")
        ben.hang_up()
        await ana.hear("guardians-changed")
        ana.say("stop-live-session")
        ended = await ana.hear("session-ended")
        tom.say("start-live-session")
        running = await tom.hear("session-started")
        ben = await either.guardian("ben")
        assert (await ben.event())["event"] == "guardian:snapshot"  # which this transport leaves out
        assert (await ben.event())["data"]["sessionId"] == ended["data"]["sessionId"]
        started = await ben.event()
        assert (started["event"], started["data"]["sessionId"]) == (
            "guardian:session-started", running["data"]["sessionId"],
        )  # fmt: skip
        ben.say("ping")
        assert (await ben.event())["event"] == "pong"


@pytest.mark.gen_test
async def test_the_eleventh_connection_of_a_person_is_one_too_many(either):
    async with either:
        mine = [await either.ward("ben") for _ in range(5)]
        mine += [await either.client("/ws/guardian", token=token_of("ben")) for _ in range(5)]
        eleventh = await either.ward("ben")
        assert (await eleventh.event())["data"]["code"] == "rate_limited"
        assert await eleventh.closed() == 4429
        assert not eleventh.is_sent_away
        assert len(either.connections) == 10


# -- the end of the server -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.gen_test
async def test_when_the_server_ends_everybody_hears_it_and_nothing_is_left(tmp_path):
    async with house(tmp_path) as home:
        polling = await PollingClient.open(home.port, "", token=token_of("ana"))
        direct = await WebSocketClient.open(home.port, "", token=token_of("ben"))
        stranger = await Client.open(home.port, WEBSOCKET)
        for client in (polling, direct, stranger):
            await client.answer()
        await stranger.message()
        await shake_hands(home)
        begun = asyncio.get_running_loop().time()
        stopping = asyncio.ensure_future(home.server.stop())
        await polling.closed()
        assert await direct.closed() == await stranger.closed() == 1012
        direct.close(1012)
        stranger.close(1012)
        await stopping
        assert asyncio.get_running_loop().time() - begun < 4
        assert nothing_left(home.server)
        for client in (polling, direct, stranger):
            client.hang_up()
        home.server.stop = finished  # type: ignore[method-assign]


async def finished() -> None:
    """It has been stopped already."""


# -- what of the driver is relied upon -------------------------------------------------------------------------------


def test_the_parts_of_the_driver_that_are_replaced_are_still_there():
    """Where one of these has another shape, look at ``web/engineio.py`` and ``web/socketio.py`` before moving on."""
    assert version("python-engineio").startswith("4.15.") and version("python-socketio").startswith("5.18.")
    engine, server = engineio.AsyncServer, socketio.AsyncServer
    shapes = {
        engine._handle_connect: ["self", "environ", "transport", "jsonp_index"],
        engine._make_response: ["self", "response_dict", "environ"],
        engine._log_error_once: ["self", "message", "message_key"],
        engine._upgrades: ["self", "sid", "transport"],
        engine._trigger_event: ["self", "event", "args", "kwargs"],
        engine.send_packet: ["self", "sid", "pkt"],
        server._engineio_server_class: ["self"],
        server._handle_connect: ["self", "eio_sid", "namespace", "data"],
        socketio.AsyncManager.sid_from_eio_sid: ["self", "eio_sid", "namespace"],
        socketio.AsyncManager.basic_disconnect: ["self", "sid", "namespace", "kwargs"],
    }
    assert {name: list(inspect.signature(name).parameters) for name in shapes} == shapes
    asked = inspect.getsource(engine.handle_request)
    for part in ("handle_get_request(", "handle_post_request(", ".upgraded", ".connected", "'translate_request'"):
        assert part in asked, part
