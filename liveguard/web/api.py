"""The JSON interface, for programs (PROTOCOL 8). What somebody may not see does not exist for them."""

from datetime import UTC, datetime
from typing import Annotated, Any, Self, TypeVar

import msgspec
from msgspec import Meta, Struct

from liveguard.errors import InvalidPayload, NotFound
from liveguard.events import timestamp
from liveguard.overview import RunningSession, overview
from liveguard.people import Guardianship, User
from liveguard.web.base import Door, everybody, signed_in

TOKEN_LASTS = 24 * 3600  # seconds
PAGE = 50
LARGEST_PAGE = 200

T = TypeVar("T")
Text = Annotated[str, Meta(min_length=1, max_length=1024)]


class Credentials(Struct, frozen=True):
    """The body of ``POST /api/login``."""

    email: Text
    password: Text


class Invitation(Struct, frozen=True):
    """The body of ``POST /api/guardians``: the email of somebody who is known here."""

    email: Text


class Account(Struct, frozen=True, rename="camel"):
    """A person as they see themselves."""

    id: str
    email: str
    first_name: str
    last_name: str
    is_admin: bool

    @classmethod
    def of(cls, user: User) -> Self:
        """The account of a user."""
        return cls(user.id, user.email, user.first_name, user.last_name, user.is_admin)


class SignedIn(Struct, frozen=True, rename="camel"):
    """The answer to ``POST /api/login``."""

    token: str
    expires_at: str
    user: Account


class Standing(Struct, frozen=True):
    """What became of an invitation."""

    id: str
    status: str


class GuardianEntry(Struct, frozen=True, rename="camel"):
    """Somebody who guards the asker, or was asked to."""

    id: str
    status: str
    guardian_id: str
    email: str
    first_name: str
    last_name: str
    created_at: str
    updated_at: str


class WardEntry(Struct, frozen=True, rename="camel"):
    """Somebody whom the asker guards, or was asked to."""

    id: str
    status: str
    ward_id: str
    email: str
    first_name: str
    last_name: str
    created_at: str
    updated_at: str


class Api(Door):
    """A door through which JSON goes in and out."""

    admit = signed_in

    @property
    def forgeable(self) -> bool:
        return self.by_cookie

    @property
    def user(self) -> User:
        """Who asks."""
        assert self.visitor is not None
        return self.visitor.user

    def body(self, kind: type[T]) -> T:
        """The request's body. Raises InvalidPayload, which names the field."""
        try:
            return msgspec.json.decode(self.request.body, type=kind)
        except msgspec.ValidationError as problem:
            raise InvalidPayload(_complaint(str(problem))) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise InvalidPayload("The body must be one JSON object") from None

    def answer(self, value: Any, status: int = 200) -> None:
        """Answer with a value as JSON."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.finish(msgspec.json.encode(value))


def _complaint(problem: str) -> str:
    """What msgspec says, in words for whoever sent the body."""
    found, _, place = problem.partition(" - at `$.")
    if found.startswith("Object missing required field `"):
        return f"{found.split('`')[1]} is missing"
    if place:
        return f"{place.rstrip('`')} must be a text of 1 to 1,024 characters"
    return "The body must be one JSON object"


class Login(Api):
    """``POST /api/login``: a token for an email and a password, which ends with another password at the latest."""

    admit = everybody

    async def post(self) -> None:
        asked = self.body(Credentials)
        user = await self.services.people.accounts.sign_in(asked.email, asked.password, self.address)
        services = self.services
        logins = services.people.logins
        login_id = logins.new_id()
        token, claims = services.tokens.issue(user.id, TOKEN_LASTS, login_id)
        await logins.begin_for_token(login_id, user, claims.expires_at, self.request.headers.get("User-Agent", ""))
        self.answer(SignedIn(token, timestamp(claims.expires_at), Account.of(user)))


class Me(Api):
    """``GET /api/me``: who the asker is."""

    def get(self) -> None:
        self.answer(Account.of(self.user))


class Sessions(Api):
    """``GET /api/sessions``: those that run and that the asker may see."""

    def get(self) -> None:
        services = self.services
        self.answer({"sessions": overview(services.live.visible_to(self.user), services.clock.now())})


class Session(Api):
    """``GET /api/sessions/{session_id}``: one that runs or has ended."""

    async def get(self, session_id: str) -> None:
        services = self.services
        for session in services.live.visible_to(self.user):
            if session.id == session_id:
                self.answer(RunningSession.of(session, services.clock.now()))
                return
        ended = await services.people.history.get(self.user, session_id)
        self.answer({**msgspec.to_builtins(ended), "state": "ended"})


class History(Api):
    """``GET /api/history?ward=&from=&to=&limit=&cursor=``: those that have ended, the newest first."""

    async def get(self) -> None:
        page = await self.services.people.history.page(
            self.user,
            ward_id=self.get_query_argument("ward", None),
            since=self._moment("from"),
            until=self._moment("to"),
            limit=self._limit(),
            cursor=self.get_query_argument("cursor", None),
        )
        more = {} if page.next_cursor is None else {"nextCursor": page.next_cursor}
        self.answer({"sessions": page.sessions, **more})

    def _moment(self, name: str) -> int | None:
        text = self.get_query_argument(name, None)
        if text is None:
            return None
        try:
            moment = datetime.fromisoformat(text)
            # A day without a time begins at midnight, UTC.
            moment = moment.replace(tzinfo=UTC) if len(text) == len("2026-01-31") else moment
            if moment.tzinfo is None:
                raise ValueError
            return int(moment.timestamp() * 1000)
        except (ValueError, OverflowError):
            raise InvalidPayload(f"{name} must be an ISO 8601 time with its zone, or a day") from None

    def _limit(self) -> int:
        text = self.get_query_argument("limit", str(PAGE))
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) > 0):
            raise InvalidPayload("limit must be a whole number above 0")
        return min(int(text), LARGEST_PAGE)


class Guardians(Api):
    """``GET`` and ``POST /api/guardians``: those who guard the asker, and one more to be asked."""

    async def get(self) -> None:
        pairs = await self.services.people.guardianships.of_ward(self.user)
        self.answer({"guardians": [_guardian(pair) for pair in pairs]})

    async def post(self) -> None:
        pair = await self.services.people.guardianships.invite(self.user, self.body(Invitation).email)
        self.answer(Standing(pair.id, pair.status), 201)


class Guardian(Api):
    """``DELETE /api/guardians/{pair_id}``: either side ends it."""

    async def delete(self, pair_id: str) -> None:
        pair = await self.services.people.guardianships.revoke(self.user, pair_id)
        self.answer(Standing(pair.id, pair.status))


class Wards(Api):
    """``GET /api/wards``: those whom the asker guards, or was asked to."""

    async def get(self) -> None:
        pairs = await self.services.people.guardianships.of_guardian(self.user)
        self.answer({"wards": [_ward(pair) for pair in pairs]})


class Accept(Api):
    """``POST /api/invitations/{pair_id}/accept``: the one who was invited says yes."""

    async def post(self, pair_id: str) -> None:
        pair = await self.services.people.guardianships.accept(self.user, pair_id)
        self.answer(Standing(pair.id, pair.status))


class Decline(Api):
    """``POST /api/invitations/{pair_id}/decline``: the one who was invited says no."""

    async def post(self, pair_id: str) -> None:
        pair = await self.services.people.guardianships.decline(self.user, pair_id)
        self.answer(Standing(pair.id, pair.status))


class Unknown(Api):
    """Every other address below ``/api/``."""

    admit = everybody

    async def prepare(self) -> None:
        self.check_address()
        raise NotFound


def _guardian(pair: Guardianship) -> GuardianEntry:
    person = pair.guardian
    return GuardianEntry(
        pair.id, pair.status, person.id, person.email, person.first_name, person.last_name,
        timestamp(pair.created_at), timestamp(pair.updated_at),
    )  # fmt: skip


def _ward(pair: Guardianship) -> WardEntry:
    person = pair.ward
    return WardEntry(
        pair.id, pair.status, person.id, person.email, person.first_name, person.last_name,
        timestamp(pair.created_at), timestamp(pair.updated_at),
    )  # fmt: skip
