"""The wire contract: one class for each event, decoded at the door, encoded once.

A client's frame is ``{"event": "...", "data": {...}, "id": "..."}``. :func:`decode_frame` reads the envelope,
:func:`decode_event` the data; both refuse what is not exactly right with one error that names the field. What the
server says is a :class:`ServerEvent`; a :class:`Notice` is one of them, encoded once for all who receive it.

Field names are camelCase on the wire. Moments are integers (milliseconds since the epoch) inside the program and
ISO 8601 UTC with milliseconds and ``Z`` on the wire (:func:`timestamp`). Durations are whole seconds.
"""

from liveguard.events.clients import (
    CLIENT_EVENTS,
    ClientEvent,
    Ping,
    RefreshToken,
    SendMessage,
    StartLiveSession,
    StopLiveSession,
    UpdateLocation,
)
from liveguard.events.decoding import (
    MAX_METADATA,
    MAX_NESTING,
    Identified,
    data_of,
    decode_array,
    decode_event,
    decode_frame,
    decode_token,
    frame_id,
)
from liveguard.events.notices import Connection, Notice, Request
from liveguard.events.server import (
    REFUSALS,
    SERVER_EVENTS,
    AccessRevoked,
    GuardiansChanged,
    GuardianSessionStarted,
    GuardianSnapshot,
    Location,
    LocationAcknowledged,
    LocationError,
    LocationUpdated,
    Message,
    Pong,
    Sender,
    ServerEvent,
    SessionEnded,
    SessionError,
    SessionInterrupted,
    SessionResumed,
    SessionStarted,
    TokenRefreshed,
    located,
    refusal_event,
)
from liveguard.events.vocabulary import BOTH, WORRYING, Person, Reason, Role, Seconds, Timestamp, timestamp

__all__ = [
    "BOTH", "CLIENT_EVENTS", "MAX_METADATA", "MAX_NESTING", "REFUSALS", "SERVER_EVENTS", "WORRYING", "AccessRevoked",
    "ClientEvent", "Connection", "GuardianSessionStarted", "GuardianSnapshot", "GuardiansChanged", "Identified",
    "Location", "LocationAcknowledged", "LocationError", "LocationUpdated", "Message", "Notice", "Person", "Ping",
    "Pong", "Reason", "RefreshToken", "Request", "Role", "Seconds", "SendMessage", "Sender", "ServerEvent",
    "SessionEnded", "SessionError", "SessionInterrupted", "SessionResumed", "SessionStarted", "StartLiveSession",
    "StopLiveSession", "Timestamp", "TokenRefreshed", "UpdateLocation", "data_of", "decode_array", "decode_event",
    "decode_frame", "decode_token", "frame_id", "located", "refusal_event", "timestamp",
]  # fmt: skip
