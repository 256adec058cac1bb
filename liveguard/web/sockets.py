"""The native transport's addresses, ``/ws/ward`` and ``/ws/guardian``.

The handlers check, sign in and answer the upgrade. Whoever is not let in has the upgrade answered as well, because a
browser shows a page only what came over an open WebSocket: one ``session-error``, then a close code.
"""

import re
from typing import ClassVar, Final, cast

from tornado.httputil import HTTPHeaders
from tornado.websocket import WebSocketHandler, WebSocketProtocol

from liveguard.errors import (
    AuthenticationError,
    AuthenticationRequired,
    InvalidMessage,
    Refusal,
    StorageUnavailable,
    Unavailable,
)
from liveguard.events.close_codes import NOT_AUTHENTICATED, TRY_AGAIN
from liveguard.people import Visitor
from liveguard.web.base import Door, bearer_token
from liveguard.web.connections import Connections
from liveguard.web.handover import hand_over
from liveguard.web.native import NativeConnection, refusal_frame
from liveguard.web.wire import Farewell, Wire
from liveguard.web.wires import Wires

SUBPROTOCOL: Final = "liveguard.v1"
TOKEN_PREFIX: Final = "bearer."  # noqa: S105 - what a token follows

_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
SEQ: Final = re.compile(r"[0-9]{1,15}")


def check_upgrade(headers: HTTPHeaders) -> None:
    """Is this an upgrade to WebSocket as RFC 6455, 4.2.1, has it? Raises InvalidMessage."""
    wanted = [part.strip().lower() for part in headers.get("Connection", "").split(",")]
    if headers.get("Upgrade", "").lower() != "websocket" or "upgrade" not in wanted:
        raise InvalidMessage("This address speaks WebSocket only")
    if headers.get("Sec-WebSocket-Version") != "13" or not _KEY.fullmatch(headers.get("Sec-WebSocket-Key", "")):
        raise InvalidMessage("This is not an upgrade to WebSocket version 13")


class Socket(Door, WebSocketHandler):
    """A door that opens a WebSocket."""

    as_ward: ClassVar[bool]
    sets_cookies = False

    def initialize(self, route: str, *, connections: Connections, wires: Wires) -> None:  # type: ignore[override]
        super().initialize(route)
        self.connections = connections
        self.wires = wires

    @classmethod
    def methods(cls) -> list[str]:
        return ["GET"]

    async def admit(self) -> None:
        """Everybody who asks in the right way; who they are decides how it goes on."""
        check_upgrade(self.request.headers)

    def check_origin(self, origin: str) -> bool:
        return True  # the door has looked at it already, and at the Host before it

    def get_websocket_protocol(self) -> WebSocketProtocol:
        return cast(WebSocketProtocol, Upgrade())

    async def wire(self) -> Wire:
        """What the upgrade leads to."""
        try:
            visitor = await self.sign_in()
            self.check_viewer(visitor)
        except AuthenticationError as refusal:
            return self._farewell(NOT_AUTHENTICATED, refusal)
        except Unavailable as refusal:
            return self._farewell(TRY_AGAIN, refusal)
        except StorageUnavailable:
            return self._farewell(TRY_AGAIN, Unavailable())
        return NativeConnection(self.wires, self.connections, visitor, as_ward=self.as_ward, since=self._since())

    def _farewell(self, code: int, refusal: Refusal) -> Farewell:
        self.check_room()
        return Farewell(self.wires, self.address, code, refusal_frame(refusal))

    async def sign_in(self) -> Visitor:
        """By the token of the header or of the subprotocols, or by the cookie of a page of ours."""
        if bearer_token(self.request.headers.get("Authorization", "")) is None:
            offered = self._subprotocols()
            if SUBPROTOCOL in offered:
                for name in offered:
                    if name.startswith(TOKEN_PREFIX):
                        return await self.services.doorkeeper.sign_in(name.removeprefix(TOKEN_PREFIX))
            # A browser always names its Origin: without one, the cookie is not sent by a page of ours.
            if "Origin" not in self.request.headers:
                raise AuthenticationRequired
        return await super().sign_in()

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the answer names."""
        return SUBPROTOCOL if SUBPROTOCOL in self._subprotocols() else None

    def _subprotocols(self) -> list[str]:
        return [name.strip() for name in self.request.headers.get("Sec-WebSocket-Protocol", "").split(",")]

    def _since(self) -> int | None:
        since = self.get_query_argument("since", "")
        return int(since) if SEQ.fullmatch(since) else None


class WardSocket(Socket):
    """``/ws/ward``: a user speaks as a ward."""

    as_ward = True


class GuardianSocket(Socket):
    """``/ws/guardian``: a user speaks as a guardian; ``?since=SEQ`` says where they stand."""

    as_ward = False


class Upgrade:
    """Answers an upgrade in Tornado's stead, and takes the connection away from it."""

    async def accept_connection(self, handler: Socket) -> None:
        """Called by Tornado once the request has passed its own checks."""
        await hand_over(handler, await handler.wire(), handler.subprotocol)

    def on_connection_close(self) -> None:
        """The client went away before it had its answer: the handover will notice."""
