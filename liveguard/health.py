"""Whether this process can do what it is for: the database answers, and the journal can be written."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal

from msgspec import Struct

from liveguard.clock import Clock
from liveguard.errors import StorageUnavailable
from liveguard.storage import Storage, probes

PATIENCE = 1.0  # seconds
FRESH = 0.25  # seconds for which a finding is good, so that whoever asks often writes no more often

Finding = Literal["ok", "failing"]


class Readiness(Struct, frozen=True):
    """What was found of each part."""

    database: Finding
    journal: Finding
    set_aside: str | None  # the name of a damaged file that was moved out of the way, and lies there still

    @property
    def ready(self) -> bool:
        """Whether all of it is well."""
        return self.database == self.journal == "ok"


class Health:
    """Looks after the storage when asked, once for all who ask at the same time.

    ``behind`` says whether something waits to be written to the journal: then it fails, whatever else can be written.
    """

    def __init__(self, storage: Storage, clock: Clock, behind: Callable[[], bool]) -> None:
        self.started_at = clock.now().wall
        self._storage = storage
        self._clock = clock
        self._behind = behind
        self._found: Readiness | None = None
        self._found_at = 0.0
        self._probe: asyncio.Task[Readiness] | None = None

    async def readiness(self) -> Readiness:
        """What works just now, known after ``PATIENCE`` seconds at the latest."""
        if self._found is not None and self._clock.now().steady - self._found_at < FRESH:
            return self._found
        if self._probe is None:
            self._probe = asyncio.get_running_loop().create_task(self._look())
        return await asyncio.shield(self._probe)

    async def _look(self) -> Readiness:
        try:
            database, journal = await asyncio.gather(
                self._works(probes.read(self._storage.database)), self._works(probes.write(self._storage.database))
            )
            if self._behind():
                journal = "failing"
            # A disk that has not answered is asked nothing more, least of all in the loop.
            damaged = self._storage.set_aside if database == "ok" else None
            self._found = Readiness(database, journal, damaged.name if damaged else None)
            self._found_at = self._clock.now().steady
            return self._found
        finally:
            self._probe = None

    async def _works(self, work: Awaitable[None]) -> Finding:
        try:
            await asyncio.wait_for(work, PATIENCE)
        except (StorageUnavailable, TimeoutError):
            return "failing"
        return "ok"

    async def size(self) -> int:
        """The bytes of the database's file."""
        return await probes.size(self._storage.database)

    async def close(self) -> None:
        """Let a probe finish."""
        if self._probe is not None:
            await asyncio.wait([self._probe])
