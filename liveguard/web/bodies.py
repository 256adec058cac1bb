"""What goes into the JSON interface and what comes out of it: one class for each body, and for a query."""

from typing import Annotated, Literal, Self

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from liveguard.events import Timestamp
from liveguard.health import Finding
from liveguard.overview import RunningSession
from liveguard.people import Guardianship, PastSession, Status, User

PAGE = 50
LARGEST_PAGE = 200

MOMENT = "an ISO 8601 time with its zone, or a day"
PAGE_SIZE = "a whole number above 0"

Text = Annotated[str, Meta(min_length=1, max_length=1024)]
Moment = Annotated[
    str, Meta(description=MOMENT, extra_json_schema={"anyOf": [{"format": "date"}, {"format": "date-time"}]})
]
PageSize = Annotated[int, Meta(ge=1, description=f"{PAGE_SIZE}; above {LARGEST_PAGE} it is {LARGEST_PAGE}")]


# -- what goes in --------------------------------------------------------------------------------------------------


class Credentials(Struct, frozen=True):
    """The body of ``POST /api/login``."""

    email: Text
    password: Text


class Invitation(Struct, frozen=True):
    """The body of ``POST /api/guardians``: the email of somebody who is known here."""

    email: Text


class Choice(Struct, frozen=True, rename={"since": "from", "until": "to"}):
    """The query of ``GET /api/history``. A session is chosen by its start."""

    ward: Annotated[str, Meta(description="the id of a ward")] | None = None
    since: Moment | None = None
    until: Moment | None = None
    limit: PageSize = PAGE
    cursor: Annotated[str, Meta(description="the nextCursor of another page")] | None = None


# -- what comes out ------------------------------------------------------------------------------------------------


class Problem(Struct, frozen=True):
    """What is wrong: a code that stays, and a sentence."""

    code: str
    message: str


class Refused(Struct, frozen=True):
    """The answer to whatever is refused."""

    error: Problem


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
    expires_at: Timestamp
    user: Account


class Standing(Struct, frozen=True):
    """What became of an invitation."""

    id: str
    status: Status

    @classmethod
    def of(cls, pair: Guardianship) -> Self:
        """How a pair stands."""
        return cls(pair.id, pair.status)


class GuardianEntry(Struct, frozen=True, rename="camel"):
    """Somebody who guards the asker, or was asked to; ``id`` is the pair's."""

    id: str
    status: Status
    guardian_id: str
    email: str
    first_name: str
    last_name: str
    created_at: Timestamp
    updated_at: Timestamp


class WardEntry(Struct, frozen=True, rename="camel"):
    """Somebody whom the asker guards, or was asked to; ``id`` is the pair's."""

    id: str
    status: Status
    ward_id: str
    email: str
    first_name: str
    last_name: str
    created_at: Timestamp
    updated_at: Timestamp


class GuardianList(Struct, frozen=True):
    """The answer to ``GET /api/guardians``."""

    guardians: list[GuardianEntry]


class WardList(Struct, frozen=True):
    """The answer to ``GET /api/wards``."""

    wards: list[WardEntry]


class RunningSessions(Struct, frozen=True):
    """The answer to ``GET /api/sessions``."""

    sessions: list[RunningSession]


class EndedSession(PastSession, frozen=True, kw_only=True, rename="camel"):
    """A session that has ended, where one that runs could stand as well."""

    state: Literal["ended"]

    @classmethod
    def over(cls, session: PastSession) -> Self:
        """The same, and that it has ended."""
        return cls(**msgspec.structs.asdict(session), state="ended")


class Alive(Struct, frozen=True):
    """The answer to ``GET /healthz``."""

    status: Literal["ok"]


class Ready(Struct, frozen=True, rename="camel"):
    """The answer to ``GET /readyz``: all of it, each part, and the name of a damaged file that was set aside."""

    status: Finding
    database: Finding
    journal: Finding
    set_aside: str | UnsetType = UNSET
