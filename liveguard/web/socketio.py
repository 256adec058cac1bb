"""Socket.IO, the second door to the same live sessions: python-socketio's protocol, connections like all others.

python-socketio signs in and out, and knows the packets of that. An event goes straight from its line to its connection,
which reads it as the native transport does, and back as a packet that is made once for all who receive it.
"""

import logging
import re
from time import monotonic
from typing import Any, Final

import socketio
from socketio.exceptions import ConnectionRefusedError as Refused

from liveguard.errors import (
    AuthenticationError,
    InvalidMessage,
    Refusal,
    StorageUnavailable,
    TooManyConnections,
    Unavailable,
)
from liveguard.events import Notice, Request, decode_array, decode_event, decode_token
from liveguard.events.close_codes import INTERNAL_ERROR, NOT_AUTHENTICATED, PROTOCOL_ERROR, TOO_MANY, TRY_AGAIN
from liveguard.faults import log_fault
from liveguard.people import Visitor
from liveguard.web.connection import Connection, last_word
from liveguard.web.connections import Connections
from liveguard.web.engineio import Engine, EngineDoor
from liveguard.web.keepalive import Metronome
from liveguard.web.line import Line
from liveguard.web.native import PORTION, Backlog
from liveguard.web.packets import (
    BINARY_EVENT,
    CONNECT,
    CONNECT_ERROR,
    DISCONNECT,
    EVENT,
    MESSAGE,
    PING,
    SEPARATOR,
    ack_packet,
    packet_of,
)
from liveguard.web.wires import Wires

log = logging.getLogger("socketio")

FINAL: Final = (NOT_AUTHENTICATED, TOO_MANY)  # codes after which a client should not try again by itself
MOST_ATTACHMENTS: Final = 10  # that belong to a message which was refused

_EVENT = re.compile(rb"([0-9]{0,15})(\[.*)", re.DOTALL)
_BINARY_EVENT = re.compile(rb"([0-9]{1,15})-([0-9]{0,15})(\[.*)", re.DOTALL)
_CONNECT = re.compile(rb"(/[^,]*)?,?(.*)", re.DOTALL)


class Roll(socketio.AsyncManager):  # type: ignore[misc]
    """Who is signed in, as python-socketio keeps it: in one room of all, and nobody in a room of their own.

    Nobody is spoken to through such rooms, and for each who goes it looks through all that there are.
    """

    def basic_enter_room(self, sid: str, namespace: str, room: str | None, eio_sid: str | None = None) -> None:
        if room != sid:
            super().basic_enter_room(sid, namespace, room, eio_sid=eio_sid)


class SocketIO(socketio.AsyncServer):  # type: ignore[misc]
    """The server's side of Socket.IO: who signs in over which line, and which packet is whose."""

    def __init__(self, connections: Connections, wires: Wires) -> None:
        self.connections = connections
        self.wires = wires
        super().__init__(client_manager=Roll(), logger=log, engineio_logger=log, server=self)
        self.on("connect", self._sign_in)

    def _engineio_server_class(self) -> type[Engine]:
        return Engine

    async def serve(self, door: EngineDoor) -> None:
        """Answer one request at ``/socket.io/``."""
        await self.eio.serve(door)

    def close(self, code: int) -> None:
        """Close what is still open and has nobody who speaks over it."""
        for line in list(self.eio.sockets.values()):
            line.shut(code)

    # -- packets ---------------------------------------------------------------------------------------------------

    def message_came(self, line: Line, packet: bytes) -> None:
        """A packet of Socket.IO has arrived."""
        kind, rest = packet[:1], packet[1:]
        connection = line.connection
        if kind == CONNECT:
            self._wants_in(line, rest)
        elif connection is None:
            line.shut(PROTOCOL_ERROR)
        elif kind == EVENT:
            connection.event_came(rest)
        elif kind == DISCONNECT and rest in (b"", b"/", b"/,"):
            self._forget(line)
            line.sign_out()
            self._is_too_much(line)
        else:
            connection.other_came(kind, rest)

    def binary_came(self, line: Line) -> None:
        """Something other than a text has arrived."""
        if line.connection is None:
            line.shut(PROTOCOL_ERROR)
        else:
            line.connection.binary_came()

    # -- coming and going ------------------------------------------------------------------------------------------

    def _wants_in(self, line: Line, rest: bytes) -> None:
        found = _CONNECT.fullmatch(rest)
        namespace, auth = (found[1] or b"/", found[2]) if found else (b"/", rest)
        if namespace.partition(b"?")[0] != b"/":
            if self._is_too_much(line):
                return
            line.write(MESSAGE + CONNECT_ERROR + namespace + b',{"message":"Invalid namespace"}')
        elif line.entering or line.connection is not None:
            line.shut(PROTOCOL_ERROR)
        else:
            line.entering = True
            self.connections.spawn(self._enter(line, decode_token(auth)))

    def _is_too_much(self, line: Line) -> bool:
        """Count a packet that is nobody's message. To come back takes another one first, so that needs no counting."""
        too_much = not line.bucket.take(monotonic())
        if too_much:
            line.shut(TOO_MANY, MESSAGE + DISCONNECT)
        return too_much

    async def _enter(self, line: Line, token: object) -> None:
        try:
            await self._handle_connect(line.sid, "/", {"token": token})
        except Exception as fault:
            log_fault("a sign-in", fault)
            line.shut(INTERNAL_ERROR)
        line.entering = False
        if line.closing:
            self.ended(line)
        elif line.connection is None:
            line.shut(NOT_AUTHENTICATED)
        else:
            # Only now, for what is said to a newcomer must not overtake the packet that lets it in.
            line.connection.arrive()

    async def _sign_in(self, sid: str, environ: dict[str, Any], auth: dict[str, Any]) -> None:
        """python-socketio's ``connect``: raises what the client hears as ``connect_error``."""
        line: Line = environ["line"]
        try:
            visitor = await self.connections.doorkeeper.sign_in(auth["token"])
        except AuthenticationError as refusal:
            raise Refused(refusal.message, {"code": refusal.code}) from None
        except (StorageUnavailable, Unavailable):
            line.shut(TRY_AGAIN)
            raise Refused from None
        if not line.closing:
            line.sign_in(SocketIOConnection(line, self.connections, visitor, self.wires.max_unsent))

    def ended(self, line: Line) -> None:
        """A line is gone; while somebody is being signed in over it, python-socketio is not to forget it yet."""
        self.eio.sockets.pop(line.sid, None)
        if not line.entering:
            self._forget(line)
            self.environ.pop(line.sid, None)

    def _forget(self, line: Line) -> None:
        sid = self.manager.sid_from_eio_sid(line.sid, "/")
        if sid is not None:
            self.manager.basic_disconnect(sid, "/")


class SocketIOConnection(Connection):
    """A connection over a line of Socket.IO. It speaks as a ward and as a guardian, as the original clients do."""

    def __init__(self, line: Line, connections: Connections, visitor: Visitor, max_unsent: int) -> None:
        super().__init__(connections, visitor, as_ward=True, as_guardian=True)
        # The client takes a server for dead that does not ping it regularly, whatever else it hears.
        self.pulse = Metronome(connections.limits.ward_rhythm)
        self._bucket = line.bucket
        self._line = line
        self._max_unsent = max_unsent
        self._backlog: Backlog | None = None
        self._attachments = 0  # still to come, of a message that was refused

    # -- as a connection -------------------------------------------------------------------------------------------

    def send(self, notice: Notice, request: Request | None = None) -> None:
        if self._line.closing:
            return
        # The acknowledgement comes first: a client that waits for both knows the event for its answer.
        ack = None if request is None or request.id is None else ack_packet(notice, request.id)
        if self._backlog is None:
            if notice.seq:
                self.sent(notice.seq)
            if ack is not None:
                self._line.write(ack)
            self._line.tell(notice)
        else:
            packet = notice.framed(packet_of) if ack is None else ack + SEPARATOR + notice.framed(packet_of)
            if not self._backlog.add(notice.seq, packet + SEPARATOR, self._max_unsent):
                self._line.shut(TRY_AGAIN)

    def catch_up(self, notices: list[Notice]) -> None:
        self._caught_up = True
        told = [notice for notice in notices if not notice.event.native_only]
        if told:
            self._backlog = Backlog((notice.seq, notice.framed(packet_of) + SEPARATOR) for notice in told)
            self.go_on()

    def go_on(self) -> None:
        """Send on of what waits until the client has read what came before it."""
        while self._backlog is not None and not self._line.choked and not self._line.closing:
            seq, packets = self._backlog.take(PORTION)
            if not self._backlog:
                self._backlog = None
            self.sent(seq)
            self._line.pour(packets.removesuffix(SEPARATOR))

    def close(self, code: int, refusal: Refusal | None = None) -> None:
        last_words = [] if refusal is None else [packet_of(last_word(refusal))]
        if code in FINAL and not isinstance(refusal, TooManyConnections):  # room there may be in a moment
            last_words.append(MESSAGE + DISCONNECT)
        self._line.shut(code, SEPARATOR.join(last_words))

    def ping(self) -> None:
        self._line.write(PING)

    def all_arrived(self) -> bool:
        return self._backlog is None and self._line.arrived

    def progress(self) -> tuple[int, int]:
        return self._line.progress()

    def gone(self, own_word: bool) -> None:
        self._backlog = None
        self._connections.sweep.forget(self)
        super().gone(own_word)

    # -- what arrives ----------------------------------------------------------------------------------------------

    def event_came(self, packet: bytes) -> None:
        """An event: an id where an acknowledgement is wanted, then an array."""
        found = _EVENT.fullmatch(packet)
        id = found[1] or None if found else None
        try:
            frame = decode_array(found[2] if found else packet)
        except InvalidMessage as refusal:
            self.reject(Request(self, "", id), refusal)
            return
        self.handle(Request(self, frame.event, id), decode_event, frame.data)

    def other_came(self, kind: bytes, packet: bytes) -> None:
        """Something other than an event."""
        found = _BINARY_EVENT.fullmatch(packet) if kind == BINARY_EVENT else None
        if found is None:
            self.reject(Request(self, ""), InvalidMessage("This is no event"))
            return
        self._attachments = min(int(found[1]), MOST_ATTACHMENTS)
        try:
            event = decode_array(found[3]).event
        except InvalidMessage:
            event = ""
        self.reject(Request(self, event, found[2] or None), InvalidMessage("A message is text, not binary"))

    def binary_came(self) -> None:
        """An attachment, which nobody keeps, or something else that is no text."""
        if self._attachments:
            self._attachments -= 1
        else:
            self.reject(Request(self, ""), InvalidMessage("A message is text, not binary"))
