"""What is looked after again and again while the server runs, and nobody waits for.

Twice a second: has another process, the command line above all, changed the database? Then what it says now is
applied to whoever is connected. Now and then: what is written lazily, and what has expired.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from liveguard.clock import Clock
from liveguard.errors import StorageUnavailable
from liveguard.faults import log_fault
from liveguard.people import People
from liveguard.storage import Storage

LOOK = 0.5  # seconds
DOUBT = 5.0  # seconds
WRITE = 4.0  # seconds
PURGE = 3600.0  # seconds

Duty = Callable[[], Awaitable[None]]


class Crowd(Protocol):
    """All who are connected."""

    def login_ids(self, of: Iterable[str] | None) -> set[str]:
        """The logins by which some of these people are, or of all; None means all."""

    def close_logins(self, ended: set[str]) -> None:
        """Close those that such a login had opened."""


class Rounds:
    """Goes round as long as the server runs. ``admit`` applies who may see what; ``lazily`` is what may be late."""

    def __init__(
        self,
        storage: Storage,
        people: People,
        crowd: Crowd,
        clock: Clock,
        *,
        admit: Callable[[Iterable[str] | None, Iterable[str] | None], Awaitable[None]],
        lazily: Iterable[Duty],
    ) -> None:
        self._storage = storage
        self._people = people
        self._crowd = crowd
        self._clock = clock
        self._admit = admit
        self._lazily = list(lazily)
        self._stale = False
        self._faults = 0
        self._doubted_at = float("-inf")
        self._walk: asyncio.Task[None] | None = None
        self._over = False
        self._wake = asyncio.Event()

    def begin(self) -> None:
        """Go, and see to it that nobody waits for a disk that hangs."""
        self._storage.database.watch(self._clock)
        self._walk = asyncio.get_running_loop().create_task(self._go())

    async def end(self) -> None:
        """Go no more: finish what is under way, and do once what may have become late."""
        self._over = True
        self._wake.set()
        if self._walk is not None:
            # Not cancelled: of a write that is torn off nobody knows what is kept, and so what to write once more.
            await asyncio.wait([self._walk])
        for duty in self._lazily:
            await self._do(duty)

    async def access_changed(self, ward_ids: Iterable[str] | None, user_ids: Iterable[str] | None) -> None:
        """Who may see what has changed, and is applied; where that cannot be read, as soon as it can."""
        try:
            await self._admit(ward_ids, user_ids)
            await self._close_ended(user_ids)
        except StorageUnavailable:
            self._stale = True

    async def _close_ended(self, user_ids: Iterable[str] | None) -> None:
        asked = self._crowd.login_ids(user_ids)
        if asked:
            self._crowd.close_logins(await self._people.logins.ended(asked))

    async def _purge(self) -> None:
        await self._people.logins.purge()
        await self._close_ended(None)

    async def _go(self) -> None:
        written = purged = self._clock.now().steady
        while await self._goes_on():
            await self._do(self._look)
            now = self._clock.now().steady
            if now - written >= WRITE:
                written = now
                for duty in self._lazily:
                    await self._do(duty)
            if now - purged >= PURGE:
                purged = now
                await self._do(self._purge)

    async def _goes_on(self) -> bool:
        """Wait for the next round. False where there is none any more."""
        timer = self._clock.call_later(LOOK, self._wake.set)
        await self._wake.wait()
        timer.cancel()
        self._wake.clear()
        return not self._over

    async def _look(self) -> None:
        # What failed may have been kept all the same, and then nobody was told. On a full disk something fails all the
        # time, and each look makes all dashboards anew.
        now = self._clock.now().steady
        if self._storage.database.faults != self._faults and now - self._doubted_at >= DOUBT:
            self._doubted_at = now
            self._faults = self._storage.database.faults
            self._stale = True
        if await self._storage.database.changed_elsewhere() or self._stale:
            self._stale = False
            await self.access_changed(None, None)

    async def _do(self, duty: Duty) -> None:
        """Whatever becomes of one duty, the others are done."""
        try:
            await duty()
        except StorageUnavailable:
            pass  # a later round will do
        except Exception as fault:
            log_fault(f"the round's {getattr(duty, '__qualname__', 'duty')}", fault)
