"""A real database for the tests of storage, and other processes that use the same file."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

from liveguard.storage import Storage, numbering

NOW = 1_800_000_000_000
CAST = ("ana", "tom", "ida", "ben", "chloe", "mallory")

HOLD = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN " + sys.argv[2])
db.execute("SELECT count(*) FROM users").fetchone()
print("held", flush=True)
sys.stdin.read()
"""

CHANGE = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as db:
    db.execute(sys.argv[2])
db.close()
"""


@asynccontextmanager
async def shelf(folder: Path, *, exclusive: bool = False) -> AsyncIterator[Storage]:
    """A storage in ``folder`` with Ana, Tom and Ida, Ben, Chloe and Mallory, who have nothing to do with each other."""
    storage = await Storage.open(folder / "liveguard.db", exclusive=exclusive)
    try:
        for name in CAST:
            if not await storage.users.get(name):
                await storage.users.add(
                    email=f"{name}@example.org", first_name=name.title(), last_name="Lind", now=NOW, user_id=name
                )
        yield storage
    finally:
        await storage.close()


@contextmanager
def held_elsewhere(path: Path, how: str) -> Iterator[None]:
    """Another process holds a transaction open: DEFERRED reads, IMMEDIATE keeps writers out, EXCLUSIVE everybody."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout and process.stdin
        assert process.stdout.readline() == "held\n"
        try:
            yield
        finally:
            process.stdin.close()


def change_elsewhere(path: Path, sql: str) -> None:
    """Another process commits a change."""
    subprocess.run([sys.executable, "-c", CHANGE, str(path), sql], check=True, timeout=10)


def last_seq(storage: Storage) -> asyncio.Future[int]:
    """The number drawn last, 0 before the first; it is asked for as one of the questions about sessions."""
    return storage.database.submit(numbering.last_seq, write=False, of_sessions=True)


def read(path: Path, sql: str) -> list[tuple[object, ...]]:
    """What is in the file, as a stranger reads it."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()


class Unsure:
    """A connection whose next commit is kept, and reported as failed: as SQLite does where the last wait for the disk,
    which makes an end of its journal, fails."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._fails = True

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        cursor = self._db.execute(sql, *parameters)
        if sql == "COMMIT" and self._fails:
            self._fails = False
            problem = sqlite3.OperationalError("disk I/O error")
            problem.sqlite_errorcode, problem.sqlite_errorname = sqlite3.SQLITE_IOERR, "SQLITE_IOERR_FSYNC"
            raise problem
        return cursor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


def be_unsure(storage: Storage) -> None:
    """The next commit is kept, and reported as failed."""
    storage.database._transactions._db = Unsure(storage.database._connection.raw)  # type: ignore[assignment]
