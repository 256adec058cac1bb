"""The front of the server: Tornado's, which closes at once what there is no room for.

A connection counts for its network for as long as it speaks HTTP; once it is a WebSocket, it counts for the person who
signed in. A trusted proxy may have any number: whoever is behind it, is counted once they have said something.
"""

import logging
from time import monotonic
from typing import Any, Final, cast

from tornado.http1connection import HTTP1ServerConnection
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream

from liveguard.addresses import Site
from liveguard.descriptors import is_reserved, limit
from liveguard.errors import TooManyConnections
from liveguard.web.keepalive import Sweep
from liveguard.web.metrics import Metrics
from liveguard.web.strangers import Strangers
from liveguard.web.stream import Stream

SELDOM: Final = 60.0  # seconds between two lines of the log that say the same

log = logging.getLogger(__name__)


class Front(HTTPServer):
    """Takes in connections. ``slow`` are the seconds for headers, for a body, and without a byte of an answer read."""

    def initialize(  # type: ignore[override]
        self,
        application: Any,
        *,
        site: Site,
        strangers: Strangers,
        sweep: Sweep,
        metrics: Metrics,
        slow: float,
        **settings: Any,
    ) -> None:
        super().initialize(application, idle_connection_timeout=slow, body_timeout=slow, **settings)
        self._site = site
        self._strangers = strangers
        self._sweep = sweep
        self._metrics = metrics
        self._slow = slow
        self._silent_until = 0.0

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        if is_reserved(stream.socket.fileno()):
            stream.close()
            self._no_descriptors()
            return
        who = str(address[0])
        # In place of Tornado's own stream, which knows of nobody yet.
        stream = Stream(
            stream.socket, self._sweep, self._slow,
            max_buffer_size=self.max_buffer_size, read_chunk_size=self.read_chunk_size,
        )  # fmt: skip
        try:
            if not self._site.trusts(who):
                self._strangers.come(stream, who)
        except TooManyConnections:
            stream.close()
            self._metrics.turned_away("network")
            return
        super().handle_stream(stream, address)

    def on_close(self, server_conn: object) -> None:
        super().on_close(server_conn)
        self._strangers.gone(cast(HTTP1ServerConnection, server_conn).stream)

    def _no_descriptors(self) -> None:
        self._metrics.turned_away("descriptors")
        now = monotonic()
        if now >= self._silent_until:
            self._silent_until = now + SELDOM
            log.warning("Connections are turned away: of %d descriptors only the reserve is left", limit())
