"""Who is signed in to the dashboard.

The ids are hashes of random tokens; the tokens themselves are nowhere in the database.
"""

import asyncio
import sqlite3
from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from liveguard.errors import AuthenticationRequired, NotFound, WrongCredentials
from liveguard.storage.database import Database
from liveguard.storage.rows import select, table
from liveguard.storage.users import COLUMNS, User, user_of

MOST = 500  # logins of one user


class Login(Struct, frozen=True):
    """A browser in which somebody is signed in."""

    id: str
    user: User
    created_at: int
    last_used_at: int
    expires_at: int
    user_agent: str


_COLUMNS = f"""
    l.id, l.created_at, l.last_used_at, l.expires_at, l.user_agent,
    {", ".join(f"u.{column}" for column in COLUMNS.split(", "))}
"""


def _logins(db: sqlite3.Connection, where: str, *values: object) -> list[Login]:
    rows = select(db, _COLUMNS, f"FROM logins l JOIN users u ON u.id = l.user_id WHERE {where}", values)
    return [_login(row) for row in rows]


def _login(row: list[Any]) -> Login:
    login_id, created_at, last_used_at, expires_at, user_agent, *user = row
    return Login(login_id, user_of(user), created_at, last_used_at, expires_at, user_agent)


class Logins:
    """The logins."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        login_id: str,
        user_id: str,
        *,
        now: int,
        expires_at: int,
        user_agent: str = "",
        password_hash: str | None = None,
    ) -> asyncio.Future[None]:
        """Somebody signed in, with the password of this hash if there is one.

        Raises :class:`NotFound` for a user who is unknown or disabled, and :class:`WrongCredentials` where that is no
        password with which they come in by now.
        """

        def job(db: sqlite3.Connection) -> None:
            added = db.execute(
                "INSERT INTO logins (id, user_id, created_at, last_used_at, expires_at, user_agent)"
                " SELECT ?, id, ?, ?, ?, ? FROM users"
                " WHERE id = ? AND is_active AND password_hash IS ifnull(?, password_hash)",
                (login_id, now, now, expires_at, user_agent[:300], user_id, password_hash),
            )
            if not added.rowcount:
                raise WrongCredentials if password_hash else NotFound("There is no such user")
            # A browser's lasts for weeks after each use, a program's for a day, so that is the one that goes.
            db.execute(
                "DELETE FROM logins WHERE user_id = ? AND id NOT IN"
                " (SELECT id FROM logins WHERE user_id = ? ORDER BY expires_at DESC, id LIMIT ?)",
                (user_id, user_id, MOST),
            )

        return self._database.submit(job, write=True)

    def get(self, login_id: str, now: int) -> asyncio.Future[Login | None]:
        """A login that is still good, with its user, who is active."""

        def job(db: sqlite3.Connection) -> Login | None:
            found = _logins(db, "l.id = ? AND l.expires_at > ? AND u.is_active", login_id, now)
            return found[0] if found else None

        return self._database.submit(job, write=False)

    def good(self, login_ids: Iterable[str], now: int) -> asyncio.Future[set[str]]:
        """Those of these logins that are still good."""
        asked = table(list(login_ids))

        def job(db: sqlite3.Connection) -> set[str]:
            where = (
                "FROM json_each(?) AS asked JOIN logins l ON l.id = asked.value JOIN users u ON u.id = l.user_id"
                " WHERE l.expires_at > ? AND u.is_active"
            )
            return {login_id for (login_id,) in select(db, "l.id", where, (asked, now))}

        return self._database.submit(job, write=False)

    def touch(self, login_id: str, now: int, expires_at: int | None = None) -> asyncio.Future[None]:
        """It was used, and may be good for longer."""

        def job(db: sqlite3.Connection) -> None:
            db.execute(
                "UPDATE logins SET last_used_at = ?, expires_at = coalesce(?, expires_at) WHERE id = ?",
                (now, expires_at, login_id),
            )

        return self._database.submit(job, write=True)

    def delete(self, login_id: str, user_id: str) -> asyncio.Future[bool]:
        """Somebody signed out. False where it was none of theirs."""

        def job(db: sqlite3.Connection) -> bool:
            return db.execute("DELETE FROM logins WHERE id = ? AND user_id = ?", (login_id, user_id)).rowcount > 0

        return self._database.submit(job, write=True)

    def replace_all(self, user_id: str, here: str, login_id: str, *, now: int, expires_at: int) -> asyncio.Future[None]:
        """Somebody signed out everywhere but here. Raises :class:`AuthenticationRequired` where they are in no
        more."""

        def job(db: sqlite3.Connection) -> None:
            replaced = db.execute(
                "UPDATE logins SET id = ?, created_at = ?, last_used_at = ?, expires_at = ?"
                " WHERE id = ? AND user_id = ?",
                (login_id, now, now, expires_at, here, user_id),
            )
            if not replaced.rowcount:
                raise AuthenticationRequired
            db.execute("DELETE FROM logins WHERE user_id = ? AND id != ?", (user_id, login_id))

        return self._database.submit(job, write=True)

    def delete_all(self, user_id: str) -> asyncio.Future[None]:
        """Somebody signed out everywhere."""

        def job(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM logins WHERE user_id = ?", (user_id,))

        return self._database.submit(job, write=True)

    def list(
        self, user_id: str, now: int, *, first: str | None = None, most: int = MOST
    ) -> asyncio.Future[list[Login]]:
        """Where somebody is signed in: one before all others, then those that last longest."""
        where = "l.user_id = ? AND l.expires_at > ? ORDER BY l.id IS ? DESC, l.expires_at DESC, l.id LIMIT ?"

        def job(db: sqlite3.Connection) -> list[Login]:
            return _logins(db, where, user_id, now, first, most)

        return self._database.submit(job, write=False)

    def purge(self, now: int) -> asyncio.Future[None]:
        """Forget what has expired."""

        def job(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM logins WHERE expires_at <= ?", (now,))

        return self._database.submit(job, write=True)
