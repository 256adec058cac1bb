"""What is remembered of the sessions: for the pages while they run, and for the history after that.

Everything that happens in a running session comes by :meth:`Chronicle.happened`, which only keeps it in memory; what is
new is written a few seconds later, many things at once and away from the way of a frame. ``version`` grows with each
change, so whoever shows a session knows whether there is anything new to show.
"""

import asyncio
import logging
import sys
from collections.abc import Hashable, Iterable
from typing import Any, NamedTuple
from uuid import uuid4

from liveguard.clock import Clock
from liveguard.errors import StorageUnavailable
from liveguard.events import (
    GuardiansChanged,
    GuardianSessionStarted,
    Location,
    LocationUpdated,
    Message,
    Person,
    Sender,
    ServerEvent,
    SessionEnded,
    SessionInterrupted,
    SessionResumed,
)
from liveguard.faults import log_fault
from liveguard.sessions import LiveSession, Moment
from liveguard.storage import Entry, Storage
from liveguard.storage.chronicle import MOST_ENTRIES
from liveguard.trail import Point, Trail

MOST_SHOWN = 200  # messages of a running session
PURGE_EVERY = 60.0  # seconds
AT_ONCE = 5000  # entries that are written in one go: a start that comes meanwhile waits some 25 ms for them
ROOM = 16 * 1024 * 1024  # bytes, more or less, for what happened and cannot be written
BESIDE_TEXT = 200  # bytes of an entry
MOST_POINTS = 50_000  # of trails that have ended and cannot be written: some 15 MB

log = logging.getLogger(__name__)


class Memory:
    """What is remembered of one running session."""

    __slots__ = ("battery", "forgotten", "messages", "rendered", "session", "trail", "version", "watching")

    def __init__(self, session: LiveSession) -> None:
        self.session = session
        self.version = 0
        self.rendered: dict[Hashable, Any] = {}  # what pages made of it; emptied by each change
        self.trail = Trail()
        self.battery: float | None = None
        self.messages: list[Entry] = []
        self.forgotten = 0  # earlier messages, which are in the history only
        self.watching: dict[str, Person] = {}

    def say(self, entry: Entry) -> None:
        """Somebody wrote."""
        self.messages.append(entry)
        if len(self.messages) > MOST_SHOWN:
            del self.messages[0]
            self.forgotten += 1

    def move(self, point: Point) -> None:
        """The ward is somewhere."""
        self.trail.add(point)
        if point.battery is not None:
            self.battery = point.battery


class Ended(NamedTuple):
    """What is left of a session that has ended, until it is written."""

    session: LiveSession
    trail: Trail


class Chronicle:
    """The memory of all sessions that run. ``keep_for`` milliseconds after the end of one, its trail is forgotten."""

    def __init__(self, storage: Storage, clock: Clock, *, keep_for: int) -> None:
        self.version = 1
        self.epoch = uuid4().hex[:8]  # versions of another process mean nothing here
        self._storage = storage
        self._clock = clock
        self._keep_for = keep_for
        self._memories: dict[str, Memory] = {}
        self._entries: list[Entry] = []
        self._being_written: list[Entry] = []
        self._ending: dict[str, Ended] = {}
        self._being_ended: dict[str, Ended] = {}
        self._out_of_room = False
        self._purged_at = float("-inf")

    def of(self, session: LiveSession) -> Memory:
        """What is remembered of a running session."""
        memory = self._memories.get(session.id)
        if memory is None:
            memory = self._memories[session.id] = Memory(session)
            self._touch(memory)
        return memory

    # -- what happens ----------------------------------------------------------------------------------------------

    def happened(self, session: LiveSession, event: ServerEvent, now: Moment) -> None:
        """Something happened in a running session."""
        memory = self.of(session)
        self._touch(memory)
        if isinstance(event, LocationUpdated):
            memory.move(_point(event.location, now.wall))
        elif isinstance(event, Message):
            sender = event.sender
            entry = self._note(session, "message", now.wall, sender, role=sender.role, text=event.text)
            memory.say(entry)
        else:
            self._change(memory, event, now.wall)

    def _change(self, memory: Memory, event: ServerEvent, when: int) -> None:
        session = memory.session
        match event:
            case GuardianSessionStarted():
                memory.watching = _present(session)
                told = {guardian_id: guardian.name for guardian_id, guardian in session.guardians.items()}
                here = [told.get(person_id) or person.name for person_id, person in memory.watching.items()]
                self._note(session, "started", session.start.wall, told=list(told.values()), here=here)
            case GuardiansChanged():
                self._compare(memory, when)
            case SessionInterrupted():
                self._note(session, "interrupted", when)
            case SessionResumed():
                self._note(session, "resumed", when, seconds=event.interrupted_for)
            case SessionEnded():
                # How it ended stands in the journal.
                if len(memory.trail):
                    self._ending[session.id] = Ended(session, memory.trail)
                del self._memories[session.id]

    def _compare(self, memory: Memory, when: int) -> None:
        """Who came into the room, and who left it."""
        present = _present(memory.session)
        for person_id in memory.watching.keys() - present.keys():
            self._note(memory.session, "left", when, memory.watching[person_id])
        for person_id in present.keys() - memory.watching.keys():
            self._note(memory.session, "came", when, present[person_id])
        memory.watching = present

    def _note(
        self, session: LiveSession, kind: Any, when: int, who: Person | Sender | None = None, **data: Any
    ) -> Entry:
        entry = Entry.of(session.id, when, kind, who, **data)
        self._entries.append(entry)
        return entry

    def _touch(self, memory: Memory) -> None:
        # It grows with the time, not with what happened: nobody can count by it what they may not see.
        self.version = max(self.version + 1, int(self._clock.now().steady * 1e6))
        memory.version = self.version
        memory.rendered.clear()

    # -- what is kept ----------------------------------------------------------------------------------------------

    async def restore(self, sessions: Iterable[LiveSession]) -> None:
        """Take up the trails and messages of sessions that go on after a restart."""
        running = list(sessions)
        reads = (self._storage.chronicle.of_running(session.id, MOST_SHOWN) for session in running)
        for session, left in zip(running, await asyncio.gather(*reads, return_exceptions=True), strict=True):
            memory = self.of(session)
            if isinstance(left, BaseException):
                # That it runs counts; a server that does not start watches over nobody.
                log_fault("the story of a session that goes on", left)
                continue
            memory.trail, memory.messages, memory.forgotten = Trail(left.trail), left.messages, left.earlier
            memory.battery = next((point.battery for point in reversed(left.trail) if point.battery is not None), None)

    async def entries(self, session_id: str) -> list[Entry]:
        """What happened in a session, in the order of time; of a very long one, what happened last."""
        new = [entry for entry in (*self._being_written, *self._entries) if entry.session_id == session_id]
        written = await self._storage.chronicle.entries(session_id)
        known = set(written)  # what was new a moment ago may be written by now
        return [*written, *(entry for entry in new if entry not in known)][-MOST_ENTRIES:]

    async def trail(self, session_id: str) -> list[Point]:
        """Where the ward of a session was, as far as that is still kept."""
        memory = self._memories.get(session_id)
        if memory is None and not self._keep_for:
            return []
        known = memory or self._ending.get(session_id) or self._being_ended.get(session_id)
        return (known.trail.points if known else []) or await self._storage.chronicle.trail(session_id)

    async def write(self) -> None:
        """Write what is new, and forget the places that need not be kept any longer."""
        # Where the journal has no such session yet, nothing would find its places when they are to be forgotten.
        known: dict[str, Memory | Ended] = {**self._memories, **self._ending}
        trails = {session_id: one.trail for session_id, one in known.items() if one.session.seq is not None}
        changes = {session_id: found for session_id, trail in trails.items() if (found := trail.changes())}
        entries, self._entries = self._entries, []
        self._being_written = entries
        ending = {session_id: ended for session_id, ended in self._ending.items() if session_id in trails}
        self._ending = {session_id: ended for session_id, ended in self._ending.items() if session_id not in trails}
        self._being_ended = ending
        written = 0
        try:
            if changes:
                await self._storage.chronicle.write([], changes)
            while written < len(entries):
                await self._storage.chronicle.write(entries[written : written + AT_ONCE], {})
                written += AT_ONCE
            await self._forget(at_once=bool(ending) and self._keep_for == 0)
        except StorageUnavailable:
            self._entries = entries[written:] + self._entries
            self._ending = ending | self._ending
            for session_id in changes:
                trails[session_id].write_again()
            self._make_room()
        else:
            self._out_of_room = False
        finally:
            self._being_written, self._being_ended = [], {}

    def _make_room(self) -> None:
        """What waits must not take all memory, however long it has to."""
        entries, ending = _within_room(self._entries), _newest(self._ending)
        forgotten = len(self._entries) - len(entries) + len(self._ending) - len(ending)
        self._entries, self._ending = entries, ending
        if forgotten and not self._out_of_room:
            self._out_of_room = True
            log.error("The history will lack some of what happens: too much waits for the database to be written")

    async def _forget(self, at_once: bool) -> None:
        now = self._clock.now()
        if not at_once and now.steady - self._purged_at < PURGE_EVERY:
            return
        # Some in each round, until there is nothing: many take longer than a server that stops has time for.
        found = await self._storage.chronicle.purge(now.wall - self._keep_for)
        self._purged_at = float("-inf") if found else now.steady


def _within_room(entries: list[Entry]) -> list[Entry]:
    """All of them, if there is room. Who came and left matters least, then what is oldest."""
    if sum(map(_size, entries)) <= ROOM:
        return entries
    entries = [entry for entry in entries if entry.kind not in ("came", "left")]
    left = ROOM
    for place in range(len(entries) - 1, -1, -1):
        left -= _size(entries[place])
        if left < 0:
            return entries[place + 1 :]
    return entries


def _size(entry: Entry) -> int:
    return BESIDE_TEXT + sys.getsizeof(entry.data)


def _newest(ended: dict[str, Ended]) -> dict[str, Ended]:
    """As many of these as there is room for."""
    left = MOST_POINTS
    for place, one in enumerate(reversed(ended.values())):
        left -= len(one.trail)
        if left < 0:
            return dict(list(ended.items())[len(ended) - place :])
    return ended


def _point(location: Location, when: int) -> Point:
    return Point(
        when,
        location.latitude,
        location.longitude,
        location.accuracy,
        location.altitude,
        location.heading,
        location.speed,
        location.battery,
    )


def _present(session: LiveSession) -> dict[str, Person]:
    return {person_id: presence.person for person_id, presence in session.room.guardians.items()}
