"""The ward's page, and what makes it an app: its manifest, its worker and its shell without network."""

from liveguard.web.base import everybody
from liveguard.web.cards import ROUGH, note_of, said
from liveguard.web.pages.page import Page
from liveguard.web.pages.past import WORRIES_FOR, Past


class Ward(Page):
    """``GET /ward``: one big button."""

    page = "ward"

    async def get(self) -> None:
        services = self.services
        guardians = await services.people.guardianships.guardians_of(self.user)
        session = services.live.sessions.get_user_active_session(self.user.id)
        memory = services.chronicle.of(session) if session else None
        claimed = services.live.sessions.of_ward(self.user.id)
        over = None if claimed else await services.people.history.unstopped_by(self.user, self.now - WORRIES_FOR)
        self.show(
            "ward.html",
            guardians=guardians,
            unstopped=Past.of(over) if over else None,
            starting=session is None and claimed is not None,
            version=services.assets.version,
            rough=ROUGH,
            messages=said(memory, self.user) if memory else [],
            session={
                "id": memory.session.id,
                "start": memory.session.start.wall,
                "note": note_of(memory.session.metadata or {}),
                "watchers": [person.name for person in memory.watching.values()],
            }
            if memory
            else None,
        )


class Shell(Page):
    """``GET /ward/offline``: what the ward's page shows without network; the same for everybody."""

    page = "ward"
    admit = everybody  # unasked: what a worker keeps must not be anybody's

    async def get(self) -> None:
        self.show("offline.html")


class Manifest(Page):
    """``GET /manifest.webmanifest``: how the ward's page is installed."""

    admit = everybody

    async def get(self) -> None:
        self.set_header("Content-Type", "application/manifest+json; charset=UTF-8")
        self.set_header("Cache-Control", "no-cache")
        self.write_compressed(self.services.renderer.render("manifest.webmanifest", self.reader))
