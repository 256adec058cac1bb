"""One connection of the client: answers find who asked, everything else is delivered, its end is known."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import msgspec
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, websocket_connect

from liveguard import events
from liveguard.errors import AuthenticationRequired, LiveguardError
from liveguard.events.close_codes import GOING_AWAY, NOT_AUTHENTICATED

KEEP_ALIVE = 10.0  # seconds
PATIENCE = 10.0  # seconds

_PASSING = (408, 429)


class Event(NamedTuple):
    """Something that the server said: an event's name and its data, as in the protocol."""

    name: str
    data: dict[str, Any]


class Refused(LiveguardError):
    """The server said no; ``code`` says why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Disconnected(LiveguardError):
    """The connection ended before the answer came. Whether the server has done what it was asked is not known."""


class _Frame(msgspec.Struct, rename="camel"):
    event: str
    data: dict[str, Any] = {}
    reply_to: str | None = None


class ClientConnection:
    """A WebSocket connection. ``refusal`` is why the server ended it, where it ended for want of a good token."""

    refusal: Refused | None = None

    def __init__(self, socket: WebSocketClientConnection, deliver: Callable[[Event], None]) -> None:
        assert socket.protocol is not None and socket.protocol.stream is not None
        self._socket = socket
        self._stream = socket.protocol.stream
        self._stream.set_nodelay(True)
        self._deliver = deliver
        self._ids = itertools.count(1)
        self._asked: dict[str, asyncio.Future[Event]] = {}
        self._last_word: Refused | None = None  # what the server says before it closes
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, address: str, token: str, deliver: Callable[[Event], None]) -> Self:
        """Connect. Raises :class:`Refused`, :class:`Disconnected`, OSError, WebSocketError, HTTPClientError."""
        request = HTTPRequest(
            address,
            headers={"Authorization": f"Bearer {token}"},
            connect_timeout=PATIENCE,
            request_timeout=PATIENCE,
        )
        # No keep-alive of Tornado's: where an answer is late, it closes with 1000, which is a ward's own word.
        opening = asyncio.ensure_future(websocket_connect(request))
        try:
            connection = cls(await asyncio.shield(opening), deliver)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unwanted)
            raise
        except HTTPClientError as problem:
            if 400 <= problem.code < 500 and problem.code not in _PASSING:
                raise Refused(f"http_{problem.code}", f"The server answers {problem.code}") from None
            raise
        try:
            # A refusal comes after the upgrade, so the first answer is what says that all is well.
            async with asyncio.timeout(PATIENCE):
                await connection.ask(events.Ping.name, {})
        except BaseException:
            await connection.close(GOING_AWAY)
            raise
        return connection

    async def ask(self, name: str, data: dict[str, Any]) -> dict[str, Any]:
        """Send an event; the data of its direct answer. Raises :class:`Refused`, :class:`Disconnected`."""
        if self._reading.done():
            raise self._end()
        id = str(next(self._ids))
        answer = self._asked[id] = asyncio.get_running_loop().create_future()
        try:
            with contextlib.suppress(WebSocketClosedError):  # the reader, at its end, fails who waits for an answer
                frame = msgspec.json.encode({"event": name, "data": data, "id": id})
                self._socket.write_message(frame).add_done_callback(_heed)
            event: Event = await answer
        finally:
            del self._asked[id]
        if event.name in (events.SessionError.name, events.LocationError.name):
            raise _refused(event)
        return event.data

    async def watch(self) -> float:
        """Wait for the end, which a server that no longer answers brings about; the seconds that it lasted."""
        started = time.monotonic()
        while not self._reading.done():
            await asyncio.wait([self._reading], timeout=KEEP_ALIVE)
            if not self._reading.done() and not await self._answers():
                break
        self._cut()
        return time.monotonic() - started

    async def close(self, code: int) -> None:
        """Say goodbye, and wait a moment for the server to say it too."""
        self._socket.close(code)
        await asyncio.wait([self._reading], timeout=1)
        self._cut()

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(PATIENCE):
                await self.ask(events.Ping.name, {})
        except (Disconnected, TimeoutError):
            return False
        except Refused:
            pass  # which is an answer all the same
        return True

    async def _read(self) -> None:
        while (message := await self._socket.read_message()) is not None:
            self._receive(message)
        if self._socket.close_code == NOT_AUTHENTICATED:
            self.refusal = self._last_word or Refused(AuthenticationRequired.code, AuthenticationRequired.sentence)
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(self._end())

    def _receive(self, message: str | bytes) -> None:
        try:
            frame = msgspec.json.decode(message, type=_Frame)
        except msgspec.DecodeError:
            return  # of a later version of the protocol: clients ignore what they do not know
        event = Event(frame.event, frame.data)
        if event.name == events.SessionError.name and frame.reply_to is None:
            self._last_word = _refused(event)
        answer = self._asked.get(frame.reply_to or "")
        if answer is None:
            self._deliver(event)
        elif not answer.done():
            answer.set_result(event)

    def _end(self) -> LiveguardError:
        return self.refusal or Disconnected(str(self._last_word or "The connection is lost"))

    def _cut(self) -> None:
        # The stream first: the socket would say goodbye in its user's name.
        self._stream.close()
        self._socket.close()


def _refused(event: Event) -> Refused:
    return Refused(str(event.data.get("code")), str(event.data.get("message")))


def _heed(written: "asyncio.Future[None]") -> None:
    """A frame that could not be written is no news: the reader learns of it as well."""
    if not written.cancelled():
        written.exception()


def _close_unwanted(opening: "asyncio.Future[WebSocketClientConnection]") -> None:
    if not opening.cancelled() and not opening.exception():
        opening.result().close(GOING_AWAY)
