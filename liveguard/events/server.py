"""What the server says: one class for each event."""

from typing import Annotated, Any, ClassVar, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from liveguard.errors import (
    AuthenticationError,
    InternalError,
    InvalidMessage,
    InvalidPayload,
    NoActiveSession,
    NotAllowed,
    NotInRoom,
    RateLimited,
    Refusal,
    SessionAlreadyActive,
    StartFailed,
    Unavailable,
    UnknownEvent,
)
from liveguard.events.clients import (
    ClientEvent,
    Ping,
    RefreshToken,
    SendMessage,
    StartLiveSession,
    StopLiveSession,
    UpdateLocation,
)
from liveguard.events.vocabulary import BOTH, Person, Reason, Role, Seconds, Timestamp, timestamp


class ServerEvent(Struct, frozen=True, rename="camel", omit_defaults=True):
    """An event that the server sends. A field with a default is left out where it has nothing to say.

    ``heard_by`` are the roles on whose connections it is heard, ``answers`` the events that it answers directly.
    """

    name: ClassVar[str]
    heard_by: ClassVar[tuple[Role, ...]] = BOTH
    answers: ClassVar[tuple[type[ClientEvent], ...]] = ()
    native_only: ClassVar[bool] = False


class Location(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """A place that a ward reported and when it reached the server."""

    latitude: float
    longitude: float
    accuracy: float | None = None
    altitude: float | None = None
    heading: float | None = None
    speed: float | None = None
    battery: float | None = None
    recorded_at: Timestamp | None = None
    timestamp: Timestamp


def located(update: UpdateLocation, moment: int) -> Location:
    """The place of an update, stamped with the moment at which the server learnt of it."""
    recorded = update.recorded_at
    return Location(
        latitude=update.latitude,
        longitude=update.longitude,
        accuracy=update.accuracy,
        altitude=update.altitude,
        heading=update.heading,
        speed=update.speed,
        battery=update.battery,
        recorded_at=timestamp(int(recorded.timestamp() * 1000)) if recorded else None,
        timestamp=timestamp(moment),
    )


class SessionStarted(ServerEvent, frozen=True):
    """``session-started``: to the ward's connections. ``durable: false`` where the journal could not be written."""

    name = "session-started"
    heard_by = ("ward",)
    answers = (StartLiveSession,)

    session_id: str
    start_time: Timestamp
    room_name: str
    guardians: list[Person]
    connected_guardians: int
    timestamp: Timestamp
    durable: bool = True


class GuardianSessionStarted(ServerEvent, frozen=True):
    """``guardian:session-started``: to guardians, at the start and whenever one arrives later.

    ``since`` and ``endsAt`` are there while the session is interrupted.
    """

    name = "guardian:session-started"
    heard_by = ("guardian",)

    ward_id: str
    ward_email: str
    session_id: str
    start_time: Timestamp
    ward_first_name: str
    ward_last_name: str
    metadata: dict[str, Any] | None
    last_location: Location | None
    state: Literal["active", "interrupted"]
    timestamp: Timestamp
    since: Timestamp | UnsetType = UNSET
    ends_at: Timestamp | UnsetType = UNSET
    seq: int | UnsetType = UNSET


class SessionEnded(ServerEvent, frozen=True):
    """``session-ended``: to everybody in the room, last and once."""

    name = "session-ended"
    answers = (StopLiveSession,)

    session_id: str
    ward_id: str
    ward_email: str
    start_time: Timestamp
    end_time: Timestamp
    duration: Seconds
    reason: Reason
    ward_first_name: str
    ward_last_name: str
    timestamp: Timestamp
    seq: int | UnsetType = UNSET


_OF_A_LOCATION = (InvalidMessage, InvalidPayload, NotAllowed, NoActiveSession, RateLimited, InternalError)
_OF_ANYTHING_ELSE = (
    *AuthenticationError.__subclasses__(), SessionAlreadyActive, StartFailed, UnknownEvent, NotInRoom, Unavailable,
)  # fmt: skip


def _one_of(*refusals: type[Refusal]) -> Meta:
    return Meta(extra_json_schema={"enum": [refusal.code for refusal in refusals]})


LocationCode = Annotated[str, _one_of(*_OF_A_LOCATION)]
SessionCode = Annotated[str, _one_of(*_OF_A_LOCATION, *_OF_ANYTHING_ELSE)]


class SessionError(ServerEvent, frozen=True):
    """``session-error``: to the connection at fault; ``event`` is the client event at fault, where there is one."""

    name = "session-error"
    answers = (StartLiveSession, StopLiveSession, SendMessage, RefreshToken, Ping)

    message: str
    code: SessionCode
    timestamp: Timestamp
    event: str | UnsetType = UNSET


class LocationUpdated(ServerEvent, frozen=True):
    """``location-updated``: to the guardians in the room."""

    name = "location-updated"
    heard_by = ("guardian",)

    ward_id: str
    ward_email: str
    session_id: str
    location: Location
    timestamp: Timestamp


class LocationAcknowledged(ServerEvent, frozen=True):
    """``location-acknowledged``: to the ward's connection; ``guardianCount`` counts people who are connected."""

    name = "location-acknowledged"
    heard_by = ("ward",)
    answers = (UpdateLocation,)

    session_id: str
    timestamp: Timestamp
    status: Literal["broadcasted"]
    guardian_count: int


class LocationError(ServerEvent, frozen=True):
    """``location-error``: to the connection at fault; an ``update-location`` that was refused."""

    name = "location-error"
    answers = (UpdateLocation,)

    message: str
    code: LocationCode
    timestamp: Timestamp


class Sender(Struct, frozen=True, rename="camel"):
    """Who wrote a message, and as what."""

    id: str
    first_name: str
    last_name: str
    role: Role

    @property
    def name(self) -> str:
        """What they are called."""
        return f"{self.first_name} {self.last_name}".strip() or self.id


class Message(ServerEvent, frozen=True, rename={"sender": "from", "session_id": "sessionId", "ward_id": "wardId"}):
    """``message``: a text to the whole room, its sender included."""

    name = "message"
    answers = (SendMessage,)

    session_id: str
    ward_id: str
    sender: Sender
    text: str
    timestamp: Timestamp


class GuardiansChanged(ServerEvent, frozen=True):
    """``guardians-changed``: to the ward's connections, when a guardian arrives or leaves. People, not connections."""

    name = "guardians-changed"
    heard_by = ("ward",)

    session_id: str
    connected_guardians: int
    guardian_ids: list[str]


class SessionInterrupted(ServerEvent, frozen=True):
    """``session-interrupted``: to guardians; the ward's connection is lost and the grace period runs."""

    name = "session-interrupted"
    heard_by = ("guardian",)

    session_id: str
    ward_id: str
    since: Timestamp
    ends_at: Timestamp
    timestamp: Timestamp


class SessionResumed(ServerEvent, frozen=True):
    """``session-resumed``: to everybody in the room; the ward is back in time."""

    name = "session-resumed"

    session_id: str
    ward_id: str
    interrupted_for: Seconds
    timestamp: Timestamp


class GuardianSnapshot(ServerEvent, frozen=True):
    """``guardian:snapshot``: first of all to a guardian's new native connection."""

    name = "guardian:snapshot"
    heard_by = ("guardian",)
    native_only = True

    sessions: list[GuardianSessionStarted]
    seq: int
    timestamp: Timestamp


class AccessRevoked(ServerEvent, frozen=True):
    """``guardian:access-revoked``: to a guardian; nothing of that room follows."""

    name = "guardian:access-revoked"
    heard_by = ("guardian",)

    ward_id: str
    session_id: str
    timestamp: Timestamp


class TokenRefreshed(ServerEvent, frozen=True):
    """``token-refreshed``: to the connection that asked, which now lives until ``expiresAt``."""

    name = "token-refreshed"
    answers = (RefreshToken,)

    expires_at: Timestamp


class Pong(ServerEvent, frozen=True):
    """``pong``: to the connection that asked."""

    name = "pong"
    answers = (Ping,)

    timestamp: Timestamp


SERVER_EVENTS: dict[str, type[ServerEvent]] = {
    event.name: event
    for event in (
        SessionStarted, GuardianSessionStarted, SessionEnded, SessionError, LocationUpdated, LocationAcknowledged,
        LocationError, Message, GuardiansChanged, SessionInterrupted, SessionResumed, GuardianSnapshot, AccessRevoked,
        TokenRefreshed, Pong,
    )
}  # fmt: skip

REFUSALS: Final = (SessionError, LocationError)


def refusal_event(refusal: Refusal, event: str | None, moment: int) -> SessionError | LocationError:
    """How a refusal is told: ``location-error`` to an ``update-location``, else ``session-error``."""
    if event == UpdateLocation.name:
        return LocationError(message=refusal.message, code=refusal.code, timestamp=timestamp(moment))
    fault: str | UnsetType = event[:64] if event else UNSET
    return SessionError(message=refusal.message, code=refusal.code, event=fault, timestamp=timestamp(moment))
