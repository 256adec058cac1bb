"""What all pages have in common: who looks, how they read, and how a page is written for them."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from time import monotonic
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup
from tornado.iostream import StreamClosedError

from liveguard.errors import AuthenticationError, InvalidPayload, NotAllowed, Refusal, StorageUnavailable
from liveguard.people import Preferences, User
from liveguard.people.accounts import SignIn
from liveguard.web.base import Door, ForeignHost, ForeignOrigin, OutOfDate
from liveguard.web.render import Reader, negotiate, zone

WORTH_COMPRESSING = 1000  # bytes
LEVEL = 4  # of gzip
TURN = 0.005  # seconds of rendering at a stretch
PART = 2000  # pieces of a page that are joined at once, and compressed: some 2 ms of that
MUCH = 1_000_000  # bytes that whoever waits for the next page has read before it is made for them
VARY = "Accept-Encoding, Accept-Language, Cookie"


class SignInFirst(Exception):
    """Somebody asks for a page without being signed in: they are sent to the sign-in and come back."""


class AdminsOnly(NotAllowed):
    """Somebody who is no admin asks for a page of theirs."""


REASONS: dict[type[Refusal], str] = {
    AdminsOnly: "admins",
    ForeignHost: "host",
    ForeignOrigin: "origin",
    OutOfDate: "form",
}
"""What the page of an error tells more of than its status does."""

WRONG = {
    "password": "password_short",
    "email": "email_invalid",
    "firstName is missing": "name_missing",
    "firstName": "name_invalid",
    "lastName": "name_invalid",
}
"""What a form says of a field, by how its refusal begins."""


class Page(Door):
    """A door behind which there is a page for people. ``page`` is its name in the navigation."""

    page = ""
    preferences = Preferences()
    waiting = 0  # invitations that the viewer has not answered

    async def admit(self) -> None:
        """Whoever is signed in; others are asked to sign in first."""
        try:
            await self.sign_in()
        except AuthenticationError:
            raise SignInFirst from None
        self.preferences = await self.services.people.preferences.of(self.user)
        self.waiting = await self.services.people.guardianships.waiting_for(self.user)

    async def begin_login(self, user: User, known: SignIn | None) -> None:
        """Let this browser be signed in as somebody, by a login that was never there before; with a password that was
        ``known`` a moment ago, if there is one. Raises WrongCredentials where it is not the password any more."""
        agent = self.request.headers.get("User-Agent", "")
        token = await self.services.people.logins.begin(user, agent, known=known)
        self.services.cookies.sign_in(self, token)

    @property
    def login_id(self) -> str | None:
        """The login by which they look; None for a token that names none."""
        assert self.visitor is not None
        return self.visitor.login_id

    @property
    def reader(self) -> Reader:
        """How they read."""
        chosen = self.preferences
        accepted = self.request.headers.get("Accept-Language", "")
        return Reader(negotiate(chosen.language, accepted), chosen.time_zone or "UTC", chosen.hours)

    @property
    def now(self) -> int:
        """The moment, in milliseconds since the epoch."""
        return self.services.clock.now().wall

    def text(self, name: str, longest: int = 1000) -> str:
        """A field of the form that was sent. Raises InvalidPayload if it is too long."""
        value = self.get_body_argument(name, "")
        if len(value) > longest:
            raise InvalidPayload(f"{name} is too long")
        return value

    def show(self, template: str, **context: Any) -> None:
        """Answer with a page."""
        self.write_compressed(self.render_page(template, **context))

    async def in_queue(self, show: Callable[[], Awaitable[None]]) -> None:
        """Show what may be very long. Of one viewer, one such page is made after the other, so that whoever asks for
        many has no more turns than anybody else, and whoever does not read them holds no more than one."""
        queues = self.services.long_pages
        waits = self.user.id in queues  # which is there for as long as somebody stands in it
        queue = queues.setdefault(self.user.id, asyncio.Lock())
        async with queue:
            if waits and self.stream.closed():
                return  # nobody is there any more, and the next one need not wait for it
            if waits:
                await self.admit()  # or they may not be here any more
            await show()

    async def show_in_turns(self, template: str, **context: Any) -> None:
        """The same of a page that may be very long: others have their turn meanwhile."""
        pieces = self.services.renderer.pieces(template, self.reader, **self._with_all(context))
        await self.write_in_parts(in_parts([piece.encode("utf-8", "replace")] for piece in pieces))

    def render_page(self, template: str, **context: Any) -> str:
        """The text of a page, with all that every page shows."""
        return self.services.renderer.render(template, self.reader, **self._with_all(context))

    def _with_all(self, context: dict[str, Any]) -> dict[str, Any]:
        """What a page shows, with all that every page shows."""
        viewer = self.visitor.user if self.visitor else None
        live = self.services.live
        own = live.sessions.get_user_active_session(viewer.id) if viewer else None
        return dict(
            context,
            viewer=viewer,
            zone_unknown=viewer is not None and zone(self.preferences.time_zone) is None,
            own_session=own,
            # It was shared from a page that is gone, and whoever opens another one must know.
            unshared=own is not None
            and own.last_location is not None
            and own.located_by not in live.wards.connections(own.ward.id),
            page=self.page,
            waiting=self.waiting,
            grace=live.grace,
            now=self.now,
            xsrf=Markup(self.xsrf_form_html()),  # noqa: S704 - Tornado's own field
        )

    def write_compressed(self, text: str) -> None:
        """Finish with a text, compressed where that pays and the browser knows how."""
        body = text.encode("utf-8", "replace")
        self.set_header("Vary", VARY)
        if len(body) > WORTH_COMPRESSING and self._takes_gzip:
            self.set_header("Content-Encoding", "gzip")
            body = gzip.compress(body, LEVEL)
        self.finish(body)

    async def write_in_parts(self, parts: AsyncIterable[bytes]) -> None:
        """Finish with what comes part by part, compressed as it comes. Nothing is sent before all is there, so a fault
        is still answered as one."""
        self.set_header("Vary", VARY)
        if self._takes_gzip:
            self.set_header("Content-Encoding", "gzip")
            gzipping = zlib.compressobj(LEVEL, wbits=zlib.MAX_WBITS + 16)
            body = [gzipping.compress(part) async for part in parts]
            body.append(gzipping.flush())
        else:
            body = [part async for part in parts]
        size = sum(map(len, body))
        self.set_header("Content-Length", str(size))
        with suppress(StreamClosedError):
            for part in body:
                self.write(part)
                sent = self.flush()  # each by itself: what is written together, is copied twice
                if size > MUCH:
                    await sent  # and of each, for the last one is said to be sent as soon as any of them is
        self.finish()

    @property
    def _takes_gzip(self) -> bool:
        return "gzip" in self.request.headers.get("Accept-Encoding", "")

    def go(self, path: str, **query: str) -> None:
        """Send the browser on to another page, with GET whatever it has just sent."""
        self.redirect(f"{path}?{urlencode(query)}" if query else path, status=303)

    # -- refusals --------------------------------------------------------------------------------------------------

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if "exc_info" in kwargs and self._is_signed_out(kwargs["exc_info"][1]):
            asked = self.request.uri if self.request.method == "GET" else None
            query = {"next": asked} if asked and asked != "/" else {}
            if self.get_cookie(self.services.cookies.login):
                query["over"] = "1"  # there was a login, and whoever had it does not know that there is none any more
            self.go("/login", **query)
            return
        super().write_error(status_code, **kwargs)

    def _is_signed_out(self, fault: object) -> bool:
        # The latter happens by another hand, while somebody does something.
        in_between = isinstance(fault, AuthenticationError) and self.request.method == "POST"
        return in_between or isinstance(fault, SignInFirst)

    def refuse(self, refusal: Refusal) -> None:
        self.set_header("Content-Type", "text/html; charset=UTF-8")
        self.show("error.html", status=self.get_status(), reason=REASONS.get(type(refusal), ""))

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        if not self._is_signed_out(value):
            super().log_exception(typ, value, tb)


class OpenPage(Page):
    """A page for everybody; those who are signed in are known."""

    async def admit(self) -> None:
        try:
            await super().admit()
        except (SignInFirst, StorageUnavailable):
            self.visitor = None


class AdminPage(Page):
    """A page for admins."""

    async def admit(self) -> None:
        await super().admit()
        if not self.user.is_admin:
            raise AdminsOnly


async def in_parts(texts: Iterable[list[bytes]]) -> AsyncIterator[bytes]:
    """Many texts, each in pieces, as few large parts: what is joined once, is copied once. Between two of them the
    others have their turn, if it is time."""
    pieces: list[bytes] = []
    end = monotonic() + TURN
    for text in texts:
        pieces += text
        if len(pieces) > PART or monotonic() > end:
            yield b"".join(pieces)
            pieces.clear()
            if monotonic() > end:
                await asyncio.sleep(0)
                end = monotonic() + TURN
    yield b"".join(pieces)


def code_of(refusal: Refusal) -> str:
    """What a form says about a refusal: its code, or the field that is wrong."""
    if isinstance(refusal, InvalidPayload):
        return next((code for words, code in WRONG.items() if refusal.message.startswith(words)), refusal.code)
    return refusal.code


def field_of(refusal: Refusal) -> str:
    """Which of the fields that say who somebody is, or shall be, a refusal is about."""
    fields = {"firstName": "first_name", "lastName": "last_name", "password": "password"}
    return fields.get(refusal.message.split()[0], "email")
