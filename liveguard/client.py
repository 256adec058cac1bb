"""A client for programs: asyncio over the native WebSocket, with the connection looked after.

    async with GuardianClient("http://127.0.0.1:8080", token) as ben:
        async for event in ben:
            print(event.name, event.data)

Entering connects, and raises what went wrong. From then on a lost connection is made anew, after a pause with jitter
that grows from try to try; a ward's session is carried on and a guardian misses nothing. What the client asks for waits
for the connection; its direct answer is what the call returns, everything else is iterated.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit, urlunsplit

import jwt
from tornado.httpclient import HTTPClientError
from tornado.websocket import WebSocketError

from liveguard import events
from liveguard.client_connection import ClientConnection, Disconnected, Event, Refused
from liveguard.errors import InvalidToken, LiveguardError, TokenExpired
from liveguard.events.close_codes import NORMAL

__all__ = ["Client", "Disconnected", "Event", "GuardianClient", "Refused", "WardClient"]

log = logging.getLogger(__name__)

MAX_WAITING_EVENTS = 1000
LONGEST_PAUSE = 15.0  # seconds
RENEWAL_LEAD = 60.0  # seconds

_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_RENEWABLE = (TokenExpired.code, InvalidToken.code)

Refresh = Callable[[], Awaitable[str]]


class Client:
    """What wards and guardians have in common. At most 1,000 events wait to be iterated; of more, the oldest location
    goes first, and after all locations what is oldest.

    What is asked for raises :class:`Refused` where the server says no, and :class:`Disconnected` where the connection
    ends before the answer has come. ``refresh`` is awaited for a new token before the old one expires.
    """

    path: ClassVar[str]

    def __init__(self, url: str, token: str, *, refresh: Refresh | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _SCHEMES or not parts.hostname:
            raise ValueError(f"The address of a server begins with http:// or https://, unlike {url!r}")
        self._base = urlunsplit((_SCHEMES[parts.scheme], parts.netloc, parts.path.rstrip("/") + self.path, "", ""))
        self._token = _whole(token)
        self._refresh = refresh
        self._tasks: list[asyncio.Task[None]] = []
        self._events: deque[Event] = deque()
        self._news = asyncio.Event()
        self._over: LiveguardError | None = None
        self._connection: asyncio.Future[ClientConnection]

    async def __aenter__(self) -> Self:
        connection = await self._connect()
        self._connection = asyncio.get_running_loop().create_future()
        self._connection.set_result(connection)
        self._tasks.append(asyncio.create_task(self._stay_connected(connection)))
        if self._refresh is not None:
            self._tasks.append(asyncio.create_task(self._stay_signed_in(self._refresh)))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if isinstance(self._over, Refused):
                raise self._over
            if self._over is not None:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._events.popleft()

    async def close(self, code: int = NORMAL) -> None:
        """Leave for good. 1000 is the user's own word and ends a ward's session; 1001 leaves it to its grace period."""
        if self._over is None:
            self._over = Disconnected("The client is closed")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._connection.done() and not self._connection.exception():
            await self._connection.result().close(code)
        self._finish(self._over)

    async def _ask(self, name: str, data: dict[str, Any]) -> dict[str, Any]:
        connection: ClientConnection = await asyncio.shield(self._connection)
        return await connection.ask(name, data)

    def _deliver(self, event: Event) -> None:
        self._events.append(event)
        if len(self._events) > MAX_WAITING_EVENTS:
            passing = (place for place, one in enumerate(self._events) if one.name == events.LocationUpdated.name)
            del self._events[next(passing, 0)]
        self._news.set()

    def _finish(self, reason: LiveguardError) -> None:
        self._over = reason
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        if self._connection.done():
            self._connection = asyncio.get_running_loop().create_future()
        self._connection.set_exception(reason)
        self._connection.exception()  # seen, even where nobody asks for anything any more
        self._news.set()

    # -- the connection, again and again ---------------------------------------------------------------------------

    def _address(self) -> str:
        return self._base

    async def _connect(self) -> ClientConnection:
        return await ClientConnection.open(self._address(), self._token, self._deliver)

    async def _stay_connected(self, connection: ClientConnection) -> None:
        tries = 0
        try:
            while True:
                lasted = await connection.watch()
                self._connection = asyncio.get_running_loop().create_future()
                tries = 0 if lasted > LONGEST_PAUSE else tries + 1
                connection = await self._reconnect(connection.refusal, tries)
                self._connection.set_result(connection)
        except Refused as refused:
            self._finish(refused)

    async def _reconnect(self, refusal: Refused | None, tries: int) -> ClientConnection:
        while True:
            try:
                if refusal is not None:
                    await self._renew_after(refusal)
                await asyncio.sleep(pause(tries))
                return await self._connect()
            except Refused as again:
                if refusal is not None:
                    raise
                refusal = again
            except (OSError, HTTPClientError, WebSocketError, Disconnected):
                tries += 1
                refusal = None

    # -- the token -------------------------------------------------------------------------------------------------

    async def _renew_after(self, refusal: Refused) -> None:
        if self._refresh is None or refusal.code not in _RENEWABLE:
            raise refusal
        self._token = await _renewed(self._refresh)

    async def _stay_signed_in(self, refresh: Refresh) -> None:
        while (left := _seconds_left(self._token)) is not None:
            await asyncio.sleep(max(left - RENEWAL_LEAD, left / 2, 1))
            try:
                token = await _renewed(refresh)
                await self._ask(events.RefreshToken.name, {"token": token})
            except (Refused, Disconnected) as problem:
                log.warning("The token is not renewed yet: %s", problem)
            else:
                self._token = token


class WardClient(Client):
    """A ward's connection. Lost and found again, it carries the ward's session on."""

    path = "/ws/ward"

    async def start(self, metadata: dict[str, Any] | None = None) -> dict[str, Any]:
        """Start a live session; the data of ``session-started``."""
        return await self._ask(events.StartLiveSession.name, metadata or {})

    async def stop(self) -> dict[str, Any]:
        """Stop it; the data of ``session-ended``."""
        return await self._ask(events.StopLiveSession.name, {})

    async def locate(self, latitude: float, longitude: float, **details: float | str) -> dict[str, Any]:
        """Say where the ward is, in degrees; details are the optional fields of ``update-location``. The data of
        ``location-acknowledged``."""
        return await self._ask(events.UpdateLocation.name, {"latitude": latitude, "longitude": longitude, **details})

    async def say(self, text: str) -> dict[str, Any]:
        """Write to all in the room; the data of ``message``."""
        return await self._ask(events.SendMessage.name, {"text": text})


class GuardianClient(Client):
    """A guardian's connection. After a loss the server is told the last ``seq`` received, and sends what was missed.

    ``since`` is where an earlier run stood. An end that comes twice is told by its ``sessionId``.
    """

    path = "/ws/guardian"

    def __init__(self, url: str, token: str, *, since: int | None = None, refresh: Refresh | None = None) -> None:
        super().__init__(url, token, refresh=refresh)
        self._since = since

    async def say(self, ward_id: str, text: str) -> dict[str, Any]:
        """Write to all in a ward's room; the data of ``message``."""
        return await self._ask(events.SendMessage.name, {"wardId": ward_id, "text": text})

    def _address(self) -> str:
        return self._base if self._since is None else f"{self._base}?since={self._since}"

    def _deliver(self, event: Event) -> None:
        seq = event.data.get("seq")
        if isinstance(seq, int):
            # A snapshot may say less than was known: where the server's database went back to an older copy.
            before = 0 if event.name == events.GuardianSnapshot.name else self._since or 0
            self._since = max(seq, before)
        super()._deliver(event)


def pause(tries: int) -> float:
    """Seconds to wait before the next try: longer each time, and never the same for all who were cut off at once."""
    return random.uniform(0.1, min(LONGEST_PAUSE, 0.5 * 2.0 ** min(tries, 10)))  # noqa: S311


def _whole(token: str) -> str:
    """A token that was read from a file, say, without the end of its line. What is none is not shown."""
    token = token.strip()
    if not token.isascii() or not token.isprintable():
        raise ValueError("A token is one line of letters, digits, dots, dashes and underscores")
    return token


async def _renewed(refresh: Refresh) -> str:
    try:
        return _whole(await refresh())
    except Exception as problem:  # the callback is the user's own: whatever it raises, there is another try
        raise Disconnected(f"No new token ({type(problem).__name__})") from problem


def _seconds_left(token: str) -> float | None:
    """Until a token expires; None where it does not say."""
    try:
        return float(jwt.decode(token, options={"verify_signature": False})["exp"]) - time.time()
    except (jwt.PyJWTError, KeyError, TypeError, ValueError):
        return None
