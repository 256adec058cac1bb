"""The front of the server: Tornado's, with a bound on how many connections one address may have before it.

A connection counts for as long as it speaks HTTP; once it is a WebSocket, it counts for the person who signed in.
"""

from collections import Counter
from typing import Any, Final, cast

from tornado.http1connection import HTTP1ServerConnection
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream

from liveguard.addresses import Site

MOST_OF_ONE: Final = 4096  # connections of an address


class Front(HTTPServer):
    """Takes in connections, and closes at once those of an address that has too many. A trusted proxy may have any."""

    def initialize(self, application: Any, *, site: Site, **settings: Any) -> None:  # type: ignore[override]
        super().initialize(application, **settings)
        self._site = site
        self._of_address: Counter[str] = Counter()

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        who = str(address[0])
        if self._of_address[who] >= MOST_OF_ONE and not self._site.trusts(who):
            stream.close()
            return
        self._of_address[who] += 1
        super().handle_stream(stream, address)

    def on_close(self, server_conn: object) -> None:
        super().on_close(server_conn)
        context = cast(Any, cast(HTTP1ServerConnection, server_conn).context)
        who = str(context.address[0])
        self._of_address[who] -= 1
        if not self._of_address[who]:
            del self._of_address[who]
