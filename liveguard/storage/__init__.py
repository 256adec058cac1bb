"""Everything that liveguard keeps, in one SQLite file. All SQL of the program is in this package.

Moments are in milliseconds since the epoch, and durations in whole seconds.
"""

from pathlib import Path
from typing import Self

from liveguard.storage.chronicle import Chronicle, Entry
from liveguard.storage.database import Database
from liveguard.storage.files import lying_aside
from liveguard.storage.guardians import Access, Guardians, Guardianship, Status
from liveguard.storage.history import History, Viewer
from liveguard.storage.journal import Journal, JournaledSession
from liveguard.storage.links import Link, Links, Purpose
from liveguard.storage.logins import Login, Logins
from liveguard.storage.preferences import Preferences, PreferencesOfPeople
from liveguard.storage.statistics import Statistics
from liveguard.storage.users import User, Users
from liveguard.storage.views import EndedSession, GuardianView

__all__ = [
    "Access", "Database", "EndedSession", "Entry", "GuardianView", "Guardianship", "JournaledSession", "Link", "Login",
    "Preferences", "Purpose", "Status", "Storage", "User", "Viewer",
]  # fmt: skip


class Storage:
    """The open database and what it holds."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.users = Users(database)
        self.guardians = Guardians(database)
        self.journal = Journal(database)
        self.history = History(database)
        self.logins = Logins(database)
        self.links = Links(database)
        self.chronicle = Chronicle(database)
        self.preferences = PreferencesOfPeople(database)
        self.statistics = Statistics(database)

    @classmethod
    async def open(cls, path: Path, *, create: bool = True, exclusive: bool = False) -> Self:
        """Open the file, or make it; ``exclusive`` for the one server. Raises ConfigurationError in one line."""
        return cls(await Database.open(path, create=create, exclusive=exclusive))

    @property
    def set_aside(self) -> Path | None:
        """The damaged file that was moved out of the way last, for as long as it lies there."""
        return lying_aside(self.database.path)

    async def close(self) -> None:
        """Finish what was submitted, then let go of the file."""
        await self.database.close()
