"""Connections over real sockets: what is asked and answered, limits, and how they end."""

import asyncio
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from exchange import ON_BOTH_LOOPS, OVER_ALL_TRANSPORTS, OVER_WEBSOCKETS, Exchange
from lines import client_frame, event_frame
from server import token_of
from tornado.ioloop import IOLoop
from tornado.testing import ExpectLog

from liveguard.config import Settings
from liveguard.web.limits import Limits
from liveguard.web.websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_code

pytestmark = ON_BOTH_LOOPS


@pytest.fixture
def settings() -> dict[str, Any]:
    return {}


@pytest.fixture
def transport() -> str:
    return "native"


@pytest.fixture
def house(io_loop: IOLoop, tmp_path: Path, settings: dict[str, Any], transport: str) -> Exchange:
    return Exchange(tmp_path, transport, **settings)


async def walking(house):
    """Ana is on her way, Ben looks on."""
    ben = await house.guardian("ben")
    await ben.hear("guardian:snapshot")
    ana = await house.ward("ana")
    ana.say("start-live-session")
    await ana.hear("session-started")
    await ben.hear("guardian:session-started")
    return ana, ben


# -- asking and answering ------------------------------------------------------------------------------------------


@OVER_ALL_TRANSPORTS
@pytest.mark.gen_test
async def test_answers_carry_the_id_of_what_they_answer_and_others_do_not(house):
    async with house:
        ana, ben = await walking(house)
        ana.say("update-location", {"latitude": 52.5, "longitude": 13.4}, id="where")
        acknowledged = await ana.event()
        assert acknowledged["event"] == "location-acknowledged"
        assert acknowledged["replyTo"] == "where"
        assert "replyTo" not in await ben.hear("location-updated")
        ana.say("stop-live-session", id="enough")
        assert (await ana.hear("session-ended"))["replyTo"] == "enough"
        assert "replyTo" not in await ben.hear("session-ended")


@pytest.mark.gen_test
async def test_a_ping_is_answered_in_its_own_kind(house):
    async with house:
        ana = await house.ward("ana")
        ana.say("ping", id="1")
        assert (await ana.event())["event"] == "pong"
        ana.frame(PING, b"still there?")
        assert await ana.receive() == (PONG, b"still there?")


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("message", "code", "event", "reply_to"),
    [
        (b"no json", "invalid_message", None, None),
        (b"[]", "invalid_message", None, None),
        (b'{"id": "7"}', "invalid_message", None, "7"),
        (b'{"event": 7, "id": "7"}', "invalid_message", None, "7"),
        (b'{"event": "dance", "id": "7"}', "unknown_event", "dance", "7"),
        (b'{"event": "send-message", "data": {"text": ""}}', "invalid_payload", "send-message", None),
        (b'{"event": "update-location", "data": []}', "invalid_payload", None, None),
        (
            b'{"event": "start-live-session", "data": {"note": "%b"}}' % (b"x" * 4090),
            "invalid_payload",
            "start-live-session",
            None,
        ),
        (b'{"event": "stop-live-session"}', "no_active_session", "stop-live-session", None),
        (b'{"event": "x", "data": ' + b"[" * 60_000 + b"}", "invalid_message", None, None),
    ],
)
async def test_what_makes_no_sense_is_refused_and_the_connection_stays(house, message, code, event, reply_to):
    async with house:
        ana = await house.ward("ana")
        ana.frame(TEXT, message)
        answer = await ana.event()
        assert answer["data"]["code"] == code
        assert answer["data"].get("event") == event
        assert answer.get("replyTo") == reply_to
        ana.say("ping")
        assert (await ana.event())["event"] == "pong"


@OVER_ALL_TRANSPORTS
@pytest.mark.gen_test
async def test_a_refused_location_is_told_as_such(house):
    async with house:
        ana = await house.ward("ana")
        ana.say("update-location", {"latitude": 91, "longitude": 0}, id="1")
        answer = await ana.event()
        assert (answer["event"], answer["data"]["code"]) == ("location-error", "invalid_payload")
        assert "latitude" in answer["data"]["message"]


@pytest.mark.gen_test
async def test_a_binary_message_is_refused_and_the_connection_stays(house):
    async with house:
        ana = await house.ward("ana")
        ana.frame(BINARY, b"\x00\xff")
        assert (await ana.event())["data"]["code"] == "invalid_message"
        ana.say("ping")
        assert (await ana.event())["event"] == "pong"


@pytest.mark.gen_test
async def test_fragments_are_one_message(house):
    async with house:
        ana = await house.ward("ana")
        ana.frame(TEXT, b'{"event": ', final=False)
        ana.frame(CONTINUATION, b'"ping"}')
        assert (await ana.event())["event"] == "pong"


@OVER_ALL_TRANSPORTS
@pytest.mark.gen_test
async def test_many_messages_at_once_are_answered_in_order(house):
    async with house:
        ana = await house.ward("ana")
        for place in range(30):
            ana.say("ping", id=str(place))
        assert [(await ana.event())["replyTo"] for _ in range(30)] == [str(place) for place in range(30)]


@pytest.mark.gen_test
@pytest.mark.parametrize("event", ["start-live-session", "stop-live-session", "update-location"])
async def test_a_guardian_may_not_speak_as_a_ward(house, event):
    async with house:
        ben = await house.guardian("ben")
        await ben.hear("guardian:snapshot")
        ben.say(event, {"latitude": 1, "longitude": 1})
        assert (await ben.event())["data"]["code"] == "not_allowed"


@OVER_ALL_TRANSPORTS
@pytest.mark.gen_test
async def test_both_sides_write_to_the_room(house):
    async with house:
        ana, ben = await walking(house)
        ana.say("send-message", {"text": "Nearly home"}, id="1")
        assert (await ben.hear("message"))["data"]["from"]["role"] == "ward"
        assert (await ana.hear("message"))["replyTo"] == "1"
        ben.say("send-message", {"text": "Good", "wardId": "ana"}, id="2")
        assert (await ana.hear("message"))["data"]["from"]["role"] == "guardian"
        assert (await ben.hear("message"))["replyTo"] == "2"


@pytest.mark.gen_test
async def test_what_a_guardian_says_before_they_have_heard_all_is_said_behind_it(house, monkeypatch):
    async with house:
        ana = await house.ward("ana")
        ana.say("start-live-session")
        await ana.hear("session-started")
        told, view = asyncio.Event(), house.storage.journal.guardian_view

        async def late(*what):
            await told.wait()
            return await view(*what)

        monkeypatch.setattr(house.storage.journal, "guardian_view", late)
        monkeypatch.setattr("liveguard.web.connection.MOST_TOO_EARLY", 3)
        ben = await house.guardian("ben")
        for number in range(4):
            ben.say("send-message", {"text": f"Coming {number}", "wardId": "ana"}, id=str(number))
        assert (await ben.hear("session-error"))["data"]["code"] == "rate_limited"
        told.set()
        assert (await ben.event())["event"] == "guardian:snapshot"
        for number in range(3):
            assert (await ana.hear("message"))["data"]["text"] == f"Coming {number}"
            assert (await ben.hear("message"))["replyTo"] == str(number)
        ben.say("send-message", {"text": "Here", "wardId": "ida"})
        assert (await ben.hear("session-error"))["data"]["code"] == "not_in_room"


@OVER_ALL_TRANSPORTS
@pytest.mark.gen_test
async def test_each_device_of_a_guardian_hears_what_is_said_while_it_is_there(house):
    async with house:
        ana, phone = await walking(house)
        ana.say("send-message", {"text": "left home"})
        await phone.hear("message")
        laptop = await house.guardian("ben")
        await laptop.hear("guardian:session-started")
        ana.say("send-message", {"text": "on the train"})
        assert [(await device.hear("message"))["data"]["text"] for device in (phone, laptop)] == ["on the train"] * 2
        phone.close()
        await phone.closed()
        ana.say("send-message", {"text": "nearly there"})
        assert (await laptop.hear("message"))["data"]["text"] == "nearly there"


@OVER_ALL_TRANSPORTS
@pytest.mark.gen_test
async def test_what_is_said_alone_and_what_is_said_with_others_arrives_in_order(house):
    async with house:
        ana, ben = await walking(house)
        said = 0
        for together in (1, 3, 1, 1, 2, 1, 7, 1):
            for _ in range(together):
                ben.say("send-message", {"wardId": "ana", "text": str(said)})
                said += 1
            # Ana speaks in the same turns of the loop, and each of the two hears both.
            ana.say("update-location", {"latitude": 52.5, "longitude": 13.4})
            await ana.hear("location-acknowledged")
        assert [int((await ben.hear("message"))["data"]["text"]) for _ in range(said)] == list(range(said))


@pytest.mark.gen_test
async def test_a_guardian_must_say_to_which_room(house):
    async with house:
        _, ben = await walking(house)
        ben.say("send-message", {"text": "Hello?"})
        assert (await ben.event())["data"]["code"] == "invalid_payload"
        ben.say("send-message", {"text": "Hello?", "wardId": "ida"})
        assert (await ben.event())["data"]["code"] == "not_in_room"


@pytest.mark.gen_test
async def test_a_ward_may_not_write_to_the_room_of_another(house):
    async with house:
        ana, _ = await walking(house)
        tom = await house.ward("tom")
        tom.say("send-message", {"text": "Boo", "wardId": "ana"})
        assert (await tom.event())["data"]["code"] == "not_allowed"
        ana.say("send-message", {"text": "Here", "wardId": "ana"})
        assert (await ana.hear("message"))["data"]["text"] == "Here"


@OVER_ALL_TRANSPORTS
@pytest.mark.gen_test
async def test_a_fault_of_ours_is_answered_and_logged_without_what_was_said(house, caplog):
    async with house:
        ana = await house.ward("ana")

        def broken(request, update):
            raise ValueError(f"cannot go to {update.latitude}")

        house.live.locate = broken
        with ExpectLog("liveguard.faults", "A fault in .*: ValueError"):
            ana.say("update-location", {"latitude": 12.345678, "longitude": 1}, id="1")
            answer = await ana.event()
        assert (answer["data"]["code"], answer["replyTo"]) == ("internal_error", "1")
        assert "12.345678" not in caplog.text
        ana.say("ping")
        assert (await ana.event())["event"] == "pong"


# -- the handover --------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_what_comes_right_behind_the_request_is_read(house):
    async with house:
        first = event_frame("start-live-session", id="1") + event_frame("update-location", {"latitude": 1}, id="2")
        ana = await house.ward("ana", first=first)
        assert {(await ana.event())["replyTo"] for _ in range(2)} == {"1", "2"}


@pytest.mark.gen_test
async def test_half_a_frame_behind_the_request_is_read_with_its_other_half(house):
    async with house:
        frame = event_frame("ping", {"padding": "x" * 50_000}, id="1")
        ana = await house.ward("ana", first=frame[:30_000])
        ana.raw(frame[30_000:])
        assert (await ana.event())["event"] == "pong"


@pytest.mark.gen_test
async def test_a_client_that_leaves_before_it_is_answered_leaves_nothing_behind(house):
    async with house:
        with house.locked_database():
            asking = [asyncio.ensure_future(house.ward(name)) for name in ("ana", "tom")]
            tom = await house.request("/ws/ward", token=token_of("tom"))
            tom.hang_up()
            await tom.ended()
        ana, _ = await asyncio.gather(*asking)
        ana.say("ping")
        assert (await ana.event())["event"] == "pong"
        assert len(house.connections.of("tom")) == 1


@pytest.mark.gen_test
async def test_small_packets_do_not_wait_for_others(house):
    async with house:
        await house.ward("ana")
        (line,) = house.connections.of("ana")
        sock = line.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@OVER_ALL_TRANSPORTS
@pytest.mark.gen_test
async def test_a_guardian_whose_arrival_fails_is_asked_to_come_again(house):
    async with house:

        async def broken(connection, since):
            raise ValueError

        house.live.guardian_came = broken
        with ExpectLog("liveguard.faults", "A fault in a guardian's arrival: ValueError"):
            ben = await house.guardian("ben")
            assert await ben.closed() == 1011


# -- limits --------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_message_of_64_kib_is_read(house):
    async with house:
        ana = await house.ward("ana")
        ana.frame(TEXT, b'{"event": "ping", "data": "' + b"x" * 65507 + b'"}')
        assert (await ana.event())["event"] == "pong"


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("frames", "code"),
    [
        pytest.param(client_frame(TEXT, b"x" * 65537), 1009, id="a long frame"),
        pytest.param(
            client_frame(TEXT, b"x" * 40000, final=False) + client_frame(CONTINUATION, b"x" * 40000),
            1009,
            id="a long message",
        ),
        pytest.param(client_frame(TEXT, b"{}", masked=False), 1002, id="not masked"),
        pytest.param(client_frame(TEXT, b"\xff"), 1007, id="not UTF-8"),
    ],
)
async def test_who_breaks_the_protocol_is_told_how_and_is_lost(house, frames, code):
    async with house:
        ana, ben = await walking(house)
        ana.raw(frames + b"\x00" * 500_000)
        assert await ana.closed() == code
        await ben.hear("session-interrupted")


@OVER_ALL_TRANSPORTS
@pytest.mark.gen_test
async def test_a_burst_passes_and_more_than_that_is_refused_but_for_a_stop(house):
    async with house:
        # However long the machine takes over it, no further one may pass meanwhile.
        house.connections.limits = replace(house.connections.limits, rate=0.001)
        ana, _ = await walking(house)
        for _ in range(60):
            ana.say("ping")
        ana.say("update-location", {"latitude": 1, "longitude": 1}, id="1")
        answers = [await ana.event() for _ in range(60)]
        assert [answer["event"] for answer in answers[:39]] == ["pong"] * 39  # one more was the start
        assert {answer["data"]["code"] for answer in answers[39:]} == {"rate_limited"}
        refused = await ana.event()
        assert (refused["event"], refused["data"]["code"]) == ("location-error", "rate_limited")
        ana.say("stop-live-session")
        await ana.hear("session-ended")


@OVER_ALL_TRANSPORTS
@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [{"rate_limit": 0}])
async def test_no_rate_is_no_limit(house):
    async with house:
        ana = await house.ward("ana")
        for _ in range(500):
            ana.say("ping")
        assert {(await ana.event())["event"] for _ in range(500)} == {"pong"}


@pytest.mark.slow
@pytest.mark.gen_test
@pytest.mark.parametrize(
    "message",
    [event_frame("ping"), client_frame(TEXT, b"rubbish"), event_frame("stop-live-session")],
    ids=["ping", "rubbish", "stop"],
)
async def test_who_will_not_slow_down_is_closed_with_4429(house, message):
    async with house:
        house.connections.limits = replace(house.connections.limits, patience=0.3)
        ana = await house.ward("ana")
        opcode = TEXT
        while opcode == TEXT:
            ana.raw(message * 50)
            for _ in range(50):
                opcode, payload = await ana.message()
                if opcode != TEXT:
                    break
        assert (opcode, close_code(payload)) == (CLOSE, 4429)


# Ten messages, of which the start is one; the next closes the connection.
HASTY = replace(Limits.of(Settings()), rate=0.001, burst=10, patience=0)


@OVER_ALL_TRANSPORTS
@pytest.mark.gen_test
async def test_a_stop_is_done_even_where_it_is_the_one_message_too_many_that_closes(house):
    async with house:
        house.connections.limits = HASTY
        ana, ben = await walking(house)
        for _ in range(9):
            ana.say("ping")
        ana.say("stop-live-session")
        assert (await ben.hear("session-ended"))["data"]["reason"] == "manual_stop"
        assert not house.connections.of("ana")


@OVER_ALL_TRANSPORTS
@pytest.mark.gen_test
async def test_who_is_closed_for_too_many_messages_has_lost_a_connection_and_may_come_back_and_stop(house):
    async with house:
        house.connections.limits = HASTY
        ana, ben = await walking(house)
        for _ in range(10):
            ana.say("ping")
        await ben.hear("session-interrupted")
        ana = await house.ward("ana")
        await ana.hear("session-started")
        ana.say("stop-live-session")
        await ana.hear("session-ended")
        assert (await ben.hear("session-ended"))["data"]["reason"] == "manual_stop"


@pytest.mark.gen_test
async def test_the_eleventh_connection_of_a_person_is_one_too_many(house):
    async with house:
        mine = [await house.ward("ben") for _ in range(5)] + [await house.guardian("ben") for _ in range(5)]
        eleventh = await house.guardian("ben")
        error = await eleventh.event()
        assert error["data"]["code"] == "rate_limited"
        assert await eleventh.closed() == 4429
        await house.guardian("chloe")
        mine[0].close()
        assert await mine[0].closed() == 1005
        again = await house.guardian("ben")
        await again.hear("guardian:snapshot")


@OVER_ALL_TRANSPORTS
@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [{"max_connections": 1}])
async def test_a_connection_that_is_one_too_many_carries_no_session_on(house):
    async with house:
        ana, ben = await walking(house)
        assert await (await house.ward("ana")).closed() == 4429
        ana.hang_up()
        await ben.hear("session-interrupted")


# -- ends ----------------------------------------------------------------------------------------------------------


@OVER_ALL_TRANSPORTS
@pytest.mark.gen_test
@pytest.mark.parametrize("code", [1000, None])
async def test_a_ward_who_says_good_bye_ends_the_session(house, code):
    async with house:
        ana, ben = await walking(house)
        ana.close(code)
        assert await ana.closed() == code or 1005
        assert (await ben.hear("session-ended"))["data"]["reason"] == "ward_disconnected"


@OVER_ALL_TRANSPORTS
@pytest.mark.gen_test
@pytest.mark.parametrize("code", [1001, 1011, 3000, 4999])
async def test_any_other_code_is_a_loss(house, code):
    async with house:
        ana, ben = await walking(house)
        ana.close(code)
        assert await ana.closed() == code
        assert (await ben.event())["event"] == "session-interrupted"


@OVER_ALL_TRANSPORTS
@pytest.mark.gen_test
@pytest.mark.parametrize("leave", ["hang_up", "reset"])
async def test_no_close_frame_is_a_loss(house, leave):
    async with house:
        ana, ben = await walking(house)
        getattr(ana, leave)()
        assert (await ben.event())["event"] == "session-interrupted"
        ana = await house.ward("ana")
        await ana.hear("session-started")
        assert (await ben.event())["event"] == "session-resumed"


@OVER_ALL_TRANSPORTS
@pytest.mark.gen_test
async def test_a_ward_who_writes_on_an_older_device_is_not_lost(house):
    async with house:
        older = await house.ward("ana")
        ana, ben = await walking(house)
        ana.reset()
        assert (await ben.hear("session-interrupted"))["data"]["wardId"] == "ana"
        # Where it is, a device says by itself.
        older.say("update-location", {"latitude": 52.5, "longitude": 13.4})
        await older.hear("location-acknowledged")
        assert (await ben.event())["event"] == "location-updated"
        older.say("send-message", {"text": "here"}, id="1")
        assert [(await ben.event())["event"] for _ in range(2)] == ["session-resumed", "message"]
        await older.hear("session-resumed")
        assert (await older.event())["replyTo"] == "1"
        older.reset()
        assert (await ben.event())["event"] == "session-interrupted"


@OVER_ALL_TRANSPORTS
@pytest.mark.gen_test
async def test_what_a_ward_said_last_is_done_before_it_leaves(house):
    async with house:
        ben = await house.guardian("ben")
        ana = await house.ward("ana")
        ana.say("start-live-session")
        ana.say("stop-live-session")
        ana.close()
        assert (await ben.hear("guardian:session-started"))["data"]["wardId"] == "ana"
        assert (await ben.event())["data"]["reason"] == "manual_stop"


@pytest.mark.gen_test
async def test_nothing_behind_a_close_frame_is_heard(house):
    async with house:
        ana, ben = await walking(house)
        ana.raw(client_frame(CLOSE, b"\x03\xe9") + event_frame("stop-live-session"))
        assert await ana.closed() == 1001
        assert (await ben.event())["event"] == "session-interrupted"
        await (await house.ward("ana")).hear("session-started")
        assert (await ben.event())["event"] == "session-resumed"


@OVER_ALL_TRANSPORTS
@pytest.mark.gen_test
async def test_a_guardian_who_leaves_is_not_counted_any_more(house):
    async with house:
        ana, ben = await walking(house)
        ben.hang_up()
        changed = await ana.hear("guardians-changed")
        assert changed["data"]["connectedGuardians"] == 0


@OVER_ALL_TRANSPORTS
@pytest.mark.gen_test
async def test_when_the_server_closes_everybody_reads_why(house):
    async with house:
        ana, ben = await walking(house)
        house.connections.close(1012)
        assert await asyncio.gather(ana.closed(), ben.closed()) == [1012, 1012]
        ana.close(1012)
        ben.close(1012)
        await house.wires.all_closed()
        assert len(house.connections) == len(house.wires) == 0


@pytest.mark.slow
@OVER_WEBSOCKETS
@pytest.mark.gen_test
async def test_who_does_not_answer_a_close_frame_is_cut_off(house):
    async with house:
        ana, _ = await walking(house)
        house.connections.close(1012)
        assert await ana.closed() == 1012
        await asyncio.wait_for(house.wires.all_closed(), 4)


@OVER_ALL_TRANSPORTS
@pytest.mark.gen_test
async def test_an_account_that_is_disabled_is_told_so_and_shut_out(house):
    async with house:
        ana, ben = await walking(house)
        await house.people.accounts.disable("ana")
        assert (await ana.hear("session-error"))["data"]["code"] == "account_inactive"
        assert await ana.closed() == 4401
        heard = [await ben.event()]
        while heard[-1]["event"] != "session-ended":
            heard.append(await ben.event())
        assert heard[-1]["data"]["reason"] == "account_disabled"
        assert "session-interrupted" not in [event["event"] for event in heard]


@OVER_ALL_TRANSPORTS
@pytest.mark.gen_test
async def test_all_that_connections_hold_goes_with_them(house):
    async with house:
        ana, ben = await walking(house)
        ben.reset()
        await ana.hear("guardians-changed")
        ana.close()
        await ana.closed()
        await house.wires.all_closed()
        assert len(house.connections) == len(house.wires) == 0
        assert len(house.connections.sweep) == 0
