"""What the server says: one class for each event."""

from typing import Any, ClassVar, Literal

from msgspec import UNSET, Struct, UnsetType

from liveguard.errors import Refusal
from liveguard.events.clients import UpdateLocation
from liveguard.events.vocabulary import Person, Reason, timestamp


class ServerEvent(Struct, frozen=True, rename="camel", omit_defaults=True):
    """An event that the server sends. A field with a default is left out where it has nothing to say."""

    name: ClassVar[str]


class Location(Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """A place that a ward reported and when it reached the server."""

    latitude: float
    longitude: float
    accuracy: float | None = None
    altitude: float | None = None
    heading: float | None = None
    speed: float | None = None
    battery: float | None = None
    recorded_at: str | None = None
    timestamp: str


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

    session_id: str
    start_time: str
    room_name: str
    guardians: list[Person]
    connected_guardians: int
    timestamp: str
    durable: bool = True


class GuardianSessionStarted(ServerEvent, frozen=True):
    """``guardian:session-started``: to guardians, at the start and whenever one arrives later.

    ``since`` and ``ends_at`` are there while the session is interrupted.
    """

    name = "guardian:session-started"

    ward_id: str
    ward_email: str
    session_id: str
    start_time: str
    ward_first_name: str
    ward_last_name: str
    metadata: dict[str, Any] | None
    last_location: Location | None
    state: Literal["active", "interrupted"]
    timestamp: str
    since: str | UnsetType = UNSET
    ends_at: str | UnsetType = UNSET
    seq: int | UnsetType = UNSET


class SessionEnded(ServerEvent, frozen=True):
    """``session-ended``: to everybody in the room, last and once. ``duration`` in whole seconds."""

    name = "session-ended"

    session_id: str
    ward_id: str
    ward_email: str
    start_time: str
    end_time: str
    duration: int
    reason: Reason
    timestamp: str
    seq: int | UnsetType = UNSET


class SessionError(ServerEvent, frozen=True):
    """``session-error``: to the connection at fault; ``event`` is the client event at fault, where there is one."""

    name = "session-error"

    message: str
    code: str
    timestamp: str
    event: str | UnsetType = UNSET


class LocationUpdated(ServerEvent, frozen=True):
    """``location-updated``: to the guardians in the room."""

    name = "location-updated"

    ward_id: str
    ward_email: str
    session_id: str
    location: Location
    timestamp: str


class LocationAcknowledged(ServerEvent, frozen=True):
    """``location-acknowledged``: to the ward's connection; ``guardian_count`` counts people who are connected."""

    name = "location-acknowledged"

    session_id: str
    timestamp: str
    status: Literal["broadcasted"]
    guardian_count: int


class LocationError(ServerEvent, frozen=True):
    """``location-error``: an ``update-location`` that was refused."""

    name = "location-error"

    message: str
    code: str
    timestamp: str


class Sender(Struct, frozen=True, rename="camel"):
    """Who wrote a message, and as what."""

    id: str
    first_name: str
    last_name: str
    role: Literal["ward", "guardian"]


class Message(ServerEvent, frozen=True, rename={"sender": "from", "session_id": "sessionId", "ward_id": "wardId"}):
    """``message``: a text to the whole room, its sender included."""

    name = "message"

    session_id: str
    ward_id: str
    sender: Sender
    text: str
    timestamp: str


class GuardiansChanged(ServerEvent, frozen=True):
    """``guardians-changed``: to the ward's connections, when a guardian arrives or leaves. People, not connections."""

    name = "guardians-changed"

    session_id: str
    connected_guardians: int
    guardian_ids: list[str]


class SessionInterrupted(ServerEvent, frozen=True):
    """``session-interrupted``: to guardians; the ward's connection is lost and the grace period runs."""

    name = "session-interrupted"

    session_id: str
    ward_id: str
    since: str
    ends_at: str
    timestamp: str


class SessionResumed(ServerEvent, frozen=True):
    """``session-resumed``: to everybody in the room; ``interrupted_for`` in whole seconds."""

    name = "session-resumed"

    session_id: str
    ward_id: str
    interrupted_for: int
    timestamp: str


class GuardianSnapshot(ServerEvent, frozen=True):
    """``guardian:snapshot``: first of all to a guardian's new native connection."""

    name = "guardian:snapshot"

    sessions: list[GuardianSessionStarted]
    seq: int
    timestamp: str


class AccessRevoked(ServerEvent, frozen=True):
    """``guardian:access-revoked``: nothing of that room follows."""

    name = "guardian:access-revoked"

    ward_id: str
    session_id: str
    timestamp: str


class TokenRefreshed(ServerEvent, frozen=True):
    """``token-refreshed``: the connection now lives until ``expires_at``."""

    name = "token-refreshed"

    expires_at: str


class Pong(ServerEvent, frozen=True):
    """``pong``: the answer to ``ping``."""

    name = "pong"

    timestamp: str


SERVER_EVENTS: dict[str, type[ServerEvent]] = {
    event.name: event
    for event in (
        SessionStarted, GuardianSessionStarted, SessionEnded, SessionError, LocationUpdated, LocationAcknowledged,
        LocationError, Message, GuardiansChanged, SessionInterrupted, SessionResumed, GuardianSnapshot, AccessRevoked,
        TokenRefreshed, Pong,
    )
}  # fmt: skip


def refusal_event(refusal: Refusal, event: str | None, moment: int) -> SessionError | LocationError:
    """How a refusal is told: ``location-error`` to an ``update-location``, else ``session-error``."""
    if event == UpdateLocation.name:
        return LocationError(message=refusal.message, code=refusal.code, timestamp=timestamp(moment))
    fault: str | UnsetType = event[:64] if event else UNSET
    return SessionError(message=refusal.message, code=refusal.code, event=fault, timestamp=timestamp(moment))
