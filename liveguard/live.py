"""The use cases of live sessions: what a ward, a guardian, an admin, time or the network does to them.

Connections report here and are told from here, whatever they are made of.
"""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal

from liveguard.admission import Admission
from liveguard.audience import Audience
from liveguard.clock import Clock
from liveguard.deadlines import Deadlines
from liveguard.errors import AccountInactive, InternalError, NoActiveSession, NotInRoom, Refusal
from liveguard.events import (
    Connection,
    LocationAcknowledged,
    Notice,
    Request,
    ServerEvent,
    UpdateLocation,
    refusal_event,
)
from liveguard.events.close_codes import NOT_AUTHENTICATED
from liveguard.faults import log_fault
from liveguard.journaling import Journaling
from liveguard.lifecycle import Lifecycle
from liveguard.rooms import Presences
from liveguard.sessions import ActiveSessions, Interruption, LiveSession, Moment
from liveguard.storage import Storage, User
from liveguard.turns import Rest, Turns

Watcher = Callable[[LiveSession, ServerEvent, Moment], None]


class Live:
    """All live sessions of the process and everybody who is connected."""

    def __init__(self, storage: Storage, clock: Clock, *, grace: float, longest: float) -> None:
        self.sessions = ActiveSessions()
        self.wards = Presences()
        self._clock = clock
        self.grace = grace
        self._turns = Turns(self._failed)
        self._journaling = Journaling(storage, clock)
        self.journal_is_behind = self._journaling.is_behind
        self.unwritten = self._journaling.unwritten
        self.long_written = self._journaling.long_written
        self.audience = Audience(storage, clock, self.sessions, self._journaling, self._guardians_changed)
        self._deadlines = Deadlines(clock, longest, self._over)
        self._admission = Admission(
            storage, clock, self.sessions, self.wards, self.audience, self._journaling, self._shut_out
        )
        self.access_version = self._admission.version
        self._lifecycle = Lifecycle(
            clock, self.sessions, self.wards, self.audience, self._journaling, self._deadlines, self._happened
        )
        self._watchers: list[Watcher] = []
        self._closing = False  # who leaves now is not lost
        self._closed = False  # what anybody says now comes too late

    # -- a ward's connection ---------------------------------------------------------------------------------------

    def ward_came(self, connection: Connection) -> None:
        """A ward's connection opened: it hears of the session that runs, and carries it on if it was interrupted."""
        self._turns.take(connection.person.id, partial(self._ward_came, connection))

    def _ward_came(self, connection: Connection) -> None:
        ward_id = connection.person.id
        self.wards.arrive(connection)
        # What was read at the sign-in may be old by now, so it is read again behind it.
        self._admission.review_beside(ward_id)
        session = self.sessions.get_user_active_session(ward_id)
        if session is None:
            return
        if session.interruption is None:
            connection.send(Notice(session.started(self._clock.now())))
        else:
            self._lifecycle.resume(session, connection)

    def ward_gone(self, connection: Connection, own_word: bool) -> None:
        """A ward's connection ended: by the ward's own word, or it was lost."""
        if not (self._closed if own_word else self._closing):
            self._turns.take(connection.person.id, partial(self._ward_gone, connection, own_word))

    def _ward_gone(self, connection: Connection, own_word: bool) -> Rest:
        ward_id = connection.person.id
        self._depart(connection)
        session = self.sessions.get_user_active_session(ward_id)
        if session is None or session.carrier is not connection:
            return None
        if own_word or self.grace == 0:
            return self._lifecycle.end(session, "ward_disconnected")
        successor = self._successor(connection)
        if successor is None:
            self._lifecycle.interrupt(session, self.grace)
        else:
            session.carrier = successor
        return None

    def _depart(self, connection: Connection) -> None:
        if self.wards.depart(connection) is not None:
            self._journaling.forget(connection.person.id)

    def _successor(self, lost: Connection) -> Connection | None:
        """The newest connection that was opened after the lost one's last sign of life, or in the same browser."""
        others, known = reversed(self.wards.connections(lost.person.id)), {lost.browser} - {None}
        return next((one for one in others if one.opened_at > lost.last_heard or one.browser in known), None)

    # -- what a ward asks for --------------------------------------------------------------------------------------

    def start(self, request: Request, metadata: dict[str, Any] | None) -> None:
        """Begin a session. Answered by ``session-started``, or by a refusal."""
        self._turns.ask(request, partial(self._start, request, metadata))

    def _start(self, request: Request, metadata: dict[str, Any] | None) -> Rest:
        if not self.wards.holds(request.connection):
            # It was shut out while this waited for its turn.
            raise AccountInactive
        return self._lifecycle.begin(request, metadata)

    def stop(self, request: Request) -> None:
        """End the session. Answered by ``session-ended``, or by a refusal."""
        self._turns.ask(request, lambda: self._lifecycle.end(self._session_of(request), "manual_stop", request))

    def locate(self, request: Request, update: UpdateLocation) -> None:
        """Tell the room's guardians where the ward is. Answered by ``location-acknowledged``, or by a refusal."""
        self._turns.ask(request, partial(self._locate, request, update))

    def _locate(self, request: Request, update: UpdateLocation) -> None:
        session = self._session_of(request)
        now = self._clock.now()
        event = session.locate(update, now, request.connection)
        self._journaling.moved(session)
        count = len(session.room.guardians)
        if count:
            session.room.tell_guardians(Notice(event))
        request.answer(
            LocationAcknowledged(session_id=session.id, timestamp=now.text, status="broadcasted", guardian_count=count)
        )
        self._happened(session, event, now)

    def say_as_ward(self, request: Request, text: str) -> None:
        """Send a message to the ward's own room."""
        self._turns.ask(request, partial(self._say_as_ward, request, text))

    def _say_as_ward(self, request: Request, text: str) -> None:
        session = self._session_of(request)
        if session.interruption is not None:  # somebody has typed this, where a location comes by itself
            self._lifecycle.resume(session, request.connection)
        self._say(session, request, "ward", text)

    def _session_of(self, request: Request) -> LiveSession:
        session = self.sessions.get_user_active_session(request.connection.person.id)
        if session is None:
            raise NoActiveSession
        return session

    def _failed(self, problem: Exception, request: Request | None) -> None:
        """What went wrong in a turn is the answer to what was asked for, a refusal or a fault of ours."""
        if request is None or not isinstance(problem, Refusal):
            _report(problem)
            problem = InternalError()
        if request is not None:
            request.answer(refusal_event(problem, request.event, self._clock.now().wall))

    # -- what a guardian does --------------------------------------------------------------------------------------

    async def guardian_came(self, connection: Connection, since: int | None) -> None:
        """A guardian's connection opened; ``since`` is the last ``seq`` that it has seen."""
        await self.audience.came(connection, since)

    def guardian_gone(self, connection: Connection) -> None:
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

    def _say(self, session: LiveSession, request: Request, role: Literal["ward", "guardian"], text: str) -> None:
        now = self._clock.now()
        event = session.message(request.connection.person, role, text, now)
        session.room.tell(Notice(event), request)
        self._happened(session, event, now)

    def _guardians_changed(self, session: LiveSession) -> None:
        """A guardian came into the room or left it; told in the ward's turn, so never before its beginning."""
        self._turns.take(session.ward.id, partial(self._tell_guardians_changed, session))

    def _tell_guardians_changed(self, session: LiveSession) -> None:
        if session.running:
            event = session.guardians_changed()
            session.room.tell_ward(Notice(event))
            self._happened(session, event, self._clock.now())

    # -- what others do --------------------------------------------------------------------------------------------

    async def access_changed(
        self, ward_ids: Iterable[str] | None = None, user_ids: Iterable[str] | None = None
    ) -> None:
        """Apply what the database says now of these wards' guardians and these people; None means all that matter.

        Raises :class:`StorageUnavailable`.
        """
        await self._admission.review(ward_ids, user_ids)

    def _shut_out(self, user_id: str) -> None:
        """The account is disabled: what it began comes to its end, and nothing is sent to it any more."""
        # A connection of both kinds stays until the ward has been told of the end.
        as_ward = self.wards.connections(user_id)
        # First, for a connection that closes may be their own as a ward: that is no loss.
        self._turns.take(user_id, partial(self._shut_out_ward, user_id))
        self.audience.shut_out(user_id, closed_later=as_ward)

    async def _shut_out_ward(self, ward_id: str) -> None:
        session = self.sessions.get_user_active_session(ward_id)
        if session is not None:
            await self._lifecycle.end(session, "account_disabled")
        for connection in self.wards.connections(ward_id):
            self._depart(connection)
            connection.close(NOT_AUTHENTICATED, AccountInactive())

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
                await self._lifecycle.end(session, "ended_by_admin", ended_by=admin_id)
        finally:
            if not ended.done():
                ended.set_result(None)

    def _over(self, session: LiveSession, interruption: Interruption | None) -> None:
        """The longest time is over, or the grace of one certain interruption."""
        self._turns.take(session.ward.id, partial(self._end_if_over, session, interruption))

    def _end_if_over(self, session: LiveSession, interruption: Interruption | None) -> Rest:
        if not session.running or self._closing:
            return None
        if interruption is None:
            return self._lifecycle.end(session, "expired")
        # By now the ward may be back, or lost anew with a grace of its own.
        if session.interruption is interruption:
            return self._lifecycle.end(session, "ward_disconnected")
        return None

    # -- who looks -------------------------------------------------------------------------------------------------

    def visible_to(self, viewer: User, among: Iterable[LiveSession] | None = None) -> list[LiveSession]:
        """Of those that run, or of others, what this viewer may see: their own, their wards', an admin's all."""
        return [
            session
            for session in (self.sessions.get_active_sessions() if among is None else among)
            if viewer.is_admin or viewer.id == session.ward.id or viewer.id in session.guardians
        ]

    def watch(self, watcher: Watcher) -> None:
        """Call ``watcher`` with each event of a running session and its moment, once for all who hear it. It must not
        take time."""
        self._watchers.append(watcher)

    def _happened(self, session: LiveSession, event: ServerEvent, now: Moment) -> None:
        for watcher in self._watchers:
            try:
                watcher(session, event, now)
            except Exception as problem:
                _report(problem)

    # -- the process -----------------------------------------------------------------------------------------------

    async def restore(self) -> None:
        """Take up the sessions that were active when the process ended: each is interrupted."""
        for journaled in await self._journaling.left_behind():
            self._lifecycle.restore(journaled, self.grace)
        await self.access_changed()

    async def write_lazily(self) -> None:
        """Write what need not be written at once: last locations, and what guardians have heard."""
        await self.audience.write_delivered()
        await self._journaling.write_lazily()

    async def close(self) -> None:
        """Finish what is under way and write what waits. Sessions stay active in the journal, for the next start."""
        self._closing = True
        self._deadlines.close()
        self._admission.close()
        await self._turns.settled()
        self._closed = True
        await self._journaling.close()
        await self.write_lazily()


def _report(problem: BaseException) -> None:
    log_fault("a live session", problem)
