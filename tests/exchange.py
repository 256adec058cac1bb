"""The real server in a test's own loop, for the tests of connections: its clients do nothing by themselves."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import uvloop
from lines import Client
from server import house, token_of
from socketio_lines import PollingClient, Talk, WebSocketClient

ON_BOTH_LOOPS = pytest.mark.parametrize(
    "make_loop",
    # On every save one of them is enough.
    [asyncio.new_event_loop, pytest.param(uvloop.new_event_loop, marks=pytest.mark.slow)],
    ids=["asyncio", "uvloop"],
)

TRANSPORTS: dict[str, type[Client]] = {
    "native": Client,
    "Socket.IO over WebSocket": WebSocketClient,
    "Socket.IO over polling": PollingClient,
}
WEBSOCKETS = [name for name in TRANSPORTS if "polling" not in name]
OVER_WEBSOCKETS = pytest.mark.parametrize("transport", WEBSOCKETS)
OVER_ALL_TRANSPORTS = pytest.mark.parametrize(
    "transport",
    # On every save, polling has the tests of Engine.IO.
    [*WEBSOCKETS, *(pytest.param(name, marks=pytest.mark.slow) for name in TRANSPORTS if name not in WEBSOCKETS)],
)


class Exchange:
    """The server, and the clients that are connected to it; both are there from ``async with`` on."""

    def __init__(self, folder: Path, transport: str = "native", **settings: Any) -> None:
        self._folder = folder
        self._transport = TRANSPORTS[transport]
        self._settings = settings
        self._clients: list[Client] = []

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        self._home = await self._stack.enter_async_context(house(self._folder, **self._settings))
        server = self._home.server
        self.port = self._home.port
        self.live = server.live
        self.people = server.people
        self.storage = server.storage
        self.connections = server.connections
        self.wires = server.wires
        self.socketio = server.socketio
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._clients:
            client.hang_up()
        await self._stack.aclose()

    async def ward(self, name: str, *, seconds: float = 3600, **how: Any) -> Client:
        return await self._client(self._transport, "/ws/ward", token=token_of(name, seconds), **how)

    async def guardian(self, name: str, *, since: int | None = None, **how: Any) -> Client:
        path = "/ws/guardian" if since is None else f"/ws/guardian?since={since}"
        client = await self._client(self._transport, path, token=token_of(name), **how)
        if isinstance(client, Talk):
            await self._arrived(name)
            client.pretend("guardian:snapshot")  # which this transport leaves out
        return client

    async def _arrived(self, name: str) -> None:
        """Wait until the newest connection of a guardian has caught up, or is gone again."""
        for newest in self.connections.of(name)[-1:]:
            while newest in self.connections.of(name) and not self.live.audience.present.holds(newest):
                await asyncio.sleep(0)  # a turn of the server's loop, which is this one: nothing tells of an arrival

    async def client(self, path: str, **how: Any) -> Client:
        """A native client whose request was answered."""
        return await self._client(Client, path, **how)

    async def _client(self, transport: type[Client], path: str, **how: Any) -> Client:
        client = await transport.open(self.port, path, **how)
        self._clients.append(client)
        await client.answer()
        return client

    async def request(self, path: str, **how: Any) -> Client:
        """A native client whose request is sent and not answered yet."""
        client = await Client.open(self.port, path, **how)
        self._clients.append(client)
        return client

    @contextmanager
    def locked_database(self) -> Iterator[None]:
        """Another process has the database to itself for a while."""
        with closing(sqlite3.connect(self._home.database, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            yield
            other.execute("ROLLBACK")
