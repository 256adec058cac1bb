"""How the server is, as its admins see it."""

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from liveguard import __version__
from liveguard.clock import Clock
from liveguard.health import Finding, Health
from liveguard.live import Live
from liveguard.storage import Storage


class State(Struct, frozen=True):
    """One look at the server."""

    version: str
    started_at: int  # milliseconds since the epoch
    connections: int
    wards: int
    guardians: int
    database: Finding
    journal: Finding
    bytes: int
    set_aside: str | None  # the name of a damaged file that was moved out of the way


class Overseer:
    """Looks at the server when asked."""

    def __init__(
        self, storage: Storage, live: Live, health: Health, clock: Clock, connections: Callable[[], int]
    ) -> None:
        self._storage = storage
        self._live = live
        self._health = health
        self._connections = connections
        self._started_at = clock.now().wall

    async def look(self) -> State:
        """How it is now."""
        readiness = await self._health.readiness()
        return State(
            version=__version__,
            started_at=self._started_at,
            connections=self._connections(),
            wards=len(self._live.wards),
            guardians=len(self._live.audience.present),
            database=readiness.database,
            journal=readiness.journal,
            bytes=_size(self._storage.database.path),
            set_aside=readiness.set_aside,
        )


def _size(path: Path) -> int:
    """The file and what stands beside it."""
    return sum(part.stat().st_size for part in (path, path.with_name(f"{path.name}-wal")) if part.exists())
