"""One-time links. One is used up by what it is used for: together with it, or not at all."""

import asyncio
import sqlite3
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from liveguard.errors import AuthenticationRequired, Conflict, NotAllowed, NotFound
from liveguard.storage.database import Database
from liveguard.storage.rows import one, select

LINK_OVER = "This link was used already or has expired"
HAS_ADMIN = "This server has an admin already"

Purpose = Literal["setup", "sign-in", "invite", "reset"]


class Link(Struct, frozen=True):
    """A link that works once."""

    id: str
    purpose: Purpose
    user_id: str | None
    created_at: int
    expires_at: int


class Links:
    """The links, each found by the hash of its token."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        link_id: str,
        purpose: Purpose,
        *,
        now: int,
        expires_at: int,
        user_id: str | None = None,
        made_by: str | None = None,
        login_id: str | None = None,
        most: int | None = None,
    ) -> asyncio.Future[None]:
        """A new link, which an admin may have made, and somebody who is signed in by this login.

        Raises :class:`Conflict` where so many for this purpose and user could be used now, :class:`NotAllowed` where
        who makes it is no admin, or not any more, and :class:`AuthenticationRequired` where the login has ended.
        """

        def job(db: sqlite3.Connection) -> None:
            if login_id is not None and not one(db, "SELECT EXISTS (SELECT 1 FROM logins WHERE id = ?)", (login_id,)):
                raise AuthenticationRequired
            admin = "SELECT EXISTS (SELECT 1 FROM users WHERE id = ? AND is_admin AND is_active)"
            if made_by is not None and not one(db, admin, (made_by,)):
                raise NotAllowed
            if most is not None and len(_links(db, "user_id = ? AND purpose = ?", now, user_id, purpose)) >= most:
                raise Conflict("Too many links are open: withdraw one first")
            db.execute(
                "INSERT INTO one_time_links (id, purpose, user_id, made_by, created_at, expires_at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (link_id, purpose, user_id, made_by, now, expires_at),
            )

        return self._database.submit(job, write=True)

    def peek(self, link_id: str, now: int) -> asyncio.Future[Link | None]:
        """A link that could be used now; it stays good."""
        return self._database.submit(lambda db: next(iter(_links(db, "id = ?", now, link_id)), None), write=False)

    def of_user(self, user_id: str, purpose: Purpose, now: int) -> asyncio.Future[Sequence[Link]]:
        """The links for one purpose that concern somebody and could be used now, the newest first."""

        def job(db: sqlite3.Connection) -> Sequence[Link]:
            return _links(db, "user_id = ? AND purpose = ?", now, user_id, purpose)

        return self._database.submit(job, write=False)

    def withdraw(self, link_id: str, user_id: str, purpose: Purpose, now: int) -> asyncio.Future[bool]:
        """Make a link lead nowhere. False where there is none that could still be used."""

        def job(db: sqlite3.Connection) -> bool:
            withdrawn = db.execute(
                "DELETE FROM one_time_links"
                " WHERE id = ? AND user_id = ? AND purpose = ? AND used_at IS NULL AND expires_at > ?",
                (link_id, user_id, purpose, now),
            )
            return withdrawn.rowcount > 0

        return self._database.submit(job, write=True)

    def take(self, link_id: str, now: int) -> asyncio.Future[None]:
        """Use a link up. Of several who try, one gets it; to the others it raises NotFound."""
        return self._database.submit(lambda db: use_up(db, link_id, now), write=True)

    def purge(self, now: int) -> asyncio.Future[None]:
        """Forget what has expired."""

        def job(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM one_time_links WHERE expires_at <= ?", (now,))

        return self._database.submit(job, write=True)


def withdraw_made_by(db: sqlite3.Connection, admin_id: str) -> None:
    """Within a job, make the links lead nowhere that somebody has made for others as an admin."""
    db.execute("DELETE FROM one_time_links WHERE made_by = ?", (admin_id,))


def withdraw_where_it_ends(db: sqlite3.Connection, ward_id: str, guardian_id: str) -> None:
    """Within a job that ends that somebody guards, make the ward's invitations lead nowhere: whoever was removed could
    come back by each that they know of, under another name."""
    db.execute(
        "DELETE FROM one_time_links WHERE user_id = ? AND purpose = 'invite' AND EXISTS"
        " (SELECT 1 FROM guardians WHERE ward_id = ? AND guardian_id = ? AND status = 'accepted')",
        (ward_id, ward_id, guardian_id),
    )


def use_up(db: sqlite3.Connection, link_id: str, now: int) -> None:
    """Use a link up, within a job. Raises NotFound for one that is not good any more."""
    used = "UPDATE one_time_links SET used_at = ? WHERE id = ? AND used_at IS NULL AND expires_at > ?"
    if not db.execute(used, (now, link_id, now)).rowcount:
        raise NotFound(LINK_OVER)


def _links(db: sqlite3.Connection, where: str, now: int, *values: object) -> list[Link]:
    """Those that could be used now, the newest first."""
    rows = select(
        db,
        "id, purpose, user_id, created_at, expires_at",
        f"FROM one_time_links WHERE {where} AND used_at IS NULL AND expires_at > ? ORDER BY created_at DESC, id",
        (*values, now),
    )
    return [Link(*row) for row in rows]
