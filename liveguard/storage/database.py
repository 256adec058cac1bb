"""One SQLite file behind one thread.

Everything that live sessions depend on goes through one connection, whose jobs run one batch after the other; so no
two coroutines ever share a transaction that is half done, and cancelling one tears nothing. What waits while a batch
is under way becomes the next batch and shares its commit. A second connection serves long reads.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import aiosqlite

from liveguard.errors import StorageUnavailable
from liveguard.storage import files
from liveguard.storage.transactions import Job, Result, Transactions

T = TypeVar("T")

MOST_JOBS = 256
"""Jobs in one batch: enough to spread the cost of a commit, few enough to keep the turn that answers them short."""


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


async def _connect(connector: Callable[[], sqlite3.Connection]) -> Connection:
    connection = Connection(connector, 64)
    try:
        await connection
    except BaseException:
        # The thread reports its end to the loop, which may be gone by then.
        connection._thread.join()
        raise
    return connection


class Database:
    """An open database. Made by :meth:`open`."""

    def __init__(self, path: Path, connection: Connection, aside: Connection, held: ExitStack) -> None:
        self.path = path
        self.healthy = True
        self.last_error: str | None = None
        self._loop = asyncio.get_running_loop()
        self._held = held
        self._connection = connection
        self._aside = aside
        self._transactions = Transactions(connection.raw)
        self._asides = Transactions(aside.raw)
        self._waiting: deque[tuple[Job, asyncio.Future[Any]]] = deque()
        self._under_way: asyncio.Future[Result] | None = None
        self._woken = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False
        self._data_version = 0

    @classmethod
    async def open(cls, path: Path, *, create: bool = True, exclusive: bool = False) -> Self:
        """Open the file, or make it. Raises :class:`~liveguard.errors.ConfigurationError` in one line."""
        files.make_place(path, create)
        with ExitStack() as held:
            if exclusive:
                held.enter_context(files.served_alone(path))
            connection = await _connect(partial(files.open_database, path, exclusive))
            aside = await _connect(partial(files.open_aside, path))
            database = cls(path, connection, aside, held.pop_all())
        await database.changed_elsewhere()
        return database

    async def close(self) -> None:
        """Finish what was submitted, then let go of the file."""
        self._closed = True
        await self._idle.wait()
        await self._aside.close()
        await self._connection.close()
        self._held.close()

    def submit(self, job: Callable[[sqlite3.Connection], T], *, write: bool) -> "asyncio.Future[T]":
        """Queue a job. Futures are resolved in the order of the jobs; what was submitted is done, awaited or not."""
        future: asyncio.Future[T] = self._loop.create_future()
        if self._closed:
            future.set_exception(StorageUnavailable("The database is closed"))
            return future
        self._waiting.append((Job(job, write), future))
        if not self._woken and self._under_way is None:
            # Not before the turn is over, so that all that is submitted in it shares a batch.
            self._woken = True
            self._idle.clear()
            self._loop.call_soon(self._run_batch)
        return future

    async def read_aside(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run a long read on the second connection, beside all that is live."""
        if self._closed:
            raise StorageUnavailable("The database is closed")
        result = await self._aside.run(partial(self._asides.run, [Job(job, False)]))
        (outcome,) = result.outcomes
        if outcome.error:
            raise outcome.error
        value: T = outcome.value
        return value

    async def changed_elsewhere(self) -> bool:
        """Whether another process has committed something since this was last asked."""
        version = await self.submit(_data_version, write=False)
        changed = version != self._data_version
        self._data_version = version
        return changed

    def _run_batch(self) -> None:
        self._woken = False
        batch = [self._waiting.popleft() for _ in range(min(MOST_JOBS, len(self._waiting)))]
        jobs = [job for job, _ in batch]
        self._under_way = self._connection.run(partial(self._transactions.run, jobs))
        self._under_way.add_done_callback(partial(self._finish_batch, batch))

    def _finish_batch(self, batch: list[tuple[Job, asyncio.Future[Any]]], done: "asyncio.Future[Result]") -> None:
        self._under_way = None
        result = done.result()
        self._take_health(result)
        for (_, future), outcome in zip(batch, result.outcomes, strict=True):
            if future.done():
                continue
            if outcome.error:
                future.set_exception(outcome.error)
            else:
                future.set_result(outcome.value)
        if self._waiting:
            self._run_batch()
        else:
            self._idle.set()

    def _take_health(self, result: Result) -> None:
        self.healthy = result.written
        if result.fault:
            self.last_error = result.fault.sqlite_errorname
        elif result.written:
            self.last_error = None


def _data_version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA data_version").fetchone()[0])


