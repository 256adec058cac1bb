"""Clients that read slowly or not at all: what they cost, what others notice, and what they hear when they are back."""

import asyncio
import errno
import socket
from pathlib import Path

import pytest
from exchange import ON_BOTH_LOOPS, OVER_ALL_TRANSPORTS, OVER_WEBSOCKETS, Exchange
from lines import client_frame, event_frame
from socketio_lines import Talk
from tornado.ioloop import IOLoop
from tornado.testing import ExpectLog

from liveguard.events import Message, Notice, Sender
from liveguard.web import wire
from liveguard.web.native import PORTION, Backlog, frame_of
from liveguard.web.websocket import CONTINUATION, PONG, TEXT

pytestmark = ON_BOTH_LOOPS

LONG = "x" * 2000
MOST_UNSENT = 256 * 1024


@pytest.fixture
def transport() -> str:
    return "native"


@pytest.fixture
def house(io_loop: IOLoop, tmp_path: Path, transport: str) -> Exchange:
    return Exchange(tmp_path, transport, rate_limit=0)


async def walking(house):
    ana = await house.ward("ana")
    ana.say("start-live-session")
    await ana.hear("session-started")
    return ana


async def talk_until_gone(ana, line):
    """Ana writes to her guardians until one of them is given up. Returns how often, and the most that waited for it."""
    written = most = 0
    while not line.closing:
        for _ in range(20):
            ana.say("send-message", {"text": LONG})
        for _ in range(20):
            await ana.hear("message")
        written += 20
        most = max(most, line.unsent)
    return written, most


def notice(number, text=LONG):
    """Something that a guardian may hear."""
    sender = Sender("ana", "Ana", "Winter", "ward")
    return Notice(Message(session_id="1", ward_id="ana", sender=sender, text=f"{number} {text}", timestamp="now"))


def number_in(event):
    return int(event["data"]["text"].partition(" ")[0])


# -- who does not read ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_guardian_who_does_not_read_is_given_up_and_the_others_hear_everything(house):
    async with house:
        ben, chloe = await house.guardian("ben", receive_buffer=4096), await house.guardian("chloe")
        await ben.hear("guardian:snapshot")
        ana = await walking(house)
        (line,) = house.connections.of("ben")
        heard = asyncio.ensure_future(messages_until_the_end(chloe))
        written, most = await talk_until_gone(ana, line)
        assert most <= MOST_UNSENT
        assert len(house.connections) == 2
        ana.say("stop-live-session")
        assert await heard == written
        assert await ben.closed() == 1013


async def messages_until_the_end(guardian):
    count = 0
    while (event := await guardian.event())["event"] != "session-ended":
        count += event["event"] == "message"
    return count


@pytest.mark.gen_test
@pytest.mark.parametrize("alone_first", [True, False])
async def test_what_goes_out_at_once_does_not_overtake_what_waits_for_the_end_of_the_turn(house, alone_first):
    async with house:
        chloe, ben = await house.guardian("chloe"), await house.guardian("ben")
        ana = await walking(house)
        (anas,), (bens,) = house.connections.of("ana"), house.connections.of("ben")
        await ben.hear("guardian:session-started")
        turn = [(bens, ["1", "2"]), (anas, ["3"]), (bens, ["4"])]
        for line, texts in turn if not alone_first else [(anas, ["0"]), *turn]:
            said = [{"text": text, "wardId": "ana"} for text in texts]
            line.data_received(b"".join(event_frame("send-message", data) for data in said))
        order = list("01234" if alone_first else "1234")
        for line in (ana, ben, chloe):
            assert [(await line.hear("message"))["data"]["text"] for _ in order] == order


@pytest.mark.gen_test
async def test_what_goes_out_at_once_does_not_overtake_what_a_newcomer_must_hear_first(house):
    async with house:
        ben = await house.guardian("ben", receive_buffer=4096)
        await ben.hear("guardian:snapshot")
        await walking(house)
        (anas,), (bens,) = house.connections.of("ana"), house.connections.of("ben")
        # The kernel takes only the beginning, and a moment later it would take more.
        bens.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
        bens.catch_up([notice(1, LONG * 50)])
        assert bens.unsent
        bens.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 200_000)
        anas.data_received(event_frame("send-message", {"text": "2"}))
        assert [number_in(await ben.hear("message")) for _ in range(2)] == [1, 2]


class Failing:
    """A socket that cannot send just now."""

    def __init__(self, fault):
        self.fault = fault

    def send(self, data):
        raise self.fault


async def heard_in_spite_of(house, fault, *, together):
    """Ana says so many things at once while nothing can be sent to Ben, and then two more, each in a turn of its own.
    Returns what still comes to Ben until his connection ends, and what Chloe hears."""
    ben, chloe = await house.guardian("ben"), await house.guardian("chloe")
    await ben.hear("guardian:snapshot")
    await walking(house)
    await ben.hear("guardian:session-started")
    (anas,), (bens,) = house.connections.of("ana"), house.connections.of("ben")
    said = [event_frame("send-message", {"text": str(number)}) for number in range(together + 2)]
    working, bens.socket = bens.socket, Failing(fault)
    anas.data_received(b"".join(said[:together]))
    bens.flush()
    bens.socket = working
    for frame in said[together:]:
        anas.data_received(frame)
        await asyncio.sleep(0)  # a turn of the server's loop, which is this one: what is told in it is what is tried
    return await ben.rest(), [int((await chloe.hear("message"))["data"]["text"]) for _ in said]


@pytest.mark.gen_test
@pytest.mark.parametrize("together", [1, 3])
async def test_nothing_follows_what_could_not_be_sent(house, together):
    async with house:
        fault = OSError(errno.ENOBUFS, "No buffer space available")
        heard = await heard_in_spite_of(house, fault, together=together)
        assert heard == (b"", list(range(together + 2)))


@pytest.mark.gen_test
@pytest.mark.parametrize("together", [1, 2])
async def test_a_fault_in_sending_to_one_keeps_nothing_from_the_others(house, together):
    async with house:
        ben = await house.guardian("ben")
        chloe = await house.guardian("chloe")
        ana = await walking(house)
        await ben.hear("guardian:session-started")
        (bens,) = house.connections.of("ben")
        bens.socket = Failing(RuntimeError("not this one"))
        said = [event_frame("send-message", {"text": str(number)}) for number in range(together)]
        with ExpectLog("liveguard.faults", "A fault in a wire: RuntimeError"):
            ana.raw(b"".join(said))
            assert await ben.closed() == 1006
        ana.say("send-message", {"text": "last"})
        heard = [(await chloe.hear("message"))["data"]["text"] for _ in range(together + 1)]
        assert heard == [*map(str, range(together)), "last"]


@pytest.mark.slow
@pytest.mark.gen_test
async def test_who_was_too_slow_misses_nothing_when_they_are_back(house):
    async with house:
        slow = await house.guardian("ben", receive_buffer=4096)
        await slow.hear("guardian:snapshot")
        ana = await walking(house)
        await talk_until_gone(ana, house.connections.of("ben")[0])
        ana.say("stop-live-session")
        ended = await ana.hear("session-ended")
        ben = await house.guardian("ben")
        await ben.hear("guardian:snapshot")
        assert (await ben.event())["data"]["sessionId"] == ended["data"]["sessionId"]


@pytest.mark.slow
@pytest.mark.gen_test
async def test_who_never_reads_again_is_cut_off(house, monkeypatch):
    monkeypatch.setattr(wire, "LINGER", 0.1)
    monkeypatch.setattr(wire, "LINGER_UNSENT", 0.3)
    async with house:
        await house.guardian("ben", receive_buffer=4096)
        ana = await walking(house)
        (line,) = house.connections.of("ben")
        await talk_until_gone(ana, line)
        ana.close()
        await asyncio.wait_for(house.wires.all_closed(), 2)


@pytest.mark.slow
@pytest.mark.gen_test
async def test_who_asks_and_does_not_read_the_answers_is_given_up_too(house):
    async with house:
        ana = await house.ward("ana", receive_buffer=4096)
        (line,) = house.connections.of("ana")
        while not line.closing:
            for _ in range(100):
                ana.say("ping", id="x" * 64)
            await ana.drained()
            await asyncio.sleep(0)  # the server's turn, for it is in the same loop
        assert line.unsent <= MOST_UNSENT
        assert await ana.closed() == 1013


PIECES = (
    client_frame(TEXT, b'{"event":', final=False)
    + client_frame(CONTINUATION, final=False) * 5000
    + client_frame(CONTINUATION, b'"ping"}')
)


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("much", "answers"),
    [(event_frame("ping") * 5000, 5000), (event_frame("ping", "x" * 60_000) * 120, 120), (PIECES, 1)],
    ids=["many", "large", "pieces"],
)
@pytest.mark.slow
async def test_who_sends_much_at_once_lets_others_have_their_turn(house, much, answers):
    async with house:
        ana = await house.ward("ana")
        turns = 0

        async def count():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)  # counts the turns of the loop

        counting = asyncio.ensure_future(count())
        ana.raw(much)
        assert {(await ana.event())["event"] for _ in range(answers)} == {"pong"}
        counting.cancel()
        assert turns >= 5000 / wire.MOST_AT_ONCE


# -- who comes late ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_newcomer_gets_all_that_it_must_hear_at_its_own_pace_and_then_what_is_new(house):
    async with house:
        ben = await house.guardian("ben", receive_buffer=4096)
        await ben.hear("guardian:snapshot")
        (line,) = house.connections.of("ben")
        line.catch_up([notice(number) for number in range(4000)])
        assert 0 < line.unsent <= 2 * PORTION
        for number in range(4000, 4100):
            line.send(notice(number))
        assert [number_in(await ben.event()) for _ in range(4100)] == list(range(4100))
        line.send(notice(4100))
        assert number_in(await ben.event()) == 4100


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_single_message_may_be_of_any_size(house):
    async with house:
        ben = await house.guardian("ben", receive_buffer=4096)
        await ben.hear("guardian:snapshot")
        (line,) = house.connections.of("ben")
        line.catch_up([notice(1, "x" * 5_000_000), notice(2)])
        assert [number_in(await ben.event()) for _ in range(2)] == [1, 2]
        line.send(notice(3, "x" * 5_000_000))
        assert number_in(await ben.event()) == 3


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_newcomer_who_does_not_read_is_given_up_as_well(house):
    async with house:
        ben = await house.guardian("ben", receive_buffer=4096)
        await ben.hear("guardian:snapshot")
        (line,) = house.connections.of("ben")
        line.catch_up([notice(number) for number in range(4000)])
        size, sent = len(frame_of(notice(0))), 0
        while not line.closing:
            line.send(notice(0))
            sent += 1
        assert sent == MOST_UNSENT // size + 1
        assert await ben.closed() == 1013


def test_a_backlog_is_taken_in_portions_with_the_newest_of_the_journal_in_each(make_loop):
    backlog = Backlog([(0, b"a"), (3, b"bb"), (5, b"c"), (4, b"dddd")])
    assert backlog.take(2) == (3, b"abb")
    assert backlog.add(6, b"ee", 2)
    assert not backlog.add(7, b"f", 2)
    assert [backlog.take(5), backlog.take(5), len(backlog)] == [(5, b"cdddd"), (7, b"eef"), 0]


# -- what counts as heard ------------------------------------------------------------------------------------------


async def hearing_of_an_end(house):
    """Ben has heard of the end of a session."""
    ben = await house.guardian("ben")
    await ben.hear("guardian:snapshot")
    ana = await walking(house)
    ana.say("stop-live-session")
    ended = await ana.hear("session-ended")
    await ben.hear("session-ended")
    return ben, ended["data"]["sessionId"]


@OVER_ALL_TRANSPORTS
@pytest.mark.gen_test
async def test_what_was_followed_by_a_sign_of_life_was_heard(house):
    async with house:
        ben, _ = await hearing_of_an_end(house)
        ben.say("ping")
        await ben.hear("pong")
        ben.reset()
        ben = await house.guardian("ben")
        assert (await ben.event())["event"] == "guardian:snapshot"
        ben.say("ping")
        assert (await ben.event())["event"] == "pong"


@OVER_ALL_TRANSPORTS
@pytest.mark.gen_test
async def test_what_was_followed_by_a_good_bye_was_heard(house):
    async with house:
        ben, _ = await hearing_of_an_end(house)
        ben.close(1000)
        await ben.closed()
        ben = await house.guardian("ben")
        assert (await ben.event())["event"] == "guardian:snapshot"
        ben.say("ping")
        assert (await ben.event())["event"] == "pong"


@OVER_WEBSOCKETS  # a poll is a sign of life
@pytest.mark.gen_test
async def test_what_was_followed_by_nothing_is_told_again(house):
    async with house:
        ben, session_id = await hearing_of_an_end(house)
        ben.reset()
        ben = await house.guardian("ben")
        assert (await ben.event())["event"] == "guardian:snapshot"
        again = await ben.event()
        assert (again["event"], again["data"]["sessionId"]) == ("session-ended", session_id)


@OVER_WEBSOCKETS  # a poll says itself what has arrived
@pytest.mark.gen_test
async def test_a_sign_of_life_from_before_says_nothing_of_what_has_not_arrived_yet(house):
    async with house:
        ben = await house.guardian("ben", receive_buffer=4096)
        await ben.hear("guardian:snapshot")
        ben.leave_unread()
        ana = await walking(house)
        for _ in range(30):
            ana.say("send-message", {"text": LONG})
        ana.say("stop-live-session")
        ended = await ana.hear("session-ended")
        (line,) = house.connections.of("ben")
        before = line.last_heard
        # It was under way while the news were still on their way to him, and his line is lost behind it.
        ben.raw(client_frame(TEXT, b"3") if isinstance(ben, Talk) else client_frame(PONG))
        while line.last_heard == before:
            await asyncio.sleep(0)  # the server's turn, for it is in the same loop
        ben.reset()
        ben = await house.guardian("ben")
        await ben.hear("guardian:snapshot")
        ben.say("ping")
        again = await ben.event()
        assert (again["event"], again["data"].get("sessionId")) == ("session-ended", ended["data"]["sessionId"])


@OVER_WEBSOCKETS  # a poll is a sign of life
@pytest.mark.gen_test
async def test_what_was_told_on_return_is_not_told_a_third_time(house):
    async with house:
        ben, _ = await hearing_of_an_end(house)
        ben.reset()
        ben = await house.guardian("ben")
        await ben.hear("session-ended")
        ben.say("ping")
        await ben.hear("pong")
        ben.reset()
        ben = await house.guardian("ben")
        assert (await ben.event())["event"] == "guardian:snapshot"
        ben.say("ping")
        assert (await ben.event())["event"] == "pong"


@pytest.mark.gen_test
async def test_what_a_ward_hears_says_nothing_of_what_it_knows_as_a_guardian(house):
    async with house:
        ben, session_id = await hearing_of_an_end(house)
        ben.reset()
        as_ward = await house.ward("ben")
        as_ward.say("start-live-session")
        await as_ward.hear("session-started")
        as_ward.say("stop-live-session")
        await as_ward.hear("session-ended")
        as_ward.close()
        await as_ward.closed()
        ben = await house.guardian("ben")
        await ben.hear("guardian:snapshot")
        assert (await ben.event())["data"]["sessionId"] == session_id
