"""The use cases of people: their accounts, how they sign in, who guards whom, and what they may look up."""

from liveguard.auth import Passwords, Tokens
from liveguard.clock import Clock
from liveguard.live import Live
from liveguard.people.accounts import AccessChanged, Accounts
from liveguard.people.doorkeeper import Doorkeeper, Visitor
from liveguard.people.guardianships import Guardianships
from liveguard.people.history import History, PastPage, PastSession
from liveguard.people.links import Links
from liveguard.people.logins import Logins
from liveguard.people.preferences import PreferencesOfPeople
from liveguard.storage import Entry, Guardianship, Link, Preferences, Status, Storage, User

__all__ = [
    "Doorkeeper", "Entry", "Guardianship", "Link", "PastPage", "PastSession", "People", "Preferences", "Status", "User",
    "Visitor",
]  # fmt: skip


async def _nobody_is_told(ward_ids: set[str], user_ids: set[str]) -> None:
    """A running server finds out by itself what another process has changed."""


class People:
    """All of them over one storage."""

    def __init__(
        self,
        storage: Storage,
        passwords: Passwords,
        *,
        clock: Clock,
        live: Live | None = None,
        access_changed: AccessChanged = _nobody_is_told,
    ) -> None:
        self.accounts = Accounts(storage, passwords, clock, access_changed)
        self.logins = Logins(storage, clock, access_changed)
        self.guardianships = Guardianships(storage, clock, access_changed)
        self.links = Links(storage, self.accounts, self.guardianships, clock, access_changed)
        self.history = History(storage, live)
        self.preferences = PreferencesOfPeople(storage)

    def doorkeeper(self, tokens: Tokens) -> Doorkeeper:
        """Who lets people in by these tokens, and by their logins."""
        return Doorkeeper(tokens, self.accounts, self.logins)
