"""Starts and ends of sessions, and the numbers that they draw: one each, without a gap, in their order."""

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

from msgspec import Struct

from liveguard.errors import NotFound
from liveguard.events import Person
from liveguard.storage.rows import one, select, table

Row = tuple[Any, ...]


class Start(NamedTuple):
    """That a session begins. ``again`` where it may be that it was written before."""

    session_id: str
    ward_id: str
    start_time: int
    metadata: str | None
    again: bool = True

    def row(self, seq: int) -> Row:
        """What is written of it, with its number."""
        return seq, self.session_id, self.ward_id, self.start_time, self.metadata


class End(NamedTuple):
    """That a session ends. ``again`` where it may be that its start was not written, or the end was before."""

    session_id: str
    end_time: int
    duration: int
    reason: str
    ended_by: str | None
    again: bool = True

    def row(self, seq: int) -> Row:
        """What is written of it, with its number."""
        return seq, self.session_id, self.end_time, self.duration, self.reason, self.ended_by


class Begun(Struct, frozen=True):
    """A start that is written: its ``seq``, and whom it reaches."""

    seq: int
    guardians: list[Person]


class Numbered(Struct):
    """Starts and ends with their numbers in front, by the ids of their sessions."""

    starts: dict[str, Row] = {}
    ends: dict[str, Row] = {}

    def __len__(self) -> int:
        return len(self.starts) + len(self.ends)

    def update(self, other: "Numbered") -> None:
        """Take in others."""
        self.starts.update(other.starts)
        self.ends.update(other.ends)

    def numbers(self) -> list[int]:
        """All numbers, in their order."""
        return sorted(row[0] for rows in (self.starts, self.ends) for row in rows.values())

    def write(self, db: sqlite3.Connection) -> None:
        """Write them into the tables; what has begun and ended in one step."""
        if self.starts:
            unknown = (None,) * 5
            rows = [
                (*start, end[0], *end[2:]) if (end := self.ends.get(session_id)) else start + unknown
                for session_id, start in self.starts.items()
            ]
            db.execute(_INSERT, (table(rows),))
        ends = [end for session_id, end in self.ends.items() if session_id not in self.starts]
        if ends:
            db.execute(_UPDATE, (table(ends),))
        if self:
            db.execute("UPDATE sequence SET value = ?", (self.numbers()[-1],))


class Drawing:
    """Draws the numbers of entries behind ``seq``, one for each that is neither in the journal nor ``ahead`` of it."""

    def __init__(self, db: sqlite3.Connection, entries: Sequence[Start | End], seq: int, ahead: Numbered) -> None:
        self.new = Numbered()
        self.seq = seq
        self._started: dict[str, int] = {}
        self._ended: dict[str, int] = {}
        again = [entry.session_id for entry in entries if entry.again]
        if again:
            self._look_up(db, again, ahead)

    def _look_up(self, db: sqlite3.Connection, session_ids: list[str], ahead: Numbered) -> None:
        rows = select(
            db,
            "s.id, s.start_seq, s.end_seq",
            "FROM json_each(?) AS asked JOIN sessions s ON s.id = asked.value",
            (table(session_ids),),
        )
        self._started = {row[0]: row[1] for row in rows}
        self._ended = {row[0]: row[2] for row in rows if row[2] is not None}
        for session_id in session_ids:
            if session_id in ahead.starts:
                self._started[session_id] = ahead.starts[session_id][0]
            if session_id in ahead.ends:
                self._ended[session_id] = ahead.ends[session_id][0]

    def draw(self, entry: Start | End) -> int:
        """The number of an entry: of a start, also of one that was written before; of a session's first end."""
        starts = isinstance(entry, Start)
        known = self._started if starts else self._ended
        if entry.again:
            if not starts and entry.session_id not in self._started:
                raise NotFound("There is no such session")
            if entry.session_id in known:
                return known[entry.session_id]
        self.seq += 1
        known[entry.session_id] = self.seq
        (self.new.starts if starts else self.new.ends)[entry.session_id] = entry.row(self.seq)
        return self.seq


def last_seq(db: sqlite3.Connection) -> int:
    """The number drawn last, as far as the tables know, 0 before the first."""
    return int(one(db, "SELECT value FROM sequence"))


def touch(db: sqlite3.Connection) -> None:
    """Write something, and change nothing by it."""
    # There and back: of an update that changes nothing, SQLite writes nothing.
    db.execute("UPDATE sequence SET value = value + 1")
    db.execute("UPDATE sequence SET value = value - 1")


_INSERT = """
    INSERT INTO sessions (
        start_seq, id, ward_id, start_time, metadata, end_seq, end_time, duration, reason, ended_by
    )
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4,
        value ->> 5, value ->> 6, value ->> 7, value ->> 8, value ->> 9
    FROM json_each(?)
"""
_UPDATE = """
    UPDATE sessions
    SET end_seq = value ->> 0, end_time = value ->> 2, duration = value ->> 3, reason = value ->> 4,
        ended_by = value ->> 5
    FROM json_each(?) WHERE sessions.id = value ->> 1
"""
