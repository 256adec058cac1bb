"""My account: my name, my password, how I read, and where I am signed in."""

import re

from liveguard.errors import InvalidPayload, RateLimited, Refusal, WrongCredentials
from liveguard.people.accounts import LEAST_PASSWORD
from liveguard.web.pages.page import Page, code_of, field_of
from liveguard.web.render import LANGUAGES, zone, zones
from liveguard.web.statuses import status_of

# The first that fits, because browsers also claim to be others.
_BROWSERS = (("Edg", "Edge"), ("OPR", "Opera"), ("Firefox", "Firefox"), ("Chrom", "Chrome"), ("Safari", "Safari"))
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone|iPad", "iOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


class Account(Page):
    """``GET /account``."""

    page = "account"

    async def get(self) -> None:
        await self.show_account(done=self.get_query_argument("done", ""))

    async def show_account(self, *, done: str = "", problem: str = "", **typed: str) -> None:
        """The page, perhaps with what was done or what went wrong, and then with what was typed."""
        logins = [
            {
                "id": login.id,
                "browser": browser(login.user_agent),
                "created_at": login.created_at,
                "last_used_at": login.last_used_at,
                "here": login.id == self.login_id,
            }
            for login in await self.services.people.logins.of(self.user, self.login_id)
        ]
        self.show(
            "account.html",
            preferences=self.preferences,
            zones=sorted(name for name in zones() if "/" in name and not name.startswith("Etc/")),
            logins=logins,
            least_password=LEAST_PASSWORD,
            done=done,
            problem=problem,
            typed=typed,
        )

    async def again(self, refusal: Refusal, problem: str, **typed: str) -> None:
        """The page with what went wrong, and with what was typed."""
        self.set_status(status_of(refusal))
        await self.show_account(problem=problem, **typed)


class Name(Account):
    """``POST /account/name``."""

    async def post(self) -> None:
        first, last = self.text("first_name"), self.text("last_name")
        try:
            if not first.strip():
                raise InvalidPayload("firstName is missing")
            await self.services.people.accounts.change(self.user.id, first_name=first, last_name=last)
        except InvalidPayload as refusal:
            await self.again(refusal, code_of(refusal), wrong=field_of(refusal), first_name=first, last_name=last)
        else:
            self.go("/account", done="saved")


class Preferences(Account):
    """``POST /account/preferences``."""

    async def post(self) -> None:
        language, time_zone, hours = self.text("language"), self.text("time_zone").strip(), self.text("hours")
        typed = {"language": language, "time_zone": time_zone, "hours": hours}
        try:
            if (language and language not in LANGUAGES) or (time_zone and zone(time_zone) is None):
                raise InvalidPayload("time_zone is unknown")
            await self.services.people.preferences.choose(self.user, **typed)
        except InvalidPayload as refusal:
            await self.again(refusal, "time_zone_unknown", wrong="time_zone", **typed)
        else:
            self.go("/account", done="saved")


class Password(Account):
    """``POST /account/password``."""

    async def post(self) -> None:
        old, new = self.text("old", 5000), self.text("new", 5000)
        try:
            known = await self.services.people.accounts.change_password(self.user, old, new, address=self.address)
            if self.by_cookie:
                # All logins have ended. A new one for this browser: whoever has stolen the one before, is out.
                await self.begin_login(self.user, known)
        except WrongCredentials as refusal:
            await self.again(refusal, "password_wrong", wrong="old")
        except (InvalidPayload, RateLimited) as refusal:
            await self.again(refusal, code_of(refusal), wrong="new" if isinstance(refusal, InvalidPayload) else "old")
        else:
            self.go("/account", done="password")


class EndLogin(Page):
    """``POST /account/logins/{login_id}/end``: sign out in another place."""

    page = "account"

    async def post(self, login_id: str) -> None:
        await self.services.people.logins.end_one(self.user, login_id)
        self.go("/account", done="signed_out")


class EndOtherLogins(Account):
    """``POST /account/logins/end``: sign out in all other places."""

    async def post(self) -> None:
        logins = self.services.people.logins
        if self.by_cookie:
            self.services.cookies.sign_in(self, await logins.end_others(self.user, self.login_id or ""))
        else:
            await logins.end_all(self.user)
        self.go("/account", done="signed_out")


def browser(user_agent: str) -> str:
    """What a browser and its system are called, or else a program; empty when it does not say."""
    found = [
        next((name for pattern, name in known if re.search(pattern, user_agent)), "") for known in (_BROWSERS, _SYSTEMS)
    ]
    return ", ".join(name for name in found if name) or user_agent.partition("/")[0].strip()[:40]
