"""The journal of sessions: what began, what ended, and in which order.

Each start and each end draws the next ``seq`` in the transaction that writes it. The numbers only grow, and have no
gap but where a start is taken back, and behind a copy, so a guardian who knows one of them knows what they have missed.
"""

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from liveguard.events import Person
from liveguard.storage.database import Database
from liveguard.storage.numbering import Begun, End, Start
from liveguard.storage.rows import decoded, encoded, select, table
from liveguard.storage.views import GuardianView, Visit, guardian_views, note_first_visits


class JournaledSession(Struct, frozen=True):
    """A session that has begun and not ended, as the journal has it."""

    id: str
    ward: Person
    start_time: int
    metadata: dict[str, Any] | None
    last_location: dict[str, Any] | None
    seq: int


class Journal:
    """Starts and ends, in the order of their ``seq``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(
        self,
        session_id: str,
        ward_id: str,
        start_time: int,
        metadata: Mapping[str, Any] | None = None,
        *,
        again: bool = True,
    ) -> asyncio.Future[Begun]:
        """Write that a session began, and read whom it reaches. The ``seq`` stays the same if this is repeated; where
        it certainly is not, with ``again`` false, nothing is looked up."""
        start = Start(session_id, ward_id, start_time, encoded(metadata), again)
        return self._write(start)

    def end(
        self,
        session_id: str,
        end_time: int,
        duration: int,
        reason: str,
        ended_by: str | None = None,
        *,
        again: bool = True,
    ) -> asyncio.Future[int]:
        """Write that a session ended. Resolves to the ``seq`` of its end; the first end of a session stays.

        Raises :class:`~liveguard.errors.NotFound` where the start was not written. With ``again`` false it certainly
        was, and the end was not: then nothing is looked up.
        """
        end = End(session_id, end_time, duration, reason, ended_by, again)
        return self._write(end)

    def take_back(self, session_id: str) -> asyncio.Future[None]:
        """Of a start that may have been written after all, and of which nobody was told, leave nothing but a gap."""

        def job(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM sessions WHERE id = ? AND end_seq IS NULL", (session_id,))

        return self._database.submit(job, write=True)

    def _write(self, entry: Start | End) -> asyncio.Future[Any]:
        entries = self._database.entries
        return self._database.submit_item(entries.write, entry, write=True, ahead=entries.write_ahead)

    def locate(self, locations: Mapping[str, object]) -> asyncio.Future[None]:
        """Keep the last location of some sessions, by their ids."""
        rows = [(session_id, encoded(location)) for session_id, location in locations.items()]

        def job(db: sqlite3.Connection) -> None:
            db.execute(
                "UPDATE sessions SET last_location = value ->> 1 FROM json_each(?) WHERE sessions.id = value ->> 0",
                (table(rows),),
            )

        return self._database.submit(job, write=True)

    def active(self) -> asyncio.Future[list[JournaledSession]]:
        """The sessions that have not ended, in the order of their starts."""
        return self._database.submit(_active, write=False, of_sessions=True)

    def guardian_view(
        self, guardian_id: str, since: int | None, now: int, heard: int | None = None
    ) -> asyncio.Future[GuardianView]:
        """What a guardian who connects needs; ``since`` is where they say they stand, None where they do not say, and
        ``heard`` what is known of it and perhaps not written yet."""
        visit = Visit(guardian_id, since, now, heard)
        return self._database.submit_item(self._guardian_views, visit, write=False)

    def first_view(self, guardian_id: str, now: int) -> asyncio.Future[GuardianView]:
        """The same for a first visit, which is noted in the same transaction; any other view says whether it is one."""
        return self._database.submit_item(self._first_views, Visit(guardian_id, None, now), write=True)

    def _first_views(self, db: sqlite3.Connection, visits: Sequence[Visit]) -> list[GuardianView]:
        note_first_visits(db, visits)
        return self._guardian_views(db, visits)

    def _guardian_views(self, db: sqlite3.Connection, visits: Sequence[Visit]) -> list[GuardianView]:
        return guardian_views(db, visits, self._database.entries.newest)

    def mark_delivered(self, delivered: Mapping[str, int]) -> asyncio.Future[None]:
        """Keep up to which ``seq`` each of these users has been told everything."""
        rows = list(delivered.items())

        def job(db: sqlite3.Connection) -> None:
            db.execute(
                "UPDATE users SET delivered_seq = value ->> 1 FROM json_each(?)"
                " WHERE users.id = value ->> 0 AND coalesce(delivered_seq, -1) < value ->> 1",
                (table(rows),),
            )

        return self._database.submit(job, write=True)


def _active(db: sqlite3.Connection) -> list[JournaledSession]:
    rows = select(
        db,
        "s.id, w.id, w.first_name, w.last_name, w.email, s.start_time, s.metadata, s.last_location, s.start_seq",
        "FROM sessions s JOIN users w ON w.id = s.ward_id WHERE s.end_seq IS NULL ORDER BY s.start_seq",
    )
    return [
        JournaledSession(session_id, Person(*ward), start_time, decoded(metadata), decoded(location), seq)
        for session_id, *ward, start_time, metadata, location, seq in rows
    ]
