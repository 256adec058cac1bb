"""Engine.IO at ``/socket.io/``: python-engineio's rules of its requests, with lines and a handler of our own.

Its own handler for Tornado answers a foreign Origin by an open WebSocket, takes every client for 127.0.0.1, compresses,
and bounds nothing. Here a request is checked before anything is made for it, as every other of this server is.
"""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import engineio
from engineio.packet import OPEN, Packet

from liveguard.web.application import LARGEST_BODY
from liveguard.web.base import Door, everybody
from liveguard.web.handover import hand_over
from liveguard.web.line import Line
from liveguard.web.line_wire import LineWire
from liveguard.web.packets import Response, payload
from liveguard.web.sockets import check_upgrade
from liveguard.web.statuses import MalformedRequest
from liveguard.web.wire import Wire

if TYPE_CHECKING:
    from liveguard.web.socketio import SocketIO

_HEADERS = re.compile(r"[A-Za-z0-9-]+(, ?[A-Za-z0-9-]+)*")

Environ = dict[str, Any]


class EngineDoor(Door):
    """``/socket.io/``: the handshake, polling, and the upgrade to WebSocket."""

    admit = everybody  # who they are, they say in the first packet
    forgeable = False  # nobody is signed in by a cookie here
    when_gone: Callable[[], None] | None = None  # called where the client does not wait any more

    def initialize(self, route: str, *, serve: Callable[["EngineDoor"], Any]) -> None:  # type: ignore[override]
        super().initialize(route)
        self.serve = serve

    @classmethod
    def methods(cls) -> list[str]:
        return ["GET", "OPTIONS", "POST"]

    @property
    def routine(self) -> bool:
        """A poll, or what is said between two of them: only the handshake has no session yet."""
        return "sid" in parse_qs(self.request.query)

    def check_address(self) -> None:
        super().check_address()
        origin = self.request.headers.get("Origin")
        if origin is not None:
            self.set_header("Access-Control-Allow-Origin", origin)
            self.set_header("Access-Control-Allow-Credentials", "true")
            self.set_header("Vary", "Origin")

    async def change_to(self, wire: Wire) -> None:
        """Answer an upgrade; what follows is the wire's."""
        check_upgrade(self.request.headers)
        self.check_room()
        await hand_over(self, wire, None)

    async def get(self) -> None:
        await self.serve(self)

    async def post(self) -> None:
        await self.serve(self)

    def options(self) -> None:
        """What a browser asks before a page of another origin may ask."""
        self.set_header("Access-Control-Allow-Methods", "GET, POST")
        wanted = self.request.headers.get("Access-Control-Request-Headers", "")
        if _HEADERS.fullmatch(wanted):
            self.set_header("Access-Control-Allow-Headers", wanted)
        self.set_status(204)
        self.finish()

    @property
    def gone(self) -> bool:
        """Whether the client has closed its side already, of which Tornado then tells nobody."""
        return self.stream.closed()

    def on_connection_close(self) -> None:
        if self.when_gone is not None:
            self.when_gone()


class Engine(engineio.AsyncServer):  # type: ignore[misc]
    """python-engineio's server: which request belongs to which line, and what none makes sense of."""

    def __init__(self, *, server: "SocketIO", logger: Any, async_handlers: bool) -> None:
        limits = server.connections.limits
        super().__init__(
            async_mode="tornado",
            async_handlers=async_handlers,
            # The client waits for a ping as long again as it may take to answer one: a busy server is not a dead one.
            ping_interval=limits.ward_rhythm.interval,
            ping_timeout=2 * limits.ward_rhythm.patience,
            max_http_buffer_size=min(limits.message, LARGEST_BODY),
            http_compression=False,
            cors_allowed_origins=[],  # the door has compared the Origin already
            monitor_clients=False,  # the sweep does it
            logger=logger,
        )
        self._async: dict[str, Any] = {**self._async, "translate_request": environ_of}
        self._server = server

    async def serve(self, door: EngineDoor) -> None:
        """Answer one request."""
        if "j" in parse_qs(door.request.query, keep_blank_values=True):
            raise MalformedRequest("JSONP is not spoken here")
        await self.handle_request(door)

    async def send_packet(self, sid: str, pkt: Packet) -> None:
        """Send a packet over a line, if it is still there."""
        line = self.sockets.get(sid)
        if line is not None:
            line.write(pkt.encode().encode())

    async def _handle_connect(self, environ: Environ, transport: str, jsonp_index: int | None = None) -> Any:
        door = environ["door"]
        if transport == "websocket":
            check_upgrade(door.request.headers)
        line = Line(self._server, self.generate_id(), door.address, polled=transport == "polling")
        self.sockets[line.sid] = line
        await self._trigger_event("connect", line.sid, {"line": line})
        opening = Packet(OPEN, self._terms(line, transport)).encode().encode()
        if transport == "polling":
            return payload(opening)
        try:
            await door.change_to(LineWire(self._server.wires, line, opening))
        finally:
            if not line.upgraded:
                line.lost()  # the client went away meanwhile, or there was no room

    def _terms(self, line: Line, transport: str) -> dict[str, Any]:
        return {
            "sid": line.sid,
            "upgrades": self._upgrades(line.sid, transport),
            "pingInterval": int(self.ping_interval * 1000),
            "pingTimeout": int(self.ping_timeout * 1000),
            "maxPayload": self.max_http_buffer_size,
        }

    async def _make_response(self, response: Response, environ: Environ) -> None:
        if response["status"] != "200 OK":
            raise MalformedRequest
        door = environ["door"]
        for name, value in response["headers"]:
            door.set_header(name, value)
        door.finish(response["response"])

    def _log_error_once(self, message: str, message_key: str) -> None:
        """A client's error is none of ours, and the message may name its session."""


def environ_of(door: EngineDoor) -> Environ:
    """What python-engineio wants to know of a request."""
    request = door.request
    environ = {"REQUEST_METHOD": request.method, "QUERY_STRING": request.query, "door": door}
    upgrade = request.headers.get("Upgrade")
    return environ if upgrade is None else environ | {"HTTP_UPGRADE": upgrade}
