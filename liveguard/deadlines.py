"""When a session ends by itself: after the longest time, or when the grace of an interruption is over."""

from collections.abc import Callable
from functools import partial

from liveguard.clock import Clock, Timer
from liveguard.sessions import Interruption, LiveSession, Moment

Over = Callable[[LiveSession, Interruption | None], None]
"""Called with the interruption whose grace is over, or with None when the longest time is."""


class Deadlines:
    """The timers of all sessions that run."""

    def __init__(self, clock: Clock, longest: float, over: Over) -> None:
        self._clock = clock
        self._longest = longest
        self._over = over
        self._timers: dict[str, list[Timer]] = {}

    def set(self, session: LiveSession, now: Moment) -> None:
        """Set the timers of a session as it stands now, in place of those that it had."""
        self.cancel(session)
        ends_at = max(session.start.steady + self._longest, session.spared_until)
        timers = [self._timer(ends_at, now, partial(self._over, session, None))]
        interruption = session.interruption
        if interruption is not None:
            over = partial(self._over, session, interruption)
            timers.append(self._timer(interruption.since.steady + interruption.grace, now, over))
        self._timers[session.id] = timers

    def cancel(self, session: LiveSession) -> None:
        """The session does not end by itself any more; idempotent."""
        for timer in self._timers.pop(session.id, ()):
            timer.cancel()

    def close(self) -> None:
        """Let none of them happen."""
        for timers in self._timers.values():
            for timer in timers:
                timer.cancel()
        self._timers.clear()

    def _timer(self, when: float, now: Moment, callback: Callable[[], None]) -> Timer:
        return self._clock.call_later(max(0.0, when - now.steady), callback)
