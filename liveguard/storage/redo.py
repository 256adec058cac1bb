"""A redo log beside the database: what has been confirmed and comes into the tables a moment later.

A commit of SQLite's waits three or four times for the disk, a record here once: 0.9 ms and 0.2 ms on the machine of
docs/performance.md. Each record is written behind the one before it. Once the tables have taken in what they say, the
next one goes to the beginning again: so the file stays as long as the longest burst, and what lies behind the newest
record is an older one, which says nothing new, or zeros. They are written first, for a record that makes the file
longer takes twice the time and half as much CPU again.

    size (4) | CRC-32 of the payload (4) | payload
"""

import contextlib
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from liveguard.errors import ConfigurationError

SUFFIX = "-redo"
GROWTH = 256 * 1024  # bytes by which the file becomes longer

_HEAD = struct.Struct("<II")


def records(database: Path) -> Iterator[bytes]:
    """The payloads that lie in the log of a database, up to the first that was not written as a whole.

    Raises :class:`~liveguard.errors.ConfigurationError` where they cannot be read.
    """
    try:
        log = _place(database).read_bytes()
    except FileNotFoundError:
        return
    except OSError as problem:
        raise ConfigurationError(f"The redo log {_place(database)} cannot be read: {problem.strerror}") from None
    at = 0
    while at + _HEAD.size <= len(log):
        size, checksum = _HEAD.unpack_from(log, at)
        at += _HEAD.size
        payload = log[at : at + size]
        if not size or zlib.crc32(payload) != checksum:
            return
        yield payload
        at += size


class RedoLog:
    """The log of one database, empty: what it had has been taken up. Raises OSError where it cannot be opened."""

    def __init__(self, database: Path) -> None:
        self._path = _place(database)
        new = not self._path.exists()
        # What is written is on the disk when the call returns, as with fdatasync(2) behind it. What lay there may be
        # of another file, and go on from the tables of this one some day.
        self._file = os.open(self._path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_DSYNC, 0o600)
        self._end = self._size = 0
        if new:
            sync(self._path.parent)

    def append(self, payload: bytes) -> None:
        """Add a record: it is on the disk when this returns. Raises OSError, and then it is not there."""
        record = _HEAD.pack(len(payload), zlib.crc32(payload)) + payload
        try:
            while self._end + len(record) > self._size:
                self._write(bytes(GROWTH), self._size)
                self._size += GROWTH
            self._write(record, self._end)
        except OSError:
            # It may have been written as a whole, and then the next start would take it up.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._end)
            self._size = self._end
            raise
        self._end += len(record)

    def _write(self, some: bytes, at: int) -> None:
        if os.pwrite(self._file, some, at) < len(some):
            raise OSError("no room for a record")

    def rewind(self) -> None:
        """The tables have all that the records say: the next one is written over the first."""
        self._end = 0

    def close(self, *, remove: bool) -> None:
        """Let go of the file, and take it away where nothing in it is needed any more."""
        os.close(self._file)
        if remove:
            with contextlib.suppress(OSError):
                self._path.unlink()


def _place(database: Path) -> Path:
    return database.with_name(database.name + SUFFIX)


def sync(place: Path) -> None:
    """Wait until a file, or what a folder lists, is on the disk."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
