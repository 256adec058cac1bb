"""The pages for people, and their lines of the routing table."""

from liveguard.errors import NotFound
from liveguard.web.application import Route
from liveguard.web.pages import account, admin, dashboard, entrance, files, history, people, ward
from liveguard.web.pages.page import OpenPage


class Unknown(OpenPage):
    """Every other address."""

    @classmethod
    def methods(cls) -> list[str]:
        return list(cls.SUPPORTED_METHODS)

    async def prepare(self) -> None:
        self.check_address()
        await self.admit()
        raise NotFound


PAGES: list[Route] = [
    ("/", dashboard.Dashboard),
    ("/offline", dashboard.Shell),
    ("/live", dashboard.Changes),
    ("/ward", ward.Ward),
    ("/ward/offline", ward.Shell),
    ("/people", people.People),
    ("/people/invite", people.Invite),
    ("/people/link", people.InviteByLink),
    ("/people/link/{link_id}/withdraw", people.WithdrawLink),
    ("/people/{pair_id}/{answer}", people.Answer),
    ("/history", history.History),
    ("/history/export.{kind}", history.Export),
    ("/history/{session_id}", history.Session),
    ("/history/{session_id}/trail.gpx", history.TrailExport),
    ("/admin", admin.Admin),
    ("/admin/people", admin.AddPerson),
    ("/admin/people/{user_id}/{change}", admin.ChangePerson),
    ("/admin/guardians", admin.Arrange),
    ("/admin/guardians/{pair_id}/remove", admin.Dissolve),
    ("/admin/sessions/{session_id}/end", admin.EndSession),
    ("/account", account.Account),
    ("/account/name", account.Name),
    ("/account/preferences", account.Preferences),
    ("/account/password", account.Password),
    ("/account/logins/end", account.EndOtherLogins),
    ("/account/logins/{login_id}/end", account.EndLogin),
    ("/login", entrance.Login),
    ("/logout", entrance.Logout),
    ("/link/{token}", entrance.Link),
    ("/manifest.webmanifest", ward.Manifest),
    ("/sw.js", files.Fixed, {"name": "sw.js"}),
    ("/favicon.ico", files.Fixed, {"name": "icon-32.png"}),
    ("/static/{version}/{name*}", files.Static),
]

__all__ = ["PAGES", "Unknown"]
