"""Each ward's own queue: what several steps of one ward must not interleave, goes through it.

A step runs at once when the ward has nothing under way, and otherwise after all that was asked before it. So a stop
that arrives while its start still waits for the database takes effect right after it, a start behind a stop begins a
new session, and the end of a connection cannot overtake the last thing that it said.

Whoever asks without waiting for answers fills their own queue, and so far only. They are refused rather than not read
any more, for a connection that is not read looks dead.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

from liveguard.errors import NoActiveSession, RateLimited
from liveguard.events import Request, StopLiveSession

MOST_WAITING: Final = 500  # steps of one ward, and as many stops behind them

Rest = Coroutine[Any, Any, None] | None
Step = Callable[[], Rest]
"""Does its first part when called; what it returns, if anything, is awaited before the next step of the ward."""

Turn = tuple[Step, Request | None]
"""A step, and the request that is answered where it raises, if there is one."""

Begun = tuple[Coroutine[Any, Any, None], Request | None]
"""The rest of a step, and the same."""

Handler = Callable[[Exception, Request | None], None]
"""Learns of what a step raised."""


class Turns:
    """The queues of all wards; a ward with nothing under way costs nothing."""

    def __init__(self, failed: Handler) -> None:
        self._failed = failed  # whatever it is told of, the queue goes on
        self._waiting: dict[str, deque[Turn]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def ask(self, request: Request, step: Step) -> None:
        """Take what a ward asks for, or refuse it where too much of theirs waits already; but never a stop for that."""
        ward_id = request.connection.person.id
        waiting = len(self._waiting[ward_id]) if ward_id in self._waiting else 0
        if waiting >= MOST_WAITING and request.event != StopLiveSession.name:
            self._failed(RateLimited(), request)
        elif waiting >= 2 * MOST_WAITING:
            # What was asked for last is a stop as well, and leaves nothing for this one.
            self._failed(NoActiveSession(), request)
        else:
            self.take(ward_id, step, request)

    def take(self, ward_id: str, step: Step, request: Request | None = None) -> None:
        """Run a step when it is its turn, which may be now."""
        waiting = self._waiting.get(ward_id)
        if waiting is not None:
            waiting.append((step, request))
            return
        waiting = self._waiting[ward_id] = deque()
        begun = self._begin(step, request) or self._run(waiting)
        if begun is None:
            del self._waiting[ward_id]
            return
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        self._tasks[ward_id] = self._loop.create_task(self._finish(ward_id, waiting, begun))

    async def settled(self) -> None:
        """Wait until nothing is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks.values())

    async def _finish(self, ward_id: str, waiting: deque[Turn], begun: Begun | None) -> None:
        while begun is not None:
            rest, request = begun
            try:
                await rest
            except Exception as problem:
                self._failed(problem, request)
            begun = self._run(waiting)
        del self._waiting[ward_id]
        del self._tasks[ward_id]

    def _run(self, waiting: deque[Turn]) -> Begun | None:
        """Run the steps that wait, up to the first that has a rest to be awaited."""
        while waiting:
            begun = self._begin(*waiting.popleft())
            if begun is not None:
                return begun
        return None

    def _begin(self, step: Step, request: Request | None) -> Begun | None:
        try:
            rest = step()
        except Exception as problem:
            self._failed(problem, request)
            return None
        return None if rest is None else (rest, request)
