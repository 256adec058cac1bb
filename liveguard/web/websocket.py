"""The WebSocket protocol as RFC 6455 has it, the server's side, without any I/O.

:class:`MessageReader` turns the bytes of one client into messages; the functions at the end build what a server sends.
Section numbers are those of the RFC. Extensions are never negotiated (9), so no reserved bit is ever in use.

A reader takes everything that has arrived in one go. Awaiting header, mask and payload of each frame one by one costs
about as much as all the rest of a small message together. Payloads are unmasked by Tornado, in C (5.3): 0.1 µs for 100
bytes and 7 for 64 KiB, where one XOR of two big numbers takes 0.6 and 130.
"""

from codecs import IncrementalDecoder, getincrementaldecoder
from collections.abc import Iterator
from typing import Final

from tornado.util import _websocket_mask as unmasked

from liveguard.events.close_codes import INVALID_DATA, NO_CODE, PROTOCOL_ERROR, TOO_BIG

# 5.2, 11.8: the opcodes. Those of control frames have the highest bit.
CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

Message = tuple[int, bytes]
UNDER_WAY: Final[Message] = CONTINUATION, b""

_FIN = 0x80
_RESERVED_BITS = 0x70
_OPCODE = 0x0F
_CONTROL = 0x08
_MASKED = 0x80
_LENGTH = 0x7F
_SHORT = 1024  # bytes
_WHOLE_TEXT = _FIN | TEXT
_WHOLE_PONG = _FIN | PONG
_OPCODES = (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG)


class ProtocolError(Exception):
    """The client broke the protocol: the connection is to be failed with ``code`` (7.1.7)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class MessageReader:
    """Reads the frames of one client and puts fragmented messages together.

    Neither a frame nor a whole message may be longer than ``limit`` bytes.
    """

    __slots__ = ("_fragments", "_kind", "_limit", "_rest", "_size", "_text", "_wanted")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest: bytes | bytearray = b""  # the beginning of a frame that has not arrived as a whole
        self._wanted = 0  # as many bytes must be there before it is worth another look
        self._kind: int | None = None  # the opcode of the fragmented message under way
        self._fragments: list[bytes] = []
        self._size = 0
        self._text: IncrementalDecoder | None = None

    def feed(self, data: bytes) -> Iterator[Message]:
        """Opcode and payload of each message that ``data`` completes, control frames among them, in order.

        For a frame that completes none there is UNDER_WAY, so that whoever shares out the time can count it.

        Raises ProtocolError where the fault is, after the messages in front of it. After that, or after a message
        with the opcode CLOSE, there is nothing more to be read (5.5.1, 7.1.7).
        """
        if self._rest:
            self._rest += data
            if len(self._rest) < self._wanted:
                return
            data = bytes(self._rest)
        at = 0
        while frame := self._next_frame(data, at):
            first, payload, at = frame
            if first == _WHOLE_TEXT and self._kind is None:
                yield TEXT, _checked_text(payload)
            elif first & _CONTROL:
                yield first & _OPCODE, _checked_close(payload) if first & _OPCODE == CLOSE else payload
            else:
                yield self._defragment(first, payload)
        self._rest = bytearray(data[at:]) if at < len(data) else b""

    def glance(self, data: bytes) -> list[bytes] | None:
        """What ``data`` says, where that is seen at a glance: the payloads of a few short texts, or of none where it is
        one empty pong. That is what most clients send; all else is None, and for :meth:`feed`, which takes twice as
        long for it.
        """
        size = len(data)
        if self._rest or size > _SHORT or self._kind is not None:
            return None
        if size == 6 and data[0] == _WHOLE_PONG and data[1] == _MASKED:
            return []
        texts: list[bytes] = []
        at = 0
        while at < size:
            start = at + 6
            if start > size or data[at] != _WHOLE_TEXT:
                return None
            length = data[at + 1] - _MASKED
            if length == 126:
                # The real length follows.
                length = data[at + 2] << 8 | data[at + 3]
                start += 2
            elif not 0 <= length < 126:
                return None
            at = start + length
            if at > size or length > self._limit:
                return None
            text = unmasked(data[start - 4 : start], data[start:at])
            if not text.isascii():
                return None
            texts.append(text)
        return texts

    # -- 5.2  Base framing protocol -------------------------------------------------------------------------------
    #
    #   FIN RSV1 RSV2 RSV3 opcode(4) | MASK length(7) | length(16 or 64) | masking key(32) | payload

    def _next_frame(self, data: bytes, at: int) -> tuple[int, bytes, int] | None:
        """The first byte and the payload of the frame that begins at ``at``, and where the next one begins.

        None while the frame is not complete. What its header forbids is refused at once, not when the rest is there.
        """
        there = len(data) - at
        if there < 2:
            self._wanted = 2
            return None
        first, second = data[at], data[at + 1]
        length = second & _LENGTH
        self._check_header(first, second, length)
        header = 6
        if length >= 126:
            extended = 2 if length == 126 else 8
            header += extended
            if there < 2 + extended:
                self._wanted = 2 + extended
                return None
            length = int.from_bytes(data[at + 2 : at + 2 + extended], "big")
            if length >> 63:
                raise ProtocolError(PROTOCOL_ERROR, "the most significant bit of a length must be 0")
        if length + self._size > self._limit and not first & _CONTROL:
            raise ProtocolError(TOO_BIG, "message too big")
        start = at + header
        end = start + length
        if there < header + length:
            self._wanted = header + length
            return None
        return first, unmasked(data[start - 4 : start], data[start:end]), end

    def _check_header(self, first: int, second: int, length: int) -> None:
        if first & _RESERVED_BITS:
            raise ProtocolError(PROTOCOL_ERROR, "no extension was negotiated that uses a reserved bit")
        if first & _OPCODE not in _OPCODES:
            raise ProtocolError(PROTOCOL_ERROR, "unknown opcode")
        # 5.1: a server must close the connection upon receiving a frame that is not masked.
        if not second & _MASKED:
            raise ProtocolError(PROTOCOL_ERROR, "frames of a client must be masked")
        # 5.5: control frames are short and never fragmented.
        if first & _CONTROL and (length > 125 or not first & _FIN):
            raise ProtocolError(PROTOCOL_ERROR, "control frames are short and not fragmented")
        # 5.4: a message begins with its opcode and goes on with CONTINUATION; two are never mixed.
        if not first & _CONTROL and (first & _OPCODE == CONTINUATION) is (self._kind is None):
            raise ProtocolError(PROTOCOL_ERROR, "fragments out of order")

    # -- 5.4  Fragmentation ---------------------------------------------------------------------------------------

    def _defragment(self, first: int, payload: bytes) -> Message:
        """Add a frame to the message under way; the message, when it is the last one."""
        final = bool(first & _FIN)
        if self._kind is None:
            self._kind = first & _OPCODE
            # 8.1: text that is not UTF-8 fails the connection as soon as it is seen.
            self._text = getincrementaldecoder("utf-8")() if self._kind == TEXT else None
        if self._text is not None:
            try:
                self._text.decode(payload, final)
            except UnicodeDecodeError:
                raise ProtocolError(INVALID_DATA, "text must be UTF-8") from None
        if payload:
            # Those that are empty have no end.
            self._fragments.append(payload)
        self._size += len(payload)
        if not final:
            return UNDER_WAY
        message = self._kind, b"".join(self._fragments)
        self._kind, self._text, self._size = None, None, 0
        self._fragments.clear()
        return message


# -- 8.1  Errors in UTF-8 data ------------------------------------------------------------------------------------


def _checked_text(payload: bytes) -> bytes:
    if not payload.isascii():
        try:
            payload.decode()
        except UnicodeDecodeError:
            raise ProtocolError(INVALID_DATA, "text must be UTF-8") from None
    return payload


# -- 7.4  Status codes --------------------------------------------------------------------------------------------


def _checked_close(payload: bytes) -> bytes:
    """The payload of a close frame: nothing, or a code that may be sent and a reason in UTF-8 (5.5.1)."""
    if payload:
        if not _may_be_sent(close_code(payload)):
            raise ProtocolError(PROTOCOL_ERROR, "not a code that a close frame may carry")
        _checked_text(payload[2:])
    return payload


def _may_be_sent(code: int) -> bool:
    """7.4.2 and the registry of 11.7; 1004, 1005, 1006 and 1015 never stand in a frame."""
    return code in (1000, 1001, 1002, 1003) or 1007 <= code <= 1014 or 3000 <= code <= 4999


def close_code(payload: bytes) -> int:
    """The code in the payload of a close frame; NO_CODE for a frame without one, 0 for half a code."""
    if not payload:
        return NO_CODE
    return int.from_bytes(payload[:2], "big") if len(payload) > 1 else 0


# -- 5.1  What a server sends is never masked ---------------------------------------------------------------------


def text_frame(payload: bytes) -> bytes:
    """One whole text message."""
    return _frame(_WHOLE_TEXT, payload)


def close_frame(code: int) -> bytes:
    """A close frame with ``code``, or without one for NO_CODE."""
    return _frame(_FIN | CLOSE, b"" if code == NO_CODE else code.to_bytes(2, "big"))


def ping_frame() -> bytes:
    """A ping. It carries nothing: any sign of life answers it."""
    return _frame(_FIN | PING, b"")


def pong_frame(payload: bytes) -> bytes:
    """The answer to a ping with this payload (5.5.3)."""
    return _frame(_FIN | PONG, payload)


def _frame(first: int, payload: bytes) -> bytes:
    length = len(payload)
    if length < 126:
        return bytes((first, length)) + payload
    if length < 65536:
        return bytes((first, 126, length >> 8, length & 0xFF)) + payload
    return bytes((first, 127)) + length.to_bytes(8, "big") + payload
