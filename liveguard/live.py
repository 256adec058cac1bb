"""The use cases of live sessions: what a ward, a guardian, an admin, time or the network does to them.

Connections report here and are told from here; whatever they are made of, they have a ``person``, the moments
``opened_at`` and ``last_heard`` on the monotonic clock, and ``send`` that neither waits nor raises.
"""

import asyncio
import logging
import uuid
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, Protocol

import msgspec

from liveguard.audience import Audience, Member
from liveguard.clock import Clock, Timer
from liveguard.errors import AccountInactive, InternalError, NoActiveSession, NotInRoom, Refusal, StorageUnavailable
from liveguard.events import (
    GuardiansChanged,
    Location,
    LocationAcknowledged,
    LocationUpdated,
    Message,
    Notice,
    Person,
    Reason,
    Request,
    Sender,
    ServerEvent,
    UpdateLocation,
    located,
    refusal_event,
)
from liveguard.journaling import Journaling
from liveguard.rooms import Presences
from liveguard.sessions import ActiveSessions, Interruption, LiveSession, Moment
from liveguard.storage import Storage
from liveguard.storage.journal import JournaledSession
from liveguard.turns import Rest, Turns

RETRY = 0.25  # seconds
LONGEST = 24 * 3600.0  # seconds
GRACE_AFTER_RESTART = 30.0  # seconds, at least
ACCOUNT_INACTIVE = 4401

Watcher = Callable[[LiveSession, ServerEvent], None]

log = logging.getLogger(__name__)


class WardConnection(Member, Protocol):
    """A ward's connection; both moments in seconds of the monotonic clock."""

    opened_at: float
    last_heard: float


class Viewer(Protocol):
    """Somebody who looks at sessions."""

    @property
    def id(self) -> str: ...
    @property
    def is_admin(self) -> bool: ...


class Live:
    """All live sessions of the process and everybody who is connected."""

    def __init__(self, storage: Storage, clock: Clock, *, grace: float, longest: float = LONGEST) -> None:
        self.sessions = ActiveSessions()
        self.wards = Presences()
        self.audience = Audience(storage, clock, self.sessions, self._guardians_changed)
        self._storage = storage
        self._clock = clock
        self._grace = grace
        self._longest = longest
        self._journaling = Journaling(storage)
        self._turns = Turns(self._report)
        self._timers: dict[str, list[Timer]] = {}
        self._moved: dict[str, Location] = {}
        self._watchers: list[Watcher] = []
        self._beside: set[asyncio.Task[None]] = set()
        self._closing = False

    # -- a ward's connection ---------------------------------------------------------------------------------------

    def ward_came(self, connection: WardConnection) -> None:
        """A ward's connection opened: it hears of the session that runs, and carries it on if it was interrupted."""
        ward_id = connection.person.id
        self._turns.take(ward_id, partial(self._ward_came, connection))
        # What was read at the sign-in may be old by now, so it is read again behind it.
        self._spawn(self._look_up(ward_id))

    async def _look_up(self, ward_id: str) -> None:
        while self.wards.get(ward_id) is not None:
            try:
                await self.access_changed({ward_id}, {ward_id})
                return
            except StorageUnavailable:
                await asyncio.sleep(RETRY)

    def _ward_came(self, connection: WardConnection) -> None:
        self.wards.arrive(connection)
        session = self.sessions.get_user_active_session(connection.person.id)
        if session is None:
            return
        now = self._clock.now()
        if session.interruption is None:
            connection.send(Notice(session.started(now)))
            return
        resumed = Notice(session.resume(now, connection))
        self._set_timers(session, now)
        connection.send(Notice(session.started(now)))
        self._tell_room(session, resumed)

    def ward_gone(self, connection: WardConnection, own_word: bool) -> None:
        """A ward's connection ended: by the ward's own word, or it was lost (PROTOCOL 5, rule 5)."""
        if not self._closing:
            self._turns.take(connection.person.id, partial(self._ward_gone, connection, own_word))

    def _ward_gone(self, connection: WardConnection, own_word: bool) -> Rest:
        ward_id = connection.person.id
        if self.wards.depart(connection) is not None:
            self._journaling.forget(ward_id)
        session = self.sessions.get_user_active_session(ward_id)
        if session is None or session.carrier is not connection:
            return None
        if own_word:
            return self._end(session, "ward_disconnected")
        successor = self._successor(connection)
        if successor is not None:
            session.carrier = successor
            return None
        if self._grace == 0:
            return self._end(session, "ward_disconnected")
        self._interrupt(session, self._clock.now(), self._grace)
        return None

    def _successor(self, lost: WardConnection) -> WardConnection | None:
        """The newest connection of the ward that was opened after the lost one's last sign of life."""
        for other in reversed(self.wards.connections(lost.person.id)):
            if other.opened_at > lost.last_heard:  # type: ignore[attr-defined]
                return other  # type: ignore[return-value]
        return None

    def _interrupt(self, session: LiveSession, now: Moment, grace: float) -> None:
        notice = Notice(session.interrupt(now, grace))
        session.room.tell_guardians(notice)
        self._set_timers(session, now, grace)
        self._look(session, notice.event)

    # -- what a ward asks for --------------------------------------------------------------------------------------

    def start(self, request: Request, metadata: dict[str, Any] | None) -> None:
        """Begin a session. Answered by ``session-started``, or by a refusal."""
        self._take(request, partial(self._start, request, metadata))

    def _start(self, request: Request, metadata: dict[str, Any] | None) -> Rest:
        connection = request.connection
        session = LiveSession(uuid.uuid4().hex, connection.person, metadata, self._clock.now(), connection)
        self.sessions.claim(session)
        return self._begin(session, request)

    async def _begin(self, session: LiveSession, request: Request) -> None:
        try:
            guardians, seq = await self._journaling.begin(session)
        except BaseException:
            self.sessions.release(session)
            raise
        session.activate(seq)
        self.audience.gather(session, guardians)
        now = self._clock.now()
        notice = Notice(session.started_for_guardians(now))
        session.room.tell_guardians(notice)
        self._tell_ward(session, Notice(session.started(now)), request)
        self._set_timers(session, now)
        self._look(session, notice.event)

    def stop(self, request: Request) -> None:
        """End the session. Answered by ``session-ended``, or by a refusal."""
        self._take(request, partial(self._stop, request))

    def _stop(self, request: Request) -> Rest:
        return self._end(self._session_of(request), "manual_stop", request)

    def locate(self, request: Request, update: UpdateLocation) -> None:
        """Tell the room's guardians where the ward is. Answered by ``location-acknowledged``, or by a refusal."""
        if self._turns.busy(request.connection.person.id):
            self._take(request, partial(self._locate, request, update))
        else:
            self._locate(request, update)

    def _locate(self, request: Request, update: UpdateLocation) -> None:
        session = self._session_of(request)
        now = self._clock.now()
        session.last_location = located(update, now.wall)
        self._moved[session.id] = session.last_location
        guardians = session.room.guardians
        event = LocationUpdated(
            ward_id=session.ward.id,
            ward_email=session.ward.email,
            session_id=session.id,
            location=session.last_location,
            timestamp=now.text,
        )
        if guardians:
            session.room.tell_guardians(Notice(event))
        request.answer(
            LocationAcknowledged(
                session_id=session.id, timestamp=now.text, status="broadcasted", guardian_count=len(guardians)
            )
        )
        self._look(session, event)

    def say_as_ward(self, request: Request, text: str) -> None:
        """Send a message to the ward's own room."""
        self._take(request, partial(self._say_as_ward, request, text))

    def _say_as_ward(self, request: Request, text: str) -> None:
        self._say(self._session_of(request), request, "ward", text)

    # -- what a guardian does --------------------------------------------------------------------------------------

    async def guardian_came(self, connection: Member, since: int | None = None) -> None:
        """A guardian's connection opened; ``since`` is the last ``seq`` that it has seen."""
        await self.audience.came(connection, since)

    def guardian_gone(self, connection: Member) -> None:
        """A guardian's connection ended."""
        if not self._closing:
            self.audience.gone(connection)

    def delivered(self, person_id: str, seq: int) -> None:
        """A guardian has certainly received all events up to ``seq``."""
        self.audience.delivered(person_id, seq)

    def say_as_guardian(self, request: Request, ward_id: str, text: str) -> None:
        """Send a message to the room of a ward. Raises :class:`NotInRoom`."""
        session = self.sessions.get_user_active_session(ward_id)
        if session is None or request.connection.person.id not in session.room.guardians:
            raise NotInRoom
        self._say(session, request, "guardian", text)

    def _say(self, session: LiveSession, request: Request, role: Any, text: str) -> None:
        person = request.connection.person
        event = Message(
            session_id=session.id,
            ward_id=session.ward.id,
            sender=Sender(person.id, person.first_name, person.last_name, role),
            text=text,
            timestamp=self._clock.now().text,
        )
        self._tell_room(session, Notice(event), request)

    # -- what others do --------------------------------------------------------------------------------------------

    async def access_changed(
        self, ward_ids: Iterable[str] | None = None, user_ids: Iterable[str] | None = None
    ) -> None:
        """Apply what the database says now of these wards' guardians and these people; None means all that matter."""
        wards = self._wards_that_matter() if ward_ids is None else set(ward_ids) & self._wards_that_matter()
        people = self._people_that_matter() if user_ids is None else set(user_ids) & self._people_that_matter()
        if not wards and not people:
            return
        access = await self._storage.guardians.access(wards, people)
        for user_id in access.gone:
            self._shut_out(user_id)
        for ward_id, guardians in access.guardians.items():
            if self.wards.get(ward_id) is not None:
                self._journaling.know(ward_id, guardians)
            session = self.sessions.get_user_active_session(ward_id)
            if session is not None:
                self.audience.admit(session, guardians)

    def _wards_that_matter(self) -> set[str]:
        return {presence.person.id for presence in self.wards} | self.sessions.wards()

    def _people_that_matter(self) -> set[str]:
        return {presence.person.id for presence in self.audience.present} | self._wards_that_matter()

    def _shut_out(self, user_id: str) -> None:
        """The account is disabled: its session ends, its connections are closed."""
        for connection in self.audience.present.connections(user_id):
            connection.close(ACCOUNT_INACTIVE, AccountInactive())  # type: ignore[attr-defined]

        async def end_and_close(session: LiveSession | None) -> None:
            if session is not None:
                await self._end(session, "account_disabled")
            for connection in self.wards.connections(user_id):
                connection.close(ACCOUNT_INACTIVE, AccountInactive())  # type: ignore[attr-defined]

        self._turns.take(user_id, lambda: end_and_close(self.sessions.get_user_active_session(user_id)))

    async def end_by_admin(self, session_id: str, admin_id: str) -> None:
        """End somebody's session. Raises :class:`NoActiveSession`."""
        running = {session.id: session for session in self.sessions.get_active_sessions()}
        session = running.get(session_id)
        if session is None:
            raise NoActiveSession
        ended = asyncio.get_running_loop().create_future()
        self._turns.take(session.ward.id, partial(self._end_by_admin, session, admin_id, ended))
        await ended

    async def _end_by_admin(self, session: LiveSession, admin_id: str, ended: "asyncio.Future[None]") -> None:
        try:
            if session.running:
                await self._end(session, "ended_by_admin", ended_by=admin_id)
        finally:
            if not ended.done():
                ended.set_result(None)

    def visible_to(self, viewer: Viewer) -> list[LiveSession]:
        """The sessions that run and that this viewer may see: their own, their wards', an admin's all."""
        return [
            session
            for session in self.sessions.get_active_sessions()
            if viewer.is_admin or viewer.id == session.ward.id or viewer.id in session.guardians
        ]

    def guardians_connected(self, session: LiveSession) -> list[Person]:
        """The guardians who are in a session's room."""
        return [presence.person for presence in session.room.guardians.values()]

    def watch(self, watcher: Watcher) -> None:
        """Call ``watcher`` with each event of a running session, once for all who hear it. It must not take time."""
        self._watchers.append(watcher)

    # -- the process -----------------------------------------------------------------------------------------------

    async def restore(self) -> None:
        """Take up the sessions that were active when the process ended: each is interrupted (rule 10)."""
        journaled = await self._storage.journal.active()
        access = await self._storage.guardians.access({one.ward.id for one in journaled}, set())
        for one in journaled:
            self._restore(one, access.guardians.get(one.ward.id, []))

    def _restore(self, journaled: JournaledSession, guardians: Iterable[Person]) -> None:
        now = self._clock.now()
        ran = max(0, now.wall - journaled.start_time) / 1000
        start = Moment(journaled.start_time, now.steady - ran)
        session = LiveSession(journaled.id, journaled.ward, journaled.metadata, start, None)
        self.sessions.claim(session)
        session.activate(journaled.seq)
        if journaled.last_location is not None:
            session.last_location = msgspec.convert(journaled.last_location, Location)
        session.guardians = {guardian.id: guardian for guardian in guardians}
        self._interrupt(session, now, max(self._grace, GRACE_AFTER_RESTART))

    async def write_lazily(self) -> None:
        """Write what need not be written at once: last locations, and what guardians have heard."""
        await self.audience.write_delivered()
        moved, self._moved = self._moved, {}
        if moved:
            try:
                await self._storage.journal.locate(moved)
            except StorageUnavailable:
                self._moved = moved | self._moved

    async def close(self) -> None:
        """Finish what is under way and write what waits. Sessions stay active in the journal, for the next start."""
        self._closing = True
        for timers in self._timers.values():
            for timer in timers:
                timer.cancel()
        await self._turns.settled()
        await self._journaling.close()
        await self.write_lazily()

    # -- the end ---------------------------------------------------------------------------------------------------

    async def _end(
        self, session: LiveSession, reason: Reason, request: Request | None = None, ended_by: str | None = None
    ) -> None:
        ended = self._clock.now()
        self._cancel_timers(session)
        seq = await self._journaling.end(session, ended, reason, ended_by)
        notice = Notice(session.end(ended, reason, seq, self._clock.now()))
        self.sessions.release(session)
        self._tell_room(session, notice, request)
        session.room.close()

    def _set_timers(self, session: LiveSession, now: Moment, grace: float | None = None) -> None:
        self._cancel_timers(session)
        left = max(0.0, session.start.steady + self._longest - now.steady)
        timers = [self._clock.call_later(left, partial(self._over, session, None))]
        if grace is not None:
            timers.append(self._clock.call_later(grace, partial(self._over, session, session.interruption)))
        self._timers[session.id] = timers

    def _cancel_timers(self, session: LiveSession) -> None:
        for timer in self._timers.pop(session.id, ()):
            timer.cancel()

    def _over(self, session: LiveSession, interruption: Interruption | None) -> None:
        """The longest time is over, or the grace of one certain interruption."""
        self._turns.take(session.ward.id, partial(self._end_if_over, session, interruption))

    def _end_if_over(self, session: LiveSession, interruption: Interruption | None) -> Rest:
        if not session.running or self._closing:
            return None
        if interruption is None:
            return self._end(session, "expired")
        # By now the ward may be back, or lost anew with a grace of its own.
        if session.interruption is interruption:
            return self._end(session, "ward_disconnected")
        return None

    # -- telling ---------------------------------------------------------------------------------------------------

    def _session_of(self, request: Request) -> LiveSession:
        session = self.sessions.get_user_active_session(request.connection.person.id)
        if session is None:
            raise NoActiveSession
        return session

    def _tell_room(self, session: LiveSession, notice: Notice, request: Request | None = None) -> None:
        session.room.tell_guardians(notice, request)
        self._tell_ward(session, notice, request)
        self._look(session, notice.event)

    def _tell_ward(self, session: LiveSession, notice: Notice, request: Request | None = None) -> None:
        presence = self.wards.get(session.ward.id)
        if presence is not None:
            presence.send(notice, request)

    def _guardians_changed(self, session: LiveSession) -> None:
        """A guardian came into the room or left it; told in the ward's turn, so never before its beginning."""
        self._turns.take(session.ward.id, partial(self._tell_guardians_changed, session))

    def _tell_guardians_changed(self, session: LiveSession) -> None:
        if session.running:
            ids = list(session.room.guardians)
            event = GuardiansChanged(session_id=session.id, connected_guardians=len(ids), guardian_ids=ids)
            self._tell_ward(session, Notice(event))
            self._look(session, event)

    def _look(self, session: LiveSession, event: ServerEvent) -> None:
        for watcher in self._watchers:
            watcher(session, event)

    # -- the ward's queue ------------------------------------------------------------------------------------------

    def _take(self, request: Request, step: Callable[[], Rest]) -> None:
        """Do what was asked for in its turn; a refusal, or a fault of ours, is its answer."""

        def answered() -> Rest:
            try:
                rest = step()
            except Exception as problem:
                self._refuse(request, problem)
                return None
            return None if rest is None else awaited(rest)

        async def awaited(rest: Any) -> None:
            try:
                await rest
            except Exception as problem:
                self._refuse(request, problem)

        self._turns.take(request.connection.person.id, answered)

    def _refuse(self, request: Request, problem: Exception) -> None:
        if not isinstance(problem, Refusal):
            self._report(problem)
            problem = InternalError()
        request.answer(refusal_event(problem, request.event, self._clock.now().wall))

    def _report(self, problem: BaseException) -> None:
        log.error("A fault in a live session", exc_info=problem)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside, and report if it fails."""
        task = asyncio.get_running_loop().create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._done_beside)

    def _done_beside(self, task: "asyncio.Task[None]") -> None:
        self._beside.discard(task)
        if not task.cancelled() and (problem := task.exception()):
            self._report(problem)
