"""What both Python peers share: the people, the token check and the payloads of PROTOCOL.md."""

import datetime
import itertools
import os
import time
import uuid

import aiosqlite
import jwt

SECRET = os.environ["LIVEGUARD_JWT_SECRET"]
_seq = itertools.count(1)


class Refused(Exception):
    """Says the sentence of PROTOCOL.md section 2."""


class People:
    """The users and who guards whom, read through aiosqlite as an ordinary asynchronous server does."""

    def __init__(self, database):
        self.database = database

    @classmethod
    async def open(cls, path):
        database = await aiosqlite.connect(f"file:{path}?mode=ro", uri=True)
        database.row_factory = aiosqlite.Row
        return cls(database)

    async def user(self, user_id):
        sql = (
            "SELECT id, email, first_name AS firstName, last_name AS lastName, is_active AS isActive"
            " FROM users WHERE id = ?"
        )
        return next(iter(await self.database.execute_fetchall(sql, (user_id,))), None)

    async def guardians_of(self, ward_id):
        sql = (
            "SELECT u.id, u.first_name AS firstName, u.last_name AS lastName, u.email FROM guardians g"
            " JOIN users u ON u.id = g.guardian_id WHERE g.ward_id = ? AND g.status = 'accepted'"
        )
        return [dict(row) for row in await self.database.execute_fetchall(sql, (ward_id,))]

    async def wards_of(self, guardian_id):
        sql = "SELECT ward_id FROM guardians WHERE guardian_id = ? AND status = 'accepted'"
        return [row["ward_id"] for row in await self.database.execute_fetchall(sql, (guardian_id,))]

    async def authenticate(self, token):
        """The user whom a token names."""
        if not token:
            raise Refused("Authentication required")
        try:
            claims = jwt.decode(token, SECRET, algorithms=["HS256"], options={"require": ["exp"]})
        except jwt.ExpiredSignatureError:
            raise Refused("Token expired") from None
        except jwt.InvalidTokenError:
            raise Refused("Invalid token") from None
        user = await self.user(claims.get("sub") or claims.get("userId"))
        if user is None:
            raise Refused("User not found")
        if not user["isActive"]:
            raise Refused("Account inactive")
        return user


class Session:
    """A ward's session, from its start to its end."""

    def __init__(self, ward, guardians, metadata):
        self.ward = ward
        self.guardians = guardians
        self.metadata = metadata
        self.session_id = str(uuid.uuid4())
        self.start_time = timestamp()
        self.room = f"ward:{ward['id']}"
        self.begun = time.monotonic()
        self.seq = next(_seq)
        self.last_location = None
        self.people = 0

    def started(self):
        return {
            "sessionId": self.session_id,
            "startTime": self.start_time,
            "roomName": self.room,
            "guardians": self.guardians,
            "connectedGuardians": self.people,
            "timestamp": timestamp(),
        }

    def guardian_started(self):
        return {
            "wardId": self.ward["id"],
            "wardEmail": self.ward["email"],
            "sessionId": self.session_id,
            "startTime": self.start_time,
            "timestamp": timestamp(),
            "wardFirstName": self.ward["firstName"],
            "wardLastName": self.ward["lastName"],
            "metadata": self.metadata,
            "lastLocation": self.last_location,
            "state": "active",
            "seq": self.seq,
        }

    def ended(self, reason):
        return {
            "sessionId": self.session_id,
            "wardId": self.ward["id"],
            "wardEmail": self.ward["email"],
            "startTime": self.start_time,
            "endTime": timestamp(),
            "duration": int(time.monotonic() - self.begun + 0.5),
            "reason": reason,
            "timestamp": timestamp(),
            "seq": next(_seq),
        }

    def located(self, data):
        """The `location-updated` payload, or None where the client's is senseless."""
        if not isinstance(data, dict) or not (within(data.get("latitude"), 90) and within(data.get("longitude"), 180)):
            return None
        now = timestamp()
        self.last_location = {**data, "timestamp": now}
        return {
            "wardId": self.ward["id"],
            "wardEmail": self.ward["email"],
            "sessionId": self.session_id,
            "location": self.last_location,
            "timestamp": now,
        }

    def acknowledged(self):
        return {
            "sessionId": self.session_id,
            "timestamp": timestamp(),
            "status": "broadcasted",
            "guardianCount": self.people,
        }


def within(value, limit):
    return isinstance(value, int | float) and not isinstance(value, bool) and -limit <= value <= limit


def timestamp():
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def failure(message):
    return {"message": message, "timestamp": timestamp()}
