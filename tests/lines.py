"""A server of real sockets, storage and use cases for the tests of connections, and a client that does as it is told."""

import asyncio
import base64
import json
import os
import socket
import struct
import time
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any, Self

import jwt
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application

from liveguard.addresses import Site
from liveguard.auth import OneKey, Passwords, Tokens
from liveguard.clock import SystemClock
from liveguard.live import Live
from liveguard.people import People
from liveguard.storage import Storage
from liveguard.web.connections import Connections
from liveguard.web.cookies import Cookies
from liveguard.web.limits import Limits
from liveguard.web.sockets import GuardianSocket, WardSocket
from liveguard.web.websocket import CLOSE, PING, PONG, TEXT, close_code
from liveguard.web.wire import Wires

SECRET = "the tests' own secret, long enough for HS256"

CAST = {"ana": "Ana", "ben": "Ben", "chloe": "Chloe", "tom": "Tom", "ida": "Ida", "mallory": "Mallory"}


def token_of(name: str, seconds: float = 3600) -> str:
    return jwt.encode({"sub": name, "exp": time.time() + seconds}, SECRET, "HS256")


class House:
    """Ana is guarded by Ben and Chloe, Tom by Ben."""

    def __init__(self, path: Path, limits: Limits, grace: float) -> None:
        self._path = path
        self._limits = limits
        self._grace = grace
        self._clients: list[Client] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        clock = SystemClock()
        self.storage = await Storage.open(self._path / "house.db")
        self.live = Live(self.storage, clock, grace=self._grace)
        self._passwords = Passwords()
        self.people = People(self.storage, self._passwords, clock=clock, access_changed=self.live.access_changed)
        doorkeeper = self.people.doorkeeper(Tokens("HS256", OneKey(SECRET)))
        self.connections = Connections(self.live, doorkeeper, self._limits, loop)
        self.wires = Wires(
            loop, self.connections.sweep, max_message=self._limits.message, max_unsent=self._limits.unsent
        )
        await self._move_in()
        self._listen(doorkeeper)
        return self

    async def _move_in(self) -> None:
        for user_id, name in CAST.items():
            await self.people.accounts.add(f"{user_id}@example.org", first_name=name, user_id=user_id)
        for ward, guardian in (("ana", "ben"), ("ana", "chloe"), ("tom", "ben")):
            await self.storage.guardians.put(ward, guardian, "accepted", 0)

    def _listen(self, doorkeeper: Any) -> None:
        sock, self.port = bind_unused_port()
        services = SimpleNamespace(
            site=Site.build("127.0.0.1", self.port), doorkeeper=doorkeeper, cookies=Cookies("http"), people=self.people
        )
        own = {"connections": self.connections, "wires": self.wires}
        routes: list[Any] = [
            ("/ws/ward", WardSocket, {"route": "/ws/ward", **own}),
            ("/ws/guardian", GuardianSocket, {"route": "/ws/guardian", **own}),
        ]
        self._server = HTTPServer(Application(routes, services=services, log_function=lambda _: None))
        self._server.add_socket(sock)

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()
        for client in self._clients:
            client.hang_up()
        await self.wires.all_closed()
        await self._server.close_all_connections()
        await self.live.close()
        await self.storage.close()
        self._passwords.close()

    async def ward(self, name: str, **how: Any) -> "Client":
        return await self.client("/ws/ward", token=token_of(name), **how)

    async def guardian(self, name: str, *, since: int | None = None, **how: Any) -> "Client":
        path = "/ws/guardian" if since is None else f"/ws/guardian?since={since}"
        return await self.client(path, token=token_of(name), **how)

    async def client(self, path: str, **how: Any) -> "Client":
        client = await Client.open(self.port, path, **how)
        self._clients.append(client)
        return client


def client_frame(opcode: int, payload: bytes = b"", *, final: bool = True, masked: bool = True) -> bytes:
    """A frame as a client sends it; one that is not masked is against the rules."""
    bit = 0x80 if masked else 0
    size = bytes([bit | len(payload)]) if len(payload) < 126 else bytes([bit | 126]) + len(payload).to_bytes(2, "big")
    if len(payload) > 65535:
        size = bytes([bit | 127]) + len(payload).to_bytes(8, "big")
    head = bytes([(0x80 if final else 0) | opcode]) + size
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


def event_frame(event: str, data: Any = None, id: str | None = None) -> bytes:
    parts = {"event": event, "data": data, "id": id}
    return client_frame(TEXT, json.dumps({name: part for name, part in parts.items() if part is not None}).encode())


class Client:
    """The other end of a WebSocket. It answers pings when it reads, unless it is told to be deaf."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.headers: dict[str, str] = {}
        self.status = 0
        self.deaf = False

    @classmethod
    async def open(
        cls,
        port: int,
        path: str,
        *,
        token: str | None = None,
        headers: dict[str, str] | None = None,
        first: bytes = b"",
        receive_buffer: int | None = None,
    ) -> Self:
        """Ask for an upgrade; ``first`` goes out right behind the request, before there is an answer."""
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        client = cls(*await asyncio.open_connection(sock=sock, limit=2**16 if receive_buffer is None else 1))
        lines = {
            "Host": f"127.0.0.1:{port}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            **({} if token is None else {"Authorization": f"Bearer {token}"}),
            **(headers or {}),
        }
        request = f"GET {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
        client._writer.write(request.encode() + b"\r\n" + first)
        await client._read_answer()
        return client

    async def _read_answer(self) -> None:
        self.status = int((await self._reader.readline()).split()[1])
        while (line := await self._reader.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode().partition(":")
            self.headers[name.lower()] = value.strip()

    # -- sending ---------------------------------------------------------------------------------------------------

    def say(self, event: str, data: Any = None, id: str | None = None) -> None:
        self._writer.write(event_frame(event, data, id))

    def frame(self, opcode: int, payload: bytes = b"", **how: bool) -> None:
        self._writer.write(client_frame(opcode, payload, **how))

    def raw(self, data: bytes) -> None:
        self._writer.write(data)

    def close(self, code: int | None = None) -> None:
        """Send a close frame."""
        self.frame(CLOSE, b"" if code is None else code.to_bytes(2, "big"))

    def reset(self) -> None:
        """Be gone as a process is that was killed with something unread: with a reset."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def hang_up(self) -> None:
        """Close without a close frame."""
        self._writer.close()

    # -- receiving -------------------------------------------------------------------------------------------------

    async def receive(self) -> tuple[int, bytes]:
        """The next frame, pings and pongs included. IncompleteReadError at the end."""
        first, second = await self._reader.readexactly(2)
        length = second & 0x7F
        if length >= 126:
            length = int.from_bytes(await self._reader.readexactly(2 if length == 126 else 8), "big")
        return first & 0x0F, await self._reader.readexactly(length)

    async def message(self) -> tuple[int, bytes]:
        """The next frame that is neither ping nor pong."""
        while True:
            opcode, payload = await self.receive()
            if opcode == PING and not self.deaf:
                self.frame(PONG, payload)
            elif opcode != PONG:
                return opcode, payload

    async def event(self) -> dict[str, Any]:
        """The next event."""
        opcode, payload = await self.message()
        assert opcode == TEXT, (opcode, payload)
        event: dict[str, Any] = json.loads(payload)
        return event

    async def hear(self, name: str) -> dict[str, Any]:
        """Wait for an event of this name, whatever comes before it."""
        while True:
            event = await self.event()
            if event["event"] == name:
                return event

    async def closed(self) -> int:
        """The code with which the server closes, whatever comes before it; 1006 if there is no close frame."""
        try:
            while True:
                opcode, payload = await self.message()
                if opcode == CLOSE:
                    return close_code(payload)
        except (asyncio.IncompleteReadError, ConnectionError):
            return 1006

    async def ended(self) -> None:
        """Wait until the connection is closed."""
        try:
            while await self._reader.read(65536):
                pass
        except ConnectionError:
            pass
