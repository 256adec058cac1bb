"""How long the loop's callbacks take: while one of them runs, everybody else waits."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


class Turns:
    """What the loop had to do, in seconds of its thread's CPU time."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.all = 0.0

    def took(self, seconds: float) -> None:
        self.longest = max(self.longest, seconds)
        self.all += seconds


@contextmanager
def in_short_turns(at_least: int) -> Iterator[None]:
    """What is done here is done in so many turns at least, none of which has more than its part of all: it is work that
    is compared, and not a machine's speed."""
    turns, run = Turns(), asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        run(handle)
        turns.took(time.thread_time() - began)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio.Handle, "_run", timed)
        yield
    print(f"the longest callback took {turns.longest * 1000:.1f} ms of {turns.all * 1000:.0f}")
    assert turns.longest < turns.all / at_least
