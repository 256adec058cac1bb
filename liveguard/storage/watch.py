"""Notices that the database's thread does not come back: a disk that hangs fails nothing, and answers nobody."""

from collections.abc import Callable
from typing import Final

from liveguard.clock import Clock, Timer

PATIENCE: Final = 5.0
"""Seconds that a batch may take: twice what it may wait for a lock, before it begins and before it commits, and one
more."""
SECOND_LOOK: Final = 0.1  # seconds


class Watch:
    """Calls ``hangs`` where a batch takes too long. However many batches there are, they have one timer."""

    def __init__(self, clock: Clock, hangs: Callable[[], None]) -> None:
        self._clock = clock
        self._hangs = hangs
        self._began: float | None = None
        self._suspected = False
        self._timer: Timer | None = None

    def begin(self) -> None:
        """A batch is under way."""
        self._began = self._clock.now().steady
        self._suspected = False
        if self._timer is None:
            self._timer = self._clock.call_later(PATIENCE, self._look)

    def end(self) -> None:
        """It is done."""
        self._began = None

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        if self._began is None:
            return
        left = self._began + PATIENCE - self._clock.now().steady
        if left > 0:
            self._timer = self._clock.call_later(left, self._look)
        elif not self._suspected:
            # The program itself may have been held up, and the answer lie there unread.
            self._suspected = True
            self._timer = self._clock.call_later(SECOND_LOOK, self._look)
        else:
            self._hangs()
