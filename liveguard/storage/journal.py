"""The journal of sessions: what began, what ended, and in which order.

Each start and each end draws the next ``seq`` in the transaction that writes it. The numbers have no gap and only
grow, so a guardian who knows one of them knows what they have missed.
"""

import asyncio
import sqlite3
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from liveguard.errors import NotFound
from liveguard.events import Person, Reason
from liveguard.storage.database import Database
from liveguard.storage.guardians import accepted_guardians

MOST_MISSED = 200
MISSED_FOR = 7 * 24 * 3600 * 1000


class JournaledSession(Struct, frozen=True):
    """A session that has begun and not ended, as the journal has it."""

    id: str
    ward: Person
    start_time: int
    metadata: dict[str, Any] | None
    last_location: dict[str, Any] | None
    seq: int


class EndedSession(Struct, frozen=True):
    """A session that has ended; ``seq`` is that of its end."""

    id: str
    ward: Person
    start_time: int
    end_time: int
    duration: int
    reason: Reason
    seq: int
    metadata: dict[str, Any] | None = None
    ended_by: str | None = None


class Begun(Struct, frozen=True):
    """A start that is written: its ``seq``, and whom it reaches."""

    seq: int
    guardians: list[Person]


class GuardianView(Struct, frozen=True):
    """What a guardian who arrives needs to know: whether they may come in at all, whose sessions they may see, which
    ends they missed, and up to where the journal goes. ``stands_at`` is the ``seq`` up to which they knew everything,
    None on a first visit."""

    is_active: bool
    ward_ids: set[str]
    missed: list[EndedSession]
    seq: int
    stands_at: int | None


ENDED_COLUMNS = """
    s.id, w.id, w.first_name, w.last_name, w.email,
    s.start_time, s.end_time, s.duration, s.reason, s.end_seq, s.metadata, s.ended_by
"""


def ended_session(row: tuple[Any, ...]) -> EndedSession:
    """The session in a row of :data:`ENDED_COLUMNS`."""
    session_id, ward_id, first_name, last_name, email, start_time, end_time, duration, reason, seq, metadata, by = row
    ward = Person(ward_id, first_name, last_name, email)
    return EndedSession(session_id, ward, start_time, end_time, duration, reason, seq, decoded(metadata), by)


def encoded(value: object) -> str | None:
    """A JSON text, or nothing for nothing."""
    return None if value is None else msgspec.json.encode(value).decode()


def decoded(text: str | None) -> dict[str, Any] | None:
    """What a JSON text says."""
    return None if text is None else msgspec.json.decode(text, type=dict[str, Any])


class Journal:
    """Starts and ends, in the order of their ``seq``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(
        self, session_id: str, ward_id: str, start_time: int, metadata: Mapping[str, Any] | None = None
    ) -> asyncio.Future[Begun]:
        """Write that a session began, and read whom it reaches. The ``seq`` stays the same if this is repeated."""
        row = (session_id, ward_id, start_time, encoded(metadata))

        def job(db: sqlite3.Connection) -> Begun:
            written = db.execute(
                "INSERT INTO sessions (start_seq, id, ward_id, start_time, metadata)"
                " VALUES ((SELECT value + 1 FROM sequence), ?, ?, ?, ?)"
                " ON CONFLICT (id) DO NOTHING RETURNING start_seq",
                row,
            ).fetchone()
            if not written:
                written = db.execute("SELECT start_seq FROM sessions WHERE id = ?", (session_id,)).fetchone()
            return Begun(int(written[0]), accepted_guardians(db, ward_id))

        return self._database.submit(job, write=True)

    def end(
        self, session_id: str, end_time: int, duration: int, reason: str, ended_by: str | None = None
    ) -> asyncio.Future[int]:
        """Write that a session ended. Resolves to the ``seq`` of its end; the first end of a session stays.

        Raises :class:`NotFound` where the start was not written."""

        def job(db: sqlite3.Connection) -> int:
            written = db.execute(
                "UPDATE sessions SET end_seq = (SELECT value + 1 FROM sequence), end_time = ?, duration = ?,"
                " reason = ?, ended_by = ? WHERE id = ? AND end_seq IS NULL RETURNING end_seq",
                (end_time, duration, reason, ended_by, session_id),
            ).fetchone()
            if not written:
                written = db.execute("SELECT end_seq FROM sessions WHERE id = ?", (session_id,)).fetchone()
            if not written:
                raise NotFound("There is no such session")
            return int(written[0])

        return self._database.submit(job, write=True)

    def locate(self, locations: Mapping[str, object]) -> asyncio.Future[None]:
        """Keep the last location of some sessions, by their ids."""
        rows = [(encoded(location), session_id) for session_id, location in locations.items()]

        def job(db: sqlite3.Connection) -> None:
            db.executemany("UPDATE sessions SET last_location = ? WHERE id = ?", rows)

        return self._database.submit(job, write=True)

    def active(self) -> asyncio.Future[list[JournaledSession]]:
        """The sessions that have not ended, in the order of their starts."""

        def job(db: sqlite3.Connection) -> list[JournaledSession]:
            rows = db.execute(
                "SELECT s.id, w.id, w.first_name, w.last_name, w.email, s.start_time, s.metadata, s.last_location,"
                " s.start_seq FROM sessions s JOIN users w ON w.id = s.ward_id"
                " WHERE s.end_seq IS NULL ORDER BY s.start_seq"
            )
            return [
                JournaledSession(row[0], Person(*row[1:5]), row[5], decoded(row[6]), decoded(row[7]), row[8])
                for row in rows
            ]

        return self._database.submit(job, write=False)

    def last_seq(self) -> asyncio.Future[int]:
        """The number drawn last, 0 before the first."""
        return self._database.submit(_last_seq, write=False)

    def guardian_view(self, guardian_id: str, since: int | None, now: int) -> asyncio.Future[GuardianView]:
        """What a guardian who connects needs; ``since`` is where they say they stand, None where they do not say."""

        def job(db: sqlite3.Connection) -> GuardianView:
            seq = _last_seq(db)
            stands_at = since
            user = db.execute("SELECT is_active, delivered_seq FROM users WHERE id = ?", (guardian_id,)).fetchone()
            is_active, delivered = (bool(user[0]), user[1]) if user else (False, None)
            if stands_at is None:
                stands_at = delivered
            elif stands_at > seq:
                # They have seen more than there is: the file is another one, and nothing in it is known to them.
                stands_at = 0
            wards = db.execute(
                "SELECT ward_id FROM guardians WHERE guardian_id = ? AND status = 'accepted'", (guardian_id,)
            )
            ward_ids = {ward_id for (ward_id,) in wards}
            missed: list[EndedSession] = []
            if stands_at is not None and stands_at < seq:
                missed = _missed(db, guardian_id, stands_at, now - MISSED_FOR)
            return GuardianView(is_active, ward_ids, missed, seq, stands_at)

        return self._database.submit(job, write=False)

    def mark_delivered(self, delivered: Mapping[str, int]) -> asyncio.Future[None]:
        """Keep up to which ``seq`` each of these users has been told everything."""
        rows = [(seq, user_id, seq) for user_id, seq in delivered.items()]

        def job(db: sqlite3.Connection) -> None:
            db.executemany(
                "UPDATE users SET delivered_seq = ? WHERE id = ? AND coalesce(delivered_seq, -1) < ?", rows
            )

        return self._database.submit(job, write=True)


def _last_seq(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT value FROM sequence").fetchone()[0])


def _missed(db: sqlite3.Connection, guardian_id: str, since: int, not_before: int) -> list[EndedSession]:
    """The newest ends after ``since``, in their order. Of each ward only so many are looked at, so that the cost does
    not grow with the file."""
    rows = db.execute(
        f"""
        SELECT {ENDED_COLUMNS} FROM guardians g
        JOIN sessions s ON s.start_seq IN (
            SELECT start_seq FROM sessions
            WHERE ward_id = g.ward_id AND end_seq > max(?, g.accepted_seq)
            ORDER BY end_seq DESC LIMIT {MOST_MISSED}
        )
        JOIN users w ON w.id = s.ward_id
        WHERE g.guardian_id = ? AND g.status = 'accepted' AND s.end_time >= ?
        ORDER BY s.end_seq DESC LIMIT {MOST_MISSED}
        """,  # noqa: S608
        (since, guardian_id, not_before),
    )
    return [ended_session(row) for row in rows][::-1]
