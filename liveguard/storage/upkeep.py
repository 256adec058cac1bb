"""Looking after the file, also while a server uses it: a consistent copy, and what is wrong with it."""

import contextlib
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

from liveguard.errors import ConfigurationError
from liveguard.storage.entries import restore
from liveguard.storage.files import connect, open_aside
from liveguard.storage.migrations import MIGRATIONS
from liveguard.storage.redo import SUFFIX as REDO
from liveguard.storage.redo import records, sync

PATIENCE = 10_000  # milliseconds to wait for a lock
MOST_PROBLEMS = 20


def back_up(path: Path, target: Path) -> None:
    """Copy the database as it is at one moment, with all that was confirmed. The copy appears whole or not at all, in
    place of an older one.

    Raises ConfigurationError where source or target are no such files, OSError or sqlite3.Error for other reasons.
    """
    if target.exists() and (not target.is_file() or (path.exists() and target.samefile(path))):
        raise ConfigurationError(f"{target} is no place for a copy")
    if any(target.with_name(target.name + suffix).exists() for suffix in ("-journal", "-wal", REDO)):
        raise ConfigurationError(f"{target} is a database in use, and no place for a copy")
    draft = target.with_name(f"{target.name}.{token_hex(8)}")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        with _reader(path) as source, contextlib.closing(connect(draft)) as copy:
            logged = _logged(source, Path(os.path.realpath(path)))
            # Written at once and without waits for the disk, because the server cannot write meanwhile.
            copy.execute("PRAGMA synchronous = OFF")
            source.backup(copy, pages=-1)
            if logged:
                restore(copy, logged)
            # Of its own, without a second file beside it.
            copy.execute("PRAGMA journal_mode = DELETE")
        sync(draft)
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)
    sync(target.parent)


def problems(path: Path) -> list[str]:
    """What is wrong with the database, one line each; none if all is well. Nothing is changed."""
    try:
        with _reader(path) as db:
            return [*_open_to_others(path), *_wrong_in(db, path)]
    except ConfigurationError as error:
        return [str(error)]
    except sqlite3.DatabaseError as error:
        return [f"The database {path} cannot be read: {error}"]


def _logged(source: sqlite3.Connection, path: Path) -> list[bytes]:
    """What the log has, as it fits the tables at the moment at which the reader holds them from here on."""
    before = list(records(path))
    source.execute("BEGIN")
    source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    (mode,) = source.execute("PRAGMA journal_mode").fetchone()
    # With a WAL the tables catch up beside a reader, and what is logged after that does not go on from what it reads.
    return before if mode == "wal" else list(records(path))


@contextlib.contextmanager
def _reader(path: Path) -> Iterator[sqlite3.Connection]:
    if not path.is_file():
        raise ConfigurationError(f"There is no database at {path}")
    with contextlib.closing(open_aside(path)) as db:
        db.execute(f"PRAGMA busy_timeout = {PATIENCE:d}")
        yield db


def _open_to_others(path: Path) -> Iterator[str]:
    for place in (path, path.parent):
        mode = stat.S_IMODE(place.stat().st_mode)
        if mode & 0o077 and (place == path or mode & 0o022):
            yield f"Others than the owner may use {place}: chmod go= {place}"


def _wrong_in(db: sqlite3.Connection, path: Path) -> Iterator[str]:
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > len(MIGRATIONS):
        yield f"The database {path} was written by a newer liveguard; update this one"
    for (finding,) in db.execute(f"PRAGMA integrity_check({MOST_PROBLEMS})"):
        if finding != "ok":
            yield f"The database {path} is damaged: {finding}"
    if version == 0:
        yield f"The database {path} is empty; the first start fills it"
    for table, row, parent, _ in db.execute("PRAGMA foreign_key_check"):
        yield f"The database {path} is damaged: row {row} of {table} points to nothing in {parent}"
