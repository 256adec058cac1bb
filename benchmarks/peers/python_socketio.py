"""The contract on python-socketio under Tornado, with its own rooms: `python_socketio.py PORT DATABASE`."""

import asyncio
import sys

import socketio
import tornado.web
from contract import People, Refused, Session, failure, timestamp


class Contract(socketio.AsyncNamespace):
    """A session's room is `ward:{id}`, a person's `user:{id}`."""

    def __init__(self, people):
        super().__init__("/")
        self.people = people
        self.users = {}
        self.sessions = {}

    async def on_connect(self, sid, environ, auth):
        try:
            user = await self.people.authenticate((auth or {}).get("token"))
        except Refused as refused:
            raise socketio.exceptions.ConnectionRefusedError(str(refused)) from None
        self.users[sid] = user
        await self.enter_room(sid, f"user:{user['id']}")
        for ward_id in await self.people.wards_of(user["id"]):
            if session := self.sessions.get(ward_id):
                await self.enter_room(sid, session.room)
                session.people = self.count_people(session)
                await self.emit("guardian:session-started", session.guardian_started(), to=sid)

    def members(self, room):
        return [sid for sid, _ in self.server.manager.get_participants("/", room)]

    def count_people(self, session):
        rooms = self.server.manager.rooms.get("/", {})
        return sum(1 for guardian in session.guardians if rooms.get(f"user:{guardian['id']}"))

    async def on_start_live_session(self, sid, metadata=None):
        ward = self.users[sid]
        if ward["id"] in self.sessions:
            await self.emit("session-error", failure("Session already active"), to=sid)
            return
        self.sessions[ward["id"]] = None  # the slot is taken before the first await
        session = Session(ward, await self.people.guardians_of(ward["id"]), metadata)
        session.sid = sid
        for guardian in session.guardians:
            for member in self.members(f"user:{guardian['id']}"):
                await self.enter_room(member, session.room)
        session.people = self.count_people(session)
        self.sessions[ward["id"]] = session
        await self.emit("guardian:session-started", session.guardian_started(), room=session.room)
        await self.emit("session-started", session.started(), to=sid)

    async def on_stop_live_session(self, sid, _=None):
        await self.stop(sid, "manual_stop")

    async def stop(self, sid, reason):
        session = self.sessions.pop(self.users[sid]["id"], None)
        if session is None:
            await self.emit("session-error", failure("No active session found"), to=sid)
            return
        ended = session.ended(reason)
        await self.emit("session-ended", ended, room=session.room)
        await self.emit("session-ended", ended, to=sid)
        await self.close_room(session.room)

    async def on_update_location(self, sid, data=None):
        session = self.sessions.get(self.users[sid]["id"])
        update = session and session.located(data)
        if not update:
            message = "Invalid payload" if session else "No active session found"
            await self.emit("location-error", failure(message), to=sid)
            return
        await self.emit("location-updated", update, room=session.room)
        await self.emit("location-acknowledged", session.acknowledged(), to=sid)

    async def on_ping(self, sid, _=None):
        await self.emit("pong", {"timestamp": timestamp()}, to=sid)

    async def on_disconnect(self, sid, reason):
        user = self.users.get(sid)
        session = user and self.sessions.get(user["id"])
        if session and session.sid == sid:
            await self.stop(sid, "ward_disconnected")
        self.users.pop(sid, None)

    async def trigger_event(self, event, *args):
        """Events are spelled with hyphens on the wire, which a method's name cannot have."""
        return await super().trigger_event(event.replace("-", "_"), *args)


async def main(port, database):
    server = socketio.AsyncServer(async_mode="tornado", ping_interval=20, ping_timeout=10, max_http_buffer_size=65536)
    server.register_namespace(Contract(await People.open(database)))
    application = tornado.web.Application([("/socket.io/", socketio.get_tornado_handler(server))])
    application.listen(int(port), "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
