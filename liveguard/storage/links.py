"""A one-time link is used up by what it is used for: together with it, or not at all."""

import sqlite3
from typing import Literal

from msgspec import Struct

from liveguard.errors import NotFound

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


def withdraw_made_by(db: sqlite3.Connection, admin_id: str) -> None:
    """Within a job, make the links lead nowhere that somebody has made for others as an admin."""
    db.execute("DELETE FROM one_time_links WHERE made_by = ?", (admin_id,))


def use_up(db: sqlite3.Connection, link_id: str, now: int) -> None:
    """Use a link up, within a job. Raises NotFound for one that is not good any more."""
    used = "UPDATE one_time_links SET used_at = ? WHERE id = ? AND used_at IS NULL AND expires_at > ?"
    if not db.execute(used, (now, link_id, now)).rowcount:
        raise NotFound(LINK_OVER)
