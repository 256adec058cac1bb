"""Accounts: who they are, their passwords, and whether they may come in."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from liveguard.addresses import network_of
from liveguard.auth import MAX_PASSWORD, Passwords
from liveguard.clock import Clock
from liveguard.errors import (
    AccountInactive,
    InvalidPayload,
    NotAllowed,
    NotFound,
    StorageUnavailable,
    UserNotFound,
    WrongCredentials,
)
from liveguard.people.brake import Brake
from liveguard.storage import Link, Storage, User
from liveguard.storage.users import email_key

LEAST_PASSWORD = 8  # characters of one that somebody chooses for themselves
NOWHERE = ""

AccessChanged = Callable[[set[str], set[str]], Awaitable[None]]
"""Awaited after each change of who may see what, with the wards and the users whom it concerns."""


class SignIn(NamedTuple):
    """Somebody who has just named their password. It may have been changed since: what they begin now, or change, is
    theirs only while this hash is still the one that is kept."""

    user: User
    password_hash: str


class Accounts:
    """The accounts and their passwords."""

    def __init__(
        self,
        storage: Storage,
        passwords: Passwords,
        clock: Clock,
        access_changed: AccessChanged,
    ) -> None:
        self._storage = storage
        self._passwords = passwords
        self._clock = clock
        self._access_changed = access_changed
        self._brake = Brake()

    async def identify(self, user_id: str) -> User:
        """Whose id this is. Raises UserNotFound or AccountInactive."""
        user = await self._storage.users.get(user_id)
        if user is None:
            raise UserNotFound
        return admitted(user)

    async def has_password(self, user: User) -> bool:
        """Whether they have a password; whoever is new has none before they choose one."""
        return await self._storage.users.password_hash(user.email) is not None

    async def sign_in(self, email: str, password: str, address: str = NOWHERE) -> SignIn:
        """Who has this email and this password. A wrong one and an unknown email differ neither in words nor in time.

        Raises WrongCredentials, AccountInactive to whoever knows the password, and TooManySignIns.
        """
        account = email_key(email)
        self._brake.begin(account, address, self._clock.now().steady)
        try:
            user, kept = await self._storage.users.password_hash(email) or (None, "")
        except StorageUnavailable:
            self._brake.take_back(account, address)
            raise
        if not await self._passwords.matches(kept, password, network_of(address)) or user is None:
            raise WrongCredentials
        self._brake.succeeded(account, address)
        return SignIn(admitted(user), kept)

    async def find(self, email_or_id: str) -> User:
        """Somebody by their email, or else by their id. Raises NotFound."""
        by_email, by_id = await asyncio.gather(
            self._storage.users.by_email(email_or_id), self._storage.users.get(email_or_id)
        )
        user = by_email or by_id
        if user is None:
            raise NotFound(f"There is no user {email_or_id}")
        return user

    async def search(self, sought: str, after: str, limit: int) -> list[User]:
        """Some accounts by their email: those whose name or email holds these letters, behind the email ``after``."""
        return await self._storage.users.search(sought, after, limit)

    async def everybody(self) -> list[User]:
        """All accounts, by their email."""
        return await self._storage.users.list()

    async def add(
        self,
        email: str,
        *,
        first_name: str = "",
        last_name: str = "",
        is_admin: bool = False,
        user_id: str | None = None,
        password: str | None = None,
        link: Link | None = None,
        address: str = NOWHERE,
    ) -> User:
        """A new account; without a password it is entered through a one-time link or by tokens. It uses up the link by
        which somebody came, and guards the ward who invites by it."""
        return await self._storage.users.add(
            email=email,
            first_name=first_name,
            last_name=last_name,
            is_admin=is_admin,
            user_id=user_id,
            now=self._clock.now().wall,
            password_hash=None if password is None else await self._hash(password, address),
            link=link,
        )

    async def change(
        self,
        user_id: str,
        *,
        email: str | None = None,
        first_name: str | None = None,
        last_name: str | None = None,
        is_admin: bool | None = None,
    ) -> User:
        """Another email or name for somebody, or another standing; what is None stays. The last admin stays one."""
        return await self._storage.users.update(
            user_id, email=email, first_name=first_name, last_name=last_name, is_admin=is_admin
        )

    async def disable(self, user_id: str, *, by: User | None = None) -> User:
        """Shut somebody out; ``by`` is the admin who does it, None the operator of the machine."""
        if by is not None and by.id == user_id:
            raise NotAllowed("Nobody disables their own account")
        return await self._set_active(user_id, False, by)

    async def enable(self, user_id: str, *, by: User | None = None) -> User:
        """Let somebody in again."""
        return await self._set_active(user_id, True, by)

    async def set_password(
        self,
        user_id: str,
        password: str,
        *,
        link_id: str | None = None,
        known: SignIn | None = None,
        address: str = NOWHERE,
    ) -> SignIn:
        """Another password for somebody, whoever decides it. Their logins end, and so do the links that would let
        somebody in as them, or as their guardian: whoever knew the old one may have made them.

        Raises WrongCredentials where it is not what was ``known`` any more.
        """
        password_hash = await self._hash(password, address)
        user = await self._storage.users.set_password(
            user_id,
            password_hash,
            now=self._clock.now().wall,
            link_id=link_id,
            instead_of=known.password_hash if known else None,
        )
        await self._access_changed(set(), {user_id})
        return SignIn(user, password_hash)

    async def change_password(self, user: User, old: str, new: str, *, address: str = NOWHERE) -> SignIn:
        """Somebody chooses another password for themselves. Raises WrongCredentials for the old one."""
        check_chosen(new)
        known = await self.sign_in(user.email, old, address)
        return await self.set_password(user.id, new, known=known, address=address)

    async def _set_active(self, user_id: str, is_active: bool, by: User | None) -> User:
        if by is not None and not by.is_admin:
            raise NotAllowed
        wards = await self._storage.guardians.wards_of(user_id)
        user = await self._storage.users.set_active(user_id, is_active)
        await self._access_changed({ward.id for ward in wards}, {user_id})
        return user

    async def _hash(self, password: str, address: str) -> str:
        check_possible(password)
        return await self._passwords.hash(password, network_of(address))


def admitted(user: User) -> User:
    """The user, if the account is not disabled. Raises AccountInactive."""
    if not user.is_active:
        raise AccountInactive
    return user


def check_possible(password: str) -> None:
    """Raises InvalidPayload for what cannot be a password at all."""
    if not password or len(password) > MAX_PASSWORD:
        raise InvalidPayload(f"password must have 1 to {MAX_PASSWORD:,} characters")


def check_chosen(password: str) -> None:
    """Raises InvalidPayload for what nobody should choose as a password."""
    check_possible(password)
    if len(password) < LEAST_PASSWORD:
        raise InvalidPayload(f"password must have at least {LEAST_PASSWORD} characters")
