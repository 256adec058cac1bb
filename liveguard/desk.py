"""What the command line works with: the database, what can be done with it, and how it says what it has found."""

import contextlib
import os
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from liveguard.auth import Passwords
from liveguard.clock import SystemClock
from liveguard.config import Settings
from liveguard.errors import StorageUnavailable
from liveguard.people import People
from liveguard.storage import Storage
from liveguard.storage.files import TO_BE_FREE, TO_BE_SOUND
from liveguard.storage.upkeep import TO_BE_WRITABLE

ADVICE = {
    "SQLITE_BUSY": TO_BE_FREE,
    "SQLITE_FULL": "make room on its disk",
    "SQLITE_READONLY": TO_BE_WRITABLE,
    "SQLITE_CORRUPT": f"it is damaged: {TO_BE_SOUND}",
    "SQLITE_NOTADB": f"it is damaged: {TO_BE_SOUND}",
}


@dataclass
class Desk:
    """What most commands need."""

    settings: Settings
    storage: Storage
    passwords: Passwords
    people: People


@contextlib.asynccontextmanager
async def at_desk(*, create: bool = False) -> AsyncIterator[Desk]:
    """Open the database of the settings, or make it."""
    settings = Settings.read()
    with one_line_of_sqlite(settings.database):
        storage = await Storage.open(settings.database, create=create)
        passwords = Passwords(os.cpu_count() or 1)
        try:
            yield Desk(settings, storage, passwords, People(storage, passwords, clock=SystemClock()))
        finally:
            passwords.close()
            await storage.close()


@contextlib.contextmanager
def one_line_of_sqlite(path: Path) -> Iterator[None]:
    """What SQLite complains of is said in one line that names the database, and what can be done about it."""
    try:
        yield
    except sqlite3.Error as error:
        fault = getattr(error, "sqlite_errorname", "")
        raise StorageUnavailable(f"The database {path} cannot be used: {error}{_advice(fault)}") from None
    except StorageUnavailable as error:
        raise StorageUnavailable(f"{path}: {error}{_advice(str(error))}") from None


def _advice(fault: str) -> str:
    return next((f"; {advice}" for name, advice in ADVICE.items() if name in fault), "")


def say(lines: Iterable[str]) -> None:
    """Write lines to the standard output."""
    # What the terminal or the file cannot spell is escaped rather than refused.
    encoding = sys.stdout.encoding or "utf-8"
    for line in lines:
        sys.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
