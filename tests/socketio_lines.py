"""Clients of Socket.IO that do as they are told, to be used like those of the native transport in ``lines``.

An acknowledgement comes right before the event that it repeats: it becomes the ``replyTo`` that a native client reads.
"""

import asyncio
import json
import socket
import struct
from abc import ABC, abstractmethod
from collections import deque
from typing import Any, Self
from unittest.mock import ANY

from lines import Client
from server import House, token_of

from liveguard.events.close_codes import NO_CODE, NORMAL
from liveguard.web.websocket import CLOSE, TEXT

ADDRESS = "/socket.io/?EIO=4&transport="
POLLING = f"{ADDRESS}polling"
WEBSOCKET = f"{ADDRESS}websocket"
UNTOLD = ANY  # over polling, nobody hears with which code they are closed
GOODBYE = "41"

Event = dict[str, Any]


class Talk(ABC):
    """What is said over Socket.IO, by whatever transport."""

    def __init__(self) -> None:
        self._token: str | None = None
        self.sid = ""  # that of the line
        self.terms: dict[str, Any] = {}
        self.deaf = False
        self.is_sent_away = False  # for good: a real client would not try again by itself
        self._asked: dict[int, str] = {}
        self._reply: tuple[int, str, Any] | None = None
        self._events: deque[Event] = deque()

    @abstractmethod
    def packet(self, text: str) -> None:
        """Send a packet of Engine.IO."""

    def say(self, event: str, data: Any = None, id: str | None = None) -> None:
        wanted = "" if id is None else str(len(self._asked) + 1)
        if id is not None:
            self._asked[int(wanted)] = id
        self.packet(f"42{wanted}" + json.dumps([event] if data is None else [event, data]))

    def pretend(self, event: str) -> None:
        """Have heard an event before all others."""
        self._events.appendleft({"event": event, "data": {}})

    def take(self, packet: str) -> None:
        """Take in a packet of Engine.IO."""
        if packet == "2":
            if not self.deaf:
                self.packet("3")
        elif packet.startswith("42"):
            name, data = json.loads(packet[2:])
            event = {"event": name, "data": data}
            if self._reply is not None and self._reply[1:] == (name, data):
                event["replyTo"] = self._asked[self._reply[0]]
            self._reply = None
            self._events.append(event)
        elif packet.startswith("43"):
            number, answer = packet[2:].split("[", 1)
            (answer,) = json.loads(f"[{answer}")
            assert answer["ok"] is (answer["event"] not in ("session-error", "location-error"))
            self._reply = int(number), answer["event"], answer["data"]
        elif packet.startswith("44"):
            refusal = json.loads(packet[2:])
            self._events.append({"event": "session-error", "data": {**refusal["data"], "message": refusal["message"]}})
        elif packet == GOODBYE:
            self.is_sent_away = True
        elif packet.startswith("0"):
            self.terms = json.loads(packet[1:])
            self.sid = self.terms["sid"]


class WebSocketClient(Talk, Client):
    """A client that begins with a WebSocket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        Client.__init__(self, reader, writer)
        Talk.__init__(self)

    @classmethod
    async def open(cls, port: int, path: str, *, token: str | None = None, **how: Any) -> Self:
        client = await super().open(port, f"{ADDRESS}websocket", **how)
        client._token = token
        return client

    async def answer(self) -> None:
        """Read the head of the answer, and sign in."""
        await Client.answer(self)
        if self.status == 101:
            await self.next_packet()
            await self.enter()

    async def enter(self) -> None:
        """Sign in, and wait for what comes of it."""
        self.packet("40" + json.dumps({"token": self._token}))
        while not (await self.next_packet()).startswith(("40", "44")):
            pass

    async def next_packet(self) -> str:
        """The next packet; it is taken in."""
        opcode, payload = await Client.message(self)
        assert opcode == TEXT, (opcode, payload)
        self.take(payload.decode())
        return payload.decode()

    def packet(self, text: str) -> None:
        self.frame(TEXT, text.encode())

    async def message(self) -> tuple[int, bytes]:
        """The next event as a native client reads it, or the frame that closes."""
        while not self._events:
            opcode, payload = await Client.message(self)
            if opcode != TEXT:
                return opcode, payload
            self.take(payload.decode())
        return TEXT, json.dumps(self._events.popleft()).encode()

    def close(self, code: int | None = None) -> None:
        """Leave: by one's own word where a native client would say so by this code."""
        if code in (NORMAL, None):
            self.packet(GOODBYE)
        Client.close(self, code)


class PollingClient(Talk, Client):
    """A client that stays with polling. Like a real one, it always polls."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        Client.__init__(self, reader, writer)
        Talk.__init__(self)
        self._came, self._entered, self._ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @classmethod
    async def open(cls, port: int, path: str, *, token: str | None = None, **how: Any) -> Self:
        client = cls(*await asyncio.open_connection("127.0.0.1", port))
        client._posts, client._post = await asyncio.open_connection("127.0.0.1", port)
        client._token, client._host = token, f"127.0.0.1:{port}"
        return client

    async def answer(self) -> None:
        """Shake hands, and sign in."""
        self._ask(self._writer, "GET")
        self.status, body = await self._response(self._reader)
        self.take(body)
        self.status = 101
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._poll()), loop.create_task(self._read_answers())]
        self.packet("40" + json.dumps({"token": self._token}))
        await self._entered.wait()

    def _ask(self, writer: asyncio.StreamWriter, method: str, body: str = "") -> None:
        sid = f"&sid={self.sid}" if self.sid else ""
        data = body.encode()
        head = f"{method} {ADDRESS}polling{sid} HTTP/1.1\r\nHost: {self._host}\r\nContent-Length: {len(data)}\r\n\r\n"
        writer.write(head.encode() + data)

    async def _response(self, reader: asyncio.StreamReader) -> tuple[int, str]:
        status, length = int((await reader.readline()).split()[1]), 0
        while (line := await reader.readline()) not in (b"\r\n", b""):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        return status, (await reader.readexactly(length)).decode()

    async def _poll(self) -> None:
        try:
            while not self._ended.is_set():
                self._ask(self._writer, "GET")
                status, body = await self._response(self._reader)
                packets = body.split("\x1e") if status == 200 else ["1"]
                for packet in packets:
                    self.take(packet)
                    if packet.startswith(("40", "44")):
                        self._entered.set()
                    if packet == "1" or (packet == "2" and self.deaf):
                        self._ended.set()
                self._came.set()
        except (OSError, EOFError, IndexError):
            self._ended.set()
        self._came.set()

    async def _read_answers(self) -> None:
        """To what was posted."""
        try:
            while True:
                await self._response(self._posts)
        except (OSError, EOFError, IndexError):
            pass

    def packet(self, text: str) -> None:
        self._ask(self._post, "POST", text)

    async def message(self) -> tuple[int, bytes]:
        """The next event as a native client reads it, or the frame that would close."""
        while not self._events:
            if self._ended.is_set():
                return CLOSE, b""
            self._came.clear()
            await self._came.wait()
        return TEXT, json.dumps(self._events.popleft()).encode()

    async def closed(self) -> int:
        await self._ended.wait()
        return UNTOLD

    async def ended(self) -> None:
        await self._ended.wait()

    def close(self, code: int | None = None) -> None:
        self.packet(f"{GOODBYE}\x1e1" if code in (NORMAL, NO_CODE, None) else "1")

    def hang_up(self) -> None:
        for task in self._tasks:
            task.cancel()
        for writer in (self._writer, self._post):
            writer.close()

    def reset(self) -> None:
        for writer in (self._writer, self._post):
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        self.hang_up()


# -- step by step ----------------------------------------------------------------------------------------------------


def nothing_left(server: Any) -> bool:
    """Whether nobody and nothing is kept of Socket.IO."""
    door = server.socketio
    kept = (
        door.eio.sockets,
        door.environ,
        door.manager.rooms,
        door.manager.pending_connect,
    )
    return not any(kept) and not len(server.wires) and not len(server.connections) and not len(server.connections.sweep)


async def emptied(server: Any) -> None:
    """Wait until all that closes is closed."""
    await asyncio.wait_for(server.wires.all_closed(), 5)
    async with asyncio.timeout(5):
        while len(server.wires.strangers):
            await asyncio.sleep(0)  # a turn of the server's loop: nothing tells of the end of a request's connection
    assert nothing_left(server)


async def shake_hands(home: House, **headers: str) -> str:
    """Open a line by polling; its sid."""
    answer = await home.fetch(POLLING, headers=headers)
    assert answer.status == 200, answer.text
    return str(json.loads(answer.text[1:])["sid"])


async def signed_in(home: House, name: str = "ana") -> str:
    """Somebody is there by polling, and has polled what they must know; the address of their line."""
    address = f"{POLLING}&sid={await shake_hands(home)}"
    await home.fetch(address, "POST", body="40" + json.dumps({"token": token_of(name)}))
    assert (await home.fetch(address)).text.startswith('40{"sid":')
    return address
