"""A network between clients and a server that does what networks do: it swallows, delays, throttles and resets."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PIECE = 64 * 1024


class Link:
    """One connection through the proxy."""

    def __init__(self, writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]) -> None:
        self.delay = 0.0  # seconds by which each piece comes late
        self.rate = 0.0  # bytes a second, 0 for as many as come
        self._writers = writers
        self._passable = asyncio.Event()
        self._passable.set()

    def swallow(self) -> None:
        """From now on nothing passes, and neither side is told."""
        self._passable.clear()

    def reset(self) -> None:
        """End both sides with a reset."""
        for writer in self._writers:
            sock = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take what comes in from one side to the other."""
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(int(self.rate / 10) or PIECE):
                await asyncio.sleep(self.delay + (len(data) / self.rate if self.rate else 0))  # asked for
                await self._passable.wait()
                writer.write(data)
                await writer.drain()
        await self._passable.wait()
        writer.close()


class Proxy:
    """A port of its own in front of a server's; ``links`` are its connections in the order in which they came."""

    port: int

    def __init__(self, server_port: int) -> None:
        self.links: list[Link] = []
        self.server_port = server_port
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def before(cls, server_port: int) -> "AsyncIterator[Proxy]":
        proxy = cls(server_port)
        listener = await asyncio.start_server(proxy._came, "127.0.0.1", 0, backlog=4096)
        proxy.port = listener.sockets[0].getsockname()[1]
        try:
            yield proxy
        finally:
            listener.close()
            for link in proxy.links:
                link.reset()
            for task in proxy._tasks:
                task.cancel()
            await asyncio.gather(*proxy._tasks, return_exceptions=True)

    async def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.server_port)
        link = Link((writer, far_writer))
        self.links.append(link)
        for way in (link.carry(reader, far_writer), link.carry(far_reader, writer)):
            self._tasks.add(asyncio.get_running_loop().create_task(way))
