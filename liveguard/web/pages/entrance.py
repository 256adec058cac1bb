"""How people come in and go: the sign-in, one-time links, the sign-out."""

import contextlib

from liveguard.errors import (
    AccountInactive,
    AuthenticationError,
    Conflict,
    InvalidPayload,
    NotFound,
    StorageUnavailable,
    TooManySignIns,
    Unavailable,
    WrongCredentials,
)
from liveguard.people import Link as OneTimeLink
from liveguard.people import User
from liveguard.people.accounts import LEAST_PASSWORD, SignIn
from liveguard.web.pages.page import OpenPage, Page, code_of, field_of
from liveguard.web.render import zone
from liveguard.web.statuses import status_of


class Entrance(OpenPage):
    """A page through which somebody may come in."""

    async def let_in(self, user: User, to: str, known: SignIn | None = None) -> None:
        """Sign somebody in, in this browser, and show them a page."""
        people = self.services.people
        await self.begin_login(user, known)
        if self.visitor is not None and self.visitor.login_id is not None:
            # The browser forgets who was signed in before; so must the server, where it has not done so already.
            with contextlib.suppress(NotFound):
                await people.logins.end_one(self.visitor.user, self.visitor.login_id)
        time_zone = self.text("time_zone", 64)
        if zone(time_zone) is not None:
            await people.preferences.suggest_time_zone(user, time_zone)
        self.go(to)


class Login(Entrance):
    """``GET`` and ``POST /login``."""

    async def get(self) -> None:
        to = local_path(self.get_query_argument("next", ""))
        if self.visitor is not None:
            self.go(to)
            return
        problem = "signed_out" if self.get_query_argument("over", "") else ""
        self._show(to, self.get_query_argument("email", ""), problem)

    async def post(self) -> None:
        to, email = local_path(self.text("next")), self.text("email")
        try:
            known = await self.services.people.accounts.sign_in(email, self.text("password", 5000), self.address)
            await self.let_in(known.user, to, known)
        except (WrongCredentials, AccountInactive) as refusal:
            self.set_status(401 if isinstance(refusal, WrongCredentials) else 403)
            self._show(to, email, "account_inactive" if isinstance(refusal, AccountInactive) else "wrong_password")
        except TooManySignIns as refusal:
            self.set_status(429)
            self.set_header("Retry-After", str(refusal.retry_after))
            self._show(to, email, "slow_down")
        except StorageUnavailable:
            self.set_status(503)
            self._show(to, email, Unavailable.code)

    def _show(self, to: str, email: str = "", problem: str = "") -> None:
        self.show("login.html", next=to, email=email[:254], problem=problem)


class Logout(Page):
    """``POST /logout``."""

    page = "logout"

    async def post(self) -> None:
        if self.login_id is not None:
            await self.services.people.logins.end_one(self.user, self.login_id)
        self.services.cookies.sign_out(self)
        self.go("/login")


class Link(Entrance):
    """``GET /link/{token}`` shows what a one-time link is for and uses nothing up; ``POST`` follows it."""

    async def get(self, token: str) -> None:
        link, person = await self._look(token)
        if link is not None:
            await self._show(link, person)

    async def post(self, token: str) -> None:
        link, person = await self._look(token)
        if link is None:
            return
        try:
            user = await self._follow(link, token)
        except (InvalidPayload, Conflict) as refusal:
            self.set_status(status_of(refusal))
            await self._show(link, person, code_of(refusal), field_of(refusal))
        except (NotFound, AuthenticationError):
            self._gone()
        else:
            if user is None:
                self.go("/people", done="accepted")
            else:
                await self.let_in(user, "/admin#people" if link.purpose == "setup" else "/")

    async def _look(self, token: str) -> tuple[OneTimeLink | None, User | None]:
        try:
            return await self.services.people.links.look(token)
        except (NotFound, AuthenticationError):
            self._gone()
            return None, None

    async def _follow(self, link: OneTimeLink, token: str) -> User | None:
        """Use the link. Returns who comes in by it; None if they are in already."""
        links = self.services.people.links
        if link.purpose == "sign-in":
            return await links.sign_in(token)
        if link.purpose == "reset":
            return await links.reset(token, self.text("password", 5000), self.address)
        if link.purpose == "invite" and self.visitor is not None:
            await links.accept(token, self.user)
            return None
        follow = links.set_up if link.purpose == "setup" else links.join
        if not self.text("first_name").strip():
            raise InvalidPayload("firstName is missing")
        return await follow(
            token,
            self.text("email"),
            self.text("first_name"),
            self.text("last_name"),
            self.text("password", 5000),
            self.address,
        )

    def _gone(self) -> None:
        self.set_status(410)
        self.show("error.html", status=410, reason="")

    async def _show(self, link: OneTimeLink, person: User | None, problem: str = "", wrong: str = "") -> None:
        accounts = self.services.people.accounts
        is_new = link.purpose == "reset" and person is not None and not await accounts.has_password(person)
        sent = {name: self.text(name) for name in ("email", "first_name", "last_name")}
        self.show(
            "link.html",
            purpose="welcome" if is_new else link.purpose,
            person=person,
            path=self.request.path,
            least_password=LEAST_PASSWORD,
            problem=problem,
            typed={**sent, "wrong": wrong},
        )


def local_path(path: str) -> str:
    """The path if it is one of this server, else the start page: nobody is sent elsewhere after a sign-in."""
    is_local = path.startswith("/") and not path.startswith("//") and path.isprintable() and "\\" not in path
    return path if is_local and len(path) <= 1000 else "/"
