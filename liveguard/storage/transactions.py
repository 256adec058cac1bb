"""What runs in the database's thread: a batch of jobs as one transaction.

A *job* is a plain function of the raw connection. It may be run more than once before its outcome counts, so it keeps
nothing but what it returns. Many jobs share one commit, because the commit is what costs: three waits for the disk,
however little is in it. Jobs of one kind may share their statements as well: then each is an *item*, and the work is
given all of them.

A burst of starts and ends goes ahead of the next commit, into the redo log. That next one takes them in.
"""

import sqlite3
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, NamedTuple

from liveguard.errors import StorageUnavailable
from liveguard.storage.entries import Entries
from liveguard.storage.numbering import touch

PATIENT = 2_000  # milliseconds to wait for a lock
HURRIED = 50  # the same

_BROKEN_OFF = frozenset({
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM,
})  # fmt: skip
"""Faults that befall a whole transaction, whichever job was under way."""

DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

_NO_ITEM = object()


class Job(NamedTuple):
    """Work to be done, whether it changes anything, and what this job adds to the work if it is one of several.

    ``ahead`` does the same into the redo log. A read ``of_sessions`` must see all that was written of them.
    """

    work: Callable[..., Any]
    write: bool
    item: Any = _NO_ITEM
    ahead: Callable[..., Any] | None = None
    of_sessions: bool = False


def _nothing(db: sqlite3.Connection) -> None:
    """What is left to do when all that a commit takes in is in the redo log."""


CATCH_UP = Job(_nothing, True)


class Outcome(NamedTuple):
    """What a job returned, or what it raised."""

    value: Any
    error: Exception | None = None


class Result(NamedTuple):
    """The outcomes of a batch in the order of its jobs; whether the last writes, in it or before it, were kept; what
    was wrong with the file, if anything was, as SQLite names it."""

    outcomes: list[Outcome]
    healthy: bool
    fault: str | None


def primary_code(error: BaseException) -> int:
    """SQLite's primary result code of an error, 0 if it is none of SQLite's."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def unavailable(fault: sqlite3.Error) -> StorageUnavailable:
    """The error that callers see of a fault; SQLite's own name of it says which."""
    return StorageUnavailable(f"The database cannot be used just now ({fault.sqlite_errorname})")


def groups(jobs: Sequence[Job]) -> list[list[int]]:
    """The places of the jobs that are done as one, in an order in which each job finds what it would find alone: reads
    may change places with each other, but never with a write."""
    found: list[list[int]] = []
    together: dict[object, list[int]] = {}
    writing = False
    for place, job in enumerate(jobs):
        kind: object = place if job.item is _NO_ITEM else job.work
        if job.write is not writing or (job.write and kind not in together):
            together = {}
        writing = job.write
        group = together.setdefault(kind, [])
        if not group:
            found.append(group)
        group.append(place)
    return found


class Transactions:
    """Runs batches on one connection, patiently while all is well and in a hurry while it is not."""

    def __init__(self, db: sqlite3.Connection, entries: Entries) -> None:
        self._db = db
        self._entries = entries
        self._committed_at = float("-inf")
        self._healthy = True
        self._patience = 0
        self._fault: sqlite3.Error | None = None

    def run(self, jobs: Sequence[Job]) -> Result:
        """Run the jobs in order. One that fails takes none of the others with it."""
        self._fault = None
        outcomes = self._run_ahead(jobs)
        if outcomes is None:
            outcomes = (self._run_writes if self._need_a_commit(jobs) else self._run_reads)(jobs)
        self._prepare_for_the_next()
        return Result(outcomes, self._healthy, self._fault.sqlite_errorname if self._fault else None)

    def _need_a_commit(self, jobs: Sequence[Job]) -> bool:
        return any(job.write or (job.of_sessions and self._entries) for job in jobs)

    def _run_ahead(self, jobs: Sequence[Job]) -> list[Outcome] | None:
        """Leave starts and ends to the redo log where nothing else needs a commit, or None where that cannot be.

        What is only read beside them, is read before them: so no number in it is of something that was not told yet.
        """
        entries = [job for job in jobs if job.ahead]
        others = [job for job in jobs if not job.ahead]
        ahead = entries[0].ahead if entries else None
        if ahead is None or self._need_a_commit(others):
            return None
        if not self._entries.may_go_ahead(len(entries), monotonic(), self._committed_at):
            return None
        try:
            read = iter(self._run_reads(others) if others else ())
            written = iter(ahead(self._db, [job.item for job in entries]))
        except Exception:
            # What is wrong shows on the usual way, and whose fault it is.
            return None
        return [Outcome(next(written)) if job.ahead else next(read) for job in jobs]

    def _prepare_for_the_next(self) -> None:
        self._wait_up_to(PATIENT if self._healthy and not self._fault else HURRIED)
        if self._fault and primary_code(self._fault) in DAMAGE:
            # What was read is forgotten: a file that is mended is read anew.
            self._db.execute("PRAGMA shrink_memory")

    def _run_writes(self, jobs: Sequence[Job]) -> list[Outcome]:
        try:
            try:
                outcomes = self._in_one_transaction(jobs, self._plainly)
            except Exception as error:
                if primary_code(error) in _BROKEN_OFF:
                    raise
                outcomes = self._in_one_transaction(jobs, self._guarded)
        except sqlite3.Error as fault:
            self._healthy = False
            self._committed_at = float("-inf")
            self._note(fault)
            return self._without_writes(jobs, fault)
        self._healthy = True
        self._committed_at = monotonic()
        return outcomes

    def _in_one_transaction(self, jobs: Sequence[Job], each: Callable[[list[Job]], list[Outcome]]) -> list[Outcome]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            if not self._healthy:
                # What a commit that failed has left in SQLite's journals might count after a crash all the same, and
                # nothing may go ahead of the tables before another one is written over it.
                touch(self._db)
            self._entries.catch_up(self._db)
            outcomes = _in_groups(jobs, each)
            self._db.execute("COMMIT")
        except BaseException:
            self._roll_back()
            self._entries.people_changed()
            raise
        self._entries.caught_up()
        return outcomes

    def _plainly(self, group: list[Job]) -> list[Outcome]:
        """The usual case, without the cost of savepoints: a write that fails asks for a second, guarded round."""
        try:
            return self._done(group)
        except Exception as error:
            if group[0].write or not self._db.in_transaction:
                raise
            return self._one_by_one(group, error)

    def _guarded(self, group: list[Job]) -> list[Outcome]:
        return [self._guard(job) for job in group] if group[0].write else self._plainly(group)

    def _guard(self, job: Job) -> Outcome:
        self._db.execute("SAVEPOINT job")
        try:
            (outcome,) = self._done([job])
        except Exception as error:
            if primary_code(error) in _BROKEN_OFF or not self._db.in_transaction:
                raise
            self._db.execute("ROLLBACK TO job")
            outcome = self._failed(error)
        self._db.execute("RELEASE job")
        return outcome

    def _without_writes(self, jobs: Sequence[Job], fault: sqlite3.Error) -> list[Outcome]:
        """The reads of a batch whose writes cannot be kept."""
        possible = [not self._need_a_commit([job]) for job in jobs]
        reads = iter(self._run_reads([job for job, can_be_read in zip(jobs, possible, strict=True) if can_be_read]))
        return [next(reads) if can_be_read else Outcome(None, unavailable(fault)) for can_be_read in possible]

    def _run_reads(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Reads share one snapshot. Once one has waited for a lock in vain, the others need not wait as well."""
        locked: sqlite3.Error | None = None

        def read(group: list[Job]) -> list[Outcome]:
            nonlocal locked
            if not locked:
                try:
                    return self._done(group)
                except Exception as error:
                    if not isinstance(error, sqlite3.Error) or primary_code(error) != sqlite3.SQLITE_BUSY:
                        return self._one_by_one(group, error)
                    locked = error
                    self._note(error)
            return [Outcome(None, unavailable(locked)) for _ in group]

        try:
            self._db.execute("BEGIN")
            return _in_groups(jobs, read)
        finally:
            self._roll_back()

    def _done(self, group: list[Job]) -> list[Outcome]:
        first = group[0]
        try:
            if first.item is _NO_ITEM:
                return [Outcome(first.work(self._db))]
            return [Outcome(value) for value in first.work(self._db, [job.item for job in group])]
        finally:
            if first.write and first.ahead is None and first is not CATCH_UP:
                self._entries.people_changed()

    def _one_by_one(self, reads: list[Job], error: Exception) -> list[Outcome]:
        """What became of reads that failed together."""
        if len(reads) == 1:
            return [self._failed(error)]
        outcomes = []
        for job in reads:
            try:
                outcomes += self._done([job])
            except Exception as its_own:
                outcomes.append(self._failed(its_own))
        return outcomes

    def _failed(self, error: Exception) -> Outcome:
        if isinstance(error, sqlite3.Error) and primary_code(error) in _BROKEN_OFF | DAMAGE:
            self._note(error)
            return Outcome(None, unavailable(error))
        return Outcome(None, error)

    def _note(self, fault: sqlite3.Error) -> None:
        self._fault = self._fault or fault
        self._wait_up_to(HURRIED)

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def _wait_up_to(self, milliseconds: int) -> None:
        if milliseconds != self._patience:
            self._patience = milliseconds
            self._db.execute(f"PRAGMA busy_timeout = {milliseconds:d}")


def _in_groups(jobs: Sequence[Job], each: Callable[[list[Job]], list[Outcome]]) -> list[Outcome]:
    outcomes: list[Outcome] = [Outcome(None)] * len(jobs)
    for places in groups(jobs):
        for place, outcome in zip(places, each([jobs[place] for place in places]), strict=True):
            outcomes[place] = outcome
    return outcomes
