"""What was: sessions that have ended, their days, their exports, and the story of each one."""

from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, cast
from urllib.parse import urlencode

import msgspec
from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError

from liveguard.chronicle import Memory
from liveguard.errors import InvalidPayload, NotFound, Refusal, StorageUnavailable
from liveguard.people import Entry, PastSession, User
from liveguard.tables import csv_line
from liveguard.trail import Point
from liveguard.web.bodies import LARGEST_PAGE
from liveguard.web.cards import Place, in_order, last_word, namesakes, said_at_start
from liveguard.web.drawing import draw_bars, draw_trail, silences
from liveguard.web.pages.page import Page
from liveguard.web.pages.past import WORRIES_FOR, Past

PAGE = 50
DAYS = 30
MOST_DAYS = 92
BLINK = 10_000  # milliseconds; whoever is away for less has only gone from one page to another


class Filter:
    """Which sessions are asked for: whose, and in which days of the reader's calendar. What is no day asks for none."""

    def __init__(self, page: Page) -> None:
        self.zone = page.reader.tzinfo
        self.ward = page.get_query_argument("ward", "") or None
        self.wrong: dict[str, str] = {}  # what was given for a day and is none
        self.first, self.last = self._day(page, "from"), self._day(page, "to")
        if self.first and self.last and self.first > self.last:
            self.first, self.last = self.last, self.first
        self.today = datetime.fromtimestamp(page.now / 1000, self.zone).date()

    @property
    def which(self) -> dict[str, Any]:
        """As the history wants to be asked."""
        return {
            "ward_id": self.ward,
            "since": self._midnight(self.first) if self.first else None,
            "until": self._midnight(self.last + timedelta(1)) if self.last else None,
        }

    @property
    def query(self) -> dict[str, str]:
        """As it stands in an address."""
        given = {"ward": self.ward, "from": self.first, "to": self.last}
        return {name: str(value) for name, value in given.items() if value}

    @property
    def days(self) -> list[date]:
        """The days that are drawn: those asked for, or the last thirty; never too many of them."""
        last = self.last or max(self.today, self.first or self.today)
        first = self.first or last - timedelta(DAYS - 1)
        first = max(min(first, last), last - timedelta(MOST_DAYS - 1))
        return [first + timedelta(number) for number in range((last - first).days + 1)]

    @property
    def span(self) -> tuple[int, int]:
        """The drawn days as moments."""
        days = self.days
        return self._midnight(days[0]), self._midnight(days[-1] + timedelta(1))

    def _day(self, page: Page, name: str) -> date | None:
        text = page.get_query_argument(name, "")
        try:
            return _date(text)
        except ValueError:
            self.wrong[name] = text
            return None

    def _midnight(self, day: date) -> int:
        return int(datetime.combine(day, time(), self.zone).timestamp() * 1000)


class History(Page):
    """``GET /history?ward=&from=&to=&cursor=``."""

    page = "history"

    async def get(self) -> None:
        people = self.services.people
        asked = Filter(self)
        if asked.wrong:
            self.set_status(400)
        wards = await people.history.wards(self.user)
        if asked.ward not in {ward.id for ward in wards}:
            asked.ward = None  # as the page shows it, which cannot name those whom its reader may not see any more
        page = await people.history.page(
            self.user, **asked.which, limit=PAGE, cursor=self.get_query_argument("cursor", None)
        )
        since, until = asked.span
        sums = await people.history.days(self.user, asked.zone, ward_id=asked.ward, since=since, until=until)
        days = asked.days
        bars = draw_bars([sums.get(day, (0, 0))[1] for day in days])
        self.show(
            "history.html",
            wards=wards,
            twice=namesakes(ward.name for ward in wards),
            ward=asked.ward,
            since=asked.first,
            until=asked.last,
            typed={**asked.wrong, "wrong": next(iter(asked.wrong), "")},
            days=[
                {"date": day, "count": sums.get(day, (0, 0))[0], "seconds": sums.get(day, (0, 0))[1], "bar": bar}
                for day, bar in zip(days, bars, strict=True)
            ],
            total_count=sum(count for count, _ in sums.values()),
            total_seconds=sum(seconds for _, seconds in sums.values()),
            sessions=[Past.of(session) for session in page.sessions],
            older=urlencode({**asked.query, "cursor": page.next_cursor}) if page.next_cursor else "",
            query=urlencode(asked.query),
        )


class Export(Page):
    """``GET /history/export.csv`` and ``.json``: all pages of what was asked for, one after the other."""

    page = "history"

    async def get(self, kind: str) -> None:
        asked = Filter(self)
        if asked.wrong:
            raise InvalidPayload("from and to must be days of our time")
        write = {"csv": self._csv, "json": self._json}.get(kind)
        if write is None:
            raise NotFound
        self.set_header("Content-Disposition", f'attachment; filename="liveguard-sessions.{kind}"')
        try:
            await write(self._pages(asked))
        except (Refusal, StorageUnavailable):
            if not self._headers_written:
                raise
            # Too late for a refusal: it breaks off, so that it does not look whole.
            cast(HTTP1Connection, self.request.connection).close()
        except StreamClosedError:
            pass  # nobody reads it any more

    async def _pages(self, asked: Filter) -> AsyncIterator[list[PastSession]]:
        history, cursor = self.services.people.history, None
        while True:
            # It lasts as long as it takes to be read: whoever is shut out meanwhile gets no more of it, and whoever is
            # no admin any more, what is theirs.
            await self.sign_in()
            page = await history.page(self.user, **asked.which, limit=LARGEST_PAGE, cursor=cursor)
            yield page.sessions
            cursor = page.next_cursor
            if cursor is None:
                return

    async def _csv(self, pages: AsyncIterator[list[PastSession]]) -> None:
        self.set_header("Content-Type", "text/csv; charset=UTF-8")
        self.write(_line(PastSession.__struct_encode_fields__))
        async for page in pages:
            for session in page:
                self.write(_line(getattr(session, field) for field in session.__struct_fields__))
            await self.flush()

    async def _json(self, pages: AsyncIterator[list[PastSession]]) -> None:
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.write(b'{"sessions":[')
        separator = b""
        async for page in pages:
            for session in page:
                self.write(separator + msgspec.json.encode(session))
                separator = b",\n"
            await self.flush()
        self.write(b"]}")


class Session(Page):
    """``GET /history/{session_id}``: what happened in one session, running or ended."""

    page = "history"

    async def get(self, session_id: str) -> None:
        await self.in_queue(lambda: self._show(session_id))

    async def _show(self, session_id: str) -> None:
        chronicle, seq = self.services.chronicle, self.services.live.long_written()
        memory = self._running(session_id)
        session = running(memory, self.user) if memory else await self._ended(session_id)
        if memory:
            self.page = "dashboard"
        entries = await chronicle.entries(session_id)
        if not memory:
            entries.append(Entry.of(session_id, session["end"], "ended", reason=session["reason"]))
        trail = await chronicle.trail(session_id)
        await self.show_in_turns(
            "session.html",
            session=session,
            entries=without_blinks(entries),
            drawing=draw_trail(trail),
            location=Place.of(session_id, trail[-1]) if trail else None,
            seq=seq,
            worker=self.services.assets.version,
            **await self._others(session_id),
        )

    async def _others(self, session_id: str) -> dict[str, Any]:
        """What a guardian must not miss while they look at one session: how the others of their wards are, and whether
        its own ward has still not been heard of."""
        past = list(map(Past.of, await self.services.people.history.worrying(self.user, self.now - WORRIES_FOR)))
        guarded = [one for one in self.services.live.visible_to(self.user) if self.user.id in one.guardians]
        names = {one.ward_id: one.name for one in past} | {one.ward.id: one.ward.name for one in guarded}
        return {
            "twice": namesakes(names.values()),
            "others": [
                {**running(memory, self.user), "last_word": last_word(memory, self.user)}
                for memory in in_order(map(self.services.chronicle.of, guarded), self.now)
                if memory.session.id != session_id
            ],
            "worrying": [one for one in past if one.id != session_id],
            "unstopped": next((one for one in past if one.id == session_id), None),
        }

    def _running(self, session_id: str) -> Memory | None:
        visible = self.services.live.visible_to(self.user)
        return next((self.services.chronicle.of(one) for one in visible if one.id == session_id), None)

    async def _ended(self, session_id: str) -> dict[str, Any]:
        ended = await self.services.people.history.get(self.user, session_id)
        by = ended.ended_by or ""
        if by:
            with suppress(Refusal):
                by = (await self.services.people.accounts.find(by)).name
        past = Past.of(ended)
        return {**past._asdict(), "running": False, "lost": False, "worrying": past.worrying, "ended_by": by}


class TrailExport(Session):
    """``GET /history/{session_id}/trail.gpx``."""

    async def get(self, session_id: str) -> None:
        if self._running(session_id) is None:
            await self._ended(session_id)
        trail = await self.services.chronicle.trail(session_id)
        if not trail:
            raise NotFound
        self.set_header("Content-Type", "application/gpx+xml; charset=UTF-8")
        self.set_header("Content-Disposition", 'attachment; filename="liveguard-trail.gpx"')
        self.write_compressed(gpx(trail))


def running(memory: Memory, viewer: User) -> dict[str, Any]:
    """A session that runs, as its page shows it to somebody."""
    session, interruption = memory.session, memory.session.interruption
    return {
        "id": session.id,
        "ward_id": session.ward.id,
        "name": session.ward.name,
        "email": session.ward.email,
        "first_name": session.ward.first_name or session.ward.name,
        "start": session.start.wall,
        "running": True,
        "lost": interruption is not None,
        "worrying": False,
        "lost_since": interruption.since.wall if interruption else 0,
        "heard": interruption.heard if interruption else None,
        "ends_at": interruption.ends_at if interruption else 0,
        "battery": memory.battery,
        "may_write": viewer.id in session.guardians,
        "said": said_at_start(session.metadata or {}),
    }


def without_blinks(entries: list[Entry]) -> list[Entry]:
    """The story of a session without guardians who were away for a moment only."""
    left: dict[str | None, int] = {}
    blinks = set()
    for place, entry in enumerate(entries):
        if entry.kind == "left":
            left[entry.person_id] = place
        elif entry.kind == "came" and entry.person_id in left:
            before = left.pop(entry.person_id)
            if entry.moment - entries[before].moment < BLINK:
                blinks |= {before, place}
    return [entry for place, entry in enumerate(entries) if place not in blinks]


def gpx(trail: list[Point]) -> str:
    """A trail in the format that maps and watches read. All of it are numbers, so nothing needs escaping."""
    points = "".join(
        ("</trkseg><trkseg>\n" if silence else "")
        + f'<trkpt lat="{point.latitude:.6f}" lon="{_east(point.longitude):.6f}">'
        + (f"<ele>{point.altitude:.1f}</ele>" if point.altitude is not None else "")
        + f"<time>{datetime.fromtimestamp(point.moment / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}</time></trkpt>\n"
        for point, silence in zip(trail, [False, *silences(trail)], strict=False)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<gpx version="1.1" creator="liveguard" xmlns="http://www.topografix.com/GPX/1/1">\n'
        f"<trk><trkseg>\n{points}</trkseg></trk></gpx>\n"
    )


def _east(longitude: float) -> float:
    """As the schema of GPX has it: there is no longitude of 180, as it is the one of -180."""
    return -180.0 if (rounded := round(longitude, 6)) == 180 else rounded


def _line(cells: Iterable[Any]) -> str:
    return f"{csv_line(cells)}\r\n"


def _date(text: str) -> date | None:
    if not text:
        return None
    day = date.fromisoformat(text)
    if not 1971 <= day.year <= 9000:
        raise ValueError
    return day
