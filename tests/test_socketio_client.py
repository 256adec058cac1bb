"""npm's own socket.io-client, unmodified, over each of its transports, together with native clients."""

import asyncio
from pathlib import Path
from typing import Any

import jwt
import pytest
from node_clients import STRANGE, network, node, strange
from server import House, house, token_of

pytestmark = [pytest.mark.node, pytest.mark.slow]

TRANSPORTS = {"websocket": ["websocket"], "polling": ["polling"], "upgrade": ["polling", "websocket"]}
over_each_transport = pytest.mark.parametrize("transports", TRANSPORTS.values(), ids=list(TRANSPORTS))
HERE = {"latitude": 53.5503, "longitude": 9.992, "battery": 64}


async def name_of_transport(peer: Any) -> str:
    peer.client.order("transport")
    return str((await peer.expect("transport"))["now"])


async def ask(peer: Any, event: str, data: Any = None) -> Any:
    """What the acknowledgement of an event says; the answer itself comes as well."""
    acknowledged = (await peer.answer(event, data))["data"]
    assert acknowledged["ok"] is ("error" not in acknowledged["event"])
    assert await peer.expect(acknowledged["event"]) == acknowledged["data"]
    return acknowledged


async def all_wait(home: House) -> None:
    """Whoever polls is waiting for news: the loss of somebody who is not, is noticed later, by the keep-alive."""
    for line in home.server.socketio.eio.sockets.values():
        while not line.upgraded and line._poll is None:
            await asyncio.sleep(0)  # nobody says that a poll has come


@over_each_transport
@pytest.mark.gen_test
async def test_the_whole_story_cut_in_the_middle(tmp_path: Path, transports: list[str]) -> None:
    async with (
        house(tmp_path, allowed_hosts=(("127.0.0.1", None),)) as home,
        network(home.port) as (way, url),
        node() as people,
    ):
        ben = await home.guardian("ben")
        await ben.expect("guardian:snapshot")
        chloe = await people.come("chloe", url, transports)
        ana = await people.come("ana", url, transports)
        assert await name_of_transport(ana) == transports[-1]

        started = await ask(ana, "start-live-session", {"note": "Walking home"})
        assert started["event"] == "session-started"
        session = started["data"]["sessionId"]
        for guardian in (ben, chloe):
            told = await guardian.expect("guardian:session-started")
            assert (told["sessionId"], told["metadata"]) == (session, {"note": "Walking home"})
        assert (await ask(ana, "start-live-session"))["data"]["code"] == "session_already_active"
        assert (await ask(ana, "update-location", HERE))["data"]["guardianCount"] == 2
        ana.say("update-location", HERE)
        for guardian in (ben, chloe):
            for _ in range(2):
                assert (await guardian.expect("location-updated"))["location"]["battery"] == 64
        ana.say("send-message", {"text": "Nearly home"})
        chloe.say("send-message", {"text": "I see you", "wardId": "ana"})
        ben.say("send-message", {"text": "So do I", "wardId": "ana"})
        for peer in (ana, ben, chloe):
            texts = {(await peer.expect("message"))["text"] for _ in range(3)}
            assert texts == {"Nearly home", "I see you", "So do I"}

        await all_wait(home)
        way.cut()
        await ben.expect("session-interrupted", sessionId=session)
        await ben.expect("session-resumed", sessionId=session)
        for peer in (ana, chloe):
            await peer.expect("disconnect")
            await peer.expect("connect")
        assert (await ana.expect("session-started", sessionId=session))["startTime"] == started["data"]["startTime"]
        await chloe.expect("guardian:session-started", sessionId=session)
        assert (await ask(ana, "update-location", HERE))["event"] == "location-acknowledged"
        await chloe.expect("location-updated")

        assert (await ask(ana, "stop-live-session"))["data"]["reason"] == "manual_stop"
        for guardian in (ben, chloe):
            assert (await guardian.expect("session-ended", sessionId=session))["reason"] == "manual_stop"
        assert (await ask(ana, "stop-live-session"))["data"]["code"] == "no_active_session"

        ana.say("start-live-session")
        session = (await ben.expect("guardian:session-started"))["sessionId"]
        ana.client.close()
        for guardian in (ben, chloe):
            assert (await guardian.expect("session-ended", sessionId=session))["reason"] == "ward_disconnected"


@pytest.mark.parametrize("transports", [["websocket"], ["polling"]], ids=["websocket", "polling"])
@pytest.mark.gen_test
async def test_whoever_finds_no_room_comes_back_by_itself_until_there_is(tmp_path: Path, transports: list[str]) -> None:
    async with house(tmp_path, max_connections=2) as home, node() as people:
        others = [await home.guardian("ben") for _ in range(2)]
        for other in others:
            await other.expect("guardian:snapshot")
        ben = await people.come("ben", home.url, transports)
        for _ in range(2):
            assert (await ben.expect("session-error"))["code"] == "rate_limited"
            await ben.expect("disconnect")
            await ben.expect("connect")
        await others[0].leave()
        async with asyncio.timeout(5):
            while len(home.server.live.audience.present.connections("ben")) < 2 or len(home.server.connections) < 2:
                await asyncio.sleep(0)  # nobody tells a guardian over Socket.IO of their arrival
        ana = await home.ward("ana")
        ana.say("start-live-session")
        await ben.expect("guardian:session-started")


@over_each_transport
@pytest.mark.gen_test
async def test_rubbish_in_every_position_is_answered_clearly(tmp_path: Path, transports: list[str]) -> None:
    rubbish: list[Any] = [
        None, True, 0, 7, -1.5, 1e300, "", "x", "\0", [], [1], {}, {"a": 1}, [[]], {"token": {}}, {"text": []},
        {"latitude": "1", "longitude": "2"}, {"latitude": strange("NaN"), "longitude": 1}, "x" * 5000,
        {"text": strange("bytes")}, {"__proto__": 1}, *map(strange, STRANGE),
    ]  # fmt: skip
    deep: Any = 1
    for _ in range(30):
        deep = [deep]
    async with house(tmp_path, rate_limit=0) as home, node() as people:
        ana = await people.come("ana", home.url, transports)
        for event in ("update-location", "send-message", "refresh-token", "dance"):
            for args in [[], *([one] for one in [*rubbish, deep]), [{}, {}], [None, None], [1, "2", [3]]]:
                ana.client.emit(event, *args, id="asked")
                acknowledged = await ana.expect("acknowledged", ok=False)
                answer = await ana.expect(acknowledged["event"])
                assert acknowledged["event"] in ("session-error", "location-error")
                assert acknowledged["data"] == answer
                assert answer["code"] in ("invalid_payload", "invalid_message", "unknown_event"), (event, args)
                assert "Traceback" not in answer["message"]
        for one in [*rubbish, deep]:
            ana.client.emit("start-live-session", one, 1, id="asked")
            answer = await ana.expect("session-error")
            assert answer["code"] in ("invalid_payload", "invalid_message"), one
        for name in (7, None, [], {}, "", strange("bytes")):
            ana.client.emit(name, {}, id="asked")
            assert (await ana.expect("session-error"))["code"] in ("invalid_message", "unknown_event"), name
        for one in [*rubbish, deep]:
            ana.client.emit("stop-live-session", one)
            answer = await ana.expect("session-error")
            assert answer["code"] in ("no_active_session", "invalid_message"), one
        assert (await ask(ana, "ping"))["event"] == "pong"
        assert not [event for event in (*ana.heard, *ana.past) if event["event"] == "disconnect"]


@over_each_transport
@pytest.mark.gen_test
async def test_whoever_is_not_let_in_hears_why(tmp_path: Path, transports: list[str]) -> None:
    async with house(tmp_path) as home, node() as people:
        await home.server.people.accounts.disable("tom")
        forged = jwt.encode({"sub": "ana", "exp": 2e9}, "another secret, just as long as ours", "HS256")
        for place, (auth, message) in enumerate(
            [
                (None, "Authentication required"), ({}, "Authentication required"), (7, "Authentication required"),
                ({"token": None}, "Authentication required"), ([], "Authentication required"),
                ({"token": token_of("ana", -1)}, "Token expired"), ({"token": "rubbish"}, "Invalid token"),
                ({"token": forged}, "Invalid token"), ({"token": 7}, "Invalid token"),
                ({"token": token_of("nobody")}, "User not found"), ({"token": token_of("tom")}, "Account inactive"),
            ]
        ):  # fmt: skip
            how = {} if auth is None else {"auth": auth}
            somebody = await people.connect(f"somebody {place}", home.url, transports=transports, **how)
            assert (await somebody.expect("connect_error"))["message"] == message, auth
            assert not [event for event in somebody.past if event["event"] == "disconnect"], auth
            somebody.client.close()
        await home.server.wires.all_closed()
        assert not home.server.socketio.eio.sockets


@over_each_transport
@pytest.mark.gen_test
async def test_who_is_shut_out_does_not_come_back_and_who_was_lost_does(tmp_path: Path, transports: list[str]) -> None:
    async with house(tmp_path) as home, node() as people:
        ana = await people.come("ana", home.url, transports)
        chloe = await people.come("chloe", home.url, ["polling"])
        ida = await people.connect("ida", home.url, auth={"token": token_of("ida", 1)}, transports=transports)
        await ida.expect("connect")
        await ida.expect("session-error", message="Token expired")
        await ida.expect("disconnect", reason="io server disconnect")
        ana.client.emit("start-live-session", {}, id="asked")
        await ana.expect("session-started")
        await home.server.people.accounts.disable("ana")
        await ana.expect("session-ended", reason="account_disabled")
        await ana.expect("session-error", message="Account inactive")
        await ana.expect("disconnect", reason="io server disconnect")
        home.server.connections.close(1012)
        await chloe.expect("disconnect", reason="transport close")
        await chloe.expect("connect")
