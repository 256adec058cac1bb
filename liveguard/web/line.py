"""A line: what Engine.IO calls a session, over long polling or over a WebSocket, and the way from one to the other.

python-engineio keeps a task, an unbounded queue and a timer of the wall clock for each of its sockets; a line keeps
what waits to be sent, and not more of it than others may have. Who speaks over it, and when they are dead, is for
those who use it.
"""

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from engineio.exceptions import EngineIOError

from liveguard.events import Notice
from liveguard.events.close_codes import NORMAL, PROTOCOL_ERROR, TRY_AGAIN
from liveguard.web.limits import Bucket
from liveguard.web.line_wire import LineWire
from liveguard.web.packets import (
    BINARY,
    CLOSE,
    MESSAGE,
    MOST_ANSWERED,
    NOOP,
    PONG,
    SEPARATOR,
    Response,
    frame_of,
    frames_of,
    packet_of,
    packets_of,
    payload,
)
from liveguard.web.websocket import text_frame
from liveguard.web.wire import LINGER, MOST_AT_ONCE

if TYPE_CHECKING:
    from liveguard.web.engineio import EngineDoor
    from liveguard.web.socketio import SocketIO, SocketIOConnection

PATIENCE: Final = 10.0  # seconds for somebody to sign in over a line


class Line:
    """One session of Engine.IO. python-engineio knows it as one of its sockets, by what it needs of them."""

    connected = True

    def __init__(self, server: "SocketIO", sid: str, address: str, *, polled: bool) -> None:
        """A line that nobody has signed in yet. Raises TooManyConnections."""
        self.sid = sid
        self.address = address
        self.turn = 0
        self.connection: SocketIOConnection | None = None  # of whoever is signed in
        self.bucket = Bucket(server.connections.limits)  # one for all who come and go over it
        self.entering = False  # somebody is being signed in
        self.closing = False  # nothing is sent any more, and what arrives is not looked at
        self.closed = False
        self._server = server
        self._wires = server.wires
        self._wire: LineWire | None = None
        self._probe: LineWire | None = None
        self._outbox: list[bytes] = []  # packets that wait for a poll
        self._waiting = 0  # bytes of them
        self._in_flight = 0  # bytes of which the client has not yet said, by another poll, that they have arrived
        self._poll: asyncio.Future[None] | None = None
        self._posting = False
        if polled:  # a WebSocket counts by itself
            self._wires.strangers.come(self, address)
        self._wires.opened(self)
        self._wait_for_sign_in()

    # -- who uses it -----------------------------------------------------------------------------------------------

    def sign_in(self, connection: "SocketIOConnection") -> None:
        """From now on somebody is there."""
        self.connection = connection
        self._wires.strangers.gone(self._wire or self)
        self._wires.sweep.forget(self)

    def sign_out(self) -> None:
        """They have taken their leave, and may come again on the same line."""
        connection, self.connection = self.connection, None
        if connection is not None:
            self._wires.strangers.count(self._wire or self, self.address)
            self._wait_for_sign_in()
            connection.gone(True)

    def _wait_for_sign_in(self) -> None:
        self._wires.sweep.watch(self, monotonic() + PATIENCE)

    def due(self, now: float) -> None:
        """The sweep comes by: nobody was signed in in time, or nobody fetched the last words."""
        if self.closing:
            self.lost()
        else:
            self.shut(NORMAL)

    # -- sending ---------------------------------------------------------------------------------------------------

    @property
    def upgraded(self) -> bool:
        """Whether this is a WebSocket by now."""
        return self._wire is not None

    @property
    def choked(self) -> bool:
        """Whether what was sent is still to be read."""
        return self._wire.choked if self._wire is not None else bool(self._outbox or self._in_flight)

    @property
    def unsent(self) -> int:
        """The bytes of which nobody knows yet that they have left, or on polling, arrived."""
        return self._wire.unsent if self._wire is not None else self._waiting + self._in_flight

    @property
    def arrived(self) -> bool:
        """Whether all that was to be sent is at the other side."""
        return self._wire.arrived if self._wire is not None else not self.unsent

    def progress(self) -> tuple[int, int]:
        """The bytes that have arrived at the other side, and the same with all that is on its way; of polls, nothing
        is known."""
        return self._wire.progress() if self._wire is not None else (0, 0)

    def tell(self, notice: Notice) -> None:
        """Send a notice in the form that all others get as well."""
        if self._wire is not None:
            self._wire.write(notice.frames.get(frame_of) or notice.framed(frame_of))
        else:
            self._keep(notice.framed(packet_of))

    def write(self, packet: bytes) -> None:
        """Send a packet."""
        if self._wire is not None:
            self._wire.write(text_frame(packet))
        else:
            self._keep(packet)

    def pour(self, packets: bytes) -> None:
        """Send several packets with separators between them, at once and however many they are."""
        if self._wire is not None:
            self._wire.pour(frames_of(packets))
        else:
            self._waiting += len(packets)
            self._outbox.append(packets)
            self._end_poll()

    def _keep(self, packet: bytes) -> None:
        if self.closing:
            return
        # As on a wire: a single message of any size may wait, several only up to a bound.
        if self.unsent and self.unsent + len(packet) > self._wires.max_unsent:
            self.shut(TRY_AGAIN)
            return
        self._waiting += len(packet)
        self._outbox.append(packet)
        self._end_poll()

    def _end_poll(self) -> None:
        if self._poll is not None and not self._poll.done():
            self._poll.set_result(None)

    # -- its end ---------------------------------------------------------------------------------------------------

    def shut(self, code: int, last_words: bytes = b"") -> None:
        """Close from this side, which is a loss; the last words are packets with separators between them."""
        if self.closing:
            return
        self._leave()
        if self._wire is not None:
            self._wire.shut(code, frames_of(last_words) if last_words else b"")
            return
        self._outbox += [last_words, CLOSE] if last_words else [CLOSE]
        self._end_poll()
        self._wires.sweep.watch(self, monotonic() + LINGER)

    def lost(self) -> None:
        """The other side is gone, without a word."""
        if self.closed:
            return
        self._leave()
        self.closed = True
        wires = self._wire, self._probe
        # They know the line: with this they are gone as soon as they are closed, without the collector.
        self._wire = self._probe = None
        for wire in wires:
            if wire is not None:
                wire.shut(NORMAL)
        self._outbox.clear()
        self._end_poll()
        self._wires.sweep.forget(self)
        self._wires.closed(self)
        self._server.ended(self)
        self.connection = None

    def wire_gone(self, wire: "LineWire") -> None:
        """A WebSocket has closed: that of the line, or one to which it might have changed."""
        if wire is self._wire:
            self.lost()
        elif wire is self._probe:
            self._probe = None

    def _leave(self) -> None:
        if not self.closing:
            self.closing = True
            if self.connection is not None:
                self.connection.gone(False)

    async def close(self, reason: str) -> None:
        """Called by python-engineio where a request breaks its rules."""
        self.lost()

    # -- what arrives ----------------------------------------------------------------------------------------------

    def heard(self) -> None:
        """There was a sign of life."""
        if self.connection is not None and not self.closing:
            self.connection.heard()

    def drained(self) -> None:
        """What was sent has been read."""
        if self.connection is not None and not self.closing:
            self.connection.go_on()

    def packet_came(self, packet: bytes) -> None:
        """One packet has arrived."""
        kind = packet[:1]
        if kind == MESSAGE:
            self._server.message_came(self, packet[1:])
        elif kind == BINARY:
            self.binary_came()
        elif kind == CLOSE:
            self.lost()
        elif kind != PONG:
            self.shut(PROTOCOL_ERROR)

    def binary_came(self) -> None:
        """Something other than a text has arrived."""
        self._server.binary_came(self)

    # -- polling ---------------------------------------------------------------------------------------------------

    async def handle_get_request(self, environ: dict[str, Any]) -> Response | None:
        """Called by python-engineio: an upgrade, or a poll, which is answered as soon as there is something to say."""
        if "HTTP_UPGRADE" in environ:
            if self._probe is not None:
                raise EngineIOError
            door: EngineDoor = environ["door"]
            await door.change_to(LineWire(self._wires, self))
            return None
        # A poll that is begun while another waits would steal its packets.
        if self._poll is not None:
            raise EngineIOError
        self._in_flight = 0
        self.heard()
        self.drained()
        if not self._outbox and self._probe is None and not self.closing:
            await self._something_to_say(environ["door"])
        return self._payload()

    async def _something_to_say(self, poll: "EngineDoor") -> None:
        if poll.gone:
            self.lost()
            return
        self._poll = self._wires.loop.create_future()
        poll.when_gone = self.lost
        try:
            await self._poll
        finally:
            poll.when_gone = self._poll = None

    def _payload(self) -> Response:
        packets = SEPARATOR.join(self._outbox).split(SEPARATOR) if self._outbox else []
        # CLOSE, the last packet, gets an answer of its own: socket.io-client drops what it has not told by then.
        most = min(MOST_ANSWERED, len(packets) - 1 or 1) if self.closing else MOST_ANSWERED
        answer, self._outbox = packets[:most], packets[most:]
        self._in_flight, self._waiting = sum(map(len, answer)), sum(map(len, self._outbox))
        if self.closing and self._outbox:
            self._wires.sweep.watch(self, monotonic() + LINGER)
        elif self.closing:
            self.lost()
        return payload(SEPARATOR.join(answer or [NOOP]))

    async def handle_post_request(self, environ: dict[str, Any]) -> None:
        """Called by python-engineio: a payload has come."""
        if self._posting:
            raise EngineIOError
        self._posting = True
        self.heard()
        try:
            for number, packet in enumerate(packets_of(environ["door"].request.body), 1):
                if self.closing:
                    break
                self.packet_came(packet)
                if number % MOST_AT_ONCE == 0:
                    await asyncio.sleep(0)  # others have their turn
        finally:
            self._posting = False

    # -- to WebSocket ----------------------------------------------------------------------------------------------

    def probe(self, wire: "LineWire") -> None:
        """The client tries a WebSocket; what is being polled, it wants to have before it changes over. It tries one:
        where several were asked for at once, the others are nobody's."""
        if self._probe is not None or self.upgraded or self.closed:
            wire.shut(PROTOCOL_ERROR)
            return
        self._probe = wire
        self._end_poll()

    def change_over(self, wire: "LineWire") -> None:
        """From now on all goes over a WebSocket. The client has read what it has polled."""
        self._wire, self._probe = wire, None
        self._wires.strangers.gone(self if self.connection is None else wire)
        if self._outbox:
            wire.pour(frames_of(SEPARATOR.join(self._outbox)))
        self._outbox, self._in_flight, self._waiting = [], 0, 0
        self._end_poll()
        self.heard()
        self.drained()
