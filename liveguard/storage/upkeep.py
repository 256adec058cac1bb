"""Looking after the file, also while a server uses it: a consistent copy, and what is wrong with it."""

import contextlib
import errno
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

from liveguard.errors import ConfigurationError
from liveguard.storage.entries import restore
from liveguard.storage.files import (
    SECRET,
    TO_BE_FREE,
    TO_BE_SOUND,
    Damaged,
    check_is_database,
    check_is_no_file_of,
    check_is_older_copy,
    check_sound,
    connect,
    lying_aside,
    open_aside,
)
from liveguard.storage.migrations import APPLICATION_ID, check_origin
from liveguard.storage.redo import SUFFIX as REDO
from liveguard.storage.redo import records, sync
from liveguard.storage.rows import one
from liveguard.storage.transactions import primary_code
from liveguard.storage.users import has_admin

PATIENCE = 10_000  # milliseconds to wait for a lock
TO_BE_WRITABLE = "see to its owner and mode, and whether its disk is read-only"
MOST_PROBLEMS = 20
APART = 1_000_000_000
"""So many numbers are left out behind a copy: whoever has heard of sessions that it lacks stands ahead of what it has,
and must not stand ahead of what comes after somebody went back to it."""

LEAST_ROOM = 1024 * 1024  # bytes: for the redo log, and for what SQLite writes before each commit


def back_up(path: Path, target: Path) -> None:
    """Copy the database as it is at one moment, with all that was confirmed. The copy appears whole and sound or not
    at all, in place of an older one.

    Raises ConfigurationError where source or target are no such files, where the source is damaged, and where the
    older copy may be the last good one of what lies aside; OSError or sqlite3.Error for other reasons.
    """
    _check_place(path, target)
    with drafted(target) as draft, contextlib.closing(connect(draft)) as copy:
        try:
            with _reader(path) as source:
                logged = _logged(source, _real(path))
                # Written at once and without waits for the disk, because the server cannot write meanwhile.
                copy.execute("PRAGMA synchronous = OFF")
                source.backup(copy, pages=-1)
            if logged:
                restore(copy, logged)
            empty = not one(copy, "SELECT count(*) FROM sqlite_schema")
            if empty:
                # Nobody has filled it, and the next copy is to know it for ours.
                copy.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
            # Of its own, without a second file beside it.
            copy.execute("PRAGMA journal_mode = DELETE")
            check_sound(copy)
            if not empty:
                copy.execute("UPDATE sequence SET value = value + ?", (APART,))
        except Damaged as damage:
            raise ConfigurationError(
                f"The database {path} is damaged ({damage}), and is not copied: {TO_BE_SOUND}"
            ) from None
        except sqlite3.OperationalError as problem:
            if primary_code(problem) == sqlite3.SQLITE_FULL:  # nothing is written but the copy
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
            raise


@contextlib.contextmanager
def drafted(target: Path) -> Iterator[Path]:
    """A new file that only its owner reads. At the end it takes the target's place, or where anything fails, is gone.
    A target that is a link stays one: what is replaced is the file that it leads to.

    Raises OSError, which names the target.
    """
    place = _real(target)
    draft = place.with_name(f"{place.name}.{token_hex(8)}")
    try:
        try:
            os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            yield draft
            sync(draft)
            os.replace(draft, place)
        finally:
            draft.unlink(missing_ok=True)
        sync(place.parent)
    except OSError as problem:
        if str(problem.filename or draft) != str(draft):
            raise
        raise OSError(problem.errno, problem.strerror, str(target)) from None


def problems(path: Path) -> list[str]:
    """What is wrong with the database, one line each; none if all is well. Nothing is changed."""
    try:
        # The copy has no name, and is gone with its connection.
        with _reader(path) as db, contextlib.closing(sqlite3.connect("")) as copy:
            about_the_file = [*_set_aside(path), *_open_to_others(path), *_not_writable(path), *_without_room(path)]
            return [*about_the_file, *_wrong_in(_copied(db, copy), path)]
    except ConfigurationError as error:
        return [str(error)]
    except sqlite3.DatabaseError as error:
        why = TO_BE_FREE if primary_code(error) == sqlite3.SQLITE_BUSY else str(error)
        return [f"The database {path} cannot be read: {why}"]


def _check_place(path: Path, target: Path) -> None:
    check_is_no_file_of(path, target)
    if target.exists() and not target.is_file():
        raise ConfigurationError(f"{target} is no place for a copy")
    place = _real(target)
    if any(place.with_name(place.name + suffix).exists() for suffix in ("-journal", "-wal", REDO, SECRET)):
        raise ConfigurationError(f"{target} is a database in use, and no place for a copy")
    if target.exists():
        check_is_older_copy(target)
    aside = lying_aside(_real(path)) if path.exists() else None
    if aside is not None and target.exists():
        raise ConfigurationError(
            f"{aside} lies aside, damaged: {target} may be the last good copy of it, and is kept."
            f" Give another name, or move {aside.name} away first"
        )


def _real(path: Path) -> Path:
    """The file itself: what belongs to it lies beside it, not beside a link to it."""
    return Path(os.path.realpath(path))


def _logged(source: sqlite3.Connection, path: Path) -> list[bytes]:
    """What the log has, as it fits the tables at the moment at which the reader holds them from here on."""
    source.execute("BEGIN")
    source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    return list(records(path))


@contextlib.contextmanager
def _reader(path: Path) -> Iterator[sqlite3.Connection]:
    if not path.is_file():
        raise ConfigurationError(f"There is no database at {path}: LIVEGUARD_DATABASE names it")
    check_is_database(_real(path))
    with contextlib.closing(open_aside(path)) as db:
        db.execute(f"PRAGMA busy_timeout = {PATIENCE:d}")
        yield db


def _copied(db: sqlite3.Connection, copy: sqlite3.Connection) -> sqlite3.Connection:
    """The copy, made of a database at one moment; or that itself, where it cannot be made.

    To look for what is wrong takes ten times as long, in which a server could not write.
    """
    db.execute("BEGIN")
    db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    try:
        db.backup(copy, pages=-1)
    except sqlite3.Error:
        return db
    finally:
        db.execute("COMMIT")
    return copy


def _set_aside(path: Path) -> Iterator[str]:
    aside = lying_aside(_real(path))
    if aside is not None:
        yield f"{aside} lies aside, damaged: go back to a copy, if that is yet to be done, and move it away"


def _open_to_others(path: Path) -> Iterator[str]:
    for place in (path, path.parent):
        mode = stat.S_IMODE(place.stat().st_mode)
        if mode & 0o077 and (place == path or mode & 0o022):
            yield f"Others than the owner may use {place}: chmod go= {place}"


def _not_writable(path: Path) -> Iterator[str]:
    for place in (path, _real(path).parent):
        if not os.access(place, os.W_OK):
            yield f"{place} cannot be written by who asks: {TO_BE_WRITABLE}"


def _without_room(path: Path) -> Iterator[str]:
    disk = os.statvfs(_real(path).parent)
    free = disk.f_bavail * disk.f_frsize
    if free < LEAST_ROOM:
        yield f"The disk of {path} is full, but for {free // 1024} KiB: make room"


def _wrong_in(db: sqlite3.Connection, path: Path) -> Iterator[str]:
    try:
        check_origin(db, path)
    except ConfigurationError as error:
        yield str(error)
        return
    for (finding,) in db.execute(f"PRAGMA integrity_check({MOST_PROBLEMS})"):
        if finding != "ok":
            yield f"The database {path} is damaged: {finding}"
    if one(db, "PRAGMA user_version") == 0:
        yield f"The database {path} is empty; the first start fills it"
    elif one(db, "SELECT EXISTS (SELECT 1 FROM users)") and not has_admin(db):
        yield f"Nobody in {path} is an admin: see `liveguard user change --admin`, or the link of the next start"
    for table, row, parent, _ in db.execute("PRAGMA foreign_key_check"):
        yield f"The database {path} is damaged: row {row} of {table} points to nothing in {parent}"
