"""Each ward's own queue: what several steps of one ward must not interleave, goes through it.

A step runs at once when the ward has nothing under way, and otherwise after all that was asked before it. So a stop
that arrives while its start still waits for the database takes effect right after it, a start behind a stop begins a
new session, and the end of a connection cannot overtake the last thing that it said.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine

Rest = Coroutine[object, object, None] | None
Step = Callable[[], Rest]
"""Does its first part when called; what it returns, if anything, is awaited before the next step of the ward."""


class Turns:
    """The queues of all wards; a ward with nothing under way costs nothing."""

    def __init__(self, report: Callable[[BaseException], None]) -> None:
        self._report = report  # told of what a step raised; the queue goes on
        self._waiting: dict[str, deque[Step]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def busy(self, ward_id: str) -> bool:
        """Whether something of this ward is under way."""
        return ward_id in self._waiting

    def take(self, ward_id: str, step: Step) -> None:
        """Run a step when it is its turn, which may be now."""
        waiting = self._waiting.get(ward_id)
        if waiting is not None:
            waiting.append(step)
            return
        waiting = self._waiting[ward_id] = deque((step,))
        rest = self._run(waiting)
        if rest is None:
            del self._waiting[ward_id]
            return
        task = asyncio.get_running_loop().create_task(self._finish(ward_id, waiting, rest))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settled(self) -> None:
        """Wait until nothing is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _run(self, waiting: deque[Step]) -> Rest:
        """Run the steps that wait, up to the first that has a rest to be awaited."""
        while waiting:
            try:
                rest = waiting.popleft()()
            except Exception as problem:
                self._report(problem)
                continue
            if rest is not None:
                return rest
        return None

    async def _finish(self, ward_id: str, waiting: deque[Step], rest: Rest) -> None:
        while rest is not None:
            try:
                await rest
            except Exception as problem:
                self._report(problem)
            rest = self._run(waiting)
        del self._waiting[ward_id]
