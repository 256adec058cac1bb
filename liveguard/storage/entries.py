"""Writing the journal: all starts and ends that wait, in a few statements however many they are.

What must be known of them is read first, in two steps; the numbers are drawn here; then the starts are written as one
table, the ends as another, and the number drawn last.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

from msgspec import Struct

from liveguard.errors import NotFound
from liveguard.events import Person
from liveguard.storage.guardians import accepted_guardians
from liveguard.storage.rows import select, table


class Start(NamedTuple):
    """That a session begins."""

    session_id: str
    ward_id: str
    start_time: int
    metadata: str | None


class End(NamedTuple):
    """That a session ends."""

    session_id: str
    end_time: int
    duration: int
    reason: str
    ended_by: str | None


class Begun(Struct, frozen=True):
    """A start that is written: its ``seq``, and whom it reaches."""

    seq: int
    guardians: list[Person]


def write_entries(db: sqlite3.Connection, entries: Sequence[Start | End]) -> list[Begun | int]:
    """Write them in their order. Each gets what it asks for: a start its :class:`Begun`, an end its ``seq``."""
    numbering = _Numbering(db, [entry.session_id for entry in entries])
    reached = accepted_guardians(db, [entry.ward_id for entry in entries if isinstance(entry, Start)])
    answers: list[Begun | int] = [
        Begun(numbering.start(entry), reached[entry.ward_id]) if isinstance(entry, Start) else numbering.end(entry)
        for entry in entries
    ]
    numbering.write(db)
    return answers


class _Numbering:
    """Draws the numbers of entries, one for each that the journal does not have yet."""

    def __init__(self, db: sqlite3.Connection, session_ids: list[str]) -> None:
        rows = select(
            db,
            "asked.value, s.start_seq, s.end_seq, (SELECT value FROM sequence)",
            "FROM json_each(?) AS asked LEFT JOIN sessions s ON s.id = asked.value",
            (table(session_ids),),
        )
        self._started: dict[str, int] = {row[0]: row[1] for row in rows if row[1] is not None}
        self._ended: dict[str, int] = {row[0]: row[2] for row in rows if row[2] is not None}
        self._seq: int = rows[0][-1] if rows else 0
        self._starts: list[tuple[Any, ...]] = []
        self._ends: list[tuple[Any, ...]] = []

    def start(self, entry: Start) -> int:
        """The number of a start, also of one that was written before."""
        if entry.session_id not in self._started:
            self._started[entry.session_id] = self._next()
            self._starts.append((self._seq, *entry))
        return self._started[entry.session_id]

    def end(self, entry: End) -> int:
        """The number of a session's first end."""
        if entry.session_id not in self._started:
            raise NotFound("There is no such session")
        if entry.session_id not in self._ended:
            self._ended[entry.session_id] = self._next()
            self._ends.append((self._seq, *entry))
        return self._ended[entry.session_id]

    def write(self, db: sqlite3.Connection) -> None:
        """Write what is new."""
        if self._starts:
            db.execute(_INSERT, (table(self._starts),))
        if self._ends:
            db.execute(_UPDATE, (table(self._ends),))
        if self._starts or self._ends:
            db.execute("UPDATE sequence SET value = ?", (self._seq,))

    def _next(self) -> int:
        self._seq += 1
        return self._seq


_INSERT = """
    INSERT INTO sessions (start_seq, id, ward_id, start_time, metadata)
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?)
"""
_UPDATE = """
    UPDATE sessions
    SET end_seq = value ->> 0, end_time = value ->> 2, duration = value ->> 3, reason = value ->> 4,
        ended_by = value ->> 5
    FROM json_each(?) WHERE sessions.id = value ->> 1
"""
