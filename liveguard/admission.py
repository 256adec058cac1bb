"""Who may still be here, and who may listen to whom, as the database says now."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable

from liveguard.audience import Audience
from liveguard.clock import Clock, pause
from liveguard.errors import StorageUnavailable
from liveguard.faults import log_fault
from liveguard.journaling import Journaling
from liveguard.rooms import Presences
from liveguard.sessions import ActiveSessions
from liveguard.storage import Access, Storage

RETRY = 0.25  # seconds


class Admission:
    """Applies what was changed in the database, by whomever, to the sessions that run and to those who are here."""

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        sessions: ActiveSessions,
        wards: Presences,
        audience: Audience,
        journaling: Journaling,
        shut_out: Callable[[str], None],
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._sessions = sessions
        self._wards = wards
        self._audience = audience
        self._journaling = journaling
        self._shut_out = shut_out  # told of each who is here and may not be any more
        self._newcomers: set[str] = set()
        self._beside: set[asyncio.Task[None]] = set()
        self._closed = False
        self._changes: Counter[str | None] = Counter()  # of these people's access; None, of anybody's

    def version(self, user_id: str) -> int:
        """Another number after each change of whom this person guards, or is guarded by."""
        return self._changes[None] + self._changes[user_id]

    async def review(self, ward_ids: Iterable[str] | None, user_ids: Iterable[str] | None) -> None:
        """Look again at these wards' guardians and at these people; None means all that matter.

        Raises :class:`StorageUnavailable`.
        """
        self._changes.update([None] if ward_ids is None or user_ids is None else {*ward_ids, *user_ids})
        # Of whom is named, nobody else is looked at: each who comes is, and a crowd must not make that slower.
        wards = self._all_wards() if ward_ids is None else {id for id in ward_ids if self._is_ward(id)}
        people = self._all_people() if user_ids is None else {id for id in user_ids if self._is_here(id)}
        if wards or people:
            access = await self._storage.guardians.access(wards, people)
            # What comes too late is left to the next start, which looks at everybody.
            if not self._closed:
                self._apply(access)

    def review_beside(self, ward_id: str) -> None:
        """The same for one ward who has come, beside all else and as soon as the database can be read."""
        if not self._newcomers:
            task = asyncio.get_running_loop().create_task(self._review_newcomers())
            self._beside.add(task)
            task.add_done_callback(self._done_beside)
        self._newcomers.add(ward_id)

    def close(self) -> None:
        """Look no more."""
        self._closed = True
        for task in self._beside:
            task.cancel()

    async def _review_newcomers(self) -> None:
        """Those who came in one turn of the loop share what is read: of a crowd, dozens do."""
        newcomers, self._newcomers = self._newcomers, set()
        while True:
            try:
                return await self.review(newcomers, newcomers)
            except StorageUnavailable:
                await pause(self._clock, RETRY)

    def _done_beside(self, task: "asyncio.Task[None]") -> None:
        self._beside.discard(task)
        if not task.cancelled() and (problem := task.exception()):
            log_fault("a review of who may be here", problem)

    def _is_ward(self, user_id: str) -> bool:
        return self._wards.get(user_id) is not None or self._sessions.of_ward(user_id) is not None

    def _is_here(self, user_id: str) -> bool:
        return self._audience.present.get(user_id) is not None or self._is_ward(user_id)

    def _all_wards(self) -> set[str]:
        return {presence.person.id for presence in self._wards} | self._sessions.wards()

    def _all_people(self) -> set[str]:
        return {presence.person.id for presence in self._audience.present} | self._all_wards()

    def _apply(self, access: Access) -> None:
        for user_id in access.gone:
            self._shut_out(user_id)
        for ward_id, guardians in access.guardians.items():
            if self._wards.get(ward_id) is not None:
                self._journaling.know(ward_id, guardians)
            session = self._sessions.get_user_active_session(ward_id)
            if session is not None:
                self._audience.admit(session, guardians)
