"""One SQLite file behind one thread.

Everything that live sessions depend on goes through one connection, whose jobs run one batch after the other; so no
two coroutines ever share a transaction that is half done, and cancelling one tears nothing. What waits while a batch
is under way becomes the next batch and shares its commit. A second connection serves long reads.
"""

import asyncio
import logging
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import aiosqlite

from liveguard.clock import Clock
from liveguard.errors import StorageUnavailable, Unanswered
from liveguard.storage import files
from liveguard.storage.entries import Entries
from liveguard.storage.transactions import CATCH_UP, Job, Outcome, Result, Transactions
from liveguard.storage.watch import Watch

T = TypeVar("T")

MOST_JOBS = 256
"""Jobs in one batch: enough to spread the cost of a commit, few enough to keep the turn that answers them short."""

TURNS = 4
"""Turns of the loop in which a batch gathers jobs. An empty one takes some 10 µs, a commit a hundred times that: with
16 wards who start and stop, half as many jobs again shared each commit, and a fifth more sessions came through."""

RETRY = 0.5  # seconds until the tables try again to take in what the redo log has
NO_ANSWER = "The database does not answer"

log = logging.getLogger(__name__)

Work = Callable[[sqlite3.Connection, Sequence[Any]], Sequence[Any]]
Asked = tuple[Job, "asyncio.Future[Any]"]


class Connection(aiosqlite.Connection):
    """aiosqlite's connection and thread, with a plain future for each call."""

    def run(self, call: Callable[[], T]) -> "asyncio.Future[T]":
        """Call it in the thread. Whoever awaits the future is resumed in the turn after it is done."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._tx.put_nowait((future, call))
        return future

    @property
    def raw(self) -> sqlite3.Connection:
        """The connection itself, for use in the thread."""
        return self._conn

    @classmethod
    async def to(cls, connector: Callable[[], sqlite3.Connection]) -> Self:
        """Start the thread and connect in it."""
        connection = cls(connector, 64)
        try:
            await connection
        except BaseException:
            # The thread reports its end to the loop, which may be gone a moment later.
            connection._thread.join()
            raise
        return connection


class Database:
    """An open database. Made by :meth:`open`.

    ``healthy`` says whether the last write was kept, and ``written`` up to which number the tables had everything when
    what was answered last was read: the thread may have come further by the time that the answers are taken in.
    ``faults`` counts the batches in which something was wrong with the file.
    """

    def __init__(
        self, path: Path, connection: Connection, aside: Connection, entries: Entries, held: ExitStack
    ) -> None:
        self.path = path
        self.entries = entries
        self.healthy = True
        self.written = 0
        self.faults = 0
        self._loop = asyncio.get_running_loop()
        self._held = held
        self._connection = connection
        self._aside = aside
        self._transactions = Transactions(connection.raw, entries)
        self._transactions_aside = Transactions(aside.raw, Entries(path))
        self._waiting: deque[Asked] = deque()
        self._under_way: list[Asked] = []
        self._busy = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._answers = asyncio.Event()
        self._answers.set()
        self._watch: Watch | None = None
        self._closed = False
        self._data_version = 0
        self._catching_up: asyncio.TimerHandle | None = None
        self._catch_up_next = False

    @classmethod
    async def open(cls, path: Path, *, create: bool = True, exclusive: bool = False) -> Self:
        """Open the file, or make it. Raises :class:`~liveguard.errors.ConfigurationError` in one line."""
        # By whichever link it is found, it is one file: its lock, and what is set aside, lie beside itself.
        path = Path(os.path.realpath(path))
        files.make_place(path, create)
        files.check_is_database(path)  # before anything of ours lies beside it
        with ExitStack() as held:
            if exclusive:
                held.enter_context(files.served_alone(path, files.WHILE_TAKEN_UP))
            connection = await Connection.to(partial(files.open_database, path, exclusive))
            try:
                aside = await Connection.to(partial(files.open_aside, path))
            except BaseException:
                await connection.close()
                raise
            entries = Entries(path, files.open_redo(path) if exclusive else None)
            return cls(path, connection, aside, entries, held.pop_all())

    def watch(self, clock: Clock) -> None:
        """From now on, let nobody wait for a batch that takes too long: a disk may hang, and fails nothing by it."""
        self._watch = Watch(clock, self._give_up)

    async def answers(self) -> None:
        """Wait until a disk that hangs does so no more."""
        await self._answers.wait()

    async def close(self) -> None:
        """Finish what was submitted, then let go of the file."""
        self._closed = True
        await self._idle.wait()
        if self._watch is not None:
            self._watch.close()
        if self.entries:
            # Where this fails, they stay in the log for the next start.
            await self._connection.run(lambda: self._transactions.run([CATCH_UP]))
        if self._catching_up is not None:
            self._catching_up.cancel()
        await self._aside.close()
        await self._connection.close()
        self.entries.close()
        self._held.close()

    def submit(
        self, job: Callable[[sqlite3.Connection], T], *, write: bool, of_sessions: bool = False
    ) -> "asyncio.Future[T]":
        """Queue a job. Futures are resolved in the order of their jobs, in one turn of the loop for each batch.

        What was submitted is done, whether or not somebody still awaits it. Where the file cannot be used just now,
        the future fails with :class:`~liveguard.errors.StorageUnavailable`; reads go on for as long as they can. What
        a read says ``of_sessions`` is all that was confirmed.
        """
        return self._queue(Job(job, write, of_sessions=of_sessions))

    def submit_item(self, work: Work, item: object, *, write: bool, ahead: Work | None = None) -> "asyncio.Future[Any]":
        """The same for one item of work that is done for many at once: what waits together shares its statements.

        Where all that waits could as well go ``ahead``, into the redo log, that is what is done with a burst.
        """
        return self._queue(Job(work, write, item, ahead))

    async def read_aside(self, job: Callable[[sqlite3.Connection], T], *, of_sessions: bool = False) -> T:
        """Run a long read on the second connection, beside all that is live.

        A commit waits for it, so it is long in all but time: a page, not the whole history.
        """
        if self._closed:
            raise StorageUnavailable("The database is closed")
        if of_sessions and self.entries:
            await self._queue(CATCH_UP)
        result = await self._aside.run(lambda: self._transactions_aside.run([Job(job, False)]))
        outcome: Outcome = result.outcomes[0]
        if outcome.error:
            raise outcome.error
        value: T = outcome.value
        return value

    async def changed_elsewhere(self) -> bool:
        """Whether another process has committed something since this was last asked; at first it may have."""
        version = await self.submit(_data_version, write=False)
        changed = version != self._data_version
        self._data_version = version
        return changed

    def _queue(self, job: Job) -> "asyncio.Future[Any]":
        future: asyncio.Future[Any] = self._loop.create_future()
        if self._closed:
            future.set_exception(StorageUnavailable("The database is closed"))
            return future
        if not self._answers.is_set():
            future.set_exception(StorageUnavailable(NO_ANSWER))
            return future
        self._waiting.append((job, future))
        if not self._busy:
            self._busy = True
            self._idle.clear()
            self._gather(TURNS)
        return future

    def _gather(self, turns: int) -> None:
        """Let the batch wait for those who are about to ask: all who were answered just now, above all."""
        if turns:
            self._loop.call_soon(self._gather, turns - 1)
        else:
            self._run_batch()

    def _run_batch(self) -> None:
        if self._catch_up_next and self.entries:
            # Alone, behind a batch that has just been answered: so what is asked for next waits the least for it.
            batch = [(CATCH_UP, self._loop.create_future())]
            batch[0][1].add_done_callback(asyncio.Future.exception)  # where it fails, a later one will do
        else:
            batch = [self._waiting.popleft() for _ in range(min(MOST_JOBS, len(self._waiting)))]
        self._catch_up_next = False
        self._under_way = batch
        jobs = [job for job, _ in batch]
        # Not a partial: aiosqlite logs what it calls, and a job may hold what is in no log.
        done = self._connection.run(lambda: self._transactions.run(jobs))
        done.add_done_callback(self._finish_batch)
        if self._watch is not None:
            self._watch.begin()

    def _finish_batch(self, done: "asyncio.Future[Result]") -> None:
        if self._watch is not None:
            self._watch.end()
            self._answers.set()
        batch, self._under_way = self._under_way, []
        result = _result(done, len(batch))
        if result.healthy is not self.healthy:
            self.healthy = result.healthy
            self._say_whether_healthy(result.fault)
        self.faults += result.fault is not None
        self.written = self.entries.written
        for (_, future), outcome in zip(batch, result.outcomes, strict=True):
            _resolve(future, outcome)
        self._keep_up()
        if self._catch_up_next and self.entries:
            self._run_batch()
        elif self._waiting:
            self._gather(TURNS)
        else:
            self._busy = False
            self._idle.set()

    def _give_up(self) -> None:
        """Let nobody wait any more. What still waits for its turn is never done. What is under way may be done yet: so
        that is left alone, but for reads, and for starts and ends, which are written again by whoever asked."""
        self._answers.clear()
        self.healthy = False
        self.faults += 1
        self._say_whether_healthy("it does not answer")
        for job, future in self._under_way:
            if job.ahead or not job.write:
                _resolve(future, Outcome(None, Unanswered(NO_ANSWER)))
        while self._waiting:
            _resolve(self._waiting.popleft()[1], Outcome(None, StorageUnavailable(NO_ANSWER)))

    def _say_whether_healthy(self, fault: str | None) -> None:
        if self.healthy:
            log.warning("The database %s can be written again", self.path)
        else:
            log.warning("The database %s cannot be written: %s", self.path, fault)

    def _keep_up(self) -> None:
        """Let the tables catch up with the redo log in a moment, where no commit does so anyway."""
        if not self.entries and self._catching_up is not None:
            self._catching_up.cancel()
            self._catching_up = None
        elif self.entries and self._catching_up is None:
            self._catching_up = self._loop.call_later(self.entries.pace if self.healthy else RETRY, self._catch_up)

    def _catch_up(self) -> None:
        self._catching_up = None
        self._catch_up_next = True
        if not self._busy and not self._closed:
            self._busy = True
            self._idle.clear()
            self._run_batch()


def _data_version(db: sqlite3.Connection) -> int:
    """A number that SQLite changes when another connection has committed something."""
    return int(db.execute("PRAGMA data_version").fetchone()[0])


def _result(done: "asyncio.Future[Result]", jobs: int) -> Result:
    """The result of a batch, also of one that the connection was not fit to begin."""
    error = done.exception()
    if error is None:
        return done.result()
    fault = StorageUnavailable("The database cannot be used just now")
    return Result([Outcome(None, fault)] * jobs, False, type(error).__name__)


def _resolve(future: "asyncio.Future[Any]", outcome: Outcome) -> None:
    if future.done():  # cancelled by whoever awaited it, or given up
        return
    if outcome.error:
        future.set_exception(outcome.error)
    else:
        future.set_result(outcome.value)
