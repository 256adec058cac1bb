"""The guardians' side: who of them is connected, what they hear first, and what happens when access changes.

Reads of the database are answered in the order in which they were asked, and what comes back is applied before
anything else runs. So what was read last is the newest that the program knows, and a guardian who is accepted,
revoked or connecting while a session starts or ends is neither forgotten nor told twice.
"""

from collections.abc import Callable, Container, Iterable, Sequence

from msgspec import UNSET

from liveguard.clock import Clock, pause
from liveguard.errors import AccountInactive, StorageUnavailable
from liveguard.events import (
    AccessRevoked,
    Connection,
    GuardianSnapshot,
    Notice,
    Person,
    SessionEnded,
    timestamp,
)
from liveguard.events.close_codes import NOT_AUTHENTICATED
from liveguard.journaling import Journaling
from liveguard.rooms import Presence, Presences
from liveguard.sessions import ActiveSessions, LiveSession, Moment
from liveguard.storage import EndedSession, GuardianView, Storage

RETRY = 0.25  # seconds


class Audience:
    """All guardians who are connected, and what each of them has heard."""

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        sessions: ActiveSessions,
        journaling: Journaling,
        changed: Callable[[LiveSession], None],
    ) -> None:
        self.present = Presences()
        self._storage = storage
        self._clock = clock
        self._sessions = sessions
        self._journaling = journaling
        self._changed = changed  # told when somebody came into a session's room or left it
        self._arriving: set[Connection] = set()
        self._delivered: dict[str, int] = {}

    # -- coming and going ------------------------------------------------------------------------------------------

    async def came(self, connection: Connection, since: int | None) -> None:
        """A guardian's connection opened: the snapshot, what was missed, and from then on everything."""
        self._arriving.add(connection)
        try:
            view = await self._view(connection, since)
            if view is not None and view.stands_at is None:
                view = await self._first_view(connection, view)
        finally:
            still_there = connection in self._arriving
            self._arriving.discard(connection)
        if view is None or not still_there:
            return
        if not view.is_active:
            connection.close(NOT_AUTHENTICATED, AccountInactive())
            return
        if since is not None and view.stands_at is not None:
            self.delivered(connection.person.id, view.stands_at)
        self._enter(connection, view)

    async def _view(self, connection: Connection, since: int | None) -> GuardianView | None:
        """What the journal knows for this guardian, or None when the connection closed before it could be read."""
        guardian_id = connection.person.id
        while connection in self._arriving:
            heard = self._delivered.get(guardian_id)
            try:
                return await self._storage.journal.guardian_view(guardian_id, since, self._clock.now().wall, heard)
            except StorageUnavailable:
                await pause(self._clock, RETRY)
        return None

    async def _first_view(self, connection: Connection, view: GuardianView) -> GuardianView | None:
        """A first visit has missed nothing, and the next one only what comes after it: that is written before anything
        is said, so that it is true after a crash as well."""
        guardian_id = connection.person.id
        try:
            return await self._storage.journal.first_view(guardian_id, self._clock.now().wall)
        except StorageUnavailable:
            self.delivered(guardian_id, view.seq)
            return await self._view(connection, None)

    def _enter(self, connection: Connection, view: GuardianView) -> None:
        guardian = connection.person
        running = self._running(view.wards)
        other_connections = self.present.get(guardian.id)
        if other_connections is not None:
            self._admit_to(other_connections, view.wards, running)
        presence = self.present.arrive(connection)
        connection.catch_up(self._first_words(guardian, view, running))
        for session in running:
            session.guardians[guardian.id] = guardian
            if session.room.join(presence):
                self._changed(session)

    def _admit_to(self, presence: Presence, ward_ids: Container[str], running: list[LiveSession]) -> None:
        """What was read for a new connection holds for the older ones of the same person as well."""
        now = self._clock.now()
        for room in list(presence.rooms):
            session = self._sessions.get_user_active_session(room.ward_id)
            if session is not None and room.ward_id not in ward_ids:
                self._put_out(session, presence.person.id, now)
                self._changed(session)
        for session in running:
            if self._let_in(session, presence, now):
                self._changed(session)

    def gone(self, connection: Connection) -> None:
        """A guardian's connection is closed; idempotent. The person leaves the rooms with the last one."""
        self._arriving.discard(connection)
        presence = self.present.depart(connection)
        if presence is None:
            return
        for room in list(presence.rooms):
            room.leave(presence.person.id)
            session = self._sessions.get_user_active_session(room.ward_id)
            if session is not None:
                self._changed(session)

    # -- who may listen --------------------------------------------------------------------------------------------

    def gather(self, session: LiveSession, guardians: Iterable[Person]) -> None:
        """Let those of a session's accepted guardians who are connected into its room; it has yet to be announced."""
        session.guardians = {guardian.id: guardian for guardian in guardians}
        for guardian_id in session.guardians:
            presence = self.present.get(guardian_id)
            if presence is not None:
                session.room.join(presence)

    def admit(self, session: LiveSession, guardians: Iterable[Person]) -> None:
        """Apply whom the ward accepts now to a session that runs."""
        now, before = self._clock.now(), session.guardians.keys()
        session.guardians = {guardian.id: guardian for guardian in guardians}
        revoked = [guardian_id for guardian_id in session.room.guardians if guardian_id not in session.guardians]
        for guardian_id in revoked:
            self._put_out(session, guardian_id, now)
        accepted = (self.present.get(guardian_id) for guardian_id in session.guardians)
        let_in = [self._let_in(session, presence, now) for presence in accepted if presence is not None]
        # Also where nobody of them is here: the ward sees who will be told.
        if before != session.guardians.keys() or any(let_in):
            self._changed(session)

    def shut_out(self, guardian_id: str, closed_later: Sequence[Connection]) -> None:
        """The account is disabled: its connections leave before they are closed, so nothing more is sent to them."""
        for session in self._sessions.get_active_sessions():
            if session.guardians.pop(guardian_id, None) is not None and guardian_id not in session.room.guardians:
                self._changed(session)
        for connection in self.present.connections(guardian_id):
            self.gone(connection)
            if connection not in closed_later:
                connection.close(NOT_AUTHENTICATED, AccountInactive())

    def _let_in(self, session: LiveSession, presence: Presence, now: Moment) -> bool:
        joined = session.room.join(presence)
        if joined:
            presence.send(Notice(session.started_for_guardians(now)))
        return joined

    def _put_out(self, session: LiveSession, guardian_id: str, now: Moment) -> None:
        session.guardians.pop(guardian_id, None)
        presence = session.room.leave(guardian_id)
        if presence is not None:
            presence.send(Notice(AccessRevoked(ward_id=session.ward.id, session_id=session.id, timestamp=now.text)))

    # -- what they have heard --------------------------------------------------------------------------------------

    def delivered(self, person_id: str, seq: int) -> None:
        """A guardian has certainly received all events up to ``seq``."""
        if seq > self._delivered.get(person_id, -1):
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

    def _running(self, ward_ids: Iterable[str]) -> list[LiveSession]:
        sessions = (self._sessions.get_user_active_session(ward_id) for ward_id in ward_ids)
        return sorted((session for session in sessions if session is not None), key=lambda s: s.start.wall)

    def _first_words(self, guardian: Person, view: GuardianView, running: list[LiveSession]) -> list[Notice]:
        """The snapshot, the ends that were missed, and one beginning for each session that runs."""
        now = self._clock.now()
        started = [session.started_for_guardians(now) for session in running]
        missed = [_ended(end, now) for end in view.missed]
        if view.stands_at is not None:
            # One of them may have been written just before the view was read.
            found = {end.session_id for end in missed}
            ends = self._journaling.unwritten_ends(guardian.id, view.wards, max(view.looked_up_to, view.stands_at))
            missed += [end for end in ends if end.session_id not in found]
        # The snapshot stands before what follows it: who breaks off here and comes back with it, misses nothing.
        follows = any(end.seq is not UNSET for end in missed)
        seq = view.stands_at if follows and view.stands_at is not None else view.seq
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
        ward_first_name=end.ward.first_name,
        ward_last_name=end.ward.last_name,
        timestamp=now.text,
        seq=end.seq,
    )
