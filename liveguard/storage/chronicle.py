"""What happened in a session: its trail, and one entry for each start, arrival, message, interruption and end."""

import asyncio
import sqlite3
from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

from liveguard.events import timestamp
from liveguard.storage.database import Database
from liveguard.storage.rows import decoded, encoded, select, table
from liveguard.trail import Changes, Point

Kind = Literal["started", "came", "left", "interrupted", "resumed", "message", "ended"]

POINT_COLUMNS = "moment, latitude, longitude, accuracy, altitude, heading, speed, battery"
ENTRY_COLUMNS = "session_id, moment, kind, person_id, name, data"
MOST_ENTRIES = 5_000
PURGED_AT_ONCE = 500


class Entry(Struct, frozen=True):
    """Something that happened: when, what, and through whom where that matters."""

    session_id: str
    moment: int
    kind: Kind
    person_id: str | None = None
    name: str | None = None
    data: dict[str, Any] | None = None


class Chronicle:
    """Trails and entries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, entries: Sequence[Entry], trails: dict[str, Changes]) -> asyncio.Future[None]:
        """Add some entries and points, all or none of them."""
        rows = [
            (one.session_id, one.moment, one.kind, one.person_id, one.name, encoded(one.data)) for one in entries
        ]

        def job(db: sqlite3.Connection) -> None:
            db.executemany(
                f"INSERT INTO session_entries ({ENTRY_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608
                rows,
            )
            for session_id, changes in trails.items():
                _write_trail(db, session_id, changes)

        return self._database.submit(job, write=True)

    def of_running(self, session_ids: Sequence[str]) -> asyncio.Future[tuple[dict[str, list[Point]], list[Entry]]]:
        """Trails and entries of some sessions, to take them up again."""

        def job(db: sqlite3.Connection) -> tuple[dict[str, list[Point]], list[Entry]]:
            asked = (table(list(session_ids)),)
            trails: dict[str, list[Point]] = {session_id: [] for session_id in session_ids}
            where = "WHERE session_id IN (SELECT value FROM json_each(?))"
            points = f"session_id, {POINT_COLUMNS}"
            for row in select(db, points, f"FROM trail_points {where} ORDER BY session_id, moment", asked):
                trails[row[0]].append(Point(*row[1:]))
            rows = select(db, ENTRY_COLUMNS, f"FROM session_entries {where} ORDER BY id", asked)
            return trails, [_entry(row) for row in rows]

        return self._database.submit(job, write=False)

    async def entries(self, session_id: str) -> list[Entry]:
        """What happened in one session, in the order of time."""

        def job(db: sqlite3.Connection) -> list[Entry]:
            rest = f"FROM session_entries WHERE session_id = ? ORDER BY id LIMIT {MOST_ENTRIES:d}"
            return [_entry(row) for row in select(db, ENTRY_COLUMNS, rest, (session_id,))]

        return await self._database.read_aside(job)

    async def trail(self, session_id: str) -> list[Point]:
        """Where the ward was in one session, as far as that is still kept."""

        def job(db: sqlite3.Connection) -> list[Point]:
            rest = "FROM trail_points WHERE session_id = ? ORDER BY moment"
            return [Point(*row) for row in select(db, POINT_COLUMNS, rest, (session_id,))]

        return await self._database.read_aside(job)

    def purge(self, ended_before: int) -> asyncio.Future[int]:
        """Forget where wards were in sessions that ended before; some at a time. Returns how many sessions."""

        def job(db: sqlite3.Connection) -> int:
            old = [
                (row[0],)
                for row in select(
                    db,
                    "id",
                    "FROM sessions WHERE last_location IS NOT NULL AND end_time <= ?"
                    f" ORDER BY end_time LIMIT {PURGED_AT_ONCE:d}",
                    (ended_before,),
                )
            ]
            db.executemany("DELETE FROM trail_points WHERE session_id = ?", old)
            db.executemany("UPDATE sessions SET last_location = NULL WHERE id = ?", old)
            return len(old)

        return self._database.submit(job, write=True)


def _write_trail(db: sqlite3.Connection, session_id: str, changes: Changes) -> None:
    if changes.anew:
        db.execute("DELETE FROM trail_points WHERE session_id = ?", (session_id,))
    elif changes.gone is not None:
        db.execute("DELETE FROM trail_points WHERE session_id = ? AND moment = ?", (session_id, changes.gone))
    db.executemany(
        f"INSERT OR REPLACE INTO trail_points (session_id, {POINT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
        [(session_id, *point) for point in changes.points],
    )
    # What is to be forgotten one day is found by its last location.
    latest = changes.points[-1]
    place = {"latitude": latest.latitude, "longitude": latest.longitude, "timestamp": timestamp(latest.moment)}
    db.execute(
        "UPDATE sessions SET last_location = ? WHERE id = ? AND last_location IS NULL", (encoded(place), session_id)
    )


def _entry(row: Sequence[Any]) -> Entry:
    session_id, moment, kind, person_id, name, data = row
    return Entry(session_id, moment, kind, person_id, name, decoded(data))
