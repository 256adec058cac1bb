"""What happened in a session: its trail, and one entry for its start and each arrival, message and interruption after
it. How it ended stands in the journal."""

import asyncio
import sqlite3
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Self

from msgspec import Struct
from msgspec.structs import astuple

from liveguard.events import Person, Sender, timestamp
from liveguard.storage.database import Database
from liveguard.storage.rows import decoded, encoded, one, select, table, values
from liveguard.trail import Changes, Point

Kind = Literal["started", "came", "left", "interrupted", "resumed", "message", "ended"]

POINT_COLUMNS = "moment, latitude, longitude, accuracy, altitude, heading, speed, battery"
ENTRY_COLUMNS = "session_id, moment, kind, person_id, name, data"
MOST_ENTRIES = 5_000
MOST_SAID = 2_000_000  # letters: a page of forty megabytes would keep everybody else waiting
PURGED_AT_ONCE = 500  # sessions
MOST_PURGED = 100_000  # of their points, or a few more: a start that comes meanwhile waits some 50 to 200 ms for them


class Entry(Struct, frozen=True, gc=False):
    """Something that happened: when, what, and through whom where that matters. ``data`` is the JSON text of what there
    is to say beyond that; of thousands that wait to be written, the collector has nothing to look at.
    """

    session_id: str
    moment: int
    kind: Kind
    person_id: str | None = None
    name: str | None = None
    data: str | None = None

    @classmethod
    def of(cls, session_id: str, moment: int, kind: Kind, who: Person | Sender | None = None, **data: Any) -> Self:
        """An entry with this ``data``; ``who`` is the person through whom it happened."""
        return cls(session_id, moment, kind, who.id if who else None, who.name if who else None, encoded(data or None))

    @property
    def details(self) -> dict[str, Any]:
        """What ``data`` says."""
        return decoded(self.data) or {}


class Running(NamedTuple):
    """What there is of a session that goes on: its trail, what was said last, and how much was said before that."""

    trail: list[Point]
    messages: list[Entry]
    earlier: int


class Chronicle:
    """Trails and entries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, entries: Sequence[Entry], trails: dict[str, Changes]) -> asyncio.Future[None]:
        """Add some entries and points, all or none of them."""

        def job(db: sqlite3.Connection) -> None:
            db.execute(
                f"INSERT INTO session_entries ({ENTRY_COLUMNS})"  # noqa: S608
                f" SELECT {values(6)} FROM json_each(?)",
                (table([astuple(entry) for entry in entries]),),
            )
            if trails:
                _write_trails(db, trails)

        return self._database.submit(job, write=True)

    def of_running(self, session_id: str, messages: int) -> asyncio.Future[Running]:
        """What there is of a session that goes on, with its newest ``messages``."""

        def job(db: sqlite3.Connection) -> Running:
            said = "FROM session_entries WHERE session_id = ? AND kind = 'message'"
            rows = select(db, ENTRY_COLUMNS, f"{said} ORDER BY id DESC LIMIT {messages:d}", (session_id,))
            earlier = one(db, f"SELECT count(*) {said}", (session_id,)) - len(rows)
            return Running(_trail(db, session_id), [Entry(*row) for row in rows][::-1], earlier)

        return self._database.submit(job, write=False, of_sessions=True)

    async def entries(self, session_id: str) -> list[Entry]:
        """What happened in one session, in the order of time; of a very long one, what happened last."""

        def job(db: sqlite3.Connection) -> list[Entry]:
            rest = (
                "FROM (SELECT *, total(length(data)) OVER (ORDER BY id DESC) AS size FROM session_entries"
                " WHERE session_id = ? ORDER BY id DESC LIMIT ?) WHERE size <= ?"
            )
            return [Entry(*row) for row in select(db, ENTRY_COLUMNS, rest, (session_id, MOST_ENTRIES, MOST_SAID))][::-1]

        return await self._database.read_aside(job, of_sessions=True)

    async def trail(self, session_id: str) -> list[Point]:
        """Where the ward was in one session, as far as that is still kept."""
        return await self._database.read_aside(lambda db: _trail(db, session_id), of_sessions=True)

    def purge(self, ended_before: int) -> asyncio.Future[int]:
        """Forget where wards were in sessions that ended before; some at a time. Returns how many sessions."""

        def job(db: sqlite3.Connection) -> int:
            old = select(
                db,
                "id",
                "FROM sessions WHERE last_location IS NOT NULL AND end_time <= ?"
                f" ORDER BY end_time LIMIT {PURGED_AT_ONCE:d}",
                (ended_before,),
            )
            sessions = points = 0
            while sessions < len(old) and points < MOST_PURGED:
                points += db.execute("DELETE FROM trail_points WHERE session_id = ?", old[sessions]).rowcount
                db.execute("UPDATE sessions SET last_location = NULL WHERE id = ?", old[sessions])
                sessions += 1
            return sessions

        return self._database.submit(job, write=True)


def _write_trails(db: sqlite3.Connection, trails: dict[str, Changes]) -> None:
    anew = [session_id for session_id, changes in trails.items() if changes.anew]
    gone = [(session_id, changes.gone) for session_id, changes in trails.items() if changes.gone is not None]
    points = [(session_id, *astuple(point)) for session_id, changes in trails.items() for point in changes.points]
    # What is to be forgotten one day is found by its last location.
    places = [
        (
            session_id,
            encoded(
                {
                    "latitude": latest.latitude,
                    "longitude": latest.longitude,
                    "timestamp": timestamp(latest.moment),
                }
            ),
        )
        for session_id, latest in ((session_id, changes.points[-1]) for session_id, changes in trails.items())
    ]
    db.execute("DELETE FROM trail_points WHERE session_id IN (SELECT value FROM json_each(?))", (table(anew),))
    db.execute(
        # Without their types SQLite would not search for both of them.
        "DELETE FROM trail_points WHERE (session_id, moment) IN"
        " (SELECT CAST(value ->> 0 AS TEXT), CAST(value ->> 1 AS INTEGER) FROM json_each(?))",
        (table(gone),),
    )
    db.execute(
        f"INSERT OR REPLACE INTO trail_points (session_id, {POINT_COLUMNS})"  # noqa: S608
        f" SELECT {values(9)} FROM json_each(?)",
        (table(points),),
    )
    db.execute(
        "UPDATE sessions SET last_location = value ->> 1 FROM json_each(?)"
        " WHERE sessions.id = value ->> 0 AND last_location IS NULL",
        (table(places),),
    )


def _trail(db: sqlite3.Connection, session_id: str) -> list[Point]:
    rows = select(db, POINT_COLUMNS, "FROM trail_points WHERE session_id = ? ORDER BY moment", (session_id,))
    return [Point(*row) for row in rows]
