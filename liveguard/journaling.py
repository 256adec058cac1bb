"""What the journal learns of sessions, and what happens while it cannot be written.

Persist, apply, tell: a session is announced after the journal has it. Where the journal fails, it is announced all
the same and what could not be written waits here, in order, until the journal works again.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple

import msgspec

from liveguard.clock import Clock, pause
from liveguard.errors import StartFailed, StorageUnavailable, Unanswered
from liveguard.events import Location, Person, Reason, SessionEnded
from liveguard.sessions import LiveSession, Moment, whole_seconds
from liveguard.storage import JournaledSession, Storage
from liveguard.storage.numbering import Begun

RETRY = 0.5  # seconds
RECENT = 100  # ends that are remembered longer than they must be, for a guardian who is arriving

log = logging.getLogger(__name__)


class Unwritten(NamedTuple):
    """The beginning or the end of a session, still to be written, or a beginning that is to be taken back."""

    session: LiveSession
    write: Callable[[bool], Awaitable[Begun | int | None]]  # again, or for the first time


class RecentEnd(msgspec.Struct, frozen=True, gc=False):
    """An end that may be in the redo log only; no more of its session, for in a burst there are thousands."""

    seq: int
    event: SessionEnded


class Journaling:
    """Writes the beginnings and the ends of sessions, and where their wards are."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._known: dict[str, list[Person]] = {}
        self._moved: dict[str, Location] = {}
        self._unwritten: deque[Unwritten] = deque()
        self._ended: deque[RecentEnd] = deque()
        self._written_before = 0  # the number up to which the tables had everything when that was last looked at
        self._long_written = 0  # and the time before
        self._catching_up: asyncio.Task[None] | None = None

    def is_behind(self) -> bool:
        """Whether something waits to be written."""
        return bool(self._unwritten)

    def know(self, ward_id: str, guardians: Iterable[Person]) -> None:
        """Remember a connected ward's accepted guardians, for the time when the database cannot be read."""
        self._known[ward_id] = list(guardians)

    def forget(self, ward_id: str) -> None:
        """The ward is not connected any more."""
        self._known.pop(ward_id, None)

    async def begin(self, session: LiveSession) -> tuple[list[Person], int | None]:
        """Read the ward's accepted guardians and write the beginning, in one transaction.

        The place in the journal is None where only the journal could not be written. Raises :class:`StartFailed`
        when the guardians cannot be read.
        """

        def write(again: bool) -> Awaitable[Begun]:
            return self._storage.journal.start(
                session.id, session.ward.id, session.start.wall, session.metadata, again=again
            )

        try:
            begun = await write(False)
        except StorageUnavailable as fault:
            guardians = await self._guardians_without(session, fault)
            self._postpone(Unwritten(session, write), fault)
            return guardians, None
        except Exception as problem:
            log.error("A start could not be written: %s", type(problem).__name__)
            raise StartFailed from None
        return begun.guardians, begun.seq

    async def end(self, session: LiveSession, ended: Moment, reason: Reason, ended_by: str | None = None) -> int | None:
        """Write the end. None where it could not be written: whatever the journal does, a session that ends has ended.

        An end whose beginning waits to be written waits behind it.
        """

        def write(again: bool) -> Awaitable[int]:
            duration = session.duration(ended)
            return self._storage.journal.end(session.id, ended.wall, duration, reason, ended_by=ended_by, again=again)

        fault = None
        if session.seq is not None:
            try:
                return await write(False)
            except StorageUnavailable as problem:
                fault = problem
            except Exception as problem:
                log.error("An end could not be written: %s", type(problem).__name__)
                return None
        self._postpone(Unwritten(session, write), fault)
        return None

    async def left_behind(self) -> list[JournaledSession]:
        """The sessions that had not ended when the process did, one of each ward."""
        journaled = await self._storage.journal.active()
        newest = {one.ward.id: one for one in journaled}
        for one in journaled:
            following = newest[one.ward.id]
            if following is not one:
                # Its end was told, and went down with the process while the journal could not be written.
                ended = max(one.start_time, following.start_time)
                ran = whole_seconds((ended - one.start_time) / 1000)
                with contextlib.suppress(StorageUnavailable):  # a later start will do
                    await self._storage.journal.end(one.id, ended, ran, "ward_disconnected")
        return list(newest.values())

    def moved(self, session: LiveSession) -> None:
        """Remember to write the last location of a session."""
        if session.last_location is not None:
            self._moved[session.id] = session.last_location

    async def write_lazily(self) -> None:
        """Called now and then: write the last locations that are new, and forget the ends that are old."""
        self._forget_ends()
        moved, self._moved = self._moved, {}
        if moved:
            try:
                await self._storage.journal.locate(moved)
            except StorageUnavailable:
                self._moved = moved | self._moved

    def long_written(self) -> int:
        """A number of the journal: whatever came up to there, was applied and told a while ago. At first it is 0."""
        return self._long_written

    def unwritten(self) -> list[LiveSession]:
        """The sessions whose end waits to be written, the newest first."""
        ended = (session for session, _ in reversed(self._unwritten) if session.ended is not None)
        return list({session.id: session for session in ended}.values())

    def unwritten_ends(self, guardian_id: str, wards: Mapping[str, int], known: int) -> list[SessionEnded]:
        """The ends that this guardian may know, behind the number up to which they and the tables have all of them;
        ``wards`` are those who accept them, each with the number at which they did."""
        ended = self._ended
        recent = [end for end in ended if end.seq > known and end.seq > wards.get(end.event.ward_id, end.seq)]
        recent.sort(key=lambda end: end.seq)  # what was written late was remembered late
        ends = {end.event.session_id: end.event for end in recent}
        for session, _ in self._unwritten:
            if session.ended is not None and guardian_id in session.guardians and session.ward.id in wards:
                ends.setdefault(session.id, session.ended)
        return list(ends.values())

    def remember(self, session: LiveSession, seq: int) -> None:
        """Keep an end that was written, which may be in the redo log only, until the tables certainly have it."""
        assert session.ended is not None
        event = session.ended if session.ended.seq == seq else msgspec.structs.replace(session.ended, seq=seq)
        self._ended.append(RecentEnd(seq, event))
        while len(self._ended) > RECENT and self._ended[0].seq <= self._storage.database.written:
            self._ended.popleft()

    def _forget_ends(self) -> None:
        """What the tables had the last time already, nobody who arrives need hear of from here.

        A session that stays behind when a crowd has gone keeps its page of memory, however little of it is left.
        """
        while self._ended and self._ended[0].seq <= self._written_before:
            self._ended.popleft()
        self._long_written, self._written_before = self._written_before, self._storage.database.written

    async def close(self) -> None:
        """Try once more to write what waits."""
        if self._catching_up is not None:
            self._catching_up.cancel()
        if self._unwritten:
            await self._storage.database.answers()
        await self._write_what_waits()
        if self._unwritten:
            log.error("What could not be written is lost: %d starts and ends of sessions", len(self._unwritten))

    async def _guardians_without(self, session: LiveSession, fault: StorageUnavailable) -> list[Person]:
        """The guardians of a session that is not written for this fault, which is none where they cannot be read."""
        try:
            return await self._guardians(session.ward.id)
        except StartFailed:
            if isinstance(fault, Unanswered):
                self._postpone(Unwritten(session, lambda again: self._storage.journal.take_back(session.id)), fault)
            raise

    async def _guardians(self, ward_id: str) -> list[Person]:
        try:
            return await self._storage.guardians.accepted_of(ward_id)
        except StorageUnavailable:
            if ward_id in self._known:
                return self._known[ward_id]
            raise StartFailed from None
        except Exception as problem:
            log.error("The guardians of a ward could not be read: %s", type(problem).__name__)
            raise StartFailed from None

    def _postpone(self, unwritten: Unwritten, fault: StorageUnavailable | None) -> None:
        self._unwritten.append(unwritten)
        if self._catching_up is None or self._catching_up.done():
            log.error("The journal cannot be written; sessions go on without it")
            log.warning("Why the journal cannot be written: %s", fault)
            self._catching_up = asyncio.get_running_loop().create_task(self._catch_up())

    async def _catch_up(self) -> None:
        while self._unwritten:
            await pause(self._clock, RETRY)
            await self._write_what_waits()
        log.warning("The journal works again and has caught up")

    async def _write_what_waits(self) -> None:
        while self._unwritten:
            session, write = self._unwritten[0]
            try:
                written = await write(True)
            except StorageUnavailable:
                return
            except Exception as problem:
                log.error("The journal refused an entry for good: %s", type(problem).__name__)
            else:
                if isinstance(written, Begun):
                    session.seq = written.seq
                elif written is not None:
                    self.remember(session, written)
            self._unwritten.popleft()
