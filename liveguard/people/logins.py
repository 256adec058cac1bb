"""Logins: the browsers and programs in which somebody is signed in.

A browser holds a random secret, of which the database has only the hash. A program holds a JWT that names its login.
"""

import asyncio
from collections.abc import Iterable

from liveguard.auth import digest, random_token
from liveguard.clock import Clock
from liveguard.errors import NotFound
from liveguard.people.accounts import AccessChanged, SignIn
from liveguard.storage import Login, Storage, User

DAY = 24 * 3600 * 1000  # milliseconds
LASTS = 30 * DAY  # after the last use
MOST_SHOWN = 20
NOTED = 5 * 60 * 1000  # uses that are closer together than this are not written down


class Logins:
    """Begins, finds and ends logins."""

    def __init__(self, storage: Storage, clock: Clock, access_changed: AccessChanged) -> None:
        self._storage = storage
        self._clock = clock
        self._access_changed = access_changed

    async def begin(self, user: User, user_agent: str = "", *, known: SignIn | None = None) -> str:
        """Somebody has signed in: the token for their browser, never one that was there before.

        Raises WrongCredentials where the password is not what was ``known`` any more.
        """
        token, now = random_token(), self._clock.now().wall
        await self._storage.logins.create(
            digest(token),
            user.id,
            now=now,
            expires_at=now + LASTS,
            user_agent=user_agent,
            password_hash=known.password_hash if known else None,
        )
        return token

    @staticmethod
    def new_id() -> str:
        """The id of a login that a JWT will name: of no use to a browser."""
        return digest(random_token())

    async def begin_for_token(self, login_id: str, known: SignIn, expires_at: int, user_agent: str = "") -> None:
        """A program has signed in, and its JWT names this login. Raises WrongCredentials as above."""
        await self._storage.logins.create(
            login_id,
            known.user.id,
            now=self._clock.now().wall,
            expires_at=expires_at,
            user_agent=user_agent,
            password_hash=known.password_hash,
        )

    async def find(self, token: str | None, *, noted: bool = True) -> Login | None:
        """The login of this token, while it lasts and its user is active. That it is used may be ``noted``."""
        if not token:
            return None
        now = self._clock.now().wall
        login = await self._storage.logins.get(digest(token), now)
        if noted and login is not None:
            self._note(login, now, now + LASTS)
        return login

    def begins_a_day(self, login: Login) -> bool:
        """Whether it is used on another day of its life than the last time."""
        now, begun = self._clock.now().wall, login.created_at
        return (now - begun) // DAY > (login.last_used_at - begun) // DAY

    async def lasts(self, login_id: str, user: User, *, noted: bool = False) -> bool:
        """Whether this is a login of theirs that has not ended. That it is used may be ``noted``."""
        now = self._clock.now().wall
        login = await self._storage.logins.get(login_id, now)
        if login is None or login.user.id != user.id:
            return False
        if noted:
            self._note(login, now)
        return True

    async def of(self, user: User, here: str | None = None) -> list[Login]:
        """Where somebody is signed in: here, then the places that last longest; no more than there is a use for."""
        return await self._storage.logins.list(user.id, self._clock.now().wall, first=here, most=MOST_SHOWN)

    async def end_one(self, user: User, login_id: str) -> None:
        """Somebody signs out in one place of theirs. Raises NotFound if it is not theirs."""
        if not await self._storage.logins.delete(login_id, user.id):
            raise NotFound
        await self._access_changed(set(), {user.id})

    async def end_others(self, user: User, here: str) -> str:
        """Somebody signs out everywhere but here, where there is another token from now on: whoever has stolen the one
        before, is out. Raises AuthenticationRequired where they have been signed out here as well by now."""
        token, now = random_token(), self._clock.now().wall
        await self._storage.logins.replace_all(user.id, here, digest(token), now=now, expires_at=now + LASTS)
        await self._access_changed(set(), {user.id})
        return token

    async def end_all(self, user: User) -> None:
        """Somebody signs out everywhere."""
        await self._storage.logins.delete_all(user.id)
        await self._access_changed(set(), {user.id})

    async def ended(self, login_ids: Iterable[str]) -> set[str]:
        """Which of these logins are over."""
        asked = set(login_ids)
        return asked - await self._storage.logins.good(asked, self._clock.now().wall)

    async def purge(self) -> None:
        """Forget logins and links that have expired."""
        now = self._clock.now().wall
        await self._storage.logins.purge(now)
        await self._storage.links.purge(now)

    def _note(self, login: Login, now: int, expires_at: int | None = None) -> None:
        if now - login.last_used_at >= NOTED:
            # Nobody waits for this note, and nobody is turned away if it cannot be made.
            self._storage.logins.touch(login.id, now, expires_at).add_done_callback(_let_be)


def _let_be(done: "asyncio.Future[None]") -> None:
    if not done.cancelled():
        done.exception()
