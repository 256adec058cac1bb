"""The door of the wire contract: what a client's frame says, or one error that names what is wrong with it."""

import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from liveguard.errors import InvalidMessage, InvalidPayload, Refusal, UnknownEvent
from liveguard.events.clients import CLIENT_EVENTS, MAX_TEXT, ClientEvent, Ping, StartLiveSession, StopLiveSession
from liveguard.events.vocabulary import encoder

MAX_NESTING = 16
MAX_METADATA = 4096  # bytes

_FIELD_RULES = {
    "latitude": "a number from -90 to 90",
    "longitude": "a number from -180 to 180",
    "accuracy": "a number of metres from 0 to 1,000,000,000",
    "altitude": "a number of metres from -1,000,000,000 to 1,000,000,000",
    "heading": "a number from 0 to 360",
    "speed": "a number of metres a second from 0 to 1,000,000,000",
    "battery": "a number from 0 to 100",
    "recordedAt": "an ISO 8601 time with its zone",
    "text": f"a text of 1 to {MAX_TEXT:,} characters",
    "wardId": "the id of a ward",
    "token": "a token",
}

_IGNORE_DATA = (StopLiveSession, Ping)


class Identified(Struct, frozen=True):
    """Something that may carry an id."""

    id: Annotated[str, Meta(min_length=1, max_length=64)] | None = None


class Frame(Identified, frozen=True, kw_only=True):
    """The envelope of a native frame; ``data`` is still encoded."""

    event: Annotated[str, Meta(min_length=1)]
    data: Raw = Raw(b"")


class Array(Struct, frozen=True, array_like=True):
    """The array of an event of Socket.IO; ``data`` is still encoded, and ``more`` is what no event takes."""

    event: Annotated[str, Meta(min_length=1)]
    data: Raw = Raw(b"")
    more: Raw = Raw(b"")


class Shown(Struct, frozen=True):
    """What Socket.IO calls ``auth``."""

    token: Raw = Raw(b"null")


_frame_decoder = msgspec.json.Decoder(Frame)
_array_decoder = msgspec.json.Decoder(Array)
_id_decoder = msgspec.json.Decoder(Identified)
_shown_decoder = msgspec.json.Decoder(Shown)
_text_decoder = msgspec.json.Decoder(str)
_object_decoder = msgspec.json.Decoder(dict[str, Any])
_data_decoders = {event: msgspec.json.Decoder(event) for event in CLIENT_EVENTS.values()}


def decode_frame(text: bytes) -> Frame:
    """Read the envelope of one native frame. Raises :class:`InvalidMessage`."""
    if _nests_too_deep(text):
        raise InvalidMessage(f"A message is nested at most {MAX_NESTING} deep")
    try:
        return _frame_decoder.decode(text)
    except msgspec.ValidationError as problem:
        if _field(problem) == "id":
            raise InvalidMessage("id must be a text of 1 to 64 characters") from None
        raise InvalidMessage from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise InvalidMessage from None


def decode_array(text: bytes) -> Array:
    """Read an event in an array, as Socket.IO writes it. Raises :class:`InvalidMessage`."""
    if _nests_too_deep(text):
        raise InvalidMessage(f"A message is nested at most {MAX_NESTING} deep")
    try:
        array = _array_decoder.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise InvalidMessage("A message is an array: the name of an event, and perhaps one object") from None
    # Several objects are none that an event knows; those that ignore their data, ignore them as well.
    return Array(array.event, Raw(text)) if array.more else array


def decode_token(text: bytes) -> object:
    """What a client of Socket.IO shows as its token when it comes; None where it shows none.

    Nothing else is read: msgspec may take 100 ms for 64 KiB of numbers whose type nobody has said.
    """
    try:
        token = bytes(_shown_decoder.decode(text).token)
        return _text_decoder.decode(token) if token.startswith(b'"') else None if token == b"null" else token
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def frame_id(text: bytes) -> str | None:
    """The id of a frame that was refused, if it has one: the refusal refers to it."""
    try:
        return _id_decoder.decode(text).id
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def data_of(event: type[ClientEvent]) -> Any:
    """The type of an event's data on the wire: its own fields, but for those that take more than these say."""
    if event in _IGNORE_DATA:
        return Any
    return dict[str, Any] | None if event is StartLiveSession else event


def decode_event(name: str, data: bytes | Raw) -> ClientEvent:
    """Read the data of one event from JSON; none is ``b""``. Raises :class:`UnknownEvent`, :class:`InvalidPayload`."""
    kind = CLIENT_EVENTS.get(name)
    if kind is None:
        raise UnknownEvent
    if kind in _IGNORE_DATA:
        return kind()
    try:
        if kind is StartLiveSession:
            return _start(bytes(data))
        return _data_decoders[kind].decode(data or b"{}")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as problem:
        raise _payload_error(kind, problem) from None


def _start(data: bytes) -> StartLiveSession:
    if data in (b"", b"null"):
        return StartLiveSession(None)
    # What is escaped has three times as many bytes at most. More is not even read, for the reason above.
    metadata = _object_decoder.decode(data) if len(data) <= 4 * MAX_METADATA else None
    if metadata is None or len(encoder.encode(metadata)) > MAX_METADATA:
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


# Nothing is tried twice, and a string that never ends goes to the end of the text: where each quote in it was a new
# beginning, one frame of 64 KiB held up the whole server for half a minute.
_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_ALIKE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))


def _nests_too_deep(text: bytes) -> bool:
    """Whether the arrays and objects of a JSON text go too deep, brackets inside of strings left out.

    Each round takes away the innermost pairs: 0.5 ms for 64 KiB of them, where going from byte to byte takes 10.
    """
    if text.count(b"{") + text.count(b"[") <= MAX_NESTING:
        return False
    brackets = _STRINGS.sub(b"", text).translate(_ALIKE, _NO_BRACKETS)
    for _ in range(MAX_NESTING):
        brackets = brackets.replace(b"[]", b"")
    return b"[]" in brackets
