"""How many sessions there were, and how long they lasted."""

import sqlite3

from liveguard.storage.database import Database
from liveguard.storage.history import Viewer
from liveguard.storage.rows import select

QUARTER = 15 * 60 * 1000
"""No time zone differs from UTC by a part of this, so days of every calendar can be summed up of it."""

PIECE = 7 * 24 * 3600 * 1000
"""So much is read at a time: a commit waits for each read, and of a million sessions for all too long."""

_WHOM = {
    "one": "AND ward_id = :ward",
    "own": (
        "AND ward_id IN (SELECT ward_id FROM guardians WHERE guardian_id = :me AND status = 'accepted'"
        " UNION SELECT :me)"
    ),
}


class Statistics:
    """Sums over ended sessions, read on the second connection."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def quarters(
        self, viewer: Viewer, *, ward_id: str | None, since: int, until: int
    ) -> list[tuple[int, int, int]]:
        """For each quarter of an hour in which a session began: its moment, how many, and their seconds."""
        found = []
        for begin in range(since, until, PIECE):
            end = min(begin + PIECE, until)
            found += await self._read(viewer, ward_id=ward_id, since=begin, until=end, first=begin == since)
        return found

    async def _read(
        self, viewer: Viewer, *, ward_id: str | None, since: int, until: int, first: bool
    ) -> list[tuple[int, int, int]]:
        whom = ("" if viewer.is_admin else _WHOM["own"]) + (_WHOM["one"] if ward_id else "")
        where = {"me": viewer.user_id, "ward": ward_id, "since": since, "until": until}
        columns = "quarter, sessions, seconds"
        rest = (
            f"FROM (SELECT start_time / {QUARTER:d} * {QUARTER:d} AS quarter, count(*) AS sessions,"  # noqa: S608
            " sum(duration) AS seconds FROM sessions WHERE end_seq IS NOT NULL"
            f" AND start_time >= :since AND start_time < :until {whom} GROUP BY quarter)"
        )

        def job(db: sqlite3.Connection) -> list[tuple[int, int, int]]:
            return [(row[0], row[1], row[2]) for row in select(db, columns, rest, where)]

        # What was confirmed before this was asked for, is in the tables from the first piece on.
        return await self._database.read_aside(job, of_sessions=first)
