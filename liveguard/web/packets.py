"""What stands on the wire of Engine.IO 4 and Socket.IO 5: kinds of packets, payloads, and the packets of events."""

from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from engineio.exceptions import EngineIOError

from liveguard.events import REFUSALS, Notice
from liveguard.web.websocket import text_frame

SEPARATOR: Final = b"\x1e"  # between the packets of one payload
OPEN, CLOSE, PING, PONG, MESSAGE, UPGRADE, NOOP, BINARY = (b"%c" % kind for kind in b"0123456b")
PROBE: Final = b"probe"

# Socket.IO's own kinds, inside of a MESSAGE.
CONNECT, DISCONNECT, EVENT, ACK, CONNECT_ERROR, BINARY_EVENT = (b"%c" % kind for kind in b"012345")

MOST_PACKETS: Final = 1000  # in one payload
MOST_ANSWERED: Final = 16  # in the answer to a poll: python-socketio's client refuses one of more

Response = dict[str, Any]


def packets_of(body: bytes) -> Iterator[bytes]:
    """The packets of a payload, in UTF-8. Raises EngineIOError."""
    try:
        body.decode()
    except UnicodeDecodeError:
        raise EngineIOError from None
    if body.count(SEPARATOR) >= MOST_PACKETS:
        raise EngineIOError
    return iter(body.split(SEPARATOR))


def payload(packets: bytes) -> Response:
    """The answer to a poll, as python-engineio hands it over."""
    return {"status": "200 OK", "headers": [("Content-Type", "text/plain; charset=UTF-8")], "response": packets}


def frames_of(packets: bytes) -> bytes:
    """Packets with separators between them, each as a frame."""
    return b"".join(map(text_frame, packets.split(SEPARATOR)))


def packet_of(notice: Notice) -> bytes:
    """The packet of a notice."""
    return _head(notice.event.name) + notice.data + b"]"


@cache
def _head(name: str) -> bytes:
    return b'42["%b",' % name.encode()


def frame_of(notice: Notice) -> bytes:
    """The frame of this packet on a WebSocket."""
    return text_frame(notice.framed(packet_of))


def ack_packet(notice: Notice, id: bytes) -> bytes:
    """The packet that acknowledges a client's event: the same answer once more, and whether it is a good one."""
    ok = b"false" if isinstance(notice.event, REFUSALS) else b"true"
    return b'43%s[{"ok":%s,"event":"%s","data":%s}]' % (id, ok, notice.event.name.encode(), notice.data)
