"""Who is still there: one sweep that looks after all connections, and the pulse of each.

A timer for each of 10,000 idle connections costs thirty times as much as this wheel, which turns once in a tenth of a
second and looks only at those whose moment has come. All moments are seconds of the monotonic clock: what happens to
the wall clock, happens to nobody here.
"""

import asyncio
from dataclasses import dataclass
from math import ceil
from time import monotonic
from typing import Final, Protocol

from liveguard.faults import log_fault

GRAIN: Final = 0.1


class Swept(Protocol):
    """Something that the sweep looks after."""

    turn: int  # the turn of the wheel for which it waits, 0 for none; the sweep's own note

    def due(self, now: float) -> float | None:
        """The moment that it waited for has come. Returns the next one, or None to be left alone."""


class Sweep:
    """A wheel of moments. A moment comes up to a tenth of a second late, as long as the loop is not held up."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[int, set[Swept]] = {}
        self._turn = 0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def watch(self, item: Swept, when: float) -> None:
        """Call ``item.due`` at ``when``, instead of the moment it waited for before. Never within the current turn."""
        self.forget(item)
        if self._timer is None:
            self._turn = int(monotonic() / GRAIN)
            self._wait()
        item.turn = max(ceil(when / GRAIN), self._turn + 1)
        self._waiting.setdefault(item.turn, set()).add(item)

    def forget(self, item: Swept) -> None:
        """Let an item go; idempotent."""
        waiting = self._waiting.get(item.turn)
        if waiting is not None:
            waiting.discard(item)
            if not waiting:
                del self._waiting[item.turn]
        item.turn = 0

    def _sweep(self) -> None:
        now = monotonic()
        passed = range(self._turn + 1, int(now / GRAIN) + 1)
        # The wheel moves on first: whoever asks to be seen again belongs to a later turn. So between two looks the
        # loop has read what had arrived, even if it was held up for a long time before the first one.
        self._turn = max(self._turn, passed.stop - 1)
        for turn in passed:
            for item in self._waiting.pop(turn, ()):
                item.turn = 0
                self._look_after(item, now)
        self._timer = None
        if self._waiting:
            self._wait()

    def _wait(self) -> None:
        """For the beginning of the next turn."""
        self._timer = self._loop.call_later((self._turn + 1) * GRAIN - monotonic(), self._sweep)

    def _look_after(self, item: Swept, now: float) -> None:
        try:
            following = item.due(now)
        except Exception as fault:
            log_fault("the sweep", fault)
            return
        if following is not None:
            self.watch(item, following)


@dataclass(frozen=True)
class Rhythm:
    """How long a peer may be silent before it is asked for a sign of life, and how long the answer may take."""

    interval: float  # seconds
    patience: float  # seconds


class Peer(Protocol):
    """The other end of a connection."""

    last_heard: float

    def ping(self) -> None:
        """Ask for a sign of life."""


class Pulse:
    """Whether one peer is alive: silence, a question, silence again, and a second look before the verdict."""

    __slots__ = ("_asked_at", "_rhythm", "_suspected")

    def __init__(self, rhythm: Rhythm) -> None:
        self._rhythm = rhythm
        self._asked_at: float | None = None
        self._suspected = False

    def feel(self, peer: Peer, now: float) -> float | None:
        """Ask the peer where it is time to. Returns the moment of the next look, or None: the peer is dead."""
        if self._asked_at is None or peer.last_heard >= self._asked_at:
            return self._after_a_sign_of_life(peer, now)
        answer_due = self._asked_at + self._rhythm.patience
        if now < answer_due:
            return answer_due
        if not self._suspected:
            # The answer may lie in the socket, unread, because the loop was held up: look again after it has read.
            self._suspected = True
            return now
        return None

    def _after_a_sign_of_life(self, peer: Peer, now: float) -> float:
        self._asked_at, self._suspected = None, False
        question_due = peer.last_heard + self._rhythm.interval
        if now < question_due:
            return question_due
        self._asked_at = now
        peer.ping()
        return now + self._rhythm.patience


class Metronome(Pulse):
    """The same for peers who want to be asked regularly, however much they have to say by themselves."""

    __slots__ = ("_last_asked_at",)

    def __init__(self, rhythm: Rhythm) -> None:
        super().__init__(rhythm)
        self._last_asked_at: float | None = None

    def _after_a_sign_of_life(self, peer: Peer, now: float) -> float:
        self._asked_at, self._suspected = None, False
        if self._last_asked_at is None:
            self._last_asked_at = now
        question_due = self._last_asked_at + self._rhythm.interval
        if now < question_due:
            return question_due
        self._asked_at = self._last_asked_at = now
        peer.ping()
        return now + min(self._rhythm.interval, self._rhythm.patience)
