"""What was: the sessions that ended, for those who may see them."""

from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import date, datetime, tzinfo
from typing import Any, Self

from msgspec import UNSET, Struct, UnsetType

from liveguard.errors import NotFound
from liveguard.events import WORRYING, Person, Reason, Seconds, Timestamp, timestamp
from liveguard.live import Live
from liveguard.sessions import LiveSession
from liveguard.storage import EndedSession, JournaledSession, Storage, User, Viewer

PAGE = 200
MOST_WARDS = 500  # in the list of an admin


class BegunSession(Struct, frozen=True, rename="camel"):
    """A session that the journal knows to have begun and not to have ended."""

    session_id: str
    ward_id: str
    ward_email: str
    ward_first_name: str
    ward_last_name: str
    start_time: str
    metadata: dict[str, Any] | None
    last_location: dict[str, Any] | None
    seq: int

    @classmethod
    def of(cls, session: JournaledSession) -> Self:
        """What the journal has, as it stands on the wire."""
        return cls(
            session.id,
            session.ward.id,
            session.ward.email,
            session.ward.first_name,
            session.ward.last_name,
            timestamp(session.start_time),
            session.metadata,
            session.last_location,
            session.seq,
        )


class PastSession(Struct, frozen=True, rename="camel"):
    """A session that ended; the fields are those of ``session-ended`` and what was said at the start.

    ``seq`` is there once the journal has it.
    """

    session_id: str
    ward_id: str
    ward_email: str
    ward_first_name: str
    ward_last_name: str
    start_time: Timestamp
    end_time: Timestamp
    duration: Seconds
    reason: Reason
    ended_by: str | None
    metadata: dict[str, Any] | None
    seq: int | UnsetType = UNSET

    @classmethod
    def unwritten(cls, session: LiveSession) -> Self:
        """What is known of a session whose end waits to be written."""
        ward, ended = session.ward, session.ended
        assert ended is not None
        return cls(
            session.id,
            ward.id,
            ward.email,
            ward.first_name,
            ward.last_name,
            ended.start_time,
            ended.end_time,
            ended.duration,
            ended.reason,
            session.ended_by,
            session.metadata,
        )

    @classmethod
    def of(cls, session: EndedSession) -> Self:
        """What the journal has, as it stands on the wire."""
        return cls(
            session.id,
            session.ward.id,
            session.ward.email,
            session.ward.first_name,
            session.ward.last_name,
            timestamp(session.start_time),
            timestamp(session.end_time),
            session.duration,
            session.reason,
            session.ended_by,
            session.metadata,
            session.seq,
        )


class PastPage(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A page of the history, the newest first, and where the next one begins."""

    sessions: list[PastSession]
    next_cursor: str | None = None


class History:
    """Reads that take their time, beside all that is live.

    What has ended and could not be written yet, ``live`` knows; without it there is only what the file has.
    """

    def __init__(self, storage: Storage, live: Live | None) -> None:
        self._storage = storage
        self._live = live

    async def page(
        self,
        user: User,
        *,
        ward_id: str | None = None,
        since: int | None = None,
        until: int | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> PastPage:
        """The sessions that this person may see and that began in ``since`` ≤ time < ``until``."""
        page = await self._storage.history.page(
            _viewer(user), ward_id=ward_id, since=since, until=until, limit=limit, cursor=cursor
        )
        return PastPage([PastSession.of(session) for session in page.sessions], page.next_cursor)

    async def last(self, user: User, limit: int) -> list[PastSession]:
        """What ended last, of what this person may see; the newest end first."""
        unwritten = await self._unwritten(_viewer(user))
        known = {session.session_id for session in unwritten}
        written = map(PastSession.of, await self._storage.history.last(_viewer(user), limit))
        return [*unwritten, *(session for session in written if session.session_id not in known)][:limit]

    async def worrying(self, user: User, since: int) -> list[PastSession]:
        """What ended since then without a word of anybody, by other wards, who have begun nothing after it."""
        return [session for session in await self._worrying(_viewer(user), since) if session.ward_id != user.id]

    async def unstopped_by(self, ward: User, since: int) -> PastSession | None:
        """This ward's last session, if it ended since then without a word of theirs."""
        found = await self._worrying(Viewer(ward.id), since)
        return next((session for session in found if session.ward_id == ward.id), None)

    async def wards(self, user: User) -> list[Person]:
        """Those whose sessions this person may ask for, themselves first; for an admin, whoever has had one."""
        if user.is_admin:
            others = await self._storage.history.wards(MOST_WARDS)
        else:
            others = await self._storage.guardians.wards_of(user.id)
        return [user.person, *(other for other in others if other.id != user.id)]

    async def pages(self) -> AsyncIterator[list[PastSession]]:
        """All pages one after the other, for the operator, who may see all."""
        cursor: str | None = None
        while True:
            page = await self._storage.history.page(Viewer("", is_admin=True), limit=PAGE, cursor=cursor)
            yield [PastSession.of(session) for session in page.sessions]
            cursor = page.next_cursor
            if cursor is None:
                return

    async def get(self, user: User, session_id: str) -> PastSession:
        """One session that ended. Raises NotFound to those who may not see it."""
        for unwritten in await self._unwritten(_viewer(user)):
            if unwritten.session_id == session_id:
                return unwritten
        session = await self._storage.history.get(_viewer(user), session_id)
        if session is None:
            raise NotFound
        return PastSession.of(session)

    async def days(
        self, user: User, zone: tzinfo, *, ward_id: str | None, since: int, until: int
    ) -> dict[date, tuple[int, int]]:
        """How many sessions began on each day, by the calendar of a time zone, and how many seconds they lasted."""
        sums: dict[date, tuple[int, int]] = defaultdict(lambda: (0, 0))
        for moment, count, seconds in await self._storage.statistics.quarters(
            _viewer(user), ward_id=ward_id, since=since, until=until
        ):
            day = datetime.fromtimestamp(moment / 1000, zone).date()
            sums[day] = (sums[day][0] + count, sums[day][1] + seconds)
        return dict(sums)

    async def _worrying(self, viewer: Viewer, since: int) -> list[PastSession]:
        """The newest first, of each ward their last alone."""
        unwritten = await self._unwritten(viewer)
        written = map(PastSession.of, await self._storage.history.worrying(viewer, since))
        last: dict[str, PastSession] = {}
        for session in (*unwritten, *written):
            last.setdefault(session.ward_id, session)
        return [
            session
            for session in last.values()
            if session.reason in WORRYING
            and session.end_time >= timestamp(since)
            and not (self._live and self._live.sessions.of_ward(session.ward_id))
        ]

    async def _unwritten(self, viewer: Viewer) -> list[PastSession]:
        """What has ended and waits to be written, of what this viewer may see; the newest first."""
        sessions = self._live.unwritten() if self._live else []
        if sessions and not viewer.is_admin:
            visible = {viewer.user_id, *(ward.id for ward in await self._storage.guardians.wards_of(viewer.user_id))}
            sessions = [session for session in sessions if session.ward.id in visible]
        return [PastSession.unwritten(session) for session in sessions]

    async def running(self) -> list[BegunSession]:
        """What runs, as the journal has it, for the operator."""
        return [BegunSession.of(session) for session in await self._storage.journal.active()]


def _viewer(user: User) -> Viewer:
    return Viewer(user.id, user.is_admin)
