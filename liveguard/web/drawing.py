"""Pictures as numbers: where the points of a trail and the bars of a chart lie. Templates turn them into SVG.

A trail is drawn on a plane that touches the earth at its middle (equirectangular), which is right to a few centimetres
over the distances that people walk, and good enough for those that they drive.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from liveguard.trail import Point

METRES_PER_DEGREE = 111_320.0
WIDTH, HEIGHT, MARGIN = 320, 200, 18
LEAST_SPAN = 60.0  # metres that a drawing shows at least, so that standing still does not look like wandering
MOST_POINTS = 240
SILENCE = 2 * 60_000  # milliseconds, at least, after which nobody knows which way somebody went
STEPS = (1, 2, 5)


@dataclass(frozen=True)
class TrailDrawing:
    """A trail, drawn: all lengths in units of a view of 320 by 200."""

    path: str
    guessed: str  # straight to where somebody was after a silence
    start: tuple[float, float]
    latest: tuple[float, float]
    accuracy: float  # radius of the circle around the latest point, 0 when unknown
    heading: float | None  # degrees, clockwise from north
    scale_length: float
    scale_metres: int
    metres: float  # how far it goes, along the way


def draw_trail(points: Sequence[Point]) -> TrailDrawing | None:
    """The drawing of a trail in the order of time; None without points."""
    if not points:
        return None
    points = _thinned(points)
    flat = _flatten(points)
    accuracy = min(points[-1].accuracy or 0.0, 5_000.0)
    scale, x_shift, y_shift = _fit([*flat, *_around(flat[-1], accuracy)])
    drawn = [(round(x * scale + x_shift, 1), round(y_shift - y * scale, 1)) for x, y in flat]
    metres, length = _scale_bar(scale)
    path, guessed = _paths(drawn, silences(points))
    return TrailDrawing(
        path=path,
        guessed=guessed,
        start=drawn[0],
        latest=drawn[-1],
        accuracy=round(accuracy * scale, 1),
        heading=_heading(points, flat),
        scale_length=length,
        scale_metres=metres,
        metres=sum(math.dist(one, other) for one, other in pairwise(flat)),
    )


def _flatten(points: Sequence[Point]) -> list[tuple[float, float]]:
    """Metres east and north of the first point."""
    origin = points[0]
    shrink = math.cos(math.radians(origin.latitude))
    flat = []
    for point in points:
        # The short way round the earth, where a trail crosses the date line.
        east = (point.longitude - origin.longitude + 540) % 360 - 180
        flat.append((east * METRES_PER_DEGREE * shrink, (point.latitude - origin.latitude) * METRES_PER_DEGREE))
    return flat


def _around(place: tuple[float, float], radius: float) -> list[tuple[float, float]]:
    x, y = place
    return [(x - radius, y - radius), (x + radius, y + radius)]


def _fit(places: list[tuple[float, float]]) -> tuple[float, float, float]:
    """The scale (units a metre) and the shift that bring all places into view."""
    west, east = min(x for x, _ in places), max(x for x, _ in places)
    south, north = min(y for _, y in places), max(y for _, y in places)
    scale = min(
        (WIDTH - 2 * MARGIN) / max(east - west, LEAST_SPAN), (HEIGHT - 2 * MARGIN) / max(north - south, LEAST_SPAN)
    )
    return scale, WIDTH / 2 - (west + east) / 2 * scale, HEIGHT / 2 + (south + north) / 2 * scale


def _scale_bar(scale: float) -> tuple[int, float]:
    """The longest round length that takes at most a third of the width: in metres, and drawn."""
    longest = WIDTH / 3 / scale
    power = 10 ** max(0, math.floor(math.log10(longest)))
    metres = max((step * power for step in STEPS if step * power <= longest), default=power)
    return metres, round(metres * scale, 1)


def _thinned(points: Sequence[Point]) -> Sequence[Point]:
    """No more points than can be told apart, the first and the newest among them."""
    if len(points) <= MOST_POINTS:
        return points
    step = math.ceil(len(points) / MOST_POINTS)
    return [*points[:-1:step], points[-1]]


def silences(points: Sequence[Point]) -> list[bool]:
    """Of each leg, whether nothing was heard in it for long, also beside how often something usually was."""
    waits = [later.moment - earlier.moment for earlier, later in pairwise(points)]
    usual = sorted(waits)[len(waits) // 2] if waits else 0
    return [wait > max(SILENCE, 4 * usual) for wait in waits]


def _paths(places: list[tuple[float, float]], silent: list[bool]) -> tuple[str, str]:
    """The legs of a way, and those of which only their ends are known."""
    known, guessed = [f"M{_at(places[0])}"], []
    for (one, other), silence in zip(pairwise(places), silent, strict=True):
        if silence and one != other:
            guessed.append(f"M{_at(one)}L{_at(other)}")
            known.append(f"M{_at(other)}")
        elif one != other:
            known.append(f"L{_at(other)}")
    return "".join(known), "".join(guessed)


def _at(place: tuple[float, float]) -> str:
    return f"{place[0]:g} {place[1]:g}"


def _heading(points: Sequence[Point], flat: list[tuple[float, float]]) -> float | None:
    """Where it goes: what the device said, or else the direction of the last ten metres."""
    if points[-1].heading is not None:
        return round(points[-1].heading, 1)
    x, y = flat[-1]
    for earlier_x, earlier_y in reversed(flat[:-1]):
        if math.hypot(x - earlier_x, y - earlier_y) >= 10:
            return round(math.degrees(math.atan2(x - earlier_x, y - earlier_y)) % 360, 1)
    return None


# -- bar charts ----------------------------------------------------------------------------------------------------

CHART_WIDTH, CHART_HEIGHT = 640, 160


class Bar(NamedTuple):
    """One bar, in units of a view of 640 by 160."""

    x: float
    y: float
    width: float
    height: float


def draw_bars(values: Sequence[float]) -> list[Bar]:
    """One bar for each value, the highest as high as the chart."""
    highest = max([*values, 0]) or 1
    step = CHART_WIDTH / max(len(values), 1)
    bars = []
    for place, value in enumerate(values):
        height = round(value / highest * (CHART_HEIGHT - 4), 1)
        left, top = round((place + 0.12) * step, 1), round(CHART_HEIGHT - height, 1)
        bars.append(Bar(left, top, round(step * 0.76, 1), height))
    return bars
