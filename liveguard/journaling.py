"""What the journal learns of a session, and what happens to it while the journal cannot be written.

Persist, apply, tell: a session is announced after the journal has it. Where the journal fails, it is announced all
the same and what could not be written waits here, in order, until the journal works again.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

from liveguard.errors import StartFailed, StorageUnavailable
from liveguard.events import Person, Reason
from liveguard.sessions import LiveSession, Moment
from liveguard.storage import Storage
from liveguard.storage.journal import Begun

RETRY = 0.5  # seconds

log = logging.getLogger(__name__)


class Journaling:
    """Writes the beginnings and the ends of sessions."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._known: dict[str, list[Person]] = {}
        self._backlog: deque[tuple[LiveSession, Callable[[], Awaitable[Begun | int]]]] = deque()
        self._catching_up: asyncio.Task[None] | None = None

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

        def write() -> Awaitable[Begun]:
            return self._storage.journal.start(session.id, session.ward.id, session.start.wall, session.metadata)

        try:
            begun = await write()
        except StorageUnavailable:
            guardians = await self._guardians(session.ward.id)
            self._postpone(session, write)
            return guardians, None
        except Exception:
            log.exception("A start could not be written")
            raise StartFailed from None
        return begun.guardians, begun.seq

    async def end(self, session: LiveSession, ended: Moment, reason: Reason, ended_by: str | None = None) -> int | None:
        """Write the end. None where the journal could not be written, now or at the beginning."""

        def write() -> Awaitable[int]:
            return self._storage.journal.end(session.id, ended.wall, session.duration(ended), reason, ended_by=ended_by)

        if session.seq is not None:
            try:
                return await write()
            except StorageUnavailable:
                pass
        self._postpone(session, write)
        return None

    async def close(self) -> None:
        """Try once more to write what waits."""
        if self._catching_up is not None:
            self._catching_up.cancel()
        await self._write_backlog()

    async def _guardians(self, ward_id: str) -> list[Person]:
        try:
            return await self._storage.guardians.accepted_of(ward_id)
        except StorageUnavailable:
            if ward_id in self._known:
                return self._known[ward_id]
            raise StartFailed from None
        except Exception:
            log.exception("The guardians of a ward could not be read")
            raise StartFailed from None

    def _postpone(self, session: LiveSession, write: Callable[[], Awaitable[Begun | int]]) -> None:
        self._backlog.append((session, write))
        log.error("The journal cannot be written; what waits for it: %d", len(self._backlog))
        if self._catching_up is None or self._catching_up.done():
            self._catching_up = asyncio.get_running_loop().create_task(self._catch_up())

    async def _catch_up(self) -> None:
        while self._backlog:
            await asyncio.sleep(RETRY)
            await self._write_backlog()
        log.warning("The journal works again and has caught up")

    async def _write_backlog(self) -> None:
        while self._backlog:
            session, write = self._backlog[0]
            try:
                written = await write()
            except StorageUnavailable:
                return
            except Exception:
                log.exception("The journal refused an entry for good")
            else:
                if isinstance(written, Begun):
                    session.seq = written.seq
                    session.durable = True
            self._backlog.popleft()
