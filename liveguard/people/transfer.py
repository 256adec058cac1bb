"""People and who guards whom as one JSON document, for moving them in and out."""

import asyncio
import codecs
import re
from typing import Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from liveguard.auth import Passwords
from liveguard.clock import Clock
from liveguard.errors import InvalidPayload
from liveguard.people.accounts import check_possible
from liveguard.storage import Storage, User
from liveguard.storage.transfer import Pair, Transfer
from liveguard.storage.users import valid_email, valid_id, valid_name


class UserEntry(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A user in the document. A password comes in as it is typed, and never goes out."""

    id: str
    email: str
    first_name: str = ""
    last_name: str = ""
    password: str | UnsetType | None = UNSET
    is_admin: bool = False
    is_active: bool = True

    @classmethod
    def of(cls, user: User) -> "UserEntry":
        """The entry of a user."""
        return cls(
            id=user.id,
            email=user.email,
            first_name=user.first_name,
            last_name=user.last_name,
            is_admin=user.is_admin,
            is_active=user.is_active,
        )

    def checked(self) -> User:
        """The user of this entry. Raises InvalidPayload."""
        if isinstance(self.password, str):
            check_possible(self.password)
        return User(
            valid_id(self.id),
            valid_email(self.email),
            valid_name(self.first_name, "firstName"),
            valid_name(self.last_name, "lastName"),
            self.is_admin,
            self.is_active,
        )


class GuardianEntry(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Who guards whom, in the document."""

    ward_id: str
    guardian_id: str
    status: Literal["pending", "accepted", "declined", "revoked"]


class Document(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole document."""

    users: list[UserEntry] = []
    guardians: list[GuardianEntry] = []


async def import_people(storage: Storage, passwords: Passwords, clock: Clock, document: bytes) -> Document:
    """Add everybody in the document, or nobody. Raises a Refusal with the place of what does not fit."""
    wanted = _read(document)
    users = [_checked(f"users[{index}]", entry) for index, entry in enumerate(wanted.users)]
    hashes = await asyncio.gather(*(_hash(passwords, entry) for entry in wanted.users))
    pairs = [Pair(entry.ward_id, entry.guardian_id, entry.status) for entry in wanted.guardians]
    await Transfer(storage.database).add_all(list(zip(users, hashes, strict=True)), pairs, clock.now().wall)
    return wanted


async def export_people(storage: Storage) -> bytes:
    """Everybody, as a document that can be imported elsewhere; passwords stay here."""
    users, pairs = await Transfer(storage.database).read_all()
    document = Document([UserEntry.of(user) for user in users], [GuardianEntry(*pair) for pair in pairs])
    return msgspec.json.format(msgspec.json.encode(document), indent=2)


def is_export(content: bytes) -> bool:
    """Whether this was exported once, by whichever version."""
    try:
        return msgspec.json.decode(content, type=dict[str, list[msgspec.Raw]]).keys() >= set(Document.__struct_fields__)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def _read(document: bytes) -> Document:
    document = document.removeprefix(codecs.BOM_UTF8)  # an editor's mark, which RFC 8259, section 8.1, lets us ignore
    try:
        document.decode()
        return msgspec.json.decode(document, type=Document)
    except UnicodeDecodeError as problem:
        raise _broken(document, "It is not UTF-8", problem.start) from None
    except msgspec.ValidationError as problem:
        raise InvalidPayload(str(problem)) from None
    except msgspec.DecodeError as problem:
        place = re.search(r"\(byte (\d+)\)$", str(problem))
        raise _broken(document, str(problem), int(place[1]) if place else len(document)) from None


def _broken(document: bytes, how: str, at: int) -> InvalidPayload:
    line = 1 + document.count(b"\n", 0, at)
    return InvalidPayload(f"{how}, in line {line}")


def _checked(place: str, entry: UserEntry) -> User:
    try:
        return entry.checked()
    except InvalidPayload as problem:
        raise InvalidPayload(f"{place}: {problem.message}") from None


async def _hash(passwords: Passwords, entry: UserEntry) -> str | None:
    return await passwords.hash(entry.password) if isinstance(entry.password, str) else None
