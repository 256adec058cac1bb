"""The wire contract: one class for each event, decoded at the door, encoded once.

A client's frame is ``{"event": "...", "data": {...}, "id": "..."}``. :func:`decode_frame` reads the envelope,
:func:`decode_event` the data; both refuse what is not exactly right with one error that names the field. What the
server says is a :class:`ServerEvent`; a :class:`Notice` is one of them, encoded once for all who receive it.

Field names are camelCase on the wire. Moments are integers (milliseconds since the epoch) inside the program and
ISO 8601 UTC with milliseconds and ``Z`` on the wire (:func:`timestamp`). Durations are whole seconds.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from liveguard.errors import InvalidMessage, InvalidPayload, Refusal, UnknownEvent

MAX_NESTING = 16
MAX_METADATA = 4096
MAX_TEXT = 2000

T = TypeVar("T")

Reason = Literal["manual_stop", "ward_disconnected", "account_disabled", "ended_by_admin", "expired"]


def timestamp(moment: int) -> str:
    """The ISO 8601 text of a moment in milliseconds, such as ``2026-01-31T09:30:00.000Z``."""
    whole, milliseconds = divmod(moment, 1000)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"


class Person(Struct, frozen=True, rename="camel"):
    """Somebody whom liveguard knows, as others may see them."""

    id: str
    first_name: str
    last_name: str
    email: str


# -- what clients say ----------------------------------------------------------------------------------------------


class ClientEvent(Struct, frozen=True, rename="camel"):
    """An event that a client sends."""

    name: ClassVar[str]


def _number(low: float | None, high: float | None, description: str) -> Meta:
    return Meta(ge=low, le=high, description=description)


Latitude = Annotated[float, _number(-90, 90, "a number from -90 to 90")]
Longitude = Annotated[float, _number(-180, 180, "a number from -180 to 180")]
NotNegative = Annotated[float, _number(0, None, "a number not below 0")]
Heading = Annotated[float, _number(0, 360, "a number from 0 to 360")]
Percent = Annotated[float, _number(0, 100, "a number from 0 to 100")]
Aware = Annotated[datetime, Meta(tz=True)]

_FIELD_RULES = {
    "latitude": "a number from -90 to 90",
    "longitude": "a number from -180 to 180",
    "accuracy": "a number of metres, not below 0",
    "altitude": "a number of metres",
    "heading": "a number from 0 to 360",
    "speed": "a number of metres a second, not below 0",
    "battery": "a number from 0 to 100",
    "recordedAt": "an ISO 8601 time with its zone",
    "text": f"a text of 1 to {MAX_TEXT:,} characters",
    "wardId": "the id of a ward",
    "token": "a token",
}


class StartLiveSession(ClientEvent, frozen=True):
    """``start-live-session``: a ward begins a session. The data, a JSON object of at most 4 KiB, is its metadata."""

    name = "start-live-session"

    metadata: dict[str, Any] | None = None


class StopLiveSession(ClientEvent, frozen=True):
    """``stop-live-session``: the ward is safe. A stop is never refused for what else its data says."""

    name = "stop-live-session"


class UpdateLocation(ClientEvent, frozen=True):
    """``update-location``: where the ward is. Degrees (WGS 84), metres, metres a second, per cent."""

    name = "update-location"

    latitude: Latitude
    longitude: Longitude
    accuracy: NotNegative | None = None
    altitude: float | None = None
    heading: Heading | None = None
    speed: NotNegative | None = None
    battery: Percent | None = None
    recorded_at: Aware | None = None

    def __post_init__(self) -> None:
        if self.recorded_at and not 1970 <= self.recorded_at.year < 9999:
            raise ValueError("out of range - at `$.recordedAt`")


class SendMessage(ClientEvent, frozen=True):
    """``send-message``: a text for everybody in the room. A guardian names the room by its ward."""

    name = "send-message"

    text: Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)]
    ward_id: Annotated[str, Meta(min_length=1, max_length=200)] | None = None


class RefreshToken(ClientEvent, frozen=True):
    """``refresh-token``: a newer token of the same user, so that a long connection may go on."""

    name = "refresh-token"

    token: Annotated[str, Meta(min_length=1)]


class Ping(ClientEvent, frozen=True):
    """``ping``: is anybody there? Answered by ``pong``."""

    name = "ping"


CLIENT_EVENTS: dict[str, type[ClientEvent]] = {
    event.name: event for event in (StartLiveSession, StopLiveSession, UpdateLocation, SendMessage, RefreshToken, Ping)
}
_IGNORE_DATA = (StopLiveSession, Ping)


class Identified(Struct, frozen=True):
    """Something that may carry an id."""

    id: Annotated[str, Meta(min_length=1, max_length=64)] | None = None


class Frame(Identified, frozen=True, kw_only=True):
    """The envelope of a native frame; ``data`` is still encoded."""

    event: Annotated[str, Meta(min_length=1)]
    data: Raw = Raw(b"")


_frame_decoder = msgspec.json.Decoder(Frame)
_id_decoder = msgspec.json.Decoder(Identified)
_object_decoder = msgspec.json.Decoder(dict[str, Any])
_data_decoders = {event: msgspec.json.Decoder(event) for event in CLIENT_EVENTS.values()}
_encoder = msgspec.json.Encoder()


def decode_frame(text: bytes) -> Frame:
    """Read the envelope of one native frame. Raises :class:`InvalidMessage`."""
    if _may_nest_too_deep(text) and _nesting(text) > MAX_NESTING:
        raise InvalidMessage(f"A message is nested at most {MAX_NESTING} deep")
    try:
        return _frame_decoder.decode(text)
    except msgspec.ValidationError as problem:
        if _field(problem) == "id":
            raise InvalidMessage("id must be a text of 1 to 64 characters") from None
        raise InvalidMessage from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise InvalidMessage from None


def frame_id(text: bytes) -> str | None:
    """The id of a frame that was refused, if it has one: the refusal refers to it."""
    try:
        return _id_decoder.decode(text).id
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def client_event(name: str) -> type[ClientEvent]:
    """The class of a client's event. Raises :class:`UnknownEvent`."""
    try:
        return CLIENT_EVENTS[name]
    except KeyError:
        raise UnknownEvent from None


def decode_event(name: str, data: bytes | Raw) -> ClientEvent:
    """Read the data of one event from JSON; none is ``b""``. Raises :class:`UnknownEvent`, :class:`InvalidPayload`."""
    kind = client_event(name)
    if kind in _IGNORE_DATA:
        return kind()
    try:
        if kind is StartLiveSession:
            return _start(_object_decoder.decode(data) if bytes(data) not in (b"", b"null") else None)
        return _data_decoders[kind].decode(data or b"{}")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as problem:
        raise _payload_error(kind, problem) from None


def convert_event(name: str, data: object) -> ClientEvent:
    """The same as :func:`decode_event` for data that a transport has decoded already; none is ``None``."""
    try:
        encoded = b"" if data is None else _encoder.encode(data)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        raise InvalidPayload("The data must be one JSON object") from None
    if _may_nest_too_deep(encoded) and _nesting(encoded) > MAX_NESTING:
        raise InvalidMessage(f"A message is nested at most {MAX_NESTING} deep")
    return decode_event(name, encoded)


def _start(metadata: dict[str, Any] | None) -> StartLiveSession:
    if metadata is not None and len(_encoder.encode(metadata)) > MAX_METADATA:
        raise InvalidPayload(f"metadata must be a JSON object of at most {MAX_METADATA:,} bytes")
    return StartLiveSession(metadata)


def _payload_error(kind: type[ClientEvent], problem: Exception) -> Refusal:
    if kind is StartLiveSession:
        return InvalidPayload(f"metadata must be a JSON object of at most {MAX_METADATA:,} bytes")
    field = _field(problem)
    rule = _FIELD_RULES.get(field)
    return InvalidPayload(f"{field} must be {rule}" if rule else "The data must be one JSON object")


def _field(problem: Exception) -> str:
    """The field that msgspec complains of, or nothing."""
    found = re.search(r"`\$\.(\w+)|missing required field `(\w+)`", str(problem))
    return (found[1] or found[2]) if found else ""


def _may_nest_too_deep(text: bytes) -> bool:
    return text.count(b"{") + text.count(b"[") > MAX_NESTING


_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"')


def _nesting(text: bytes) -> int:
    """How deep the arrays and objects of a JSON text go, brackets inside of strings left out."""
    depth = deepest = 0
    for byte in _STRINGS.sub(b"", text):
        if byte in b"{[":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"}]":
            depth -= 1
    return deepest


# -- what the server says ------------------------------------------------------------------------------------------


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


class Notice:
    """A server event, encoded once for all who receive it, and framed once for each transport.

    ``seq`` is the event's place in the journal, or 0 where it has none.
    """

    __slots__ = ("_frames", "data", "event", "seq")

    def __init__(self, event: ServerEvent) -> None:
        self.event = event
        self.data: bytes = _encoder.encode(event)
        seq = getattr(event, "seq", 0)
        self.seq: int = 0 if seq is UNSET or isinstance(event, GuardianSnapshot) else seq
        self._frames: dict[Callable[[Notice], Any], Any] = {}

    @property
    def name(self) -> str:
        """The event's name."""
        return self.event.name

    def text(self, reply_to: str | None = None) -> bytes:
        """The JSON text of a native frame; ``reply_to`` is the id of the frame that this answers."""
        head = b'{"event":"' + self.event.name.encode() + b'"'
        if reply_to is not None:
            head += b',"replyTo":' + _encoder.encode(reply_to)
        return head + b',"data":' + self.data + b"}"

    def framed(self, framer: "Callable[[Notice], T]") -> T:
        """What ``framer`` makes of this notice; made at the first call, kept for the others."""
        try:
            frame: T = self._frames[framer]
        except KeyError:
            frame = self._frames[framer] = framer(self)
        return frame


class Connection(Protocol):
    """One open connection of a person, as the core sees it."""

    person: Person

    def send(self, notice: Notice, request: "Request | None" = None) -> None:
        """Queue a notice. Never waits, never raises. With a request, it is the direct answer to it."""


class Request:
    """One thing that a connection asked for: what a direct answer, perhaps a later one, refers to."""

    __slots__ = ("connection", "event", "id")

    def __init__(self, connection: Connection, event: str, id: Any = None) -> None:
        self.connection = connection
        self.event = event
        self.id = id

    def answer(self, event: ServerEvent) -> None:
        """Answer on the connection that asked."""
        self.connection.send(Notice(event), self)
