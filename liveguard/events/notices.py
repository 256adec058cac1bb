"""A notice is what the server says to many, encoded once; a request is what one connection asked for."""

from collections.abc import Callable
from functools import cache
from typing import Any, Protocol, TypeVar

from liveguard.errors import Refusal
from liveguard.events.server import GuardianSessionStarted, ServerEvent, SessionEnded
from liveguard.events.vocabulary import Person, encoder

T = TypeVar("T")


_IN_JOURNAL = GuardianSessionStarted, SessionEnded


class Notice:
    """A server event, encoded once for all who receive it, and framed once for each transport.

    ``seq`` is the event's place in the journal, or 0 where it has none.
    """

    __slots__ = ("data", "event", "frames", "seq")

    def __init__(self, event: ServerEvent) -> None:
        self.event = event
        self.data: bytes = encoder.encode(event)
        self.seq: int = (event.seq or 0) if isinstance(event, _IN_JOURNAL) else 0
        self.frames: dict[Callable[[Notice], Any], Any] = {}  # what was made by :meth:`framed`

    def text(self, reply_to: str | None = None) -> bytes:
        """The JSON text of a native frame; ``reply_to`` is the id of the frame that this answers."""
        head = _head(self.event.name)
        if reply_to is not None:
            head += b'"replyTo":%b,' % encoder.encode(reply_to)
        return head + b'"data":' + self.data + b"}"

    def framed(self, framer: "Callable[[Notice], T]") -> T:
        """What ``framer`` makes of this notice; made at the first call, kept for the others."""
        try:
            frame: T = self.frames[framer]
        except KeyError:
            frame = self.frames[framer] = framer(self)
        return frame


@cache
def _head(name: str) -> bytes:
    return b'{"event":"%b",' % name.encode()


class Connection(Protocol):
    """One open connection of a person, as all see it who do not carry its bytes."""

    person: Person
    opened_at: float  # seconds of the monotonic clock
    last_heard: float

    @property
    def browser(self) -> str | None:
        """What the pages of one browser have in common; None for a program's connection."""

    def send(self, notice: Notice, request: "Request | None" = None) -> None:
        """Queue a notice. Never waits, never raises. With a request, it is the direct answer to it."""

    def catch_up(self, notices: list[Notice]) -> None:
        """Send what a newcomer must hear first, at the pace at which it is read; whatever is sent later comes after."""

    def close(self, code: int, refusal: Refusal | None = None) -> None:
        """Close it from this side; the refusal, if any, is the last that the client hears."""


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
