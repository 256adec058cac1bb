"""Who is still there: one sweep that looks after all connections, and the pulse of each.

A timer for each of 10,000 idle connections costs thirty times as much as this wheel, which turns at most ten times a
second, and looks only at those whose moment has come. All moments are seconds of the monotonic clock: what happens to
the wall clock, happens to nobody here.
"""

import asyncio
from dataclasses import dataclass
from math import ceil
from time import monotonic
from typing import Final, Protocol

from liveguard.faults import log_fault

GRAIN: Final = 0.1  # seconds
PORTION: Final = 100
"""As many are looked after at a time, some 1 ms. Then the loop reads what has arrived: nobody waits for a crowd."""


class Swept(Protocol):
    """Something that the sweep looks after."""

    turn: int  # the turn of the wheel for which it waits, 0 for none; the sweep's own note

    def due(self, now: float) -> float | None:
        """The moment that it waited for has come. Returns the next one, or None to be left alone."""


class Sweep:
    """Moments, in turns of a tenth of a second. One comes up to a tenth late, as long as the loop is not held up."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[int, set[Swept]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0  # the turn for which it is set

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def watch(self, item: Swept, when: float) -> None:
        """Call ``item.due`` at ``when``, instead of the moment it waited for before. Never within the current turn."""
        self.forget(item)
        # So between two looks the loop has read what had arrived, even if it was held up long before the first one.
        item.turn = max(ceil(when / GRAIN), int(monotonic() / GRAIN) + 1)
        self._waiting.setdefault(item.turn, set()).add(item)
        if self._timer is None or item.turn < self._next:
            self._wait()

    def forget(self, item: Swept) -> None:
        """Let an item go; idempotent."""
        waiting = self._waiting.get(item.turn)
        if waiting is not None:
            waiting.discard(item)
            if not waiting:
                del self._waiting[item.turn]
        item.turn = 0

    def _wait(self) -> None:
        """Set the timer for the next turn in which there is something to do."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            self._next = min(self._waiting)
            self._timer = self._loop.call_later(self._next * GRAIN - monotonic(), self._sweep)

    def _sweep(self) -> None:
        try:
            self._look_after_some(monotonic())
        finally:
            self._wait()

    def _look_after_some(self, now: float) -> None:
        """A portion of those whose moment has come. Each may forget others, or ask to see them at another moment."""
        left = PORTION
        for turn in sorted(turn for turn in self._waiting if turn <= now / GRAIN):
            items = self._waiting.get(turn)
            while items:
                if not left:
                    return
                left -= 1
                item = items.pop()
                item.turn = 0
                self._look_after(item, now)
            self._waiting.pop(turn, None)

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

    def question_due(self, since: float) -> float:
        """An interval after ``since``, or up to a twentieth of that earlier: when others are asked as well.

        Whatever is done after a pause is done slowly. 500 guardians who came one by one take 0.46 of the time that they
        take where each is asked at a moment of its own.
        """
        beat = self.interval / 20
        return (since + self.interval) // beat * beat


class Peer(Protocol):
    """The other end of a connection."""

    last_heard: float

    def ping(self) -> None:
        """Ask for a sign of life."""

    def all_arrived(self) -> bool:
        """Whether nothing is on its way there."""

    def progress(self) -> tuple[int, int]:
        """The bytes that have arrived there, and the same with all that is on its way."""


class Pulse:
    """Whether one peer is alive: silence, a question, silence again, and a second look before the verdict.

    Where much else lies before the question on a slow line, whatever arrives of that is a sign of life. It is looked
    for soon, and then less and less often: what a proxy took at once would count from when the answer is due.
    """

    __slots__ = ("_arrived", "_asked_at", "_asked_behind", "_rhythm", "_suspected")

    def __init__(self, rhythm: Rhythm) -> None:
        self._rhythm = rhythm
        self._asked_at: float | None = None
        self._arrived = self._asked_behind = 0  # bytes: so many had arrived, and so many lie before the question
        self._suspected = False

    def feel(self, peer: Peer, now: float) -> float | None:
        """Ask the peer where it is time to. Returns the moment of the next look, or None: the peer is dead."""
        if self._asked_at is None or peer.last_heard >= self._asked_at:
            return self._after_a_sign_of_life(peer, now)
        asked_at = self._patient_since(peer, now, self._asked_at)
        if now < asked_at + self._rhythm.patience:
            return self._next_look(asked_at, now)
        if not self._suspected:
            # The answer may lie in the socket, unread, because the loop was held up: look again after it has read.
            self._suspected = True
            return now
        return None

    def _next_look(self, asked_at: float, now: float) -> float:
        answer_due = asked_at + self._rhythm.patience
        return min(now + (now - asked_at), answer_due) if self._arrived < self._asked_behind else answer_due

    def is_late(self, peer: Peer, now: float, patience: float) -> bool:
        """Whether an answer is late for somebody of this patience. Where none is due, the peer is asked now."""
        if self._asked_at is None or peer.last_heard >= self._asked_at:
            self._ask(peer, now)
            return False
        return now - self._patient_since(peer, now, self._asked_at) >= patience

    def _patient_since(self, peer: Peer, now: float, asked_at: float) -> float:
        """When the peer was asked, or took in more of what lies before the question."""
        if self._arrived < self._asked_behind and self._arrived < (arrived := peer.progress()[0]):
            self._arrived, self._asked_at, self._suspected = arrived, now, False
            return now
        return asked_at

    def _ask(self, peer: Peer, now: float) -> float:
        self._asked_at, self._suspected = now, False
        # Of those who are silent, nearly all have everything: that is the cheaper question.
        self._arrived, self._asked_behind = (0, 0) if peer.all_arrived() else peer.progress()
        peer.ping()
        return self._next_look(now, now)

    def _after_a_sign_of_life(self, peer: Peer, now: float) -> float:
        self._asked_at, self._suspected = None, False
        question_due = self._rhythm.question_due(peer.last_heard)
        if now < question_due:
            return question_due
        return self._ask(peer, now)


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
        question_due = self._rhythm.question_due(self._last_asked_at)
        if now < question_due:
            return question_due
        self._last_asked_at = now
        return min(self._ask(peer, now), now + self._rhythm.interval)
