"""The dashboard: the page itself, and what of it changed since somebody last looked."""

from collections.abc import AsyncIterator, Iterator
from secrets import token_hex
from zlib import crc32

import msgspec
from markupsafe import Markup

from liveguard.chronicle import Memory
from liveguard.errors import Refusal
from liveguard.events import Person
from liveguard.overview import last_sign_of_life
from liveguard.web.base import Door
from liveguard.web.cards import MOST_FULL, Glance, in_order, namesakes
from liveguard.web.pages import ward
from liveguard.web.pages.page import Page, in_parts
from liveguard.web.pages.past import WORRIES_FOR, Past

LATELY = 8
HERE = Markup(f"<!-- {token_hex(16)} -->")  # noqa: S704 - where the cards go; nobody can write it, as it is never shown
POLL = 1000  # milliseconds, for what the guardian's socket does not tell
QUIET = 5000  # the same while there is no session, but for admins, whom nobody tells of the next one


def surroundings_of(page: Page) -> list[str]:
    """What stands around the cards is another when this is: whose end the journal has, and whom the viewer guards."""
    live, viewer = page.services.live, page.user
    unwritten = live.visible_to(viewer, live.unwritten())
    return [*(session.id for session in unwritten), str(live.access_version(viewer.id))]


class View:
    """What one viewer sees at one moment, before any of it is rendered. The ``surroundings`` were asked for before what
    they speak of was read."""

    def __init__(self, page: Page, surroundings: list[str]) -> None:
        services = page.services
        memories = [services.chronicle.of(session) for session in services.live.visible_to(page.user)]
        self.moment = services.clock.now()
        self.now = self.moment.wall
        self.memories = in_order(memories, self.now)
        self.count = len(memories)
        self.lost = sum(memory.session.interruption is not None for memory in memories)
        self.compact = len(memories) > MOST_FULL
        self.newest = max((memory.version for memory in memories), default=0)
        order = [memory.session.id for memory in self.memories]
        viewer = page.user.id  # asked for once: each open dashboard does this once a second
        self.twice = namesakes([memory.session.ward.name for memory in memories if viewer in memory.session.guardians])
        twice = _sum(sorted(self.twice)) if self.twice else ""
        self.kind = f"{services.chronicle.epoch}-{'c' if self.compact else 'f'}{twice}"
        self.who = _sum([*sorted(order), "", *surroundings])
        # Whoever holds this and asks again, is told nothing unless something that they see has changed.
        self.version = f"{self.kind}.{self.who}.{_sum(order)}.{self.newest}"

    def changed_since(self, version: str) -> list[Memory]:
        """The sessions whose cards look otherwise than in a version; all of them, if it is none of this kind."""
        kind, _, rest = version.partition(".")
        newest = rest.rpartition(".")[2]
        if kind != self.kind or not newest.isdecimal() or len(newest) > 18:
            return self.memories
        return [memory for memory in self.memories if memory.version > int(newest)]

    def same_sessions_as(self, version: str) -> bool:
        """Whether the same sessions were seen in a version."""
        return version.split(".")[:2] == [self.kind, self.who]


class Watching(Page):
    """What the dashboard and its changes have in common."""

    def cards(self, memories: list[Memory], view: View) -> Iterator[list[bytes]]:
        """The cards of these sessions as this viewer sees them now, each in pieces."""
        glance = Glance(self.services.cards, self.user, self.reader, view.compact, view.twice, view.now)
        for memory in memories:
            yield glance.card(memory, last_sign_of_life(memory.session, view.moment))

    async def around(self) -> dict[str, object]:
        """What the page shows beside the cards."""
        people = self.services.people
        wards: list[Person] = await people.guardianships.wards_of(self.user)
        ended = [Past.of(one) for one in await people.history.last(self.user, LATELY)]
        worrying = [Past.of(one) for one in await people.history.worrying(self.user, self.now - WORRIES_FOR)]
        names = {one.ward_id: one.name for one in (*ended, *worrying)} | {ward.id: ward.name for ward in wards}
        return {
            "ward_names": [ward.name for ward in wards],
            "ended": ended,
            "worrying": worrying,
            "twice": namesakes(names.values()),
        }


class Dashboard(Watching):
    """``GET /``: the sessions that run and that the viewer may see."""

    page = "dashboard"

    async def get(self) -> None:
        surroundings, seq = surroundings_of(self), self.services.live.long_written()
        around = await self.around()
        view = View(self, surroundings)
        page = self.render_page(
            "dashboard.html",
            cards=HERE,
            count=view.count,
            lost=view.lost,
            version=view.version,
            seq=seq,
            poll=POLL,
            quiet=0 if self.user.is_admin else QUIET,
            worker=self.services.assets.version,
            **around,
        )
        await self.write_in_parts(self._parts(page, view))

    async def _parts(self, page: str, view: View) -> AsyncIterator[bytes]:
        before, _, after = page.partition(HERE)
        yield before.encode("utf-8", "replace")
        async for part in in_parts(self.cards(view.memories, view)):
            yield part
        yield after.encode("utf-8", "replace")


class Shell(ward.Shell):
    """``GET /offline``: the same of the dashboard."""

    page = "dashboard"


class Changes(Watching):
    """``GET /live?since=VERSION``: what changed, as rendered pieces, and nothing rendered if nothing did.

    ``heard`` is how long ago each ward was heard of, in milliseconds and in the order of the cards, which needs no
    rendering; the header ``Now`` says the moment.
    """

    @property
    def routine(self) -> bool:
        """A page that is open asks once a second."""
        return True

    async def admit(self) -> None:
        # Nothing but who asks is read until it is known that there is something new.
        self.check_viewer(await self.sign_in())

    async def get(self) -> None:
        since = self.get_query_argument("since", "")
        view = View(self, surroundings_of(self))
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        if view.version == since:
            self.set_header("Now", str(view.now))
            self.finish(msgspec.json.encode({"heard": _ages(view)}))
            return
        self.preferences = await self.services.people.preferences.of(self.user)
        view = View(self, surroundings_of(self))
        self.set_header("Now", str(view.now))
        page: dict[str, object] = {
            "version": view.version,
            "order": [f"s-{memory.session.id}" for memory in view.memories],
            "heard": _ages(view),
        }
        if not view.same_sessions_as(since):
            page |= await self._rendered_around(view)
        elif view.count:
            page["summary"] = self._part("summary", view)
        await self.write_in_parts(self._parts(page, view.changed_since(since), view))

    async def _parts(self, page: dict[str, object], memories: list[Memory], view: View) -> AsyncIterator[bytes]:
        yield msgspec.json.encode(page)[:-1] + b',"cards":{'
        async for part in in_parts(self._fields(memories, view)):
            yield part
        yield b"}}"

    def _fields(self, memories: list[Memory], view: View) -> Iterator[list[bytes]]:
        """The cards as the fields of a JSON object."""
        comma = b""
        for memory, card in zip(memories, self.cards(memories, view), strict=True):
            text = msgspec.json.encode(b"".join(card).decode())
            yield [comma, b'"s-%b":' % memory.session.id.encode(), text]
            comma = b","

    async def _rendered_around(self, view: View) -> dict[str, str]:
        around = await self.around()
        return {name: self._part(name, view, **around) for name in ("summary", "worrying", "calm", "ended")}

    def _part(self, name: str, view: View, **around: object) -> str:
        shown = {"viewer": self.user, "now": self.now, "count": view.count, "lost": view.lost, **around}
        return self.services.renderer.render(f"{name}.html", self.reader, **shown)

    def refuse(self, refusal: Refusal) -> None:
        # Its script knows what to do about a status; a page would be of no use to it.
        Door.refuse(self, refusal)


def _ages(view: View) -> list[int]:
    return [view.now - last_sign_of_life(memory.session, view.moment) for memory in view.memories]


def _sum(texts: list[str]) -> str:
    return format(crc32(" ".join(texts).encode()), "x")
