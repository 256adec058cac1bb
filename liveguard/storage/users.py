"""Who liveguard knows."""

import asyncio
import sqlite3
import unicodedata
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from msgspec import Struct
from msgspec.structs import astuple

from liveguard.errors import Conflict, InvalidPayload, NotAllowed, NotFound, WrongCredentials
from liveguard.events import Person
from liveguard.storage.database import Database
from liveguard.storage.guardians import follow_link
from liveguard.storage.links import HAS_ADMIN, Link, use_up, withdraw_made_by
from liveguard.storage.rows import one, select, table

COLUMNS = "id, email, first_name, last_name, is_admin, is_active"
INSERT = f"INSERT INTO users ({COLUMNS}, email_key, password_hash, created_at)"

BLANK_LETTERS = "\u115f\u1160\u2800\u3164\uffa0\ufffc"  # which are none, by the look of them


class User(Struct, frozen=True):
    """An account: a person, and what they may do."""

    id: str
    email: str
    first_name: str
    last_name: str
    is_admin: bool = False
    is_active: bool = True

    @property
    def name(self) -> str:
        """What they are called."""
        return self.person.name

    @property
    def person(self) -> Person:
        """The person as others may see them."""
        return Person(id=self.id, first_name=self.first_name, last_name=self.last_name, email=self.email)


def email_key(email: str) -> str:
    """What two spellings of one address have in common."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", email.strip()).casefold())


def valid_email(email: str) -> str:
    """The address without the blanks around it. Raises :class:`InvalidPayload`."""
    email = email.strip()
    name, at, host = email.rpartition("@")
    if not (name and at and host and len(email) <= 254 and email.isprintable() and " " not in email):
        raise InvalidPayload("email must be an address such as ana@example.org")
    return email


def valid_name(name: str, field: str) -> str:
    """The name without the blanks around it. Raises :class:`InvalidPayload`, also for one that nobody would see or
    that turns the letters around it."""
    name = name.strip()
    if len(name) > 100 or any(map(_is_unruly, name)) or (name and not any(map(_is_seen, name))):
        raise InvalidPayload(f"{field} must be a text of at most 100 characters that can be seen")
    return name


def _is_unruly(character: str) -> bool:
    turns = unicodedata.bidirectional(character) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    return turns or unicodedata.category(character) in ("Cc", "Cs")


def _is_seen(character: str) -> bool:
    if "\U0001f000" <= character < "\U000e0000":
        return True  # pictures and Chinese letters: of the newest ones an older Python knows nothing
    return unicodedata.category(character)[0] in "LNPS" and character not in BLANK_LETTERS


def valid_id(user_id: str) -> str:
    """The id as it is. Raises :class:`InvalidPayload`."""
    if not (0 < len(user_id) <= 200 and user_id.isprintable() and user_id == user_id.strip()):
        raise InvalidPayload("id must be a text of 1 to 200 characters")
    return user_id


def user_of(row: Sequence[Any]) -> User:
    """The user in a row of :data:`COLUMNS`."""
    user_id, email, first_name, last_name, is_admin, is_active = row
    return User(user_id, email, first_name, last_name, bool(is_admin), bool(is_active))


def row_of(user: User, password_hash: str | None, now: int) -> tuple[Any, ...]:
    """What :data:`INSERT` writes of a user."""
    return *astuple(user), email_key(user.email), password_hash, now


def insert(db: sqlite3.Connection, row: tuple[Any, ...]) -> None:
    """Write such a row."""
    db.execute(f"{INSERT} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)


def find(db: sqlite3.Connection, where: str, value: str) -> User | None:
    """The user that a condition finds."""
    row = db.execute(f"SELECT {COLUMNS} FROM users WHERE {where}", (value,)).fetchone()  # noqa: S608
    return user_of(row) if row else None


def has_admin(db: sqlite3.Connection) -> bool:
    """Whether there is an admin who may come in."""
    return bool(one(db, "SELECT EXISTS (SELECT 1 FROM users WHERE is_admin AND is_active)"))


class Users:
    """The accounts, each found by its id or its email."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, user_id: str) -> asyncio.Future[User | None]:
        """The user with an id."""
        return self._database.submit_item(_with_ids, user_id, write=False)

    def by_email(self, email: str) -> asyncio.Future[User | None]:
        """The user with an address, however it is spelled."""
        return self._database.submit(lambda db: find(db, "email_key = ?", email_key(email)), write=False)

    def password_hash(self, email: str) -> asyncio.Future[tuple[User, str] | None]:
        """The user with an address and the hash of their password; nothing where there is no password."""

        def job(db: sqlite3.Connection) -> tuple[User, str] | None:
            row = db.execute(
                f"SELECT {COLUMNS}, password_hash FROM users WHERE email_key = ?",  # noqa: S608
                (email_key(email),),
            ).fetchone()
            return (user_of(row[:-1]), row[-1]) if row and row[-1] else None

        return self._database.submit(job, write=False)

    def add(
        self,
        *,
        email: str,
        first_name: str = "",
        last_name: str = "",
        now: int,
        user_id: str | None = None,
        is_admin: bool = False,
        password_hash: str | None = None,
        link: Link | None = None,
    ) -> asyncio.Future[User]:
        """A new user, who uses up a link where they came by one, and guards the ward who invites by it.

        Raises :class:`InvalidPayload`, :class:`Conflict` where the id or the email is taken, and :class:`NotFound` for
        a link that is not good any more.
        """
        user = User(
            uuid4().hex if user_id is None else valid_id(user_id),
            valid_email(email),
            valid_name(first_name, "firstName"),
            valid_name(last_name, "lastName"),
            is_admin,
        )

        def job(db: sqlite3.Connection) -> User:
            _check_new(db, user)
            if link is not None and link.purpose == "setup":
                if has_admin(db):
                    raise NotFound(HAS_ADMIN)
                use_up(db, link.id, now)
            insert(db, row_of(user, password_hash, now))
            if link is not None and link.purpose == "invite":
                follow_link(db, self._database.entries.last_seq(db), link, user.id, now)
            return user

        return self._database.submit(job, write=True)

    def update(
        self,
        user_id: str,
        *,
        email: str | None = None,
        first_name: str | None = None,
        last_name: str | None = None,
        is_admin: bool | None = None,
    ) -> asyncio.Future[User]:
        """Change a user; what is None stays as it is.

        Links that a former admin has made lead nowhere.

        Raises :class:`InvalidPayload`, :class:`Conflict` where the email is taken, and :class:`NotAllowed` for the last
        admin, who stays one.
        """
        changes: dict[str, object] = {}
        if email is not None:
            changes |= {"email": valid_email(email), "email_key": email_key(email)}
        if first_name is not None:
            changes["first_name"] = valid_name(first_name, "firstName")
        if last_name is not None:
            changes["last_name"] = valid_name(last_name, "lastName")
        if is_admin is not None:
            changes["is_admin"] = is_admin

        def job(db: sqlite3.Connection) -> User:
            had_admin = has_admin(db)
            try:
                user = _changed(db, user_id, ", ".join(f"{column} = ?" for column in changes), *changes.values())
            except sqlite3.IntegrityError:
                raise Conflict("A user with this email is already there") from None
            if is_admin is False:
                withdraw_made_by(db, user_id)
            if had_admin and not has_admin(db):
                raise NotAllowed("This is the last admin: make somebody else one first")
            return user

        return self._database.submit(job, write=True)

    def set_active(self, user_id: str, is_active: bool) -> asyncio.Future[User]:
        """Disable or enable a user. Whoever is disabled is signed out everywhere, and links that they have made for
        others lead nowhere."""

        def job(db: sqlite3.Connection) -> User:
            if not is_active:
                db.execute("DELETE FROM logins WHERE user_id = ?", (user_id,))
                withdraw_made_by(db, user_id)
            return _changed(db, user_id, "is_active = ?", is_active)

        return self._database.submit(job, write=True)

    def set_password(
        self, user_id: str, password_hash: str, *, now: int, link_id: str | None = None, instead_of: str | None = None
    ) -> asyncio.Future[User]:
        """Another password. Whoever was signed in with the old one is signed out, and links that would let somebody in
        as this person, or as their guardian, lead nowhere, and so do those that they have made for others.

        Raises :class:`NotFound` for a link that does so already, and :class:`WrongCredentials` where the password is
        none ``instead_of`` which this one was to be.
        """

        def job(db: sqlite3.Connection) -> User:
            if link_id is not None:
                use_up(db, link_id, now)
            still = "SELECT EXISTS (SELECT 1 FROM users WHERE id = ? AND password_hash = ?)"
            if instead_of is not None and not one(db, still, (user_id, instead_of)):
                raise WrongCredentials
            db.execute("DELETE FROM logins WHERE user_id = ?", (user_id,))
            db.execute("DELETE FROM one_time_links WHERE user_id = ?", (user_id,))
            withdraw_made_by(db, user_id)
            return _changed(db, user_id, "password_hash = ?", password_hash)

        return self._database.submit(job, write=True)

    async def search(self, sought: str, after: str, limit: int) -> list[User]:
        """Those whose name or email holds these letters, small or capital, by their email; only those behind the email
        ``after``."""
        found = (
            "FROM users WHERE email_key > ? AND first_name || ' ' || last_name || ' ' || email GLOB ?"
            " ORDER BY email_key LIMIT ?"
        )
        parameters = (email_key(after), f"*{''.join(map(_in_either_size, sought))}*", limit)
        rows = await self._database.read_aside(lambda db: select(db, COLUMNS, found, parameters))
        return [user_of(row) for row in rows]

    async def list(self) -> list[User]:
        """All users, by their email."""
        rows = await self._database.read_aside(lambda db: select(db, COLUMNS, "FROM users ORDER BY email_key"))
        return [user_of(row) for row in rows]

    def has_admin(self) -> asyncio.Future[bool]:
        """Whether there is an admin who may come in."""
        return self._database.submit(has_admin, write=False)


def _in_either_size(letter: str) -> str:
    """The pattern of GLOB for a letter, small or capital.

    SQLite's own ``lower()`` knows the letters of ASCII only; a function of Python's would wait for the interpreter's
    lock at each row.
    """
    small, capital = letter.lower(), letter.upper()
    if small != capital and len(small) == len(capital) == 1:
        return f"[{small}{capital}]"
    return f"[{letter}]" if letter in "*?[" else letter


def _with_ids(db: sqlite3.Connection, user_ids: Sequence[str]) -> Sequence[User | None]:
    rows = select(
        db,
        ", ".join(f"u.{column}" for column in COLUMNS.split(", ")),
        "FROM json_each(?) AS asked JOIN users u ON u.id = asked.value",
        # What nobody's id can be, a lone surrogate for one, SQLite need not see.
        (table([user_id for user_id in user_ids if user_id.isprintable()]),),
    )
    users = {user.id: user for user in map(user_of, rows)}
    return [users.get(user_id) for user_id in user_ids]


def _check_new(db: sqlite3.Connection, user: User) -> None:
    if find(db, "id = ?", user.id):
        raise Conflict("A user with this id is already there")
    if find(db, "email_key = ?", email_key(user.email)):
        raise Conflict("A user with this email is already there")


def _changed(db: sqlite3.Connection, user_id: str, change: str, *values: object) -> User:
    db.execute(f"UPDATE users SET {change} WHERE id = ?", (*values, user_id))  # noqa: S608
    user = find(db, "id = ?", user_id)
    if not user:
        raise NotFound("There is no such user")
    return user
