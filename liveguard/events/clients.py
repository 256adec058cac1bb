"""What clients say: one class for each event."""

from datetime import datetime
from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct

from liveguard.events.vocabulary import BOTH, Role

MAX_TEXT = 2000


class ClientEvent(Struct, frozen=True, rename="camel"):
    """An event that a client sends. On a connection of none of the roles that may say it, it is refused."""

    name: ClassVar[str]
    said_by: ClassVar[tuple[Role, ...]] = BOTH


def _number(low: float, high: float, description: str) -> Meta:
    return Meta(ge=low, le=high, description=description)


Latitude = Annotated[float, _number(-90, 90, "a number from -90 to 90")]
Longitude = Annotated[float, _number(-180, 180, "a number from -180 to 180")]
# Bounded, since what is near the largest double is none any more once SQLite has written it with 15 digits.
Amount = Annotated[float, _number(0, 1e9, "a number from 0 to 1,000,000,000")]
Height = Annotated[float, _number(-1e9, 1e9, "a number from -1,000,000,000 to 1,000,000,000")]
Heading = Annotated[float, _number(0, 360, "a number from 0 to 360")]
Percent = Annotated[float, _number(0, 100, "a number from 0 to 100")]
Aware = Annotated[datetime, Meta(tz=True)]


class StartLiveSession(ClientEvent, frozen=True):
    """``start-live-session``: a ward begins a session. The data, a JSON object of at most 4 KiB, is its metadata."""

    name = "start-live-session"
    said_by = ("ward",)

    metadata: dict[str, Any] | None = None


class StopLiveSession(ClientEvent, frozen=True):
    """``stop-live-session``: the ward is safe. A stop is never refused for what else its data says."""

    name = "stop-live-session"
    said_by = ("ward",)


class UpdateLocation(ClientEvent, frozen=True):
    """``update-location``: where the ward is. Degrees (WGS 84), metres, metres a second, per cent."""

    name = "update-location"
    said_by = ("ward",)

    latitude: Latitude
    longitude: Longitude
    accuracy: Amount | None = None
    altitude: Height | None = None
    heading: Heading | None = None
    speed: Amount | None = None
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
