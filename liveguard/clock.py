"""The process's clocks, as an argument: tests move time by hand."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from liveguard.sessions import Moment


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
        return self._loop.call_later(seconds, callback)


async def pause(clock: Clock, seconds: float) -> None:
    """Wait, by this clock."""
    over = asyncio.Event()
    timer = clock.call_later(seconds, over.set)
    try:
        await over.wait()
    finally:
        timer.cancel()
