"""Many people at once: what an import writes and an export reads, each in one transaction."""

import asyncio
import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import uuid4

from liveguard.errors import Conflict, NotAllowed, NotFound
from liveguard.storage.database import Database
from liveguard.storage.guardians import Status
from liveguard.storage.rows import table, values
from liveguard.storage.users import COLUMNS, INSERT, User, find, insert, row_of, user_of

Row = tuple[Any, ...]


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
        # Whoever else wants to write waits for the transaction: what can be done before it, is.
        user_rows = [row_of(user, password_hash, now) for user, password_hash in users]
        pair_rows = [(uuid4().hex, *pair, now, now) for pair in pairs]
        all_users, all_pairs = table(user_rows), table(pair_rows)

        def job(db: sqlite3.Connection) -> None:
            seq = self._database.entries.last_seq(db)
            try:
                db.execute(_ALL_USERS, (all_users,))
            except sqlite3.IntegrityError:
                for index, row in enumerate(user_rows):
                    _add_user(db, f"users[{index}]", row)
            try:
                db.execute(_ALL_PAIRS, (seq, all_pairs))
            except sqlite3.IntegrityError:
                for index, pair in enumerate(pair_rows):
                    _add_pair(db, f"guardians[{index}]", pair, seq)

        return self._database.submit(job, write=True)

    async def read_all(self) -> tuple[list[User], list[Pair]]:
        """All users, in the order in which they came, and all pairs."""

        def job(db: sqlite3.Connection) -> tuple[list[User], list[Pair]]:
            users = db.execute(f"SELECT {COLUMNS} FROM users ORDER BY created_at, rowid")  # noqa: S608
            pairs = db.execute("SELECT ward_id, guardian_id, status FROM guardians ORDER BY created_at, rowid")
            return [user_of(row) for row in users], [Pair(*row) for row in pairs]

        return await self._database.read_aside(job)


_INSERT_PAIRS = "INSERT INTO guardians (id, ward_id, guardian_id, status, created_at, updated_at, accepted_seq)"
_ALL_USERS = f"{INSERT} SELECT {values(9)} FROM json_each(?)"  # noqa: S608
_ALL_PAIRS = (
    f"{_INSERT_PAIRS} SELECT {values(6)}, CASE WHEN value ->> 3 = 'accepted' THEN ? END"  # noqa: S608
    " FROM json_each(?)"
)


def _add_user(db: sqlite3.Connection, place: str, row: Row) -> None:
    try:
        insert(db, row)
    except sqlite3.IntegrityError:
        field = "id" if find(db, "id = ?", row[0]) else "email"
        raise Conflict(f"{place}: a user with this {field} is already there") from None


def _add_pair(db: sqlite3.Connection, place: str, row: Row, seq: int) -> None:
    _, ward_id, guardian_id, status, *_ = row
    if ward_id == guardian_id:
        raise NotAllowed(f"{place}: nobody guards themselves")
    try:
        db.execute(f"{_INSERT_PAIRS} VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, seq if status == "accepted" else None))
    except sqlite3.IntegrityError:
        for field, user_id in (("wardId", ward_id), ("guardianId", guardian_id)):
            if not find(db, "id = ?", user_id):
                raise NotFound(f"{place}: {field} is nobody's id") from None
        raise Conflict(f"{place}: this pair is already there") from None
