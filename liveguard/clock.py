"""The process's clocks, as an argument: tests move time by hand."""

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

from liveguard.sessions import Moment

HELD_UP: Final = 1.0  # seconds
READ_FIRST: Final = 2.0  # seconds


class Timer(Protocol):
    """Something that will happen unless it is cancelled in time."""

    def cancel(self) -> None:
        """Let it not happen. What is on its way already may still come, so whoever is called back looks again."""


class Clock(Protocol):
    """What time it is, and what shall happen later."""

    def now(self) -> Moment:
        """One reading of the wall clock and of the monotonic clock."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call back after so many seconds of the monotonic clock."""


class SystemClock:
    """The machine's clocks and the running event loop's timers. For one loop only."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None  # asking for it costs a system call on Python 3.11

    def now(self) -> Moment:
        return Moment(time.time_ns() // 1_000_000, time.monotonic())

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return LoopTimer(self._loop, seconds, callback)


class LoopTimer:
    """A timer of the loop. One that comes late by more than a second comes later still.

    The process, or its whole machine, was stopped, and the sockets are full of what has happened meanwhile: a ward who
    was lost may be long back. Two seconds are for reading it.
    """

    __slots__ = ("_callback", "_due", "_handle", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._due = loop.time() + seconds
        self._handle = loop.call_later(seconds, self._ring)

    def _ring(self) -> None:
        if self._loop.time() - self._due > HELD_UP:
            self._handle = self._loop.call_later(READ_FIRST, self._callback)
        else:
            self._callback()

    def cancel(self) -> None:
        """Let it not happen."""
        self._handle.cancel()


async def pause(clock: Clock, seconds: float) -> None:
    """Wait, by this clock."""
    over = asyncio.Event()
    timer = clock.call_later(seconds, over.set)
    try:
        await over.wait()
    finally:
        timer.cancel()
