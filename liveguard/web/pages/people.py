"""Who guards whom: invitations to send and to answer, and ends."""

import segno
from markupsafe import Markup

from liveguard.errors import Conflict, InvalidPayload, NotAllowed, NotFound
from liveguard.web.pages.page import Page


class People(Page):
    """``GET /people``."""

    page = "people"

    async def get(self) -> None:
        done, problem = (self.get_query_argument(name, "") for name in ("done", "problem"))
        await self.show_people(done=done, problem=problem)

    async def show_people(self, *, done: str = "", problem: str = "", **typed: str) -> None:
        """The page, perhaps with what was done or what went wrong, and then with what was typed."""
        guardianships = self.services.people.guardianships
        theirs = await guardianships.of_guardian(self.user)
        self.show(
            "people.html",
            guardians=await guardianships.of_ward(self.user),
            links=await self.services.people.links.invitations(self.user),
            invitations=[pair for pair in theirs if pair.status == "pending"],
            wards=[pair for pair in theirs if pair.status != "pending"],
            done=done,
            problem=problem,
            typed=typed,
        )


class Invite(People):
    """``POST /people/invite``: somebody who has an account, by their email."""

    async def post(self) -> None:
        email = self.text("email")
        try:
            pair = await self.services.people.guardianships.invite(self.user, email)
        except NotFound as refusal:
            await self._again(404, refusal.code, email)
        except InvalidPayload:
            await self._again(400, "self", email)
        else:
            self.go("/people", done="invited" if pair.status == "pending" else "guards_already")

    async def _again(self, status: int, problem: str, email: str) -> None:
        self.set_status(status)
        await self.show_people(problem=problem, wrong="email", email=email[:254])


class InviteByLink(Page):
    """``POST /people/link``: a link for somebody new."""

    page = "people"

    async def post(self) -> None:
        try:
            token = await self.services.people.links.for_invitation(self.user, login_id=self.login_id)
        except Conflict:
            self.go("/people", problem="too_many_links")
        else:
            show_link(self, "invitation", token, back="/people")


class WithdrawLink(Page):
    """``POST /people/link/{link_id}/withdraw``: a link leads nowhere any more."""

    page = "people"

    async def post(self, link_id: str) -> None:
        try:
            await self.services.people.links.withdraw(self.user, link_id)
        except NotFound:
            self.go("/people", problem="link_over")
        else:
            self.go("/people", done="withdrawn")


class Answer(Page):
    """``POST /people/{pair_id}/accept``, ``decline`` and ``remove``."""

    page = "people"

    async def post(self, pair_id: str, answer: str) -> None:
        guardianships = self.services.people.guardianships
        steps = {
            "accept": (guardianships.accept, "accepted"),
            "decline": (guardianships.decline, "declined"),
            "remove": (guardianships.revoke, "removed"),
        }
        if answer not in steps:
            raise NotFound
        step, done = steps[answer]
        try:
            await step(self.user, pair_id)
        except (Conflict, NotAllowed):
            # It was answered already, in another window say: the page shows how.
            done = ""
        self.go("/people", **({"done": done} if done else {}))


def show_link(page: Page, kind: str, token: str, *, back: str, name: str = "") -> None:
    """Show a one-time link, to be copied or photographed."""
    url = f"{page.services.site.url_for(page.request.headers['Host'])}/link/{token}"
    drawn = segno.make(url, error="m").svg_inline(omitsize=True, border=2, svgclass=None, lineclass=None)
    page.show("invitation.html", kind=kind, name=name, url=url, back=back, qr=Markup(drawn))  # noqa: S704 - drawn here
