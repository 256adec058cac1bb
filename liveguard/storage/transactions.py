"""What runs in the database's thread: a batch of jobs as one transaction.

A *job* is a plain function of the raw connection. It may be run more than once before its outcome counts, so it keeps
nothing but what it returns. Many jobs share one commit, because the commit is what costs: three waits for the disk,
however little is in it.
"""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from liveguard.errors import StorageUnavailable

PATIENT = 2_000
HURRIED = 50

Work = Callable[[sqlite3.Connection], Any]

_BROKEN_OFF = frozenset({
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM,
})
"""Faults that befall a whole transaction, whichever job was under way."""

_FAULTS = _BROKEN_OFF | {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
"""Faults of the file or its disk, as opposed to faults of a job."""


class Job(NamedTuple):
    """Work to be done, and whether it changes anything."""

    work: Work
    write: bool


class Outcome(NamedTuple):
    """What a job returned, or what it raised."""

    value: Any
    error: Exception | None = None


class Result(NamedTuple):
    """The outcomes of a batch in the order of its jobs; whether its writes were kept; what was wrong with the file."""

    outcomes: list[Outcome]
    written: bool
    fault: sqlite3.Error | None


def primary_code(error: BaseException) -> int:
    """SQLite's primary result code of an error, 0 if it is none of SQLite's."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def is_fault(error: BaseException) -> bool:
    """Whether the file or its disk is to blame, rather than what was asked of it."""
    return primary_code(error) in _FAULTS


def unavailable(fault: sqlite3.Error) -> StorageUnavailable:
    """The error that callers see of a fault; SQLite's own name of it says which."""
    return StorageUnavailable(f"The database cannot be used just now ({fault.sqlite_errorname})")


class Transactions:
    """Runs batches on one connection, patiently while all is well and in a hurry while it is not."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._healthy = True
        self._patience = 0
        self._fault: sqlite3.Error | None = None
        self._wait_up_to(PATIENT)

    def run(self, jobs: Sequence[Job]) -> Result:
        """Run the jobs in order. One that fails takes none of the others with it."""
        self._fault = None
        if any(job.write for job in jobs):
            outcomes = self._run_writes(jobs)
        else:
            outcomes = self._run_reads(jobs)
            self._wait_up_to(PATIENT if self._healthy and not self._fault else HURRIED)
        return Result(outcomes, self._healthy, self._fault)

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
            self._note(fault)
            return self._without_writes(jobs, fault)
        self._healthy = True
        self._wait_up_to(PATIENT)
        return outcomes

    def _in_one_transaction(self, jobs: Sequence[Job], each: Callable[[Job], Outcome]) -> list[Outcome]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            outcomes = [each(job) for job in jobs]
            self._db.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        return outcomes

    def _plainly(self, job: Job) -> Outcome:
        """The usual case, without the cost of a savepoint: a write that fails asks for a second, guarded round."""
        try:
            return Outcome(job.work(self._db))
        except Exception as error:
            if job.write or not self._db.in_transaction:
                raise
            return self._failed(error)

    def _guarded(self, job: Job) -> Outcome:
        if not job.write:
            return self._plainly(job)
        self._db.execute("SAVEPOINT job")
        try:
            outcome = Outcome(job.work(self._db))
        except Exception as error:
            if primary_code(error) in _BROKEN_OFF or not self._db.in_transaction:
                raise
            self._db.execute("ROLLBACK TO job")
            outcome = self._failed(error)
        self._db.execute("RELEASE job")
        return outcome

    def _without_writes(self, jobs: Sequence[Job], fault: sqlite3.Error) -> list[Outcome]:
        """The reads of a batch whose writes cannot be kept."""
        reads = iter(self._run_reads([job for job in jobs if not job.write]))
        return [Outcome(None, unavailable(fault)) if job.write else next(reads) for job in jobs]

    def _run_reads(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Reads share one snapshot. Once one waited for a lock in vain, the others need not wait as well."""
        outcomes: list[Outcome] = []
        locked: sqlite3.Error | None = None
        try:
            self._db.execute("BEGIN")
            for job in jobs:
                try:
                    outcomes.append(Outcome(None, unavailable(locked)) if locked else Outcome(job.work(self._db)))
                except Exception as error:
                    outcomes.append(self._failed(error))
                    if isinstance(error, sqlite3.Error) and primary_code(error) == sqlite3.SQLITE_BUSY:
                        locked = error
        finally:
            self._roll_back()
        return outcomes

    def _failed(self, error: Exception) -> Outcome:
        if isinstance(error, sqlite3.Error) and is_fault(error):
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
