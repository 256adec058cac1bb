"""How a session passes from one state to the next: written first, then applied, then told.

All of this happens in the ward's turn, and nothing is awaited between what the journal answers and what is told. So
each event reaches each connection in the order in which it happened.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from liveguard.audience import Audience
from liveguard.clock import Clock
from liveguard.deadlines import Deadlines
from liveguard.events import Connection, Location, Notice, Reason, Request, ServerEvent
from liveguard.journaling import Journaling
from liveguard.rooms import Presences, Room
from liveguard.sessions import ActiveSessions, LiveSession, Moment, new_id
from liveguard.storage import JournaledSession
from liveguard.turns import Rest

GRACE_AFTER_RESTART = 30.0  # seconds, at least


class Lifecycle:
    """Begins, interrupts, resumes and ends sessions."""

    def __init__(
        self,
        clock: Clock,
        sessions: ActiveSessions,
        wards: Presences,
        audience: Audience,
        journaling: Journaling,
        deadlines: Deadlines,
        happened: Callable[[LiveSession, ServerEvent, Moment], None],
    ) -> None:
        self._clock = clock
        self._sessions = sessions
        self._wards = wards
        self._audience = audience
        self._journaling = journaling
        self._deadlines = deadlines
        self._happened = happened

    def begin(self, request: Request, metadata: dict[str, Any] | None) -> Rest:
        """Take the ward's slot, now; what is returned does the rest. Raises :class:`SessionAlreadyActive`."""
        ward = request.connection.person
        room = Room(ward.id, self._wards)
        now = self._clock.now()
        session = LiveSession(new_id(now), ward, metadata, now, room, request.connection)
        self._sessions.claim(session)
        return self._begin(session, request)

    async def _begin(self, session: LiveSession, request: Request) -> None:
        try:
            guardians, seq = await self._journaling.begin(session)
        except BaseException:
            self._sessions.release(session)
            raise
        now = self._clock.now()
        session.activate(seq)
        self._deadlines.set(session, now)
        self._audience.gather(session, guardians)
        notice = Notice(session.started_for_guardians(now))
        session.room.tell_guardians(notice)
        session.room.tell_ward(Notice(session.started(now)), request)
        self._happened(session, notice.event, now)

    def interrupt(self, session: LiveSession, grace: float) -> None:
        """The carrying connection is lost."""
        now = self._clock.now()
        notice = Notice(session.interrupt(now, grace))
        self._deadlines.set(session, now)
        session.room.tell_guardians(notice)
        self._happened(session, notice.event, now)

    def resume(self, session: LiveSession, connection: Connection) -> None:
        """The ward is back."""
        now = self._clock.now()
        notice = Notice(session.resume(now, connection))
        self._deadlines.set(session, now)
        connection.send(Notice(session.started(now)))
        session.room.tell(notice)
        self._happened(session, notice.event, now)

    async def end(
        self, session: LiveSession, reason: Reason, request: Request | None = None, ended_by: str | None = None
    ) -> None:
        """End it for good; where somebody asked for that, it is the answer."""
        now = session.ends(self._clock.now())
        self._deadlines.cancel(session)
        seq = await self._journaling.end(session, now, reason, ended_by)
        notice = Notice(session.end(now, reason, seq, self._clock.now(), ended_by))
        if seq is not None:
            self._journaling.remember(session, seq)
        self._sessions.release(session)
        session.room.tell(notice, request)
        session.room.close()
        self._happened(session, notice.event, now)

    def restore(self, journaled: JournaledSession, grace: float) -> None:
        """Take up a session that ran when the process ended: it is interrupted, long enough for its ward to return.

        How long it has run, the wall clock says, which may have been set meanwhile: it does not end it before that.
        """
        now = self._clock.now()
        grace = max(grace, GRACE_AFTER_RESTART)
        ran = max(0, now.wall - journaled.start_time) / 1000
        start = Moment(journaled.start_time, now.steady - ran)
        room = Room(journaled.ward.id, self._wards)
        session = LiveSession(journaled.id, journaled.ward, journaled.metadata, start, room)
        session.spared_until = now.steady + grace
        self._sessions.claim(session)
        session.activate(journaled.seq)
        if journaled.last_location is not None:
            session.last_location = msgspec.convert(journaled.last_location, Location)
        self.interrupt(session, grace)
