"""Questions that cost next to nothing: can the file be read, can it be written, and how large is it?"""

import asyncio

from liveguard.storage.database import Database
from liveguard.storage.numbering import last_seq, touch
from liveguard.storage.rows import one


async def read(database: Database) -> None:
    """Read something, beside all that is live. Raises StorageUnavailable."""
    await database.read_aside(last_seq)


def write(database: Database) -> "asyncio.Future[None]":
    """Write something that changes nothing, in the way in which the journal is written."""
    return database.submit(touch, write=True)


def size(database: Database) -> "asyncio.Future[int]":
    """The bytes of the file, as SQLite knows them: under its name, it may not be there any more."""
    return database.submit(lambda db: int(one(db, "PRAGMA page_count") * one(db, "PRAGMA page_size")), write=False)
