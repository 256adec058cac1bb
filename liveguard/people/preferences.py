"""How people want to read the pages: their language, time zone and clock."""

from liveguard.errors import InvalidPayload
from liveguard.storage import Preferences, Storage, User


class PreferencesOfPeople:
    """What people chose."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def of(self, user: User) -> Preferences:
        """What somebody chose; empty where they did not."""
        return await self._storage.preferences.get(user.id)

    async def choose(self, user: User, *, language: str, time_zone: str, hours: str) -> None:
        """Somebody chooses; whether there is such a language or zone is for those to know who show it."""
        if hours not in ("", "12", "24"):
            raise InvalidPayload("hours must be 12 or 24")
        await self._storage.preferences.put(user.id, Preferences(language, time_zone, hours))

    async def suggest_time_zone(self, user: User, time_zone: str) -> None:
        """What the browser says counts until somebody chooses."""
        chosen = await self.of(user)
        if time_zone and not chosen.time_zone:
            await self.choose(user, language=chosen.language, time_zone=time_zone, hours=chosen.hours)
