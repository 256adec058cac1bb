"""The unmodified socket.io-client in Node, a client for each person, used like all peers; a network to be cut."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from server import Peer, token_of

from liveguard.web.websocket import TEXT

NODE = Path(__file__).parent / "node"
NODE_MODULES = NODE / "node_modules"
SCRIPT = NODE / "clients.mjs"
STRANGE = (
    *("undefined", "NaN", "infinity", "bytes", "date", "function", "array", "map", "error", "surrogate", "zero"),
)  # what the script can make of words, because JSON has none for it


def strange(word: str) -> dict[str, str]:
    """Something that JSON cannot say."""
    return {"strange": word}


class NodeClient:
    """One of them, as ``server.Peer`` wants its clients. What happens to a socket is told like an event."""

    def __init__(self, node: "Node", who: str) -> None:
        self.heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._node = node
        self._who = who

    def order(self, deed: str, **what: Any) -> None:
        """Have it do something."""
        self._node.order(deed, who=self._who, **what)

    def say(self, event: str, data: Any = None, id: str | None = None) -> None:
        self.emit(*([event] if data is None else [event, data]), id=id)

    def emit(self, *args: Any, id: str | None = None) -> None:
        """Emit whatever it is, with an acknowledgement wanted where there is an id."""
        self.order("emit", args=args, id=id)

    async def message(self) -> tuple[int, bytes]:
        return TEXT, json.dumps(await self.heard.get()).encode()

    def close(self, code: int | None = None) -> None:
        """Take one's leave."""
        self.order("disconnect")

    def hang_up(self) -> None:
        """It ends together with Node."""


class Node:
    """The process, and the people in it."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child
        self._clients: dict[str, NodeClient] = {}
        self._peers: list[Peer] = []
        self._reader = asyncio.get_running_loop().create_task(self._read())

    def order(self, deed: str, **what: Any) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps({"deed": deed, **what}).encode() + b"\n")

    async def connect(self, who: str, url: str, **options: Any) -> Any:
        """Somebody connects; ``options`` are those of ``io``."""
        client = self._clients[who] = NodeClient(self, who)
        peer = Peer(client)  # type: ignore[arg-type]
        self._peers.append(peer)
        client.order("connect", url=url, options=options)
        return peer

    async def come(self, who: str, url: str, transports: list[str]) -> Any:
        """Somebody connects and is there, the change to WebSocket included."""
        peer = await self.connect(who, url, transports=transports, auth={"token": token_of(who)})
        await peer.expect("connect")
        if len(transports) > 1 and not any(event["event"] == "upgrade" for event in peer.past):
            await peer.expect("upgrade", to="websocket")
        return peer

    async def _read(self) -> None:
        assert self._child.stdout is not None
        async for line in self._child.stdout:
            told = json.loads(line)
            self._clients[told.pop("who")].heard.put_nowait({"data": {}, **told})

    async def end(self) -> None:
        """Everybody is gone."""
        for task in (self._reader, *(peer._reader for peer in self._peers)):
            task.cancel()
        if self._child.returncode is None:
            self._child.kill()
        await self._child.communicate()


@contextlib.asynccontextmanager
async def node() -> AsyncIterator[Node]:
    """Node, with nobody in it yet."""
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec("node", str(SCRIPT), stdin=pipe, stdout=pipe, limit=2**20)
    running = Node(child)
    try:
        yield running
    finally:
        await running.end()


class Network:
    """The way to the server, which may be cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._there: set[asyncio.StreamWriter] = set()

    async def open(self) -> str:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1")
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(self._pass_on(reader, back), self._pass_on(there, writer))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._there.add(writer)
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        self._there.discard(writer)
        writer.close()

    def cut(self) -> None:
        """Nothing that is open comes through any more; what is opened from now on does."""
        for writer in self._there:
            writer.transport.abort()

    async def close(self) -> None:
        self._server.close()
        self.cut()


@contextlib.asynccontextmanager
async def network(port: int) -> AsyncIterator[tuple[Network, str]]:
    """A way to this port, and its address."""
    way = Network(port)
    url = await way.open()
    try:
        yield way, url
    finally:
        await way.close()
