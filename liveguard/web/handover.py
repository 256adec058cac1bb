"""How a socket passes from Tornado to a wire of our own.

Tornado reads the request; the answer and all that follows are the wire's. Only public interfaces are used: Tornado's
stream is asked for what it has read too much, and the socket is duplicated, so that the stream may close its own.
"""

import asyncio
from typing import cast

from tornado.iostream import IOStream, StreamClosedError
from tornado.web import RequestHandler
from tornado.websocket import WebSocketProtocol13

from liveguard.descriptors import is_reserved
from liveguard.web.stream import bound_unsent
from liveguard.web.wire import Wire


async def hand_over(handler: RequestHandler, wire: Wire, subprotocol: str | None) -> None:
    """Answer a handler's request for an upgrade, and let ``wire`` have its connection.

    Nothing happens where the other side has gone meanwhile. Either way the handler has finished.
    """
    answer = _answer(handler.request.headers["Sec-WebSocket-Key"], subprotocol)
    # Breaks the only cycle of a handler that does not finish in the usual way: it is gone without the collector.
    handler.ui = None  # type: ignore[assignment]
    stream = handler.detach()
    try:
        wire.prologue = answer, _read_already(stream)
        sock = stream.socket.dup()
    except (StreamClosedError, OSError):
        return
    finally:
        stream.close()
    if is_reserved(sock.fileno()):
        # The place of the stream's own is free now. Without this, the reserve would fill up one by one.
        with sock as copy:
            sock = copy.dup()
    bound_unsent(sock, 0)  # a wire has a bound of its own
    wire.socket = sock
    # Also sets TCP_NODELAY, without which each answer may wait for 45 ms.
    await asyncio.get_running_loop().connect_accepted_socket(lambda: wire, sock)


def _read_already(stream: IOStream) -> bytes:
    """What the client sent behind its request."""
    # Either this is done at once, or nothing has arrived, and nothing is lost when the stream is closed.
    reading = cast(asyncio.Future[bytes], stream.read_bytes(stream.max_buffer_size, partial=True))
    return reading.result() if reading.done() else b""


def _answer(key: str, subprotocol: str | None) -> bytes:
    """RFC 6455, 4.2.2."""
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {WebSocketProtocol13.compute_accept_value(key)}",
    ]
    if subprotocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
