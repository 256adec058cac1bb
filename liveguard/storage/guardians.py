"""Who guards whom."""

import asyncio
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Literal
from uuid import uuid4

from msgspec import Struct

from liveguard.errors import Conflict, NotAllowed, NotFound
from liveguard.events import Person
from liveguard.storage.database import Database
from liveguard.storage.links import Link, use_up, withdraw_where_it_ends
from liveguard.storage.reach import accepted_guardians
from liveguard.storage.rows import one, select, table

Status = Literal["pending", "accepted", "declined", "revoked"]


class Guardianship(Struct, frozen=True):
    """That one person guards, or is asked to guard, another."""

    id: str
    ward: Person
    guardian: Person
    status: Status
    created_at: int
    updated_at: int
    guardian_is_active: bool


class Access(Struct, frozen=True):
    """Who may see what, as the database has it: each ward's guardians, and the users who may see nothing any more."""

    guardians: dict[str, list[Person]]
    gone: set[str]


_COLUMNS = """
    g.id, g.status, g.created_at, g.updated_at, p.is_active,
    w.id, w.first_name, w.last_name, w.email, p.id, p.first_name, p.last_name, p.email
"""
_OF_ID, _OF_BOTH = "WHERE g.id = ?", "WHERE g.ward_id = ? AND g.guardian_id = ?"
_PAIRS = "FROM guardians g JOIN users w ON w.id = g.ward_id JOIN users p ON p.id = g.guardian_id"


def _guardianships(db: sqlite3.Connection, where: str, *values: str) -> list[Guardianship]:
    return [
        Guardianship(pair_id, Person(*people[:4]), Person(*people[4:]), status, created_at, updated_at, bool(is_active))
        for pair_id, status, created_at, updated_at, is_active, *people in select(
            db, _COLUMNS, f"{_PAIRS} {where}", values
        )
    ]


def _find(db: sqlite3.Connection, where: str, *values: str) -> Guardianship | None:
    return next(iter(_guardianships(db, where, *values)), None)


def _accepted_of(db: sqlite3.Connection, ward_ids: Sequence[str]) -> list[list[Person]]:
    guardians = accepted_guardians(db, ward_ids)
    return [guardians[ward_id] for ward_id in ward_ids]


class Guardians:
    """The pairs of a ward and a guardian, each there once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def accepted_of(self, ward_id: str) -> asyncio.Future[list[Person]]:
        """The guardians whom a session of this ward reaches: accepted, and active themselves."""
        return self._database.submit_item(_accepted_of, ward_id, write=False)

    def wards_of(self, guardian_id: str) -> asyncio.Future[list[Person]]:
        """The wards who are guarded by this person now."""

        def job(db: sqlite3.Connection) -> list[Person]:
            rows = select(
                db,
                "w.id, w.first_name, w.last_name, w.email",
                "FROM guardians g JOIN users w ON w.id = g.ward_id"
                " WHERE g.guardian_id = ? AND g.status = 'accepted' ORDER BY g.created_at, g.rowid",
                (guardian_id,),
            )
            return [Person(*row) for row in rows]

        return self._database.submit(job, write=False)

    def waiting_for(self, guardian_id: str) -> asyncio.Future[int]:
        """How many invitations this person has not answered."""
        counted = "SELECT count(*) FROM guardians WHERE guardian_id = ? AND status = 'pending'"
        return self._database.submit(lambda db: int(one(db, counted, (guardian_id,))), write=False)

    def list_for_ward(self, ward_id: str) -> asyncio.Future[list[Guardianship]]:
        """All that a ward has to do with, whatever its status."""
        return self._list("WHERE g.ward_id = ? ORDER BY g.created_at, g.rowid", ward_id)

    def list_for_guardian(self, guardian_id: str) -> asyncio.Future[list[Guardianship]]:
        """All that a guardian has to do with, whatever its status."""
        return self._list("WHERE g.guardian_id = ? ORDER BY g.created_at, g.rowid", guardian_id)

    async def all(self) -> list[Guardianship]:
        """Everything there is."""
        return await self._database.read_aside(lambda db: _guardianships(db, "ORDER BY w.email_key, p.email_key"))

    def of_wards(self, ward_ids: Iterable[str]) -> asyncio.Future[list[Guardianship]]:
        """Those who guard these wards, or were asked to and have not answered."""
        where = (
            "WHERE g.ward_id IN (SELECT value FROM json_each(?)) AND g.status IN ('pending', 'accepted')"
            " ORDER BY g.created_at, g.rowid"
        )
        return self._list(where, table(list(ward_ids)))

    def get(self, guardianship_id: str) -> asyncio.Future[Guardianship | None]:
        """One of them."""
        return self._database.submit(lambda db: _find(db, _OF_ID, guardianship_id), write=False)

    def invite(self, ward_id: str, guardian_id: str, now: int) -> asyncio.Future[Guardianship]:
        """Ask somebody. Whoever is asked or has accepted already stays so; after a no, they are asked again."""

        def job(db: sqlite3.Connection) -> Guardianship:
            known = _find(db, _OF_BOTH, ward_id, guardian_id)
            if known and known.status in ("pending", "accepted"):
                return known
            return self._put(db, ward_id, guardian_id, "pending", now)

        return self._database.submit(job, write=True)

    def put(self, ward_id: str, guardian_id: str, status: Status, now: int) -> asyncio.Future[Guardianship]:
        """Make the pair's status this one, whatever it was; a pair that is not there is added."""

        def job(db: sqlite3.Connection) -> Guardianship:
            if status != "accepted":
                withdraw_where_it_ends(db, ward_id, guardian_id)
            return self._put(db, ward_id, guardian_id, status, now)

        return self._database.submit(job, write=True)

    def follow_link(self, link: Link, guardian_id: str, now: int) -> asyncio.Future[Guardianship]:
        """Somebody who is here follows a ward's invitation. Raises as :func:`follow_link` does."""

        def job(db: sqlite3.Connection) -> Guardianship:
            return follow_link(db, self._database.entries.last_seq(db), link, guardian_id, now)

        return self._database.submit(job, write=True)

    def set_status(
        self,
        guardianship_id: str,
        status: Status,
        now: int,
        *,
        only_from: tuple[Status, ...] | None = None,
        leaves: bool = False,
    ) -> asyncio.Future[Guardianship]:
        """Change one; it may be the guardian who ``leaves``. Raises :class:`NotFound`, and :class:`Conflict` where its
        status has become another one."""

        def job(db: sqlite3.Connection) -> Guardianship:
            known = _find(db, _OF_ID, guardianship_id)
            if known is None:
                raise NotFound
            if known.status == status:
                return known
            if only_from and known.status not in only_from:
                raise Conflict(f"It is {known.status} already")
            if status == "revoked" and not leaves:
                withdraw_where_it_ends(db, known.ward.id, known.guardian.id)
            return self._put(db, known.ward.id, known.guardian.id, status, now)

        return self._database.submit(job, write=True)

    def access(self, ward_ids: Iterable[str], user_ids: Iterable[str]) -> asyncio.Future[Access]:
        """The accepted, active guardians of these wards, and which of these users are disabled or unknown."""
        wards, users = list(ward_ids), list(user_ids)

        def job(db: sqlite3.Connection) -> Access:
            active = select(
                db,
                "u.id",
                "FROM json_each(?) AS asked JOIN users u ON u.id = asked.value WHERE u.is_active",
                (table(users),),
            )
            return Access(accepted_guardians(db, wards), set(users) - {user_id for (user_id,) in active})

        return self._database.submit(job, write=False)

    def _put(self, db: sqlite3.Connection, ward_id: str, guardian_id: str, status: Status, now: int) -> Guardianship:
        return _put(db, self._database.entries.last_seq(db), ward_id, guardian_id, status, now)

    def _list(self, where: str, *values: str) -> asyncio.Future[list[Guardianship]]:
        return self._database.submit(lambda db: _guardianships(db, where, *values), write=False)


def follow_link(db: sqlite3.Connection, seq: int, link: Link, guardian_id: str, now: int) -> Guardianship:
    """Within a job, use up a ward's invitation, and make somebody their guardian.

    Raises :class:`NotFound` for a link that is not good any more, and where the pair was ended since it was made.
    """
    ward_id = link.user_id or ""
    known = _find(db, _OF_BOTH, ward_id, guardian_id)
    if known and known.status == "accepted":
        return known  # it brings nobody, and stays good for whom it is meant
    use_up(db, link.id, now)
    if known and known.status == "revoked" and known.updated_at >= link.created_at:
        raise NotFound("This link was withdrawn")
    return _put(db, seq, ward_id, guardian_id, "accepted", now)


def _put(db: sqlite3.Connection, seq: int, ward_id: str, guardian_id: str, status: Status, now: int) -> Guardianship:
    if ward_id == guardian_id:
        raise NotAllowed("Nobody guards themselves")
    try:
        db.execute(
            "INSERT INTO guardians (id, ward_id, guardian_id, status, created_at, updated_at, accepted_seq)"
            " VALUES (?, ?, ?, ?, ?, ?, CASE WHEN ? = 'accepted' THEN ? END)"
            " ON CONFLICT (ward_id, guardian_id) DO UPDATE SET status = excluded.status,"
            " updated_at = excluded.updated_at, accepted_seq = coalesce(excluded.accepted_seq, accepted_seq)"
            " WHERE status <> excluded.status",
            (uuid4().hex, ward_id, guardian_id, status, now, now, status, seq),
        )
    except sqlite3.IntegrityError:
        raise NotFound("There is no such user") from None
    (pair,) = _guardianships(db, _OF_BOTH, ward_id, guardian_id)
    return pair
