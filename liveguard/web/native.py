"""Connections over the native transport: one JSON object in each text frame of a WebSocket."""

from collections import deque
from collections.abc import Iterable
from typing import Final

from liveguard.errors import InvalidMessage, Refusal
from liveguard.events import Notice, Request, decode_event, decode_frame, frame_id
from liveguard.events.close_codes import TRY_AGAIN
from liveguard.people import Visitor
from liveguard.web.connection import Connection, last_word
from liveguard.web.connections import Connections
from liveguard.web.websocket import ping_frame, text_frame
from liveguard.web.wire import Wire
from liveguard.web.wires import Wires

PORTION: Final = 64 * 1024  # bytes

_PING = ping_frame()


class NativeConnection(Wire, Connection):
    """A connection of a ward or of a guardian over a WebSocket."""

    __slots__ = ("_backlog", "_since")

    def __init__(
        self,
        wires: Wires,
        connections: Connections,
        visitor: Visitor,
        *,
        as_ward: bool,
        since: int | None,
    ) -> None:
        Wire.__init__(self, wires)
        Connection.__init__(self, connections, visitor, as_ward=as_ward, as_guardian=not as_ward)
        self._since = since
        self._backlog: Backlog | None = None

    # -- as a connection -------------------------------------------------------------------------------------------

    def send(self, notice: Notice, request: Request | None = None) -> None:
        if self.closing:
            return
        if request is None:
            frame = notice.frames.get(frame_of) or notice.framed(frame_of)
        else:
            frame = text_frame(notice.text(request.id))
        if self._backlog is None:
            if notice.seq:
                self.sent(notice.seq)
            self.write(frame)
        elif not self._backlog.add(notice.seq, frame, self._wires.max_unsent):
            self.shut(TRY_AGAIN)

    def catch_up(self, notices: list[Notice]) -> None:
        self._caught_up = True
        self._backlog = Backlog((notice.seq, notice.framed(frame_of)) for notice in notices)
        self._go_on()

    def close(self, code: int, refusal: Refusal | None = None) -> None:
        self.shut(code, b"" if refusal is None else refusal_frame(refusal))

    def ping(self) -> None:
        self.write(_PING)

    def all_arrived(self) -> bool:
        return self._backlog is None and self.arrived

    # -- as a wire -------------------------------------------------------------------------------------------------

    def opened(self) -> None:
        self.arrive(self._since)

    def text_came(self, payload: bytes) -> None:
        try:
            frame = decode_frame(payload)
        except InvalidMessage as refusal:
            self.reject(Request(self, "", frame_id(payload)), refusal)
            return
        self.handle(Request(self, frame.event, frame.id), decode_event, frame.data)

    def binary_came(self, payload: bytes) -> None:
        self.reject(Request(self, ""), InvalidMessage("A message is text, not binary"))

    heard = Connection.heard

    def gone(self, own_word: bool) -> None:
        self._backlog = None
        Connection.gone(self, own_word)

    def due(self, now: float) -> float | None:
        return Wire.due(self, now) if self.closing else Connection.due(self, now)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._go_on()

    def _go_on(self) -> None:
        """Send on of what waits until the client has read what came before it."""
        self.flush()
        while self._backlog is not None and not self.choked and not self.closing:
            seq, frames = self._backlog.take(PORTION)
            if not self._backlog:
                self._backlog = None
            self.sent(seq)
            self.hand_on(frames)


class Backlog:
    """What a connection has still to hear before anything new."""

    def __init__(self, frames: Iterable[tuple[int, bytes]]) -> None:
        self._frames = deque(frames)
        self._added = 0  # bytes

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, seq: int, frame: bytes, most: int) -> bool:
        """Queue something new behind it. False where more than ``most`` bytes of new things would wait."""
        self._frames.append((seq, frame))
        self._added += len(frame)
        return self._added <= most

    def take(self, size: int) -> tuple[int, bytes]:
        """The next few frames, about ``size`` bytes, and the highest ``seq`` among them."""
        newest, taken = 0, bytearray()
        while self._frames and len(taken) < size:
            seq, frame = self._frames.popleft()
            newest = max(newest, seq)
            taken += frame
        return newest, bytes(taken)


def frame_of(notice: Notice) -> bytes:
    """The frame of a notice, as everybody gets it who did not ask for it."""
    return text_frame(notice.text())


def refusal_frame(refusal: Refusal) -> bytes:
    """The frame of a refusal that is not the answer to a message."""
    return frame_of(last_word(refusal))
