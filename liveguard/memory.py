"""Memory that goes back to the machine when a crowd has left.

Python's own allocator takes a megabyte at a time, and gives one back when nothing at all is left in it. There is always
something: what the interpreter and its libraries keep for the next timer or coroutine lies all over the place, and of
2,000 connections that had come and gone, 13 of 15 MB stayed. The C library's allocator gives back each page that is
empty, if it is asked to: then 4 MB stay. It costs 5 to 15 % of the speed.
"""

import ctypes
import gc
import os
import sys
from collections.abc import Callable
from typing import Protocol

CHOICE = "PYTHONMALLOC"


def _trim() -> Callable[[int], int] | None:
    """``malloc_trim`` of the GNU C library (see malloc_trim(3)), where that is the C library."""
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
    return trim


def begin_with_the_allocator_that_gives_back() -> None:
    """Begin the program again, in the same process, with the C library's allocator; nothing where it is chosen already
    or could not give back. ``PYTHONMALLOC=pymalloc`` keeps Python's own."""
    if CHOICE in os.environ or sys.flags.ignore_environment or _trim() is None:
        return
    os.environ[CHOICE] = "malloc"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - what runs already, as it was called


class Crowd(Protocol):
    """The connections that are open, and how many have closed since the beginning."""

    closed: int

    def __len__(self) -> int: ...


class Memory:
    """Gives memory back after connections have closed."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._closed = 0
        self._once_more = False
        self._trim = _trim()
        self._forget: Callable[[], None] = getattr(sys, "_clear_internal_caches", None) or sys._clear_type_cache

    async def give_back(self) -> None:
        """Called now and then: when more have closed than are still open, and once more for what those still held.

        The collector looks at all that is left, which takes the longer the more connections stay.
        """
        gone = self._crowd.closed - self._closed > len(self._crowd)
        if self._trim is not None and (gone or self._once_more):
            self._closed = self._crowd.closed
            # Both hold a little of everything: the names of attributes that were looked up, objects to be used again.
            self._forget()
            gc.collect()
            self._trim(0)
        self._once_more = gone
