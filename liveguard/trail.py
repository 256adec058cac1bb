"""The trail of a session: where the ward was, kept evenly and never too much.

A point is kept each five seconds at most. When there are too many, each second one is dropped and from then on half as
many are kept: a trail stays even from its first to its last minute. The newest place is always known beside them.
"""

from itertools import pairwise
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

SPACING = 5_000  # milliseconds
MOST = 2_000


class Point(Struct, frozen=True, gc=False):
    """A place and when it reached the server, in milliseconds. Degrees, metres, metres a second, per cent."""

    moment: int
    latitude: float
    longitude: float
    accuracy: float | None = None
    altitude: float | None = None
    heading: float | None = None
    speed: float | None = None
    battery: float | None = None


class Trail:
    """The points of one session, in the order of time, and what of them is not written yet."""

    __slots__ = ("_kept", "_newest", "_spacing", "_thinned", "_unwritten", "_written_newest")

    def __init__(self, points: list[Point] | None = None) -> None:
        self._kept: list[Point] = list(points or [])
        self._newest: Point | None = None
        self._unwritten: list[Point] = []
        self._written_newest: int | None = None
        self._thinned = False
        self._spacing = _spacing_of(self._kept)

    def __len__(self) -> int:
        return len(self._kept) + (self._newest is not None)

    @property
    def points(self) -> list[Point]:
        """All points, the newest last."""
        return [*self._kept, self._newest] if self._newest else list(self._kept)

    @property
    def newest(self) -> Point | None:
        """The last place."""
        return self._newest or (self._kept[-1] if self._kept else None)

    def add(self, point: Point) -> None:
        """The ward is somewhere."""
        if self._kept and point.moment < self._kept[-1].moment:
            self._set_back(self._kept[-1].moment - point.moment + self._spacing)
        if self._kept and point.moment - self._kept[-1].moment < self._spacing:
            self._newest = point
            return
        self._newest = None
        self._kept.append(point)
        self._unwritten.append(point)
        # One place is left for the newest point, which comes beside those that are kept.
        if len(self._kept) >= MOST:
            self._kept = self._kept[::2]
            self._spacing *= 2
            self._thinned = True

    def _set_back(self, by: int) -> None:
        """As the clock was, so are all points: by their order it is known, also after a restart, which is the last."""
        self._kept = [replace(point, moment=point.moment - by) for point in self._kept]
        self._thinned = True

    def changes(self) -> "Changes | None":
        """What has to be written since this was last asked; None if nothing has."""
        newest = self._newest
        gone = self._written_newest
        if not (self._unwritten or self._thinned or (newest and newest.moment != gone)):
            return None
        points = list(self._kept) if self._thinned else self._unwritten
        changes = Changes([*points, newest] if newest else points, self._thinned, gone)
        self._unwritten, self._thinned = [], False
        self._written_newest = newest.moment if newest else None
        return changes

    def write_again(self) -> None:
        """What was to be written could not be: the next changes are the whole trail."""
        self._thinned = True


def _spacing_of(points: list[Point]) -> int:
    """How far apart the points of a trail were kept last. Fewer than half of what there may be were never thinned."""
    spacing = SPACING
    if len(points) >= MOST // 2:
        # Silence leaves wider gaps, each restart may have left a narrow one.
        gaps = sorted(later.moment - earlier.moment for earlier, later in pairwise(points))
        while spacing * 2 <= gaps[len(gaps) // 10]:
            spacing *= 2
    return spacing


class Changes(NamedTuple):
    """Points to write; before that all that were there go (``anew``), or one that was only the newest (``gone``)."""

    points: list[Point]
    anew: bool
    gone: int | None
