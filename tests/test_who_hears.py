"""Who hears what, and who may say what: each event for each kind of person, over both transports.

The rows are compared with the vocabulary of the protocol, so that a new event without a row fails.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from lines import Client
from server import House, Peer, house, token_of
from socketio_lines import WebSocketClient

from liveguard.events import CLIENT_EVENTS, SERVER_EVENTS

NATIVE, SOCKETIO = "native", "Socket.IO"
NOBODY = "anonymous"
NOTE, TEXT, PLACE = "with the red umbrella", "nearly there", {"latitude": 53.551234, "longitude": 9.931234}
SECRETS = ("ana@example.org", NOTE, TEXT, "53.551234")

# Ben guards Ana to the end; Chloe is revoked and Dora disabled right after the start. To all others she is a stranger.
STATUSES = {"dora": "accepted", "pia": "pending", "dan": "declined", "rita": "revoked"}
STRANGERS = ("mallory", "pia", "dan", "rita", "tom", "alex")
ALL = ("ana", "ben", "chloe", "dora", *STRANGERS, NOBODY)
KNOWN = {"ben", "chloe", "dora", *STRANGERS}

HEARS: dict[str, set[str]] = {
    "session-started": {"ana"},
    "guardian:session-started": {"ben", "chloe", "dora"},
    "session-ended": {"ana", "ben"},
    "session-error": {"ana", "dora", NOBODY},
    "location-updated": {"ben"},
    "location-acknowledged": {"ana"},
    "location-error": {"ana"},
    "message": {"ana", "ben"},
    "guardians-changed": {"ana"},
    "session-interrupted": {"ben"},
    "session-resumed": {"ana", "ben"},
    "guardian:snapshot": KNOWN,
    "guardian:access-revoked": {"chloe"},
    "token-refreshed": {"ana"},
    "pong": {"ana"},
}

# What the others are told who say it of Ana, or in her place; the name of the answer, or the code of the refusal.
SAYS: dict[str, dict[str, dict[str, str]]] = {
    "stop-live-session": {NATIVE: {"": "not_allowed"}, SOCKETIO: {"": "no_active_session"}},
    "update-location": {NATIVE: {"": "not_allowed"}, SOCKETIO: {"": "no_active_session"}},
    "send-message": {NATIVE: {"": "not_in_room", "ben": "message"}, SOCKETIO: {"": "not_in_room", "ben": "message"}},
    "refresh-token": {NATIVE: {"": "invalid_token"}, SOCKETIO: {"": "invalid_token"}},
    "ping": {NATIVE: {"": "pong"}, SOCKETIO: {"": "pong"}},
    "start-live-session": {NATIVE: {"": "not_allowed"}, SOCKETIO: {"": "session-started"}},  # one of their own
}
DATA: dict[str, Any] = {
    "stop-live-session": None,
    "update-location": {**PLACE, "wardId": "ana"},
    "send-message": {"text": "I am somebody else", "wardId": "ana"},
    "refresh-token": {"token": token_of("ana")},
    "ping": None,
    "start-live-session": {"wardId": "ana"},
}


def test_each_event_has_a_row_and_each_row_an_event() -> None:
    assert set(HEARS) == set(SERVER_EVENTS)
    assert set(SAYS) == set(DATA) == set(CLIENT_EVENTS)


class World:
    """All of them are connected in every way in which they can be, and Ana is on her way."""

    def __init__(self, home: House, transport: str) -> None:
        self.home = home
        self.transport = transport
        self.peers: dict[str, list[Peer]] = {}

    async def make(self) -> None:
        people = self.home.server.people
        for name, status in STATUSES.items():
            await people.accounts.add(f"{name}@example.org", first_name=name.title(), user_id=name)
            await people.guardianships.put("ana", name, status)  # type: ignore[arg-type]
        for name in ALL:
            self.peers[name] = await self.connect(name)
            if name in KNOWN and self.transport == NATIVE:
                await self.peers[name][-1].spoken_to()
        for peer in self.peers[NOBODY]:
            assert await peer.closed() == 4401
        self.ana = self.peers["ana"][0]
        started = await self.ana.answer("start-live-session", {"note": NOTE})
        self.session_id: str = started["data"]["sessionId"]
        for name in ("ben", "chloe", "dora"):
            await self.peers[name][-1].expect("guardian:session-started")

    async def connect(self, name: str) -> list[Peer]:
        token = None if name == NOBODY else token_of(name)
        if self.transport == SOCKETIO:
            return [await self._peer(await WebSocketClient.open(self.home.port, "", token=token))]
        paths = ("/ws/ward",) if name == "ana" else ("/ws/ward", "/ws/guardian")
        return [await self._peer(await Client.open(self.home.port, path, token=token)) for path in paths]

    async def _peer(self, client: Client) -> Peer:
        await client.answer()
        peer = Peer(client)
        self.home.peers.append(peer)
        return peer

    async def put_out(self) -> None:
        """Chloe is revoked, and Dora disabled."""
        pairs = (await self.home.fetch("/api/guardians", who="ana")).json["guardians"]
        pair = next(pair for pair in pairs if "chloe@example.org" in json.dumps(pair))
        assert (await self.home.fetch(f"/api/guardians/{pair['id']}", "DELETE", who="ana")).status in (200, 204)
        await self.peers["chloe"][-1].expect("guardian:access-revoked")
        await self.home.server.people.accounts.disable("dora")
        for peer in self.peers["dora"]:
            assert await peer.closed() == 4401

    async def walk(self) -> None:
        """Everything happens that the others may not hear of."""
        ana, ben = self.ana, self.peers["ben"][-1]
        await ana.answer("start-live-session")
        await ana.answer("update-location", PLACE)
        await ana.answer("update-location", {"latitude": 91, "longitude": 0})
        await ana.answer("send-message", {"text": TEXT})
        await ana.answer("refresh-token", {"token": token_of("ana", 7200)})
        await ana.answer("ping")
        ana.lose()
        await ben.expect("session-interrupted")
        (again,) = await self.connect("ana")
        self.peers["ana"].append(again)
        await again.expect("session-resumed")
        await again.answer("stop-live-session")
        await ben.expect("session-ended")

    async def heard(self) -> dict[str, set[str]]:
        """By whom each event was heard, what they had asked for themselves left out; and that no secret came along."""
        found: dict[str, set[str]] = {name: set() for name in SERVER_EVENTS}
        for name, peers in self.peers.items():
            for peer in peers:
                if peer.code is None:
                    await peer.all_so_far()
                for event in peer.past + peer.heard:
                    if name == "ana" or "replyTo" not in event:
                        found[event["event"]].add(name)
                    if name in (*STRANGERS, NOBODY):
                        assert not any(secret in json.dumps(event) for secret in (*SECRETS, self.session_id)), event
        return found


@pytest.mark.slow
@pytest.mark.gen_test
@pytest.mark.parametrize("transport", [NATIVE, SOCKETIO])
async def test_each_hears_what_the_table_says_and_nothing_else(tmp_path: Path, transport: str) -> None:
    async with house(tmp_path) as home:
        world = World(home, transport)
        await world.make()
        await world.put_out()
        await world.walk()
        expected = HEARS if transport == NATIVE else {**HEARS, "guardian:snapshot": set()}
        assert await world.heard() == expected


@pytest.mark.slow
@pytest.mark.gen_test
@pytest.mark.parametrize("transport", [NATIVE, SOCKETIO])
async def test_each_is_answered_as_the_table_says_and_ana_goes_on(tmp_path: Path, transport: str) -> None:
    async with house(tmp_path) as home:
        world = World(home, transport)
        await world.make()
        await world.put_out()
        await world.ana.all_so_far()
        for event, rows in SAYS.items():
            row = rows[transport]
            answers = {}
            for name in ("ben", "chloe", *STRANGERS):
                answer = await world.peers[name][-1].answer(event, DATA[event])
                answers[name] = answer["data"].get("code", answer["event"])
            assert answers == {name: row.get(name, row[""]) for name in answers}, event
        assert home.server.live.sessions.has_active_session("ana")
        assert await world.ana.all_so_far() == ["message"]
