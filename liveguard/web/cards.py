"""A running session as a card: what those who watch it need to know, most urgent first."""

import itertools
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from secrets import token_hex
from sys import intern
from typing import Any, NamedTuple, Self

from msgspec import json

from liveguard.chronicle import Memory
from liveguard.people import User
from liveguard.trail import Point
from liveguard.web.drawing import TrailDrawing, draw_trail
from liveguard.web.render import Reader, Renderer, clock

FRESH = 10_000  # milliseconds; among locations as young as this, none is more urgent than another
MOST_FULL = 12  # with more sessions than this, each card shows the most important alone
MOST_EXTRA = 8
ROUGH = 200  # metres: a place that is less accurate than this does not say where to look for somebody

_MARK = token_hex(8)  # nobody can write it, as it is never shown
_TICK = re.compile(f"{_MARK}(clock|left|ago|heard) ([0-9]{{1,15}});")


class Place(NamedTuple):
    """Where the ward is, as the card shows it."""

    key: str
    latitude: float
    longitude: float
    moment: int
    accuracy: float | None

    @classmethod
    def of(cls, session_id: str, point: Point) -> Self:
        """The place of a session."""
        return cls(session_id, point.latitude, point.longitude, point.moment, point.accuracy)

    @property
    def is_rough(self) -> bool:
        """Whether nobody could be found by it alone."""
        return (self.accuracy or 0) > ROUGH


class Said(NamedTuple):
    """A message, as one viewer sees it."""

    key: str
    name: str
    role: str
    mine: bool
    text: str
    moment: int


@dataclass(frozen=True)
class Card:
    """All that a card shows."""

    id: str
    ward_id: str
    name: str
    email: str  # where somebody else on the page has the same name, or else empty
    first_name: str
    state: str
    start: int
    lost_since: int
    heard: int | None
    ends_at: int
    note: str
    extra: list[tuple[str, str]]
    location: Place | None
    battery: float | None
    watchers: list[str]
    you_watch: bool
    messages: list[Said]
    may_write: bool
    drawing: TrailDrawing | None
    compact: bool


def in_order(memories: Iterable[Memory], now: int) -> list[Memory]:
    """The most urgent first: connection lost, then longest without a location, then newest."""

    def heard(memory: Memory) -> int:
        newest = memory.trail.newest
        moment = newest.moment if newest else memory.session.start.wall
        return moment if now - moment > FRESH else now

    # Three sorts, the weightiest last, make no key of their own for each session: that costs more than they do.
    ordered = sorted(memories, key=lambda memory: memory.session.start.wall, reverse=True)
    ordered.sort(key=heard)
    ordered.sort(key=lambda memory: memory.session.interruption is None)
    return ordered


def namesakes(names: Iterable[str]) -> frozenset[str]:
    """Those that are there twice: by such a name alone, one person is taken for another."""
    return frozenset(name for name, times in Counter(names).items() if times > 1)


def said(memory: Memory, viewer: User) -> list[Said]:
    """The conversation as one viewer sees it."""
    return [_said(memory, place, viewer) for place in range(len(memory.messages))]


def last_word(memory: Memory, viewer: User) -> list[Said]:
    """What the ward wrote last, if anything."""
    places = range(len(memory.messages) - 1, -1, -1)
    newest_first = (_said(memory, place, viewer) for place in places)
    return list(itertools.islice((one for one in newest_first if one.role == "ward"), 1))


def _said(memory: Memory, place: int, viewer: User) -> Said:
    entry = memory.messages[place]
    details = entry.details
    return Said(
        f"{memory.session.id}-{memory.forgotten + place}",
        entry.name or "",
        details.get("role", ""),
        entry.person_id == viewer.id,
        details.get("text", ""),
        entry.moment,
    )


def card_of(memory: Memory, viewer: User, compact: bool, has_namesake: bool) -> Card:
    """The card of a session for one viewer."""
    session, newest = memory.session, memory.trail.newest
    metadata = session.metadata or {}
    interruption = session.interruption
    watching = [person for person in memory.watching.values() if person.id != viewer.id]
    return Card(
        id=session.id,
        ward_id=session.ward.id,
        name=session.ward.name,
        email=session.ward.email if has_namesake else "",
        first_name=session.ward.first_name or session.ward.name,
        state="lost" if interruption else "live",
        start=session.start.wall,
        lost_since=interruption.since.wall if interruption else 0,
        heard=interruption.heard if interruption else None,
        ends_at=interruption.ends_at if interruption else 0,
        note=note_of(metadata),
        extra=extra_of(metadata),
        location=Place.of(session.id, newest) if newest else None,
        battery=memory.battery,
        watchers=sorted(person.name for person in watching),
        you_watch=viewer.id in memory.watching,
        messages=(last_word if compact else said)(memory, viewer),
        may_write=viewer.id in session.guardians,
        drawing=None if compact else draw_trail(memory.trail.points),
        compact=compact,
    )


def note_of(metadata: dict[str, Any]) -> str:
    """What the ward said at the start."""
    note = metadata.get("note")
    return note if isinstance(note, str) else ""


def extra_of(metadata: dict[str, Any]) -> list[tuple[str, str]]:
    """What else was given at the start, as text, or as the JSON that it came as."""
    rest = [(key, value) for key, value in metadata.items() if key != "note" or not isinstance(value, str)]
    return [(key, value if isinstance(value, str) else json.encode(value).decode()) for key, value in rest[:MOST_EXTRA]]


def said_at_start(metadata: dict[str, Any]) -> list[tuple[str, str]]:
    """All of it: the note, if there is one, before the rest."""
    note = note_of(metadata)
    return [*([("note", note)] if note else []), *extra_of(metadata)]


class Rendered:
    """A card in pieces: those between the ticks as they are, and where which tick is to be put.

    Of 10,000 cards none is at hand when it is asked for, so what many have in common is one thing for all of them.
    """

    __slots__ = ("pieces", "ticks")

    def __init__(self, text: str) -> None:
        found = _TICK.split(text)  # a piece, a kind, a moment, a piece, ...
        self.pieces = [b""] * (len(found) // 3 * 2 + 1)
        self.pieces[::2] = [piece.encode("utf-8", "replace") for piece in found[::3]]
        self.ticks = [
            _put(number * 2 + 1, kind, int(moment))
            for number, (kind, moment) in enumerate(zip(found[1::3], found[2::3], strict=True))
        ]


@lru_cache(maxsize=256)
def _put(place: int, kind: str, moment: int) -> tuple[int, str, int]:
    return place, intern(kind), moment


class Cards:
    """Renders cards. What does not change is rendered once for each way of reading; what ticks is filled in."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._in_words = lru_cache(maxsize=256)(self._render_ago)
        self.ago = lru_cache(maxsize=4096)(self._find_ago)  # finding them takes time as well, if not as much

    def render(
        self, memory: Memory, viewer: User, reader: Reader, compact: bool, has_namesake: bool, now: int
    ) -> Rendered:
        """The card of a session as HTML, but for what ticks."""
        card = card_of(memory, viewer, compact, has_namesake)
        return Rendered(self._renderer.render("card.html", reader, card=card, now=now, tick=_tick).strip())

    def _find_ago(self, language: str, seconds: int) -> bytes:
        # What is told of are whole minutes after the first one, then whole hours.
        step = 1 if seconds < 60 else 60 if seconds < 3600 else 3600
        return self._in_words(language, max(0, seconds // step * step))

    def _render_ago(self, language: str, seconds: int) -> bytes:
        return self._renderer.render("ago.html", Reader(language), seconds=seconds).strip().encode()


class Glance:
    """The cards of one viewer at one moment, as bytes. What is the same for all of them is looked up once."""

    def __init__(
        self, cards: Cards, viewer: User, reader: Reader, compact: bool, twice: frozenset[str], now: int
    ) -> None:
        self._cards = cards
        self._seen = viewer, reader, compact
        today = datetime.fromtimestamp(now // 1000, reader.tzinfo).toordinal()
        self._key = repr((viewer.id, reader, compact, today))  # a text knows its hash
        self._now = now
        self._twice = twice
        self._ago, self._language = cards.ago, reader.language

    def card(self, memory: Memory, heard: int) -> list[bytes]:
        """The card of a session, whose ward was last heard of at the moment ``heard``, in pieces."""
        has_namesake = bool(self._twice) and memory.session.ward.name in self._twice
        key = f"{self._key} of two" if has_namesake else self._key
        rendered = memory.rendered.get(key)
        if rendered is None:
            rendered = memory.rendered[key] = self._cards.render(memory, *self._seen, has_namesake, self._now)
        pieces: list[bytes] = rendered.pieces.copy()
        for place, kind, moment in rendered.ticks:
            if kind == "heard":
                pieces[place] = b"%d" % heard
                continue
            passed = (self._now - (moment or heard)) // 1000
            if kind == "ago":
                pieces[place] = self._ago(self._language, passed)
            else:
                pieces[place] = _clock(passed if kind == "clock" else -passed)
        return pieces


@lru_cache(maxsize=4096)
def _clock(seconds: int) -> bytes:
    return clock(seconds).encode()


def _tick(kind: str, moment: int) -> str:
    return f"{_MARK}{kind} {moment};"
