"""The JSON interface, for programs. What somebody may not see does not exist for them."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from liveguard.errors import (
    AccountInactive,
    Conflict,
    InvalidPayload,
    NotFound,
    StorageUnavailable,
    TooManySignIns,
    Unavailable,
    WrongCredentials,
)
from liveguard.events import timestamp
from liveguard.overview import RunningSession
from liveguard.people import Guardianship, PastPage
from liveguard.web.base import Door, everybody, signed_in
from liveguard.web.bodies import (
    LARGEST_PAGE,
    MOMENT,
    PAGE_SIZE,
    Account,
    Choice,
    Credentials,
    EndedSession,
    GuardianEntry,
    GuardianList,
    Invitation,
    RunningSessions,
    SignedIn,
    Standing,
    WardEntry,
    WardList,
)
from liveguard.web.openapi import Operation

TOKEN_LASTS = 24 * 3600  # seconds
SHORT = 3600  # seconds

T = TypeVar("T", bound=msgspec.Struct)


class Api(Door):
    """A door through which JSON goes in and out."""

    admit = signed_in

    @property
    def forgeable(self) -> bool:
        return self.by_cookie

    def body(self, kind: type[T]) -> T:
        """The request's body. Raises InvalidPayload, which names the field."""
        try:
            return msgspec.json.decode(self.request.body, type=kind)
        except msgspec.ValidationError as problem:
            raise InvalidPayload(_complaint(str(problem))) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise InvalidPayload("The body must be one JSON object") from None

    def query(self, kind: type[T], **readers: Callable[[str], Any]) -> T:
        """The request's query: each argument a text, or what its reader makes of it."""
        read: dict[str, Any] = {}
        for field in msgspec.structs.fields(kind):
            text = self.get_query_argument(field.encode_name, None)
            if text is not None:
                read[field.name] = readers.get(field.name, str)(text)
        return kind(**read)

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
    """``POST /api/login``: a token for an email and a password.

    It is good for a day, or until there is another password. After five failures, the next try has to wait.
    """

    admit = everybody

    @Operation(
        body=Credentials,
        answer=SignedIn,
        refuses=(WrongCredentials, AccountInactive, TooManySignIns, Unavailable),
    )
    async def post(self) -> None:
        asked = self.body(Credentials)
        known = await self.services.people.accounts.sign_in(asked.email, asked.password, self.address)
        services = self.services
        logins = services.people.logins
        login_id = logins.new_id()
        token, claims = services.tokens.issue(known.user.id, TOKEN_LASTS, login_id)
        agent = self.request.headers.get("User-Agent", "")
        try:
            await logins.begin_for_token(login_id, known, claims.expires_at, agent)
        except StorageUnavailable:
            # A disk that is full keeps nobody from starting a session. Such a token ends by itself alone, and soon.
            token, claims = services.tokens.issue(known.user.id, SHORT)
        self.answer(SignedIn(token, timestamp(claims.expires_at), Account.of(known.user)))


class Me(Api):
    """``GET /api/me``: who the asker is."""

    @Operation(answer=Account)
    def get(self) -> None:
        self.answer(Account.of(self.user))


class Sessions(Api):
    """``GET /api/sessions``: the sessions that run and that the asker may see.

    A ward sees their own, a guardian those of the wards whom they guard, an admin all.
    """

    @Operation(answer=RunningSessions)
    def get(self) -> None:
        now, running = self.services.clock.now(), self.services.live.visible_to(self.user)
        self.answer(RunningSessions([RunningSession.of(session, now) for session in running]))


class Session(Api):
    """``GET /api/sessions/{session_id}``: one session that runs or has ended, and that the asker may see."""

    @Operation(answer=(RunningSession, EndedSession), refuses=(NotFound,))
    async def get(self, session_id: str) -> None:
        services = self.services
        for session in services.live.visible_to(self.user):
            if session.id == session_id:
                self.answer(RunningSession.of(session, services.clock.now()))
                return
        ended = await services.people.history.get(self.user, session_id)
        self.answer(EndedSession.over(ended))


class History(Api):
    """``GET /api/history``: the sessions that have ended and that the asker may see, the newest first.

    They are chosen by their start: ``from`` is taken in, ``to`` is left out, and a day begins at midnight, UTC.
    """

    @Operation(query=Choice, answer=PastPage)
    async def get(self) -> None:
        asked = self.query(Choice, limit=_limit)
        page = await self.services.people.history.page(
            self.user,
            ward_id=asked.ward,
            since=_moment("from", asked.since),
            until=_moment("to", asked.until),
            limit=asked.limit,
            cursor=asked.cursor,
        )
        self.answer(page)


class Guardians(Api):
    """``GET`` and ``POST /api/guardians``: those who guard the asker, and one more to be asked."""

    @Operation(answer=GuardianList)
    async def get(self) -> None:
        """Those who guard the asker, or were asked to, whatever became of it."""
        pairs = await self.services.people.guardianships.of_ward(self.user)
        self.answer(GuardianList([_guardian(pair) for pair in pairs]))

    @Operation(body=Invitation, answer=Standing, statuses=(201,), refuses=(NotFound,))
    async def post(self) -> None:
        """Ask somebody who is known here to guard the asker; after a no, or an end, they are asked again."""
        pair = await self.services.people.guardianships.invite(self.user, self.body(Invitation).email)
        self.answer(Standing.of(pair), 201)


class Guardian(Api):
    """``DELETE /api/guardians/{pair_id}``: either side ends that one guards the other, or was asked to."""

    @Operation(answer=Standing, refuses=(NotFound,))
    async def delete(self, pair_id: str) -> None:
        pair = await self.services.people.guardianships.revoke(self.user, pair_id)
        self.answer(Standing.of(pair))


class Wards(Api):
    """``GET /api/wards``: those whom the asker guards, or was asked to, whatever became of it."""

    @Operation(answer=WardList)
    async def get(self) -> None:
        pairs = await self.services.people.guardianships.of_guardian(self.user)
        self.answer(WardList([_ward(pair) for pair in pairs]))


class Accept(Api):
    """``POST /api/invitations/{pair_id}/accept``: the one who was invited says yes, while it is pending."""

    @Operation(answer=Standing, refuses=(NotFound, Conflict))
    async def post(self, pair_id: str) -> None:
        pair = await self.services.people.guardianships.accept(self.user, pair_id)
        self.answer(Standing.of(pair))


class Decline(Api):
    """``POST /api/invitations/{pair_id}/decline``: the one who was invited says no, while it is pending."""

    @Operation(answer=Standing, refuses=(NotFound, Conflict))
    async def post(self, pair_id: str) -> None:
        pair = await self.services.people.guardianships.decline(self.user, pair_id)
        self.answer(Standing.of(pair))


class OpenApi(Api):
    """``GET /api/openapi.json``: this document, which describes what is reached over HTTP (OpenAPI 3.1)."""

    @Operation(answer=dict[str, Any])
    def get(self) -> None:
        self.answer(msgspec.Raw(self.services.openapi()))


class AsyncApi(Api):
    """``GET /api/asyncapi.json``: a document that describes the events of both transports (AsyncAPI 3.0)."""

    @Operation(answer=dict[str, Any])
    def get(self) -> None:
        self.answer(msgspec.Raw(self.services.asyncapi()))


class Unknown(Api):
    """Every other address below ``/api/``."""

    admit = everybody

    async def prepare(self) -> None:
        self.check_address()
        raise NotFound


def _moment(name: str, text: str | None) -> int | None:
    """Milliseconds since the epoch."""
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
        raise InvalidPayload(f"{name} must be {MOMENT}") from None


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) > 0):
        raise InvalidPayload(f"limit must be {PAGE_SIZE}")
    return min(int(text), LARGEST_PAGE)


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
