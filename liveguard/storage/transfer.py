"""Many people at once: what an import writes and an export reads, each in one transaction."""

import asyncio
import sqlite3
from collections.abc import Sequence
from typing import NamedTuple
from uuid import uuid4

from liveguard.errors import Conflict, NotAllowed, NotFound
from liveguard.storage.database import Database
from liveguard.storage.guardians import Status
from liveguard.storage.users import COLUMNS, User, email_key, find, user_of


class Pair(NamedTuple):
    """Who guards whom, by their ids."""

    ward_id: str
    guardian_id: str
    status: Status


class Transfer:
    """Everybody in and out."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_all(
        self, users: Sequence[tuple[User, str | None]], pairs: Sequence[Pair], now: int
    ) -> asyncio.Future[None]:
        """Add these users, with the hashes of their passwords, and pairs: all of them or none.

        Raises Conflict, NotFound or NotAllowed with the place of the first that does not fit.
        """

        def job(db: sqlite3.Connection) -> None:
            for index, (user, password_hash) in enumerate(users):
                _add_user(db, f"users[{index}]", user, password_hash, now)
            seq = self._database.entries.last_seq(db)
            for index, pair in enumerate(pairs):
                _add_pair(db, f"guardians[{index}]", pair, now, seq)

        return self._database.submit(job, write=True)

    async def read_all(self) -> tuple[list[User], list[Pair]]:
        """All users, in the order in which they came, and all pairs."""

        def job(db: sqlite3.Connection) -> tuple[list[User], list[Pair]]:
            users = db.execute(f"SELECT {COLUMNS} FROM users ORDER BY created_at, id")  # noqa: S608
            pairs = db.execute("SELECT ward_id, guardian_id, status FROM guardians ORDER BY created_at, id")
            return [user_of(row) for row in users], [Pair(*row) for row in pairs]

        return await self._database.read_aside(job)


def _add_user(db: sqlite3.Connection, place: str, user: User, password_hash: str | None, now: int) -> None:
    try:
        db.execute(
            f"INSERT INTO users ({COLUMNS}, email_key, password_hash, created_at)"  # noqa: S608
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                user.id,
                user.email,
                user.first_name,
                user.last_name,
                user.is_admin,
                user.is_active,
                email_key(user.email),
                password_hash,
                now,
            ),
        )
    except sqlite3.IntegrityError:
        field = "id" if find(db, "id = ?", user.id) else "email"
        raise Conflict(f"{place}: a user with this {field} is already there") from None


def _add_pair(db: sqlite3.Connection, place: str, pair: Pair, now: int, seq: int) -> None:
    if pair.ward_id == pair.guardian_id:
        raise NotAllowed(f"{place}: nobody guards themselves")
    try:
        db.execute(
            "INSERT INTO guardians (id, ward_id, guardian_id, status, created_at, updated_at, accepted_seq)"
            " VALUES (?, ?, ?, ?, ?, ?, CASE WHEN ? = 'accepted' THEN ? END)",
            (uuid4().hex, pair.ward_id, pair.guardian_id, pair.status, now, now, pair.status, seq),
        )
    except sqlite3.IntegrityError:
        for field, user_id in (("wardId", pair.ward_id), ("guardianId", pair.guardian_id)):
            if not find(db, "id = ?", user_id):
                raise NotFound(f"{place}: {field} is nobody's id") from None
        raise Conflict(f"{place}: this pair is already there") from None
