"""Engine.IO below Socket.IO, request by request: how a line begins, is polled, changes over to WebSocket, and ends."""

import asyncio
import json
import logging
from pathlib import Path

import pytest
from engineio.payload import Payload
from exchange import Exchange
from lines import Client, client_frame
from server import House, house, token_of
from socketio_lines import (
    POLLING,
    WEBSOCKET,
    emptied,
    shake_hands,
    signed_in,
)
from test_connection_pace import notice, number_in
from tornado.ioloop import IOLoop

from liveguard.addresses import parse_network
from liveguard.events.close_codes import NOT_AUTHENTICATED
from liveguard.web import engineio, line, line_wire, strangers
from liveguard.web.handover import hand_over
from liveguard.web.websocket import CLOSE, TEXT


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is waited for long who does not fetch the last words."""
    monkeypatch.setattr(line, "LINGER", 0.1)


@pytest.fixture
def exchange(io_loop: IOLoop, tmp_path: Path) -> Exchange:
    return Exchange(tmp_path, "Socket.IO over WebSocket")


@pytest.fixture
def polled(io_loop: IOLoop, tmp_path: Path) -> Exchange:
    return Exchange(tmp_path, "Socket.IO over polling")


@pytest.fixture(params=["Socket.IO over WebSocket", "Socket.IO over polling"])
def either(io_loop: IOLoop, tmp_path: Path, request: pytest.FixtureRequest) -> Exchange:
    return Exchange(tmp_path, request.param)


# -- the handshake ---------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_the_log_tells_of_a_line_once_and_not_of_each_poll_that_goes_well(tmp_path, caplog):
    async with house(tmp_path) as home:
        caplog.set_level(logging.INFO, "liveguard.access")
        sid = await shake_hands(home)
        polling = asyncio.ensure_future(home.fetch(f"{POLLING}&sid={sid}"))
        assert (await home.fetch(f"{POLLING}&sid={sid}", "POST", body="41")).text == "OK"
        assert (await polling).status == 200
        assert (await home.fetch(f"{POLLING}&sid=unknown")).status == 400
        told = [record.getMessage() for record in caplog.records if record.name == "liveguard.access"]
        assert [line.split()[:3] for line in told] == [["GET", "/socket.io/", "200"], ["GET", "/socket.io/", "400"]]


@pytest.mark.gen_test
async def test_a_line_begins_with_its_terms(tmp_path):
    async with house(tmp_path) as home:
        answer = await home.fetch(POLLING, headers={"Accept-Encoding": "gzip, deflate, br"})
        assert answer.headers["Content-Type"] == "text/plain; charset=UTF-8"
        assert not {"Content-Encoding", "Set-Cookie"} & set(answer.headers)
        terms = json.loads(answer.text.removeprefix("0"))
        assert terms.pop("sid")
        expected = {"pingInterval": 5000, "pingTimeout": 10000, "maxPayload": 65536}
        assert terms == {"upgrades": ["websocket"], **expected}
        client = await Client.open(home.port, WEBSOCKET, headers={"Sec-WebSocket-Extensions": "permessage-deflate"})
        await client.answer()
        assert "sec-websocket-extensions" not in client.headers
        terms = json.loads((await client.message())[1].removeprefix(b"0"))
        assert terms.pop("sid")
        assert terms == {"upgrades": [], **expected}
        client.hang_up()


@pytest.mark.gen_test
async def test_requests_that_make_no_sense_are_refused_and_leave_nothing_behind(tmp_path):
    async with house(tmp_path) as home:
        for method, query, status in [
            ("GET", "", 400), ("GET", "EIO=3&transport=polling", 400), ("GET", "EIO=5&transport=polling", 400),
            ("GET", "transport=polling", 400), ("GET", "EIO=4&transport=webtransport", 400),
            ("GET", "EIO=4&transport=websocket", 400), ("GET", "EIO=4&transport=polling&j=0", 400),
            ("GET", "EIO=4&transport=polling&j=", 400), ("GET", "EIO=4&transport=polling&sid=nobody", 400),
            ("POST", "EIO=4&transport=polling", 400), ("POST", "EIO=4&transport=polling&sid=nobody", 400),
            ("POST", "EIO=4&transport=polling&sid=%00%ff", 400), ("PUT", "EIO=4&transport=polling", 405),
            ("HEAD", "EIO=4&transport=polling", 405), ("DELETE", "EIO=4&transport=polling&sid=nobody", 405),
        ]:  # fmt: skip
            body = "40" if method in ("POST", "PUT") else None
            answer = await home.fetch(f"/socket.io/?{query}", method, body=body)
            assert answer.status == status, (method, query)
            assert method == "HEAD" or answer.error, (method, query)
        for query, headers in [
            ("EIO=4&transport=websocket&sid=nobody", {}),
            ("EIO=4&transport=websocket", {"Sec-WebSocket-Version": "8"}),
            ("EIO=4&transport=websocket", {"Sec-WebSocket-Key": "short"}),
            ("EIO=3&transport=websocket", {}),
        ]:
            client = await Client.open(home.port, f"/socket.io/?{query}", headers=headers)
            await client.answer()
            assert client.status == 400, query
            client.hang_up()
        await emptied(home.server)


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_foreign_host_or_origin_is_refused_before_there_is_anything(tmp_path):
    async with house(tmp_path) as home:
        sid = await shake_hands(home)
        for headers in [
            {"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"},
            {"Host": "evil.example", "Origin": "http://evil.example"},
        ]:  # fmt: skip
            for method, query in [("GET", ""), ("GET", f"&sid={sid}"), ("POST", f"&sid={sid}"), ("OPTIONS", "")]:
                body = "40" if method == "POST" else None
                answer = await home.fetch(POLLING + query, method, body=body, headers=headers)
                assert (answer.status, answer.error) == (403, "not_allowed")
                assert "Access-Control-Allow-Origin" not in answer.headers
            for query in ("", f"&sid={sid}"):
                client = await Client.open(home.port, WEBSOCKET + query, headers=headers)
                await client.answer()
                assert client.status == 403
                client.hang_up()
        assert list(home.server.socketio.eio.sockets) == [sid]
        assert len(home.server.wires) == 1


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_page_of_another_origin_that_is_allowed_may_ask(tmp_path):
    async with house(tmp_path, allowed_origins=("https://app.example",)) as home:
        origin = {"Origin": "https://app.example"}
        answer = await home.fetch(POLLING, headers=origin)
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert answer.headers["Vary"] == "Origin"
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-mine"}
        answer = await home.fetch(POLLING, "OPTIONS", headers=origin | asked)
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["Access-Control-Allow-Methods"] == "GET, POST"
        assert answer.headers["Access-Control-Allow-Headers"] == "content-type,x-mine"
        answer = await home.fetch("/api/me", who="ana", headers={"Origin": "https://app.example"})
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_line_knows_the_address_of_its_client_behind_a_proxy(tmp_path, monkeypatch):
    monkeypatch.setattr(strangers, "MOST_STRANGERS", 2)
    async with house(tmp_path, trusted_proxies=(parse_network("127.0.0.1"),)) as home:
        for address in ("203.0.113.1", "203.0.113.1", "203.0.113.2"):
            await shake_hands(home, **{"X-Forwarded-For": address})
        found = [one.address for one in home.server.socketio.eio.sockets.values()]
        assert found == ["203.0.113.1", "203.0.113.1", "203.0.113.2"]
        third = await home.fetch(POLLING, headers={"X-Forwarded-For": "203.0.113.1"})
        assert (third.status, third.error) == (429, "rate_limited")
        await shake_hands(home, **{"X-Forwarded-For": "203.0.113.2"})
        assert len(home.server.socketio.eio.sockets) == 4


@pytest.mark.slow
@pytest.mark.gen_test
async def test_over_a_line_somebody_must_sign_in_soon(tmp_path, monkeypatch):
    monkeypatch.setattr(line, "PATIENCE", 0.2)
    async with house(tmp_path) as home:
        await shake_hands(home)
        client = await Client.open(home.port, WEBSOCKET)
        await client.answer()
        assert (await client.message())[0] == TEXT
        assert await client.closed() == 1000
        client.close(1000)
        client.hang_up()
        await emptied(home.server)


# -- polling ---------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "body",
    [b"\xff", b"4\x1e" * 1001, b"x", b"", b"\x1e", b"7", b'd=42["ping"]', b'4\x1e5'],
    ids=["not UTF-8", "too many packets", "unknown", "nothing", "two nothings", "a number", "JSONP", "an upgrade"],
)  # fmt: skip
@pytest.mark.slow
async def test_a_payload_that_breaks_the_rules_is_the_end_of_its_line(tmp_path, body):
    async with house(tmp_path) as home:
        ben = await home.guardian("ben")
        address = await signed_in(home)
        await home.fetch(address, "POST", body='42["start-live-session"]')
        await ben.expect("guardian:session-started")
        await home.fetch(address, "POST", body=body)
        await ben.expect("session-interrupted")


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_body_that_is_too_long_is_not_read(tmp_path):
    async with house(tmp_path) as home:
        address = await signed_in(home)
        assert (await home.fetch(address, "POST", body="4" + "x" * 65536)).status == 413
        assert (await home.fetch(address, "POST", body='42["ping",{"a":"' + "x" * 65000 + '"}]')).status == 200


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_thousand_packets_at_once_let_others_have_their_turn(tmp_path):
    async with house(tmp_path, rate_limit=0) as home:
        address = await signed_in(home)
        turns = 0

        async def count():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)  # counts the turns of the loop

        counting = asyncio.ensure_future(count())
        assert (await home.fetch(address, "POST", body="\x1e".join(['42["ping"]'] * 1000))).status == 200
        counting.cancel()
        assert turns > 10
        heard = 0
        while heard < 1000:
            heard += (await home.fetch(address)).text.count('42["pong"')
        assert heard == 1000


@pytest.mark.slow
@pytest.mark.gen_test
async def test_an_answer_has_as_many_packets_as_every_client_takes_and_the_rest_comes_with_the_next(tmp_path):
    async with house(tmp_path, rate_limit=0) as home:
        address = await signed_in(home)
        (connection,) = home.server.connections.of("ana")
        connection.catch_up([notice(number, "") for number in range(40)])
        answers = [Payload(encoded_payload=(await home.fetch(address)).text) for _ in range(3)]
        assert [len(answer.packets) for answer in answers] == [16, 16, 8]
        told = [json.loads(packet.data[1:])[1] for answer in answers for packet in answer.packets]
        assert [number_in({"data": data}) for data in told] == list(range(40))


@pytest.mark.slow
@pytest.mark.gen_test
async def test_whoever_fetches_the_last_words_slowly_has_all_of_them(tmp_path, monkeypatch):
    monkeypatch.setattr(line, "LINGER", 1.0)
    async with house(tmp_path, rate_limit=0) as home:
        address = await signed_in(home)
        (connection,) = home.server.connections.of("ana")
        connection.catch_up([notice(number, "") for number in range(100)])
        packets = (await home.fetch(address)).text.split("\x1e")
        connection.close(NOT_AUTHENTICATED)
        while packets[-1:] != ["1"]:
            answer = await home.fetch(address)
            assert answer.status == 200
            packets += answer.text.split("\x1e")
            await asyncio.sleep(0.2)  # a slow network
        assert (len(packets), packets[-2]) == (102, "41")


@pytest.mark.gen_test
async def test_of_two_polls_at_once_both_are_the_end(tmp_path):
    async with house(tmp_path) as home:
        address = await signed_in(home)
        first = asyncio.ensure_future(home.fetch(address))
        (waiting,) = home.server.socketio.eio.sockets.values()
        while waiting._poll is None:
            await asyncio.sleep(0)  # nobody says that a poll has come
        assert (await home.fetch(address)).status == 400
        await first
        assert (await home.fetch(address)).status == 400
        await emptied(home.server)


@pytest.mark.gen_test
async def test_only_another_poll_says_that_the_last_one_was_answered(tmp_path):
    async with house(tmp_path) as home:
        address = await signed_in(home)
        (connection,) = home.server.connections.of("ana")
        assert not connection.all_arrived()
        await home.fetch(address, "POST", body='42["ping"]')
        assert not connection.all_arrived()
        assert (await home.fetch(address)).text.startswith('42["pong"')
        polling = asyncio.ensure_future(home.fetch(address))
        while not connection.all_arrived():
            await asyncio.sleep(0)  # nobody says that it was confirmed
        await home.fetch(address, "POST", body="1")
        assert (await polling).text == "6"
        await emptied(home.server)


@pytest.mark.gen_test
async def test_whoever_does_not_poll_is_given_up_and_costs_no_more_than_others(tmp_path, monkeypatch):
    monkeypatch.setattr(line, "LINGER", 0.2)
    async with house(tmp_path, rate_limit=0) as home:
        address = await signed_in(home, "ben")
        await home.fetch(address, "POST", body='42["ping"]')
        assert '42["pong"' in (await home.fetch(address)).text
        (slow,) = home.server.socketio.eio.sockets.values()
        ana = await home.ward("ana")
        ana.say("start-live-session")
        await ana.expect("session-started")
        most = 0
        while not slow.closing:
            for _ in range(20):
                ana.say("send-message", {"text": "x" * 2000})
            await ana.answer("ping")
            most = max(most, slow.unsent)
        assert 200 * 1024 < most <= 256 * 1024
        await ana.expect("guardians-changed", connectedGuardians=0)
        while (answer := await home.fetch(address)).text != "1":
            assert answer.status == 200
        assert (await home.fetch(address)).status == 400


@pytest.mark.gen_test
async def test_whoever_breaks_off_a_poll_is_lost_at_once(polled):
    async with polled:
        ben = await polled.client("/ws/guardian", token=token_of("ben"))
        await ben.hear("guardian:snapshot")
        for leave in ("hang_up", "reset"):
            ana = await polled.ward("ana")
            ana.say("start-live-session")
            await ana.hear("session-started")
            getattr(ana, leave)()
            assert (await ben.hear("session-interrupted"))["data"]["wardId"] == "ana"


# -- from polling to WebSocket ---------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_line_changes_over_and_nothing_is_lost_on_the_way(tmp_path):
    async with house(tmp_path) as home:
        address = await signed_in(home)
        polling = asyncio.ensure_future(home.fetch(address))
        wire = await probing(home, address)
        assert (await polling).text == "6"
        await home.fetch(address, "POST", body='42["ping"]')
        wire.frame(TEXT, b"5")
        assert (await wire.message())[1].startswith(b'42["pong"')
        assert (await home.fetch(address)).status == 400
        assert (await home.fetch(address, "POST", body='42["ping"]')).status == 400
        wire.frame(TEXT, b'42["ping"]')
        assert (await wire.message())[1].startswith(b'42["pong"')
        wire.close(1000)
        assert await wire.closed() == 1000
        wire.hang_up()
        await emptied(home.server)


CHANGE = client_frame(TEXT, b"2probe") + client_frame(TEXT, b"5")


@pytest.mark.gen_test
@pytest.mark.parametrize(("at_once", "answered"), [(CHANGE, b""), (b"", CHANGE)], ids=["at once", "answered"])
async def test_of_several_websockets_asked_for_at_once_a_line_changes_to_one(tmp_path, at_once, answered):
    async with house(tmp_path) as home:
        address = (await signed_in(home)).replace("polling", "websocket")
        wires = await asyncio.gather(*(Client.open(home.port, address, first=at_once) for _ in range(10)))
        await asyncio.gather(*(wire.answer() for wire in wires))
        for wire in wires:
            if wire.status == 101:
                wire.raw(answered)
        first_words = [(wire, await wire.receive()) for wire in wires if wire.status == 101]
        assert len(first_words) > 1
        (lives,) = (wire for wire, words in first_words if words == (TEXT, b"3probe"))
        for wire, words in first_words:
            if wire is not lives:
                assert words == (CLOSE, (1002).to_bytes(2, "big"))
                wire.hang_up()
        lives.frame(TEXT, b'42["ping"]')
        assert (await lives.message())[1].startswith(b'42["pong"')
        lives.hang_up()
        await emptied(home.server)


@pytest.mark.gen_test
async def test_a_line_that_is_closed_while_it_is_given_a_websocket_leaves_nothing_open(tmp_path, monkeypatch):
    async with house(tmp_path) as home:
        address = await signed_in(home)

        async def close_first(*how):
            await home.fetch(address, "POST", body="1")
            await hand_over(*how)

        monkeypatch.setattr(engineio, "hand_over", close_first)
        wire = await Client.open(home.port, address.replace("polling", "websocket"), first=CHANGE)
        await wire.answer()
        assert await wire.closed() == 1002
        wire.hang_up()
        await emptied(home.server)


async def probing(home: House, address: str) -> Client:
    """A WebSocket to which a line may change over."""
    wire = await Client.open(home.port, address.replace("polling", "websocket"))
    await wire.answer()
    assert wire.status == 101
    wire.frame(TEXT, b"2probe")
    assert await wire.message() == (TEXT, b"3probe")
    return wire


@pytest.mark.gen_test
@pytest.mark.parametrize("words", [[b"5"], [b"2"], [b"2probe", b"2probe"], [b"2probe", b"4x"], [b'42["ping"]'], [b""]])
async def test_an_attempt_that_breaks_the_rules_leaves_the_line_as_it_is(tmp_path, words):
    async with house(tmp_path) as home:
        address = await signed_in(home)
        wire = await Client.open(home.port, address.replace("polling", "websocket"))
        await wire.answer()
        for word in words:
            wire.frame(TEXT, word)
        assert await wire.closed() == 1002
        wire.hang_up()
        await home.fetch(address, "POST", body='42["ping"]')
        assert '42["pong"' in (await home.fetch(address)).text
        again = await probing(home, address)
        again.frame(TEXT, b"5")
        again.frame(TEXT, b'42["ping"]')
        assert (await again.message())[1].startswith(b'42["pong"')
        again.hang_up()


@pytest.mark.slow
@pytest.mark.gen_test
async def test_an_attempt_is_given_up_after_a_while_and_there_is_one_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(line_wire, "PATIENCE", 0.3)
    async with house(tmp_path) as home:
        address = await signed_in(home)
        wire = await probing(home, address)
        other = await Client.open(home.port, address.replace("polling", "websocket"))
        await other.answer()
        assert other.status == 400
        other.hang_up()
        wire.hang_up()
        address = await signed_in(home)
        wire = await probing(home, address)
        assert await wire.closed() == 1002
        wire.hang_up()
        await home.fetch(address, "POST", body='42["ping"]')
        assert '42["pong"' in (await home.fetch(address)).text


# -- at its own pace -------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_newcomer_gets_all_that_it_must_hear_and_then_what_is_new(either):
    async with either:
        ben = await either.guardian("ben")
        await ben.hear("guardian:snapshot")
        (connection,) = either.connections.of("ben")
        connection.catch_up([notice(number) for number in range(1000)])
        for number in range(1000, 1050):
            connection.send(notice(number))
        assert [number_in(await ben.event()) for _ in range(1050)] == list(range(1050))
        connection.send(notice(1050))
        assert number_in(await ben.event()) == 1050


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_guardian_over_a_websocket_who_does_not_read_is_given_up(exchange):
    async with exchange:
        ben = await exchange.guardian("ben", receive_buffer=4096)
        await ben.hear("guardian:snapshot")
        (connection,) = exchange.connections.of("ben")
        (one,) = exchange.socketio.eio.sockets.values()
        most = 0
        while not one.closing:
            for _ in range(10):
                connection.send(notice(0))
            await asyncio.sleep(0)  # the end of a turn, in which it is written
            most = max(most, one.unsent)
        assert most <= 256 * 1024 + 30_000
        assert await ben.closed() == 1013


@pytest.mark.slow
@pytest.mark.gen_test
async def test_whoever_has_much_to_say_is_asked_for_a_sign_of_life_all_the_same(tmp_path):
    async with Exchange(
        tmp_path, "Socket.IO over WebSocket", ward_ping_interval=0.2, ward_ping_timeout=0.2, rate_limit=0
    ) as quick:
        ana = await quick.ward("ana")
        asked = 0
        while asked < 3:
            ana.say("ping")
            _, packet = await Client.message(ana)
            asked += packet == b"2"  # it is not answered: what else was said is a sign of life as well
