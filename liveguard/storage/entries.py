"""Writing the journal: all starts and ends that wait, in a few statements however many they are.

They are written into the tables, or, in a burst, into the redo log, from which the next commit takes them.
"""

import logging
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from liveguard.storage.numbering import Begun, Drawing, End, Numbered, Start, last_seq
from liveguard.storage.reach import Reached
from liveguard.storage.redo import RedoLog, records

BURST = 4
BUSY = 0.1  # seconds after a burst in which fewer count as part of it
LATE = 0.5  # seconds that the tables may be late in catching up
PACE = 2.5
"""Seconds from one commit to the next in a burst. What thousands have in common is written once: a start and an end
cost 10 µs of the database's thread in place of 40 with a commit every 20 ms, and of a hundred starts less than one
waits for a commit, also where a machine does no more than 1,500 a second. That one may have to wait the longer, some 12
to 27 µs for each session before it."""

log = logging.getLogger(__name__)


class Entries:
    """The starts and ends of one database; used in its thread. ``redo`` is its log, in the one server that writes.

    It is for times in which ``burst`` of them and more come at once: who is alone gets a commit. ``pace`` seconds after
    the first that goes ahead, the tables are to catch up.
    """

    def __init__(self, database: Path, redo: RedoLog | None = None, *, burst: int = BURST, pace: float = PACE) -> None:
        self.written = 0  # the number up to which everything has come into the tables
        self._database = database
        self._redo = redo
        self._burst = burst
        self.pace = pace
        self._busy_until = 0.0
        self._ahead = Numbered()
        self._being_written = 0
        self._reached = Reached()

    def __len__(self) -> int:
        """How many are in the log and not yet in the tables."""
        return len(self._ahead)

    @property
    def newest(self) -> int:
        """The number drawn last, as far as it is in the log or was committed from here."""
        return self.written + len(self._ahead)

    def last_seq(self, db: sqlite3.Connection) -> int:
        """The number drawn last, in a transaction that writes; also by a server beside us, ahead of the tables."""
        left = _going_on(db, records(self._database)) if self._redo is None else None
        return left.numbers()[-1] if left else last_seq(db)

    def may_go_ahead(self, entries: int, now: float, committed_at: float) -> bool:
        """Whether so many need not wait for the next commit; both moments in seconds of the monotonic clock."""
        if entries >= self._burst:
            self._busy_until = now + BUSY
        return self._redo is not None and now < self._busy_until and now < committed_at + self.pace + LATE

    # Work for the database's thread: each gets what it asks for, a start its Begun, an end its seq.

    def write(self, db: sqlite3.Connection, entries: Sequence[Start | End]) -> list[Begun | int]:
        """Write them in their order, in the transaction under way; :meth:`catch_up` comes before."""
        drawing = Drawing(db, entries, self._being_written, Numbered())
        answers = self._answers(db, entries, drawing)
        drawing.new.write(db)
        self._being_written = drawing.seq
        return answers

    def write_ahead(self, db: sqlite3.Connection, entries: Sequence[Start | End]) -> list[Begun | int]:
        """The same, into the log. Raises OSError, and whatever else makes it a case for the tables."""
        assert self._redo is not None
        drawing = Drawing(db, entries, self.newest, self._ahead)
        answers = self._answers(db, entries, drawing)
        if drawing.new:
            self._redo.append(msgspec.json.encode(drawing.new))
            self._ahead.update(drawing.new)
        return answers

    def _answers(self, db: sqlite3.Connection, entries: Sequence[Start | End], drawing: "Drawing") -> list[Begun | int]:
        starting = [entry.ward_id for entry in entries if isinstance(entry, Start)]
        reached = self._reached.of(db, starting) if starting else {}
        return [
            Begun(drawing.draw(entry), reached[entry.ward_id]) if isinstance(entry, Start) else drawing.draw(entry)
            for entry in entries
        ]

    def people_changed(self) -> None:
        """A transaction of this connection may have changed who guards whom."""
        self._reached.forget()

    def catch_up(self, db: sqlite3.Connection) -> None:
        """Write into the tables what only the log has; the first thing in each transaction that writes."""
        self._being_written = last_seq(db)
        # A commit of which SQLite said that it had failed may have been kept all the same.
        if self._ahead and self._being_written < self._ahead.numbers()[-1]:
            _write_all(db, self._ahead)
            self._being_written = self._ahead.numbers()[-1]

    def caught_up(self) -> None:
        """What :meth:`catch_up` and :meth:`write` have written is committed."""
        self.written = self._being_written
        if self._ahead:
            self._ahead = Numbered()
        if self._redo is not None:
            self._redo.rewind()

    def close(self) -> None:
        """Let go of the log; what only it has, stays there for the next start."""
        if self._redo is not None:
            self._redo.close(remove=not self._ahead)


def restore(db: sqlite3.Connection, logged: Iterable[bytes]) -> None:
    """Write into the tables what the records of their log say and they do not: it was confirmed, and the process was
    killed before they caught up. Only for who has them alone."""
    left = _going_on(db, logged)
    if left:
        db.execute("BEGIN IMMEDIATE")
        try:
            _write_all(db, left)
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")


def _going_on(db: sqlite3.Connection, logged: Iterable[bytes]) -> Numbered:
    """What goes on from the last number of the tables: older records lie there as well."""
    left = Numbered()
    seq = last_seq(db)
    for record in logged:
        found = msgspec.json.decode(record, type=Numbered)
        numbers = found.numbers()
        if numbers == list(range(seq + 1, seq + 1 + len(numbers))):
            left.update(found)
            seq = numbers[-1]
    return left


def _write_all(db: sqlite3.Connection, numbered: Numbered) -> None:
    """Write all of them, and where one is refused for good, the others."""
    db.execute("SAVEPOINT entries")
    try:
        numbered.write(db)
    except sqlite3.IntegrityError:
        db.execute("ROLLBACK TO entries")
        for session_id in {**numbered.starts, **numbered.ends}:
            _write_one(db, session_id, numbered)
    db.execute("RELEASE entries")


def _write_one(db: sqlite3.Connection, session_id: str, numbered: Numbered) -> None:
    alone = Numbered(
        {session_id: numbered.starts[session_id]} if session_id in numbered.starts else {},
        {session_id: numbered.ends[session_id]} if session_id in numbered.ends else {},
    )
    try:
        alone.write(db)
    except sqlite3.IntegrityError as problem:
        log.error("The journal refused an entry for good: %s", type(problem).__name__)
    db.execute("UPDATE sequence SET value = ?", (numbered.numbers()[-1],))
