"""Wards and guardians in a storm: programs that come, go and come back, each with its own record of what it was told.

What a record says is held against what comes later: a program that finds the server contradicting its record fails.
"""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random
from typing import Any

from lines import Client
from server import Process, token_of

from liveguard.web.websocket import CLOSE, close_code

PLACE = {"latitude": 53.55, "longitude": 9.93, "accuracy": 5.0}

GONE = (ConnectionError, asyncio.IncompleteReadError, IndexError)
"""What a program finds where the server was killed, before an answer, in the middle of one, or in an answer's head."""

Said = Callable[[], None]


class Line(Client):
    """A connection that a server which is told to stop ends like one that is killed."""

    async def message(self) -> tuple[int, bytes]:
        opcode, payload = await super().message()
        if opcode == CLOSE and close_code(payload) == 1012:
            raise ConnectionResetError
        return opcode, payload


@asynccontextmanager
async def connection(home: Process, path: str, name: str) -> AsyncIterator[Client]:
    """Somebody's connection. At the end it is lost, where it was not closed by then."""
    client = await Line.open(home.port, path, token=token_of(name))
    try:
        await client.answer()
        assert client.status == 101, client.status
        yield client
    finally:
        client.hang_up()


class Ward:
    """A ward's program. ``running`` is the session that was confirmed and not stopped since."""

    def __init__(self, name: str, chance: Random, said: Said) -> None:
        self.name = name
        self.running: str | None = None
        self.started: dict[str, str] = {}  # each confirmed session, and its start
        self.stopped: dict[str, int] = {}  # each confirmed stop, and its seq
        self.longest_wait = 0.0  # for an answer
        self._chance = chance
        self._said = said
        self._asked: str | None = None  # what was asked for and never answered
        self._ids = itertools.count()

    async def live(self, home: Process) -> None:
        """Do this and that until the server is gone."""
        try:
            while True:
                async with self.connected(home) as client:
                    await self.come_back(client)
                    while self._chance.random() > 0.1:
                        await self.do_something(client)
                    if self._chance.random() < 0.3:
                        # Gone in the middle of a sentence; what became of it will be seen.
                        self._asked = "stop-live-session" if self.running else "start-live-session"
                        client.say(self._asked)
                        self._said()
        except GONE:
            pass

    def connected(self, home: Process) -> AbstractAsyncContextManager[Client]:
        return connection(home, "/ws/ward", self.name)

    async def come_back(self, client: Client) -> None:
        """What runs now is what the record says; an answer that was never heard may have been either."""
        heard, answer = await self.ask(client, "update-location", PLACE)
        found = answer["data"].get("sessionId")
        assert found or answer["data"]["code"] == "no_active_session", answer
        told = [event["data"]["sessionId"] for event in heard if event["event"] == "session-started"]
        assert told == ([found] if found else []), (self.name, told, found)
        if self._asked is None:
            assert found == self.running, (self.name, found, self.running)
        elif self._asked == "stop-live-session":
            assert found in (self.running, None), (self.name, found, self.running)
        assert found not in self.stopped, (self.name, found)
        self._asked = None
        self.running = found

    async def do_something(self, client: Client) -> None:
        if self.running is None:
            await self.start(client)
        elif self._chance.random() < 0.4:
            await self.stop(client)
        elif self._chance.random() < 0.5:
            _, answer = await self.ask(client, "update-location", PLACE)
            assert answer["data"]["sessionId"] == self.running
        else:
            _, answer = await self.ask(client, "send-message", {"text": "Nearly home"})
            assert answer["event"] == "message", answer

    async def start(self, client: Client) -> None:
        self._asked = "start-live-session"
        _, answer = await self.ask(client, self._asked, {"from": self.name})
        assert answer["event"] == "session-started", answer
        assert answer["data"].get("durable") is not False
        self._asked, self.running = None, answer["data"]["sessionId"]
        assert self.running not in self.started
        self.started[self.running] = answer["data"]["startTime"]

    async def stop(self, client: Client) -> None:
        self._asked = "stop-live-session"
        _, answer = await self.ask(client, self._asked)
        assert answer["event"] == "session-ended", answer
        assert answer["data"]["sessionId"] == self.running
        self.stopped[answer["data"]["sessionId"]] = answer["data"]["seq"]
        self._asked = self.running = None

    def stopped_after(self, seq: int | None) -> list[str]:
        """The sessions with a confirmed stop after this one; none where this is None."""
        return [session for session, end in self.stopped.items() if seq is not None and end > seq]

    async def ask(self, client: Client, event: str, data: Any = None) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """What came before the answer, and the answer."""
        asked, before, began = f"ask-{next(self._ids)}", [], time.monotonic()
        client.say(event, data, asked)
        self._said()
        while (answer := await client.event()).get("replyTo") != asked:
            before.append(answer)
        self.longest_wait = max(self.longest_wait, time.monotonic() - began)
        return before, answer


class Guardian:
    """A guardian's program. One that is ``exact`` says where it stands, the other relies on the server."""

    def __init__(self, name: str, wards: list[Ward], chance: Random, *, exact: bool) -> None:
        self.name = name
        self.wards = {ward.name for ward in wards}
        self.first_seq: int | None = None  # of the first visit, before which nothing was missed
        self.started: dict[str, int] = {}
        self.ended: dict[str, int] = {}
        self.lives_away = 0
        self._wards = wards
        self._chance = chance
        self._exact = exact
        self._seq: int | None = None
        self._last_end = 0

    async def live(self, home: Process) -> None:
        """Come, listen for a while, go, and come back, until the server is gone."""
        if self.lives_away:
            self.lives_away -= 1
            return
        try:
            while True:
                await self._visit(home, self._chance.randrange(1, 15))
        except GONE:
            # Some take their time.
            self.lives_away = self._chance.choice((0, 0, 0, 1, 2))

    async def _visit(self, home: Process, events: int) -> None:
        async with self.connected(home) as client:
            for _ in range(events):
                self.hear(await client.event())
            if self._chance.random() < 0.5:
                await self._leave(client)
            else:
                # Lost, and what came in the meantime was never read.
                await asyncio.sleep(self._chance.uniform(0, 0.01))  # any moment will do, so it is a random one

    @asynccontextmanager
    async def connected(self, home: Process) -> AsyncIterator[Client]:
        """Connected, with all heard that was missed."""
        known = {session for ward in self._wards for session in ward.stopped_after(self.first_seq)}
        since = f"?since={self._seq}" if self._exact and self._seq is not None else ""
        async with connection(home, f"/ws/guardian{since}", self.name) as client:
            self._last_end = 0
            first = await client.event()
            assert first["event"] == "guardian:snapshot", first
            if self.first_seq is None:
                self.first_seq = first["data"]["seq"]
            self.hear(first)
            await self.hear_all(client)
            assert known <= self.ended.keys(), (self.name, known - self.ended.keys())
            yield client

    async def hear_all(self, client: Client) -> None:
        """Everything that was sent until now."""
        client.say("ping")
        while (event := await client.event())["event"] != "pong":
            self.hear(event)

    def hear(self, event: dict[str, Any]) -> None:
        """Note an event. Whatever was heard before is told again with the same number, and no end is taken back."""
        name, data = event["event"], event["data"]
        self._seq = max(data.get("seq", 0), self._seq or 0)
        if name == "guardian:snapshot":
            return
        assert data["wardId"] in self.wards, event
        if name == "guardian:session-started":
            assert data["sessionId"] not in self.ended, event
            assert self.started.setdefault(data["sessionId"], data["seq"]) == data["seq"]
        elif name == "session-ended":
            assert self.ended.setdefault(data["sessionId"], data["seq"]) == data["seq"]
            assert data["seq"] > self._last_end
            self._last_end = data["seq"]

    async def _leave(self, client: Client) -> None:
        client.close(1000)
        opcode, payload = await client.message()
        while opcode != CLOSE:
            self.hear(json.loads(payload))
            opcode, payload = await client.message()
