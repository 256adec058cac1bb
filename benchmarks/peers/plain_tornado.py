"""The contract on Tornado's own WebSocketHandler, as one writes it on a first day: `plain_tornado.py PORT DATABASE`."""

import asyncio
import collections
import contextlib
import json
import sys

import tornado.web
import tornado.websocket
from contract import People, Refused, Session, failure, timestamp


class House:
    """Who is connected and which sessions run."""

    def __init__(self, people):
        self.people = people
        self.connections = collections.defaultdict(set)
        self.sessions = {}


def count_people(room):
    return len({socket.user["id"] for socket in room})


class Socket(tornado.websocket.WebSocketHandler):
    """Signs in, answers ping, and leaves the rest to the two roles."""

    def initialize(self, house):
        self.house = house
        self.user = None

    async def open(self):
        token = self.request.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            user = await self.house.people.authenticate(token)
        except Refused as refused:
            self.tell("session-error", failure(str(refused)))
            self.close(4401)
            return
        self.set_nodelay(True)
        self.user = user
        await self.joined()

    async def joined(self):
        """What a role does with a new connection."""

    def tell(self, event, data):
        with contextlib.suppress(tornado.websocket.WebSocketClosedError):  # its on_close is on the way
            self.write_message(json.dumps({"event": event, "data": data}))

    async def on_message(self, text):
        try:
            message = json.loads(text)
        except ValueError:
            self.tell("session-error", failure("Invalid message"))
            return
        if message["event"] == "ping":
            self.tell("pong", {"timestamp": timestamp()})
        else:
            await self.handle(message["event"], message.get("data"))

    async def handle(self, event, data):
        self.tell("session-error", failure("Unknown event"))


class GuardianSocket(Socket):
    async def joined(self):
        self.house.connections[self.user["id"]].add(self)
        for ward_id in await self.house.people.wards_of(self.user["id"]):
            if session := self.house.sessions.get(ward_id):
                session.members.add(self)
                session.people = count_people(session.members)
                self.tell("guardian:session-started", session.guardian_started())

    def on_close(self):
        if self.user is None:
            return
        self.house.connections[self.user["id"]].discard(self)
        for session in filter(None, self.house.sessions.values()):
            session.members.discard(self)
            session.people = count_people(session.members)


class WardSocket(Socket):
    async def handle(self, event, data):
        if event == "start-live-session":
            await self.start(data)
        elif event == "stop-live-session":
            self.stop("manual_stop")
        elif event == "update-location":
            self.locate(data)
        else:
            self.tell("session-error", failure("Unknown event"))

    async def start(self, metadata):
        ward_id = self.user["id"]
        if ward_id in self.house.sessions:
            self.tell("session-error", failure("Session already active"))
            return
        self.house.sessions[ward_id] = None  # the slot is taken before the first await
        session = Session(self.user, await self.house.people.guardians_of(ward_id), metadata)
        session.socket = self
        session.members = set()
        for guardian in session.guardians:
            session.members |= self.house.connections.get(guardian["id"], set())
        session.people = count_people(session.members)
        self.house.sessions[ward_id] = session
        self.broadcast(session, "guardian:session-started", session.guardian_started())
        self.tell("session-started", session.started())

    def stop(self, reason):
        session = self.house.sessions.pop(self.user["id"], None)
        if session is None:
            self.tell("session-error", failure("No active session found"))
            return
        session.members.add(self)
        self.broadcast(session, "session-ended", session.ended(reason))

    def locate(self, data):
        session = self.house.sessions.get(self.user["id"])
        update = session and session.located(data)
        if not update:
            self.tell("location-error", failure("Invalid payload" if session else "No active session found"))
            return
        self.broadcast(session, "location-updated", update)
        self.tell("location-acknowledged", session.acknowledged())

    def broadcast(self, session, event, data):
        for socket in list(session.members):
            socket.tell(event, data)

    def on_close(self):
        session = self.user and self.house.sessions.get(self.user["id"])
        if session and session.socket is self:
            self.stop("ward_disconnected")


async def main(port, database):
    house = House(await People.open(database))
    routes = [
        ("/ws/ward", WardSocket, {"house": house}),
        ("/ws/guardian", GuardianSocket, {"house": house}),
    ]
    application = tornado.web.Application(routes, websocket_ping_interval=20, websocket_ping_timeout=10)
    application.listen(int(port), "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
