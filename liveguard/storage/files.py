"""The database as a file: where it lies, who may read it, and whether it is sound."""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from liveguard.errors import ConfigurationError
from liveguard.storage.migrations import migrate

APPLICATION_ID = 0x4C475244
OLDEST_SQLITE = (3, 38, 0)
DAMAGED = "damaged"


def is_wal_safe(version: tuple[int, int, int]) -> bool:
    """Whether this SQLite keeps every commit in WAL mode while two connections write and checkpoint."""
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)


def make_place(path: Path, create: bool) -> None:
    """Make the folder and the file, both for their owner only, where they are missing."""
    try:
        if create:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        elif not path.exists():
            raise ConfigurationError(f"There is no database at {path}")
    except OSError as problem:
        raise ConfigurationError(f"The database {path} cannot be made: {problem.strerror}") from None


@contextlib.contextmanager
def served_alone(path: Path) -> Iterator[None]:
    """Hold the lock that only one server of a database can hold."""
    try:
        lock = os.open(path.with_name(path.name + ".lock"), os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as problem:
        raise ConfigurationError(f"The database {path} cannot be locked: {problem.strerror}") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(f"Another liveguard already serves {path}") from None
        yield
    finally:
        os.close(lock)


def connect(path: Path) -> sqlite3.Connection:
    """A plain connection, whose transactions are begun and ended by statements alone."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256, timeout=2)
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA synchronous = FULL")
    return db


def open_database(path: Path, exclusive: bool) -> sqlite3.Connection:
    """Open the file, migrated to what this program knows."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise ConfigurationError(f"SQLite {sqlite3.sqlite_version} is too old, 3.35 is needed")
    db = connect(path)
    try:
        _set_journal_mode(db, exclusive)
        migrate(db, path)
    except BaseException:
        db.close()
        raise
    return db


def open_aside(path: Path) -> sqlite3.Connection:
    """A second connection, which cannot write."""
    db = connect(path)
    db.execute("PRAGMA query_only = ON")
    return db


def _set_journal_mode(db: sqlite3.Connection, exclusive: bool) -> None:
    (mode,) = db.execute("PRAGMA journal_mode").fetchone()
    if is_wal_safe(sqlite3.sqlite_version_info):
        db.execute("PRAGMA journal_mode = WAL")
    elif exclusive or mode != "wal":
        db.execute("PRAGMA journal_mode = TRUNCATE")


def set_aside(path: Path) -> Path:
    """Move a damaged file, and what belongs to it, out of the way under a name that is free."""
    number = 1
    while (aside := path.with_name(f"{path.name}.{DAMAGED}-{number}")).exists():
        number += 1
    for suffix in ("-journal", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.rename(f"{path}{suffix}", f"{aside}{suffix}")
    os.rename(path, aside)
    return aside
