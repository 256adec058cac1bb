"""The cast of the stories, moved into a real database: Ana, guarded by Ben; Chloe, Tom and Mallory, who have nothing
to do with her yet; Alex, the admin. Time moves when a test says so."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import argon2
import pytest

from liveguard.auth import Passwords
from liveguard.clock import SystemClock
from liveguard.errors import Refusal
from liveguard.people import People, User
from liveguard.sessions import Moment
from liveguard.storage import Storage

MINUTE = 60_000
DAY = 24 * 3600 * 1000
PASSWORD = "correct horse battery staple"


def quick_passwords() -> Passwords:
    """Passwords as always, but made in no time."""
    return Passwords(hasher=argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


async def refused(kind: type[Refusal], work: Any) -> Refusal:
    """Exactly this refusal comes of it."""
    with pytest.raises(kind) as caught:
        await work
    assert type(caught.value) is kind
    return caught.value


class MovedClock(SystemClock):
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.wall = 1_800_000_000_000

    def now(self) -> Moment:
        return Moment(self.wall, self.wall / 1000)


class Family:
    """The people, what they can do, and who was told of changes."""

    ana: User
    ben: User
    chloe: User
    tom: User
    mallory: User
    alex: User

    def __init__(self, storage: Storage, passwords: Passwords) -> None:
        self.clock = MovedClock()
        self.storage = storage
        self.passwords = passwords
        self.changes: list[tuple[set[str], set[str]]] = []
        self.people = People(storage, passwords, clock=self.clock, access_changed=self._access_changed)

    async def move_in(self) -> None:
        for name in ("ana", "ben", "chloe", "tom", "mallory", "alex"):
            user = await self.people.accounts.add(
                f"{name}@example.org", first_name=name.title(), user_id=name, is_admin=name == "alex"
            )
            setattr(self, name, user)
        await self.people.guardianships.put("ana", "ben", "accepted")
        self.changes.clear()

    async def walk(self, ward: User, session_id: str) -> None:
        """A session from start to end."""
        now = self.clock.now().wall
        await self.storage.journal.start(session_id, ward.id, now, {"note": "home"})
        await self.storage.journal.end(session_id, now + MINUTE, 60, "manual_stop")
        self.clock.wall += 2 * MINUTE

    async def _access_changed(self, ward_ids: set[str], user_ids: set[str]) -> None:
        self.changes.append((ward_ids, user_ids))


@asynccontextmanager
async def family(folder: Path, passwords: Passwords | None = None) -> AsyncIterator[Family]:
    """Everybody at home in ``folder``."""
    passwords = passwords or quick_passwords()
    storage = await Storage.open(folder / "liveguard.db")
    try:
        everybody = Family(storage, passwords)
        await everybody.move_in()
        yield everybody
    finally:
        await storage.close()
        passwords.close()
