"""Tornado's application as this house uses it: routes as the documents write them, and one log line a request."""

import logging
import re
from collections.abc import Iterable
from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.routing import URLSpec
from tornado.web import Application as TornadoApplication
from tornado.web import RequestHandler, stream_request_body

from liveguard.web.base import Door
from liveguard.web.services import Services
from liveguard.web.statuses import BodyTooLarge

log = logging.getLogger("liveguard.access")

LARGEST_BODY = 64 * 1024  # bytes
LARGEST_THROWN_AWAY = 16 * 1024 * 1024  # of a larger one nothing is read, and the connection is closed

Route = tuple[str, type[Door]] | tuple[str, type[Door], dict[str, Any]]


class Application(TornadoApplication):
    """All doors, behind one table of routes such as ``/api/sessions/{session_id}``; the first that fits is taken."""

    def __init__(self, routes: Iterable[Route], unknown: type[Door], services: Services) -> None:
        super().__init__(
            [_spec(*route) for route in routes],
            default_handler_class=unknown,
            default_handler_args={"route": "unknown"},
            services=services,
            xsrf_cookie_name=services.cookies.form,
            xsrf_cookie_kwargs=services.cookies.attributes,
        )
        self._services = services

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        if _length(request) > LARGEST_BODY:
            return self.get_handler_delegate(request, TooLarge, {"route": "unknown"})
        return super().find_handler(request, **kwargs)

    def log_request(self, handler: RequestHandler) -> None:
        """The route rather than the path: a path may hold a one-time link, and a query anything at all."""
        assert isinstance(handler, Door)
        request, status = handler.request, handler.get_status()
        method = request.method if request.method in handler.SUPPORTED_METHODS else "unknown"
        seconds = request.request_time()
        self._services.metrics.answered(handler.route, method, status, seconds)
        level = logging.DEBUG if handler.routine and status < 400 else logging.INFO
        log.log(
            level,
            "%s %s %d %.1f ms from %s", method, handler.route, status, seconds * 1000, handler.address,
            extra={"fields": {
                "method": method, "route": handler.route, "status": status,
                "ms": round(seconds * 1000, 1), "address": handler.address,
            }},
        )  # fmt: skip


@stream_request_body
class TooLarge(Door):
    """Answers whoever sends more than anybody here expects, and lets it go by unread.

    An answer ends the connection on which something is still to come, and a proxy that is cut off while it sends tells
    its client of a faulty server instead.
    """

    async def prepare(self) -> None:
        self.request.connection.set_max_body_size(LARGEST_THROWN_AWAY)  # type: ignore[union-attr]
        self.check_address()
        if _length(self.request) > LARGEST_THROWN_AWAY:
            raise BodyTooLarge

    def data_received(self, chunk: bytes) -> None:
        """It is not kept."""

    def get(self) -> None:
        raise BodyTooLarge

    delete = options = patch = post = put = get


def _length(request: HTTPServerRequest) -> int:
    length = request.headers.get("Content-Length", "0")
    return int(length) if length.isascii() and length.isdecimal() and len(length) < 20 else 0


def _spec(path: str, handler: type[Door], own: dict[str, Any] | None = None) -> URLSpec:
    """``{name}`` is one part of a path, ``{name*}`` all that is left of it."""
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", re.sub(r"\{(\w+)\*\}", r"(?P<\1>.*)", path.replace(".", r"\.")))
    return URLSpec(pattern, handler, {"route": path, **(own or {})})
