"""A WebSocket on a transport of the event loop.

Tornado answers the upgrade and gives the socket away; from then on a :class:`Wire` has it. Staying inside of Tornado's
WebSocketHandler costs two to three times as much for each message, and 15 KiB instead of 4 for each connection.
"""

import asyncio
import socket
from collections.abc import Iterator
from time import monotonic
from typing import Final, cast

from liveguard.events.close_codes import NO_CODE, NORMAL, TRY_AGAIN
from liveguard.faults import log_fault
from liveguard.web.stream import arrived, under_way
from liveguard.web.websocket import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    Message,
    MessageReader,
    ProtocolError,
    close_code,
    close_frame,
    pong_frame,
)
from liveguard.web.wires import Wires

# Messages of one client in a turn of the loop, some 3 ms; each 256 bytes count as one more. What is seen at a glance is
# not counted: 170 empty texts are refused in a quarter of that.
MOST_AT_ONCE: Final = 100
LINGER: Final = 2.0  # seconds for the other side to answer a close frame
LINGER_UNSENT: Final = 5.0  # seconds for the other side to read what it is too slow for


class Wire(asyncio.Protocol):
    """One WebSocket, the server's end. Those who derive from it say what is to be done with what arrives.

    ``prologue`` is what goes out first, and what has been read before there was a wire; ``socket`` is the transport's.
    """

    # Beyond 29 attributes an instance of CPython gets a dictionary of its own, which a look at each of 1,000 guardians
    # is slow to find its way through: 1.12 times the deliveries without.
    __slots__ = (
        "_buffered",
        "_outbox",
        "_reader",
        "_reading",
        "_shut_at",
        "_wires",
        "choked",
        "closing",
        "prologue",
        "socket",
        "transport",
        "turn",
    )

    def __init__(self, wires: Wires) -> None:
        self.turn = 0
        self.prologue = b"", b""
        self.closing = False  # a close frame was sent; what still arrives is not looked at
        self.choked = False  # a good deal waits to be sent
        self._wires = wires
        self.transport = cast(asyncio.Transport, None)
        self.socket = cast(socket.socket, None)
        self._reader: MessageReader | None = MessageReader(wires.max_message)
        self._outbox: list[bytes] = []
        self._buffered = False  # it may be that something waits in the transport
        self._reading = False
        self._shut_at = 0.0

    # -- for those who derive --------------------------------------------------------------------------------------

    def opened(self) -> None:
        """The first thing that happens, before anything is read."""

    def text_came(self, payload: bytes) -> None:
        """A text has arrived, in UTF-8. Must not raise."""

    def binary_came(self, payload: bytes) -> None:
        """Something other than a text has arrived. Must not raise."""

    def heard(self) -> None:
        """Bytes have arrived, whatever they are; called before they are looked at."""

    def gone(self, own_word: bool) -> None:
        """It is over, by the client's own word or not. The first call counts; more may follow."""

    # -- sending ---------------------------------------------------------------------------------------------------

    def write(self, frame: bytes) -> None:
        """Send a frame, now or with the others of this turn, or after all that is being read is answered."""
        if self.closing:
            return
        if self._wires.at_once and not self._buffered and not self._reading:
            self._send(frame)
            return
        if not self._outbox and not self._reading:
            self._wires.flush_later(self)
        self._outbox.append(frame)

    def flush(self) -> None:
        """Send what is queued."""
        outbox = self._outbox
        if not outbox:
            return
        data = b"".join(outbox)
        outbox.clear()
        self._send(data)

    def _send(self, data: bytes) -> None:
        """Send something. Whatever becomes of it, nothing is raised: others are told after this one."""
        try:
            if self._buffered:
                self._send_behind(data)
                return
            # Past the transport: 1.08 times the sessions, 1.05 times the deliveries.
            try:
                sent = self.socket.send(data)
            except BlockingIOError:
                sent = 0
            if sent < len(data):
                self.hand_on(data[sent:])
        except Exception as fault:
            if not isinstance(fault, OSError):
                log_fault("a wire", fault)
            self.give_up()

    def hand_on(self, data: bytes) -> None:
        """Let the transport send something at its own pace."""
        self._buffered = True
        self.transport.write(data)

    def _send_behind(self, data: bytes) -> None:
        """Send what may have to wait for something else."""
        unsent = self.transport.get_write_buffer_size()
        if not unsent:
            self._buffered = False
            self._send(data)
            return
        # What does not fit is dropped: the client reads too slowly, and hears of it when it is back. A single
        # message of any size may wait, though.
        if unsent + len(data) > self._wires.max_unsent and not self.closing:
            self.shut(TRY_AGAIN)
            return
        self.hand_on(data)

    @property
    def unsent(self) -> int:
        """The bytes that wait to be sent."""
        return self.transport.get_write_buffer_size() + sum(map(len, self._outbox))

    @property
    def arrived(self) -> bool:
        """Whether all that was to be sent is at the other side, and not in a kernel of ours any more."""
        return not self.unsent and not under_way(self.socket)

    def progress(self) -> tuple[int, int]:
        """The bytes that have arrived at the other side, and the same with all that is on its way."""
        so_far = arrived(self.socket)
        return so_far, so_far + self.unsent + under_way(self.socket)

    # -- closing ---------------------------------------------------------------------------------------------------

    def shut(self, code: int, last_word: bytes = b"") -> None:
        """Close from this side: a close frame, and the other side has a moment to answer it.

        Until then everything is read, for a socket that is closed with unread data resets the connection, and the
        client may lose what it has not read yet.
        """
        if self.closing:
            return
        self.closing = True
        self.gone(False)
        self._outbox.append(last_word + close_frame(code))
        self.flush()
        self._linger()

    def _linger(self) -> None:
        self._shut_at = monotonic()
        self._wires.sweep.watch(self, self._shut_at + LINGER)

    def due(self, now: float) -> float | None:
        """The sweep comes by: whoever has not closed by now, is cut off."""
        unread = self._shut_at + LINGER_UNSENT
        if now < unread and self.transport.get_write_buffer_size():
            return unread
        self.transport.abort()
        return None

    def give_up(self) -> None:
        """Close without a word, and let nothing follow what could not be sent."""
        self.closing = True
        self.transport.abort()

    def _close_frame_came(self, payload: bytes) -> None:
        if not self.closing:
            code = close_code(payload)
            self.closing = True
            self.gone(code in (NORMAL, NO_CODE))
            self._outbox.append(close_frame(code))
            self.flush()
            self._linger()
        # RFC 6455, 7.1.1: it is the server that closes the connection below.
        self.transport.close()

    # -- asyncio.Protocol ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._wires.opened(self)
        (first_words, early), self.prologue = self.prologue, (b"", b"")
        self.hand_on(first_words)
        self.opened()
        if early:
            self.data_received(early)

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        if reader is None:
            return
        if not self.closing:
            self.heard()
            texts = reader.glance(data)
            if texts is not None:
                if texts:
                    self._take_in(texts)
                return
        self._read(reader.feed(data))

    def _take_in(self, texts: list[bytes]) -> None:
        if len(texts) == 1:
            self._wires.message_came()
        self._reading = True
        for text in texts:
            if not self.closing:
                self.text_came(text)
        self._reading = self._wires.at_once = False
        self.flush()

    def _read(self, messages: Iterator[Message]) -> None:
        """Take in messages, but no more of them than others may wait for; the rest comes in a later turn."""
        self._reading = True
        left = MOST_AT_ONCE
        try:
            for opcode, payload in messages:
                if opcode == CLOSE:
                    self._close_frame_came(payload)
                elif not self.closing:
                    self._take(opcode, payload)
                left -= 1 + len(payload) // 256
                if left <= 0 and not self.transport.is_closing():
                    self.transport.pause_reading()
                    self._wires.loop.call_soon(self._read_on, messages)
                    break
        except ProtocolError as fault:
            self._reader = None
            self.shut(fault.code)
        self._reading = False
        self.flush()

    def _read_on(self, messages: Iterator[Message]) -> None:
        if self._reader is not None and not self.transport.is_closing():
            self.transport.resume_reading()
            self._read(messages)

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            self.text_came(payload)
        elif opcode == PING:
            self.write(pong_frame(payload))
        elif opcode == BINARY:
            self.binary_came(payload)

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone(False)
        self.closing = True
        self._outbox.clear()
        self._reader = None
        self._wires.sweep.forget(self)
        self._wires.closed(self)

    def pause_writing(self) -> None:
        self.choked = True

    def resume_writing(self) -> None:
        self.choked = False


class Farewell(Wire):
    """A WebSocket that was opened only to say why it is closed again."""

    def __init__(self, wires: Wires, address: str, code: int, last_word: bytes) -> None:
        super().__init__(wires)
        self._address = address
        self._code = code
        self._last_word = last_word

    def opened(self) -> None:
        self._wires.strangers.count(self, self._address)
        self.shut(self._code, self._last_word)
