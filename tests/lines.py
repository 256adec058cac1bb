"""A WebSocket client that does as it is told, be it right or wrong."""

import asyncio
import base64
import json
import os
import socket
import struct
from typing import Any, Self

from liveguard.web.websocket import CLOSE, PING, PONG, TEXT, close_code


def client_frame(opcode: int, payload: bytes = b"", *, final: bool = True, masked: bool = True) -> bytes:
    """A frame as a client sends it; one that is not masked is against the rules."""
    bit = 0x80 if masked else 0
    length = len(payload)
    if length < 126:
        size = bytes([bit | length])
    elif length < 65536:
        size = bytes([bit | 126]) + length.to_bytes(2, "big")
    else:
        size = bytes([bit | 127]) + length.to_bytes(8, "big")
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
        method: str = "GET",
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
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        except OSError:
            sock.close()
            raise
        client = cls(*await asyncio.open_connection(sock=sock, limit=2**16 if receive_buffer is None else 1024))
        lines = {
            "Host": f"127.0.0.1:{port}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            **({} if token is None else {"Authorization": f"Bearer {token}"}),
            **(headers or {}),
        }
        head = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in lines.items() if value), "", ""]
        client._writer.write("\r\n".join(head).encode() + first)
        return client

    async def answer(self) -> None:
        """Read the head of the answer."""
        self.status = int((await self._reader.readline()).split()[1])
        while (line := await self._reader.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode().partition(":")
            self.headers[name.lower()] = value.strip()

    async def body(self) -> Any:
        """The JSON that came instead of a WebSocket."""
        return json.loads(await self._reader.readexactly(int(self.headers["content-length"])))

    async def read_bytes(self, count: int) -> None:
        """Read so many bytes of the answer, and no more."""
        await self._reader.readexactly(count)

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

    async def drained(self) -> None:
        """Wait until most of what was written is sent."""
        await self._writer.drain()

    # -- receiving -------------------------------------------------------------------------------------------------

    def leave_unread(self) -> None:
        """Leave what arrives to the kernel, which acknowledges it: to the other end this is a reader."""
        self._writer.transport.pause_reading()  # type: ignore[attr-defined] - a socket's transport is no mere writer

    async def read_up(self) -> None:
        """Read all that was left unread, and leave unread what comes next."""
        self._writer.transport.resume_reading()  # type: ignore[attr-defined]
        self.say("ping")
        await self.hear("pong")
        self.leave_unread()

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

    async def some(self) -> bytes:
        """What comes next, whatever it is; nothing at the end."""
        return await self._reader.read(65536)

    async def rest(self) -> bytes:
        """All that still comes, until the connection is closed."""
        found = bytearray()
        try:
            while some := await self._reader.read(65536):
                found += some
        except ConnectionError:
            pass
        return bytes(found)

    async def ended(self) -> None:
        """Wait until the connection is closed."""
        try:
            while await self._reader.read(65536):
                pass
        except ConnectionError:
            pass
