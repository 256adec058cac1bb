"""What was: sessions that have ended, for those who may see them, a page at a time.

Read on the second connection. A page costs the same however long the history is: of each ward no more is looked at
than fits on it.
"""

import re
import sqlite3
from typing import Any

from msgspec import Struct

from liveguard.errors import InvalidPayload
from liveguard.events import WORRYING, Person
from liveguard.storage.database import Database
from liveguard.storage.rows import select, table
from liveguard.storage.views import ENDED_COLUMNS, EndedSession, ended_session

MOST = 200
END_OF_TIME = 2**62


class Page(Struct, frozen=True):
    """Some sessions, the newest first, and where the next page begins."""

    sessions: list[EndedSession]
    next_cursor: str | None


class Viewer(Struct, frozen=True):
    """Who wants to see: a ward sees its own sessions, a guardian those of its wards, an admin all."""

    user_id: str
    is_admin: bool = False


class History:
    """The ended sessions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def wards(self, limit: int) -> list[Person]:
        """Those who have ever begun a session, by their names."""
        found = (
            "FROM users WHERE EXISTS (SELECT 1 FROM sessions WHERE sessions.ward_id = users.id)"
            " ORDER BY first_name, last_name, email_key LIMIT ?"
        )
        rows = await self._database.read_aside(
            lambda db: select(db, "id, first_name, last_name, email", found, (limit,)), of_sessions=True
        )
        return [Person(*row) for row in rows]

    async def page(
        self,
        viewer: Viewer,
        *,
        ward_id: str | None = None,
        since: int | None = None,
        until: int | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """The sessions that began in ``since`` ≤ time < ``until``. Raises :class:`InvalidPayload` for the cursor."""
        time, seq = _position(cursor)
        span = {
            "since": min(max(since or 0, 0), END_OF_TIME),
            # The cursor bounds the time as well: of the pair in _SPAN, SQLite uses neither for its search.
            "until": max(0, min(END_OF_TIME if until is None else until, time + 1)),
            "time": time,
            "seq": seq,
            "limit": limit + 1,
        }

        def job(db: sqlite3.Connection) -> Page:
            rows = _rows(db, viewer, ward_id, span)
            sessions = [ended_session(row[1:]) for row in rows[:limit]]
            more = f"{sessions[-1].start_time}.{rows[limit - 1][0]}" if len(rows) > limit else None
            return Page(sessions, more)

        return await self._database.read_aside(job, of_sessions=True)

    async def last(self, viewer: Viewer, limit: int) -> list[EndedSession]:
        """What ended last, the newest end first."""

        def job(db: sqlite3.Connection) -> list[EndedSession]:
            if viewer.is_admin:
                rows = select(db, ENDED_COLUMNS, _LAST_OF_ALL, {"limit": limit})
            else:
                wards = table(sorted(_visible_wards(db, viewer)))
                rows = select(db, ENDED_COLUMNS, _LAST_OF_WARDS, {"wards": wards, "limit": limit})
            return [ended_session(row) for row in rows]

        return await self._database.read_aside(job, of_sessions=True)

    async def worrying(self, viewer: Viewer, since: int) -> list[EndedSession]:
        """What ended since then without a word of anybody, by wards who have begun nothing after it."""

        def job(db: sqlite3.Connection) -> list[EndedSession]:
            wards = None if viewer.is_admin else table(sorted(_visible_wards(db, viewer)))
            rows = select(db, ENDED_COLUMNS, _WORRYING, {"wards": wards, "since": since, "limit": MOST})
            return [ended_session(row) for row in rows]

        return await self._database.read_aside(job, of_sessions=True)

    async def get(self, viewer: Viewer, session_id: str) -> EndedSession | None:
        """One ended session, if this viewer may see it."""

        def job(db: sqlite3.Connection) -> EndedSession | None:
            row = db.execute(
                f"SELECT {ENDED_COLUMNS} FROM sessions s JOIN users w ON w.id = s.ward_id"  # noqa: S608
                " WHERE s.id = ? AND s.end_seq IS NOT NULL",
                (session_id,),
            ).fetchone()
            if not row:
                return None
            session = ended_session(row)
            return session if viewer.is_admin or session.ward.id in _visible_wards(db, viewer) else None

        return await self._database.read_aside(job, of_sessions=True)


_SPAN = """
    end_seq IS NOT NULL AND start_time >= :since AND start_time < :until AND (start_time, start_seq) < (:time, :seq)
    ORDER BY start_time DESC, start_seq DESC LIMIT :limit
"""

_OF_ALL = f"""
    FROM sessions s JOIN users w ON w.id = s.ward_id
    WHERE s.start_seq IN (SELECT start_seq FROM sessions WHERE {_SPAN})
    ORDER BY s.start_time DESC, s.start_seq DESC
"""  # noqa: S608

_OF_WARDS = f"""
    FROM json_each(:wards) AS asked
    JOIN users w ON w.id = asked.value
    JOIN sessions s ON s.start_seq IN (SELECT start_seq FROM sessions WHERE ward_id = asked.value AND {_SPAN})
    ORDER BY s.start_time DESC, s.start_seq DESC LIMIT :limit
"""  # noqa: S608


_LAST_OF_ALL = """
    FROM sessions s JOIN users w ON w.id = s.ward_id
    WHERE s.end_seq IS NOT NULL ORDER BY s.end_seq DESC LIMIT :limit
"""

_LAST_OF_WARDS = """
    FROM json_each(:wards) AS asked
    JOIN users w ON w.id = asked.value
    JOIN sessions s ON s.start_seq IN (
        SELECT start_seq FROM sessions
        WHERE ward_id = asked.value AND end_seq IS NOT NULL ORDER BY end_seq DESC LIMIT :limit
    )
    ORDER BY s.end_seq DESC LIMIT :limit
"""

# What was begun before it by a clock that was ahead, was not begun after it.
_WORRYING = f"""
    FROM sessions s JOIN users w ON w.id = s.ward_id
    WHERE s.reason IN {WORRYING} AND s.end_time >= :since
    AND (:wards IS NULL OR s.ward_id IN (SELECT value FROM json_each(:wards)))
    AND NOT EXISTS (
        SELECT 1 FROM sessions n
        WHERE n.ward_id = s.ward_id AND n.start_time > s.start_time AND n.start_seq > s.start_seq
    )
    ORDER BY s.end_time DESC LIMIT :limit
"""  # noqa: S608


def _rows(db: sqlite3.Connection, viewer: Viewer, ward_id: str | None, span: dict[str, int]) -> list[list[Any]]:
    columns = f"s.start_seq, {ENDED_COLUMNS}"
    if viewer.is_admin and ward_id is None:
        return select(db, columns, _OF_ALL, span)
    if ward_id is None:
        wards = _visible_wards(db, viewer)
    else:
        wards = {ward_id} if viewer.is_admin else _visible_wards(db, viewer) & {ward_id}
    return select(db, columns, _OF_WARDS, {**span, "wards": table(sorted(wards))})


def _visible_wards(db: sqlite3.Connection, viewer: Viewer) -> set[str]:
    rows = select(db, "ward_id", "FROM guardians WHERE guardian_id = ? AND status = 'accepted'", (viewer.user_id,))
    return {viewer.user_id, *(ward_id for (ward_id,) in rows)}


def _position(cursor: str | None) -> tuple[int, int]:
    """The place before which a page begins."""
    if cursor is None:
        return END_OF_TIME, END_OF_TIME
    if not re.fullmatch(r"[0-9]{1,16}\.[0-9]{1,16}", cursor):
        raise InvalidPayload("cursor must be one that was given")
    time, seq = cursor.split(".")
    return int(time), int(seq)
