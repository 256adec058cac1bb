"""What admins see and do: people, who guards whom, sessions in an emergency, and how the server is."""

from collections import defaultdict
from contextlib import suppress
from typing import Literal
from urllib.parse import urlencode

from liveguard import __version__
from liveguard.errors import (
    AccountInactive,
    Conflict,
    InvalidPayload,
    NoActiveSession,
    NotAllowed,
    NotFound,
    UnknownEmail,
)
from liveguard.people import Guardianship
from liveguard.web.pages.page import AdminPage, code_of, field_of
from liveguard.web.pages.people import show_link
from liveguard.web.statuses import status_of

MOST_SHOWN = 100


class Admin(AdminPage):
    """``GET /admin?q=&after=``: people by their email, a page of them at a time."""

    page = "admin"

    async def get(self) -> None:
        await self.show_admin()

    async def show_admin(self, problem: str = "", **typed: str) -> None:
        """The page, perhaps with what went wrong, and then with what was typed."""
        services = self.services
        sought = self.get_query_argument("q", "").strip()[:254]
        after = self.get_query_argument("after", "")[:254]
        found = await services.people.accounts.search(sought, after, MOST_SHOWN + 1)
        shown = found[:MOST_SHOWN]
        guardians: dict[str, list[Guardianship]] = defaultdict(list)
        for pair in await services.people.guardianships.of_wards([user.id for user in shown]):
            guardians[pair.ward.id].append(pair)
        self.show(
            "admin.html",
            done=self.get_query_argument("done", ""),
            problem=problem,
            typed=typed,
            q=sought,
            people=[{"user": user, "name": user.name, "guardians": guardians[user.id]} for user in shown],
            more=urlencode({"q": sought, "after": shown[-1].email}) if len(found) > len(shown) else "",
            sessions=[
                {
                    "id": session.id,
                    "ward_id": session.ward.id,
                    "name": session.ward.name,
                    "email": session.ward.email,
                    "start": session.start.wall,
                    "lost": session.interruption is not None,
                }
                for session in sorted(services.live.visible_to(self.user), key=lambda one: one.interruption is None)
            ],
            version=__version__,
            started_at=services.health.started_at,
            connections=len(services.connections),
            wards=len(services.live.wards),
            guardians=len(services.live.audience.present),
            found=await services.health.readiness(),
            size=await services.health.size(),
        )


class AddPerson(Admin):
    """``POST /admin/people``: a new account, entered by a link."""

    async def post(self) -> None:
        people = self.services.people
        email, first_name, last_name = self.text("email"), self.text("first_name"), self.text("last_name")
        try:
            if not first_name.strip():
                raise InvalidPayload("firstName is missing")
            user = await people.accounts.add(email, first_name=first_name, last_name=last_name)
        except (InvalidPayload, Conflict) as refusal:
            self.set_status(status_of(refusal))
            typed = {"email": email, "first_name": first_name, "last_name": last_name}
            await self.show_admin(code_of(refusal), wrong=field_of(refusal), **typed)
        else:
            token = await people.links.for_reset(user, by=self.user, login_id=self.login_id)
            show_link(self, "welcome", token, back="/admin", name=user.name)


class ChangePerson(AdminPage):
    """``POST /admin/people/{user_id}/disable``, ``enable`` and ``reset``."""

    page = "admin"

    async def post(self, user_id: str, change: str) -> None:
        people = self.services.people
        if change == "disable":
            user = await people.accounts.disable(user_id, by=self.user)
        elif change == "enable":
            user = await people.accounts.enable(user_id, by=self.user)
        elif change == "reset":
            try:
                user = await people.accounts.identify(user_id)
            except AccountInactive:
                self.go("/admin", done="disabled")  # by another admin meanwhile
                return
            token = await people.links.for_reset(user, by=self.user, login_id=self.login_id)
            show_link(self, "reset", token, back="/admin", name=user.name)
            return
        else:
            raise NotFound
        self.go("/admin", q=user.email, done=f"{change}d")


class Arrange(Admin):
    """``POST /admin/guardians``: somebody guards somebody, or is asked to."""

    async def post(self) -> None:
        ward, guardian = self.text("ward"), self.text("guardian")
        status: Literal["pending", "accepted"] = "pending" if self.text("status") == "pending" else "accepted"
        try:
            pair = await self.services.people.guardianships.arrange(ward, guardian, status)
        except (UnknownEmail, NotAllowed) as refusal:
            self.set_status(status_of(refusal))
            problem = "self" if isinstance(refusal, NotAllowed) else "nobody"
            wrong = "ward" if isinstance(refusal, UnknownEmail) and refusal.email == ward else "guardian"
            await self.show_admin(problem, ward=ward, guardian=guardian, status=status, wrong=wrong)
        else:
            done = pair.status if pair.status == status else "guards_already"
            self.go("/admin", q=ward, done=done if pair.guardian_is_active else "once_enabled")


class Dissolve(AdminPage):
    """``POST /admin/guardians/{pair_id}/remove``: somebody guards somebody no more."""

    page = "admin"

    async def post(self, pair_id: str) -> None:
        pair = await self.services.people.guardianships.dissolve(pair_id)
        self.go("/admin", q=pair.ward.email, done="removed")


class EndSession(AdminPage):
    """``POST /admin/sessions/{session_id}/end``: an emergency."""

    page = "admin"

    async def post(self, session_id: str) -> None:
        # Where it has ended meanwhile, all is as it was wanted.
        with suppress(NoActiveSession):
            await self.services.live.end_by_admin(session_id, self.user.id)
        self.go("/admin", done="ended")
