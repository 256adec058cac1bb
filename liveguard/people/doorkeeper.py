"""The doorkeeper: turns what somebody shows at a door into who they are."""

from msgspec import Struct

from liveguard.auth import Tokens
from liveguard.errors import AuthenticationRequired, InvalidToken
from liveguard.events import Person
from liveguard.people.accounts import Accounts
from liveguard.people.logins import Logins
from liveguard.storage import User


class Visitor(Struct, frozen=True):
    """Somebody who is signed in: by a token until it expires, by a login until it ends, or by a token of a login."""

    user: User
    expires_at: int | None = None  # milliseconds since the epoch
    login_id: str | None = None
    cookie_is_old: bool = False  # of a login that lasts on: the browser is to keep it for longer, too

    @property
    def person(self) -> Person:
        """The person as others may see them."""
        return self.user.person


class Doorkeeper:
    """Lets people in, whatever the door."""

    def __init__(self, tokens: Tokens, accounts: Accounts, logins: Logins) -> None:
        self._tokens = tokens
        self._accounts = accounts
        self._logins = logins

    async def sign_in(self, token: object) -> Visitor:
        """Whose token this is. Raises the first of the five refusals that applies, or StorageUnavailable."""
        claims = await self._tokens.authenticate(token)
        user = await self._accounts.identify(claims.user_id)
        if claims.login_id is not None and not await self._logins.lasts(claims.login_id, user, noted=True):
            raise InvalidToken
        return Visitor(user, expires_at=claims.expires_at, login_id=claims.login_id)

    async def still_knows(self, visitor: Visitor) -> bool:
        """Whether the login by which somebody came, if it was one, has not ended. Raises StorageUnavailable."""
        return visitor.login_id is None or await self._logins.lasts(visitor.login_id, visitor.user)

    async def recognise(self, cookie: str | None, *, noted: bool = True) -> Visitor:
        """Whose login this is; that it is used may be ``noted``. Raises AuthenticationRequired."""
        login = await self._logins.find(cookie, noted=noted)
        if login is None:
            raise AuthenticationRequired
        return Visitor(login.user, login_id=login.id, cookie_is_old=self._logins.begins_a_day(login))
