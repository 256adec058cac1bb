"""One-time links: the set-up of a new server, a sign-in without a password, a forgotten password, an invitation.

A link carries a random token, of which only a hash is kept. Looking at it leaves it good; using it uses it up, and of
several who try at once one succeeds.
"""

from collections.abc import Sequence

from liveguard.auth import digest, random_token
from liveguard.clock import Clock
from liveguard.errors import InvalidPayload, NotFound
from liveguard.people.accounts import NOWHERE, AccessChanged, Accounts, admitted, check_chosen
from liveguard.people.guardianships import Guardianships
from liveguard.people.logins import DAY
from liveguard.storage import Guardianship, Link, Purpose, Storage, User
from liveguard.storage.links import HAS_ADMIN, LINK_OVER

LASTS: dict[Purpose, int] = {"setup": DAY, "sign-in": DAY, "reset": DAY, "invite": 7 * DAY}

MOST_INVITATIONS = 20  # open at once, for one ward


class Links:
    """Makes one-time links and honours them."""

    def __init__(
        self,
        storage: Storage,
        accounts: Accounts,
        guardianships: Guardianships,
        clock: Clock,
        access_changed: AccessChanged,
    ) -> None:
        self._storage = storage
        self._accounts = accounts
        self._guardianships = guardianships
        self._clock = clock
        self._access_changed = access_changed

    # -- making them -----------------------------------------------------------------------------------------------

    async def for_set_up(self) -> str | None:
        """The token of a link through which an admin is made; None where there is one who may come in."""
        return None if await self._storage.users.has_admin() else await self._make("setup")

    async def for_sign_in(self, user: User) -> str:
        """The token of a link that signs this person in."""
        return await self._make("sign-in", user_id=user.id)

    async def for_reset(self, user: User, *, by: User, login_id: str | None = None) -> str:
        """The token of a link through which this person chooses a new password; admins make it, and it is good for as
        long as they are. Raises AuthenticationRequired where the login by which they ask has ended."""
        return await self._make("reset", user_id=user.id, made_by=by.id, login_id=login_id)

    async def for_invitation(self, ward: User, *, login_id: str | None = None) -> str:
        """The token of a link through which somebody, new here or not, becomes this ward's guardian.

        Raises Conflict where too many of them are open, and AuthenticationRequired as above.
        """
        return await self._make("invite", user_id=ward.id, login_id=login_id, most=MOST_INVITATIONS)

    async def invitations(self, ward: User) -> Sequence[Link]:
        """This ward's invitations that nobody has followed yet, the newest first."""
        return await self._storage.links.of_user(ward.id, "invite", self._clock.now().wall)

    async def withdraw(self, ward: User, link_id: str) -> None:
        """From now on an invitation leads nowhere. Raises NotFound for one that was followed, or is not this ward's."""
        if not await self._storage.links.withdraw(link_id, ward.id, "invite", self._clock.now().wall):
            raise NotFound(LINK_OVER)

    async def _make(
        self,
        purpose: Purpose,
        user_id: str | None = None,
        *,
        made_by: str | None = None,
        login_id: str | None = None,
        most: int | None = None,
    ) -> str:
        token, now = random_token(), self._clock.now().wall
        await self._storage.links.add(
            digest(token),
            purpose,
            now=now,
            expires_at=now + LASTS[purpose],
            user_id=user_id,
            made_by=made_by,
            login_id=login_id,
            most=most,
        )
        return token

    # -- using them ------------------------------------------------------------------------------------------------

    async def look(self, token: str) -> tuple[Link, User | None]:
        """A link that is still good and whom it concerns. Raises NotFound for every other, and AccountInactive where
        that person is disabled."""
        link = await self._storage.links.peek(digest(token), self._clock.now().wall)
        if link is None:
            raise NotFound(LINK_OVER)
        if link.purpose == "setup" and await self._storage.users.has_admin():
            raise NotFound(HAS_ADMIN)
        user = None if link.user_id is None else await self._storage.users.get(link.user_id)
        return link, None if user is None else admitted(user)

    async def set_up(
        self, token: str, email: str, first_name: str, last_name: str, password: str, address: str = NOWHERE
    ) -> User:
        """Where there is no admin, one introduces themselves."""
        link = await self._look_for("setup", token)
        check_chosen(password)
        return await self._accounts.add(
            email,
            first_name=first_name,
            last_name=last_name,
            password=password,
            is_admin=True,
            link=link,
            address=address,
        )

    async def sign_in(self, token: str) -> User:
        """Who signs in by this link."""
        link = await self._look_for("sign-in", token)
        await self._storage.links.take(link.id, self._clock.now().wall)
        return await self._accounts.identify(link.user_id or "")

    async def reset(self, token: str, password: str, address: str = NOWHERE) -> User:
        """Somebody chooses a new password."""
        check_chosen(password)
        link = await self._look_for("reset", token)
        user = await self._accounts.identify(link.user_id or "")
        return (await self._accounts.set_password(user.id, password, link_id=link.id, address=address)).user

    async def join(
        self, token: str, email: str, first_name: str, last_name: str, password: str, address: str = NOWHERE
    ) -> User:
        """Somebody new makes an account through an invitation, and is the ward's guardian from then on."""
        link = await self._look_for("invite", token)
        check_chosen(password)
        user = await self._accounts.add(
            email, first_name=first_name, last_name=last_name, password=password, link=link, address=address
        )
        await self._access_changed({link.user_id or ""}, {user.id})
        return user

    async def accept(self, token: str, user: User) -> Guardianship:
        """Somebody who has an account already follows an invitation."""
        link = await self._look_for("invite", token)
        if link.user_id == user.id:
            raise InvalidPayload("Nobody is their own guardian")
        return await self._guardianships.follow_link(link, user)

    async def _look_for(self, purpose: Purpose, token: str) -> Link:
        link, _ = await self.look(token)
        if link.purpose != purpose:
            raise NotFound
        return link
