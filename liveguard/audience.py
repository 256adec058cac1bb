"""The guardians' side: who of them is connected, what they hear first, and what happens when access changes.

Reads of the database are answered in the order in which they were asked, and what comes back is applied before
anything else runs. So what was read last is the newest that the program knows, and a guardian who is accepted,
revoked or connecting while a session starts or ends is neither forgotten nor told twice.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from liveguard.clock import Clock
from liveguard.errors import AccountInactive, Refusal, StorageUnavailable
from liveguard.events import (
    AccessRevoked,
    Connection,
    GuardianSnapshot,
    Notice,
    Person,
    SessionEnded,
    timestamp,
)
from liveguard.rooms import Presences
from liveguard.sessions import ActiveSessions, LiveSession, Moment
from liveguard.storage import Storage
from liveguard.storage.journal import EndedSession, GuardianView

RETRY = 0.25  # seconds


class Member(Connection, Protocol):
    """A connection as the guardians' side needs it."""

    def catch_up(self, notices: list[Notice]) -> None:
        """Send what a newcomer must hear first, at the pace at which it is read; whatever is sent later comes after."""

    def close(self, code: int, refusal: Refusal | None = None) -> None:
        """Close it from this side."""


class Audience:
    """All guardians who are connected, and what each of them has heard."""

    def __init__(
        self, storage: Storage, clock: Clock, sessions: ActiveSessions, changed: Callable[[LiveSession], None]
    ) -> None:
        self.present = Presences()
        self._storage = storage
        self._clock = clock
        self._sessions = sessions
        self._changed = changed  # told when somebody came into a session's room or left it
        self._arriving: set[Connection] = set()
        self._delivered: dict[str, int] = {}

    async def came(self, connection: Member, since: int | None) -> None:
        """A guardian's connection opened: the snapshot, what was missed, and from then on everything."""
        self._arriving.add(connection)
        guardian = connection.person
        view = await self._view(connection, since)
        if view is None:
            return
        self._arriving.discard(connection)
        if not view.is_active:
            connection.close(4401, AccountInactive())
            return
        presence = self.present.arrive(connection)
        running = self._running(view.ward_ids)
        if since is None and view.stands_at is None:
            self._delivered[guardian.id] = view.seq
        connection.catch_up(self._first_words(view, running))
        for session in running:
            if session.room.join(presence):
                self._changed(session)

    def gone(self, connection: Connection) -> None:
        """A guardian's connection is closed. The person leaves the rooms with the last one."""
        self._arriving.discard(connection)
        presence = self.present.depart(connection)
        if presence is None:
            return
        for room in list(presence.rooms):
            room.leave(presence.person.id)
            session = self._sessions.get_user_active_session(room.ward_id)
            if session is not None:
                self._changed(session)

    def gather(self, session: LiveSession, guardians: Iterable[Person]) -> None:
        """Let those of a session's accepted guardians who are connected into its room."""
        session.guardians = {guardian.id: guardian for guardian in guardians}
        for guardian_id in session.guardians:
            presence = self.present.get(guardian_id)
            if presence is not None:
                session.room.join(presence)

    def admit(self, session: LiveSession, guardians: Iterable[Person]) -> None:
        """Apply whom the ward accepts now to a session that runs."""
        now = self._clock.now()
        accepted = {guardian.id: guardian for guardian in guardians}
        revoked = [(i, session.room.guardians.get(i)) for i in session.guardians if i not in accepted]
        session.guardians = accepted
        changed = False
        for guardian_id, presence in revoked:
            if presence is not None and session.room.leave(guardian_id):
                changed = True
                presence.send(Notice(AccessRevoked(ward_id=session.ward.id, session_id=session.id, timestamp=now.text)))
        notice = Notice(session.started_for_guardians(now))
        for guardian_id in accepted:
            newcomer = self.present.get(guardian_id)
            if newcomer is not None and session.room.join(newcomer):
                changed = True
                newcomer.send(notice)
        if changed:
            self._changed(session)

    def delivered(self, person_id: str, seq: int) -> None:
        """A guardian has certainly received all events up to ``seq``."""
        if seq > self._delivered.get(person_id, 0):
            self._delivered[person_id] = seq

    async def write_delivered(self) -> None:
        """Write how far each guardian has come since the last time."""
        delivered, self._delivered = self._delivered, {}
        if not delivered:
            return
        try:
            await self._storage.journal.mark_delivered(delivered)
        except StorageUnavailable:
            for person_id, seq in delivered.items():
                self.delivered(person_id, seq)

    async def _view(self, connection: Member, since: int | None) -> GuardianView | None:
        """What the journal knows for this guardian, or None when the connection closed meanwhile."""
        while connection in self._arriving:
            stands_at = self._delivered.get(connection.person.id) if since is None else since
            try:
                view = await self._storage.journal.guardian_view(
                    connection.person.id, stands_at, self._clock.now().wall
                )
            except StorageUnavailable:
                await asyncio.sleep(RETRY)
                continue
            if connection in self._arriving:
                return view
        return None

    def _running(self, ward_ids: Iterable[str]) -> list[LiveSession]:
        sessions = (self._sessions.get_user_active_session(ward_id) for ward_id in ward_ids)
        return sorted((session for session in sessions if session is not None), key=lambda s: s.start.wall)

    def _first_words(self, view: GuardianView, running: list[LiveSession]) -> list[Notice]:
        """The snapshot, the ends that were missed, and one beginning for each session that runs."""
        now = self._clock.now()
        started = [session.started_for_guardians(now) for session in running]
        still = {event.session_id for event in started}
        missed = [_ended(end, now) for end in view.missed if end.id not in still]
        # The snapshot stands before what follows it: who breaks off here and comes back with it, misses nothing.
        seq = view.stands_at if missed and view.stands_at is not None else view.seq
        snapshot = GuardianSnapshot(sessions=started, seq=seq, timestamp=now.text)
        return [Notice(event) for event in (snapshot, *missed, *started)]


def _ended(end: EndedSession, now: Moment) -> SessionEnded:
    return SessionEnded(
        session_id=end.id,
        ward_id=end.ward.id,
        ward_email=end.ward.email,
        start_time=timestamp(end.start_time),
        end_time=timestamp(end.end_time),
        duration=end.duration,
        reason=end.reason,
        timestamp=now.text,
        seq=end.seq,
    )
