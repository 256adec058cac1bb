"""What happened in a session, and on which days there were any. Whether somebody may see it was asked before."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date, datetime, tzinfo

from liveguard.storage import Entry, Storage, User, Viewer
from liveguard.storage.chronicle import MOST_ENTRIES
from liveguard.trail import Point


class Stories:
    """Reads that take their time, beside all that is live."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def entries(self, session_id: str, unwritten: Iterable[Entry] = ()) -> list[Entry]:
        """What happened, in the order of time; of a very long session, what happened last. What was ``unwritten`` a
        moment ago may be written by now."""
        written = await self._storage.chronicle.entries(session_id)
        known = set(written)
        return [*written, *(entry for entry in unwritten if entry not in known)][-MOST_ENTRIES:]

    async def trail(self, session_id: str) -> list[Point]:
        """Where the ward was, as far as that is still kept."""
        return await self._storage.chronicle.trail(session_id)

    async def days(
        self, user: User, zone: tzinfo, *, ward_id: str | None, since: int, until: int
    ) -> dict[date, tuple[int, int]]:
        """How many sessions began on each day, by the calendar of a time zone, and how many seconds they lasted."""
        viewer = Viewer(user.id, user.is_admin)
        sums: dict[date, tuple[int, int]] = defaultdict(lambda: (0, 0))
        for moment, count, seconds in await self._storage.statistics.quarters(
            viewer, ward_id=ward_id, since=since, until=until
        ):
            day = datetime.fromtimestamp(moment / 1000, zone).date()
            sums[day] = (sums[day][0] + count, sums[day][1] + seconds)
        return dict(sums)
