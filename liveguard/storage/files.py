"""The database as a file: where it lies, who may use it, and whether it is sound."""

import contextlib
import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from liveguard.errors import ConfigurationError
from liveguard.storage.entries import restore
from liveguard.storage.migrations import APPLICATION_ID, check_origin, is_older, migrate
from liveguard.storage.redo import SUFFIX as REDO
from liveguard.storage.redo import RedoLog, records
from liveguard.storage.transactions import DAMAGE, PATIENT, primary_code

OLDEST_SQLITE = (3, 38, 0)
DAMAGED = ".damaged-"
HEADER = b"SQLite format 3\x00"
ORIGIN = slice(68, 72)  # where SQLite keeps the application's id
OF_SQLITE = ("-journal", "-wal", "-shm")
SECRET = ".secret"  # noqa: S105 - the file of a server's, which no copy has
LEFT_BESIDE = (".lock", SECRET, REDO)  # by a server: a file with one of them is a database of ours, however damaged
TO_BE_SOUND = "see `liveguard check`, and go back to a copy"
TO_BE_FREE = "another program keeps it locked: wait for that one, or end it"
WHILE_OPENING = 10_000  # milliseconds to wait for a lock
WHILE_TAKEN_UP = 1.0  # seconds to wait for the command line, which may be taking up a log or changing the shape

log = logging.getLogger(__name__)


class Damaged(Exception):
    """The file is not what SQLite wrote."""


class Served(ConfigurationError):
    """A server of its own runs on the file."""


def make_place(path: Path, create: bool) -> None:
    """Make the folder and the file, both for their owner only, where they are missing.

    Raises :class:`ConfigurationError` where something else than a file is there already.
    """
    if path.exists() and not path.is_file():
        raise ConfigurationError(f"{path} is there and is no file: LIVEGUARD_DATABASE must name another one")
    if not create:
        if not path.exists():
            raise ConfigurationError(f"There is no database at {path}: LIVEGUARD_DATABASE names it")
        return
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError as problem:
        raise ConfigurationError(f"The database {path} cannot be made: {problem.strerror}") from None


def check_is_database(path: Path) -> None:
    """Raises :class:`ConfigurationError` for a file that was never a database: it is no damaged one."""
    try:
        with path.open("rb") as file:
            begins = file.read(len(HEADER))
    except OSError as problem:
        raise ConfigurationError(f"The database {path} cannot be read: {problem.strerror}") from None
    if begins not in (b"", HEADER) and not any(path.with_name(path.name + end).exists() for end in LEFT_BESIDE):
        raise ConfigurationError(f"The file {path} is no database: LIVEGUARD_DATABASE must name another one")


def check_is_no_file_of(path: Path, target: Path) -> None:
    """Raises :class:`ConfigurationError` for a target that is the database, or belongs to it, whatever leads there."""
    place = Path(os.path.realpath(target))
    # By a link to the database, its secret may lie beside the link.
    for database in (path, Path(os.path.realpath(path))):
        own = [database.with_name(database.name + end) for end in ("", *OF_SQLITE, *LEFT_BESIDE)]
        aside = place.name.startswith(database.name + DAMAGED) and _is_same(place.parent, database.parent)
        if aside or any(_is_same(place, file) for file in own):
            raise ConfigurationError(f"{target} is a file of the database {path}: give another name")


def check_is_older_copy(target: Path) -> None:
    """Raises :class:`ConfigurationError` for a target that is neither empty nor a database of ours, however damaged."""
    with target.open("rb") as file:
        begins = file.read(ORIGIN.stop)
    if begins and not (begins.startswith(HEADER) and begins[ORIGIN] == APPLICATION_ID.to_bytes(4, "big")):
        raise not_replaced(target, "copy")


def not_replaced(target: Path, by: str) -> ConfigurationError:
    """The refusal to write a copy or an export over what is none."""
    return ConfigurationError(f"{target} is no {by} of liveguard's, and is kept: give another name, or move it away")


def _is_same(place: Path, other: Path) -> bool:
    """Are these one file, or will they be once it is there?"""
    with contextlib.suppress(OSError):
        return place.samefile(other)
    return place == Path(os.path.realpath(other))


@contextlib.contextmanager
def served_alone(path: Path, wait: float = 0) -> Iterator[None]:
    """Hold the lock that only one server of a database can hold, from some seconds on at the latest."""
    try:
        lock = os.open(path.with_name(path.name + ".lock"), os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as problem:
        raise ConfigurationError(f"The database {path} cannot be locked: {problem.strerror}") from None
    with contextlib.suppress(OSError):
        owner = path.stat()
        os.fchown(lock, owner.st_uid, owner.st_gid)  # as SQLite does with its own: root may have begun it
    until = time.monotonic() + wait
    try:
        while not _held(lock):
            if time.monotonic() >= until:
                raise Served(f"Another liveguard already serves {path}")
            time.sleep(0.01)
        yield
    finally:
        os.close(lock)


def _held(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def open_database(path: Path, exclusive: bool) -> sqlite3.Connection:
    """Open the file in the shape that this program knows.

    The one server looks first whether the file is sound. One that is damaged it sets aside, and begins a fresh one.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        oldest = ".".join(map(str, OLDEST_SQLITE))
        raise ConfigurationError(f"SQLite {sqlite3.sqlite_version} is too old, {oldest} is the oldest that will do")
    try:
        return _open_sound(path, exclusive)
    except Damaged as damage:
        if not exclusive:
            raise ConfigurationError(f"The database {path} is damaged ({damage}): {TO_BE_SOUND}") from None
        aside = set_aside(path)
        log.error("The database %s is damaged (%s): it is kept as %s, and a fresh one begins", path, damage, aside)
    make_place(path, create=True)
    return _open_sound(path, exclusive)


def open_aside(path: Path) -> sqlite3.Connection:
    """A second connection, which cannot write."""
    db = connect(path)
    db.execute("PRAGMA query_only = ON")
    return db


def open_redo(path: Path) -> RedoLog | None:
    """The log for what is confirmed ahead of the tables; without it, everything waits for a commit."""
    try:
        return RedoLog(path)
    except OSError as problem:
        log.warning("The redo log of %s cannot be opened: %s", path, problem.strerror)
        return None


def set_aside(path: Path) -> Path:
    """Move a damaged file, and what belongs to it, out of the way under a name that is free."""
    known = lying_aside(path)
    number = _number(known) + 1 if known else 1
    aside = path.with_name(f"{path.name}{DAMAGED}{number}")
    for suffix in (*OF_SQLITE, REDO):
        with contextlib.suppress(FileNotFoundError):
            os.rename(f"{path}{suffix}", f"{aside}{suffix}")
    os.rename(path, aside)
    return aside


def lying_aside(path: Path) -> Path | None:
    """The damaged file that was set aside last, for as long as it lies there."""
    aside = [other for other in path.parent.iterdir() if other.name.startswith(path.name + DAMAGED) and _number(other)]
    return max(aside, key=_number, default=None)


def _number(aside: Path) -> int:
    number = aside.name.rpartition(DAMAGED)[2]
    return int(number) if number.isdecimal() else 0


def connect(path: Path) -> sqlite3.Connection:
    """A plain connection, whose transactions are begun and ended by statements alone."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    try:
        db.execute(f"PRAGMA busy_timeout = {PATIENT:d}")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA synchronous = FULL")
    except BaseException:
        db.close()
        raise
    return db


def check_sound(db: sqlite3.Connection) -> None:
    """Raises :class:`Damaged` where pages are not what SQLite wrote."""
    # The quick check takes 0.4 s for a million sessions, the whole one 6 s, which is what `liveguard check` is for.
    (finding,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if finding != "ok":
        raise Damaged(finding.splitlines()[-1])


def _open_sound(path: Path, exclusive: bool) -> sqlite3.Connection:
    try:
        with contextlib.ExitStack() as failing:
            db = failing.enter_context(contextlib.closing(connect(path)))
            db.execute(f"PRAGMA busy_timeout = {WHILE_OPENING:d}")
            check_origin(db, path)  # before anything is changed
            with contextlib.nullcontext() if exclusive else _served_by_nobody_older(db, path):
                _set_journal_mode(db, exclusive)
                if exclusive:
                    check_sound(db)
                migrate(db, path)
            if exclusive:
                restore(db, records(path))
            else:
                _restore_if_alone(db, path)
                # An import is larger than SQLite's memory. What went into the file before the commit would lock out all
                # who sign in beside it.
                db.execute("PRAGMA cache_spill = OFF")
            db.execute(f"PRAGMA busy_timeout = {PATIENT:d}")
            failing.pop_all()
    except sqlite3.Error as problem:
        if primary_code(problem) in DAMAGE:
            raise Damaged(str(problem)) from None
        why = TO_BE_FREE if primary_code(problem) == sqlite3.SQLITE_BUSY else str(problem)
        raise ConfigurationError(f"The database {path} cannot be opened: {why}") from None
    return db


@contextlib.contextmanager
def _served_by_nobody_older(db: sqlite3.Connection, path: Path) -> Iterator[None]:
    """What a server does not know must not befall the file that it serves."""
    with contextlib.ExitStack() as held:
        if is_older(db):
            try:
                held.enter_context(served_alone(path, WHILE_TAKEN_UP))
            except Served:
                if is_older(db):  # still: it was no server of this version, which begins with that
                    raise ConfigurationError(
                        f"The database {path} is an older liveguard's, whose server runs: stop the server first"
                    ) from None
        yield


def _restore_if_alone(db: sqlite3.Connection, path: Path) -> None:
    if not path.with_name(path.name + REDO).exists():
        return
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(served_alone(path))
        except ConfigurationError:
            return
        restore(db, records(path))


def _set_journal_mode(db: sqlite3.Connection, exclusive: bool) -> None:
    (mode,) = db.execute("PRAGMA journal_mode").fetchone()
    if exclusive or mode != "wal":  # as another program may have left it
        db.execute("PRAGMA journal_mode = TRUNCATE")
