"""Two questions that cost next to nothing: can the file be read, and can it be written?"""

import asyncio
import sqlite3

from liveguard.storage.database import Database


async def read(database: Database) -> None:
    """Read something, beside all that is live. Raises StorageUnavailable."""
    await database.read_aside(_read)


def write(database: Database) -> "asyncio.Future[None]":
    """Write something that changes nothing, in the way in which the journal is written."""
    return database.submit(_write, write=True)


def _read(db: sqlite3.Connection) -> None:
    db.execute("SELECT value FROM sequence").fetchone()


def _write(db: sqlite3.Connection) -> None:
    # There and back: of an update that changes nothing, SQLite writes nothing.
    db.execute("UPDATE sequence SET value = value + 1")
    db.execute("UPDATE sequence SET value = value - 1")
