"""Two questions that cost next to nothing: can the file be read, and can it be written?"""

import asyncio
import sqlite3

from liveguard.storage.database import Database
from liveguard.storage.numbering import touch


async def read(database: Database) -> None:
    """Read something, beside all that is live. Raises StorageUnavailable."""
    await database.read_aside(_read)


def write(database: Database) -> "asyncio.Future[None]":
    """Write something that changes nothing, in the way in which the journal is written."""
    return database.submit(touch, write=True)


def _read(db: sqlite3.Connection) -> None:
    db.execute("SELECT value FROM sequence").fetchone()
