"""What can befall a database in use, brought about for as long as a ``with`` lasts.

Each fault is made by another process or on the file itself; the server is not told. Where this machine lets nobody
mount or lock files, the kernel refuses the server's writes by a limit instead, which looks the same to it.
"""

import contextlib
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from io import FileIO
from pathlib import Path

import pytest
from server import Process
from shelf import change_elsewhere, held_elsewhere

Fault = Callable[[Process], AbstractContextManager[None]]

RUBBISH = """
import sys
with open(sys.argv[1], "r+b") as file:
    for place in sys.argv[2].split(","):
        file.seek(int(place))
        file.write(sys.stdin.buffer.read(int(sys.argv[3])))
"""


@contextmanager
def small_disk(place: Path) -> Iterator[bool]:
    """A disk of one megabyte at this place, or no disk of its own where nobody may mount one: which of them?"""
    place.mkdir()
    mounted = _done("mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "liveguard-tests", str(place))
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(place)], check=True)


@contextmanager
def disk_of_its_own(place: Path) -> Iterator[None]:
    """The same, for a test that is nothing without it."""
    with small_disk(place) as mounted:
        if not mounted:
            pytest.skip("Only root may mount a small disk")
        yield


@contextmanager
def full_disk(home: Process) -> Iterator[None]:
    """Nothing more fits on the disk."""
    if not home.database.parent.is_mount():
        with _no_write_beyond(home, home.database.stat().st_size):
            yield
        return
    filler = home.database.with_name("filler")
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def read_only(home: Process) -> Iterator[None]:
    """Nobody may change the file any more, neither those who have it open."""
    with home.database.open("r+b", buffering=0) as opened_before:
        marked = _done("chattr", "+i", str(home.database))
        try:
            # Not every kind of disk heeds the mark where a file is open already.
            if marked and _is_refused(opened_before):
                yield
            else:
                with _no_write_beyond(home, 0):
                    yield
        finally:
            if marked:
                subprocess.run(["chattr", "-i", str(home.database)], check=True)


@contextmanager
def locked(home: Process) -> Iterator[None]:
    """Another process has the file to itself."""
    with held_elsewhere(home.database, "EXCLUSIVE"):
        yield


@contextmanager
def rubbish_everywhere(home: Process) -> Iterator[None]:
    """Somebody has written over the whole file."""
    content = home.database.read_bytes()
    _overwrite(home.database, [0], b"rubbish " * (len(content) // 8))
    try:
        yield
    finally:
        _overwrite(home.database, [0], content)


@contextmanager
def rubbish_in_the_journal(home: Process) -> Iterator[None]:
    """The pages of the sessions are damaged, all others are sound."""
    with closing(sqlite3.connect(home.database)) as db:
        (size,) = db.execute("PRAGMA page_size").fetchone()
        pages = [
            (page - 1) * size
            for (page,) in db.execute("SELECT rootpage FROM sqlite_schema WHERE tbl_name = 'sessions' AND rootpage > 0")
        ]
    content = home.database.read_bytes()
    _overwrite(home.database, pages, b"rubbish " * (size // 8 * len(pages)), size)
    # A change by somebody else, so that the server looks at the file again.
    change_elsewhere(home.database, "UPDATE users SET first_name = 'Idina' WHERE id = 'ida'")
    try:
        yield
    finally:
        _overwrite(home.database, pages, b"".join(content[page : page + size] for page in pages), size)


@contextmanager
def _no_write_beyond(home: Process, size: int) -> Iterator[None]:
    limits = resource.prlimit(home.child.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(home.child.pid, resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.prlimit(home.child.pid, resource.RLIMIT_FSIZE, limits)


def _overwrite(path: Path, places: list[int], content: bytes, each: int | None = None) -> None:
    """Write over a file in a process of its own: closing it in this one would lose SQLite's locks."""
    arguments = [",".join(map(str, places)), str(each or len(content))]
    subprocess.run([sys.executable, "-c", RUBBISH, str(path), *arguments], input=content, check=True, timeout=10)


def _is_refused(file: FileIO) -> bool:
    try:
        os.pwrite(file.fileno(), os.pread(file.fileno(), 1, 0), 0)
    except OSError:
        return True
    return False


def _done(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
