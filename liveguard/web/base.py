"""The door of every request: from where it comes, who asks, and whether they may.

A handler derives from :class:`Door` and says in ``admit`` whom it lets in; one that says nothing lets nobody in. Before
that the Host is compared, and the Origin where the browser names one. What a browser could be made to send by a
stranger's page, because a cookie signs it in, must carry the token of its form.
"""

from types import TracebackType
from typing import Any, cast

import msgspec
from tornado.http1connection import HTTP1Connection
from tornado.iostream import IOStream
from tornado.web import HTTPError, RequestHandler

from liveguard.errors import AuthenticationRequired, NotAllowed, Refusal, StorageUnavailable
from liveguard.faults import log_fault
from liveguard.people import User, Visitor
from liveguard.web.bodies import Problem, Refused
from liveguard.web.headers import security_headers
from liveguard.web.services import Services
from liveguard.web.statuses import MethodNotAllowed, refusal_of, status_of

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class ForeignHost(NotAllowed):
    """Something is asked of a host that is not ours."""

    sentence = "This host is not served here"


class ForeignOrigin(NotAllowed):
    """Something is asked by a page that is not ours."""

    sentence = "Other sites may not ask here"


class OutOfDate(NotAllowed):
    """A form comes from a page that was loaded before the browser's login was another one, or from elsewhere."""

    sentence = "This page is out of date: load it again"


class Door(RequestHandler):
    """What all handlers have in common. ``route`` is the handler's line in the routing table."""

    services: Services
    route: str
    visitor: Visitor | None = None  # who asks, once they are signed in
    sets_cookies = True  # its answer can
    by_cookie = False  # the visitor is signed in by a cookie, which the browser adds to whatever it sends

    def initialize(self, route: str) -> None:
        self.route = route

    @property
    def routine(self) -> bool:
        """Whether this is one of many requests that carry on what the log has told of already."""
        return False

    def set_default_headers(self) -> None:
        self.services = self.settings["services"]
        self.clear_header("Server")
        for name, value in security_headers(self.services.site.scheme).items():
            self.set_header(name, value)

    # -- who may ---------------------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        self.check_address()
        self._check_method()
        await self.admit()
        if self.request.method not in SAFE_METHODS and self.forgeable:
            self._check_form()

    def check_address(self) -> None:
        """Is this asked of a host that is ours, and not by somebody else's page? Raises one of the two above."""
        host = self.request.headers.get("Host", "")
        if not self.services.site.allows_host(host):
            self.services.left_out.asked_for(host)
            raise ForeignHost
        origin = self.request.headers.get("Origin")
        if origin is not None and not self.services.site.allows_origin(origin, host):
            raise ForeignOrigin
        if "X-Forwarded-For" in self.request.headers:
            self.services.left_out.forwarded_by(self.request.remote_ip or "")

    async def admit(self) -> None:
        """Let the asker in, or raise. Says nobody, unless a handler says otherwise: one of the functions below."""
        raise NotAllowed

    @property
    def forgeable(self) -> bool:
        """Could a stranger's page make a browser send this, to some effect?"""
        return True

    async def sign_in(self) -> Visitor:
        """Who asks, by their token or else by the dashboard's cookie. Raises an AuthenticationError."""
        token = bearer_token(self.request.headers.get("Authorization", ""))
        if token is not None:
            visitor = await self.services.doorkeeper.sign_in(token)
        else:
            cookie = self.get_cookie(self.services.cookies.login)
            visitor = await self.services.doorkeeper.recognise(cookie, noted=self.sets_cookies)
            self.by_cookie = True
            if visitor.cookie_is_old and cookie is not None:
                self.services.cookies.keep(self, cookie)
        self.visitor = visitor
        return visitor

    def check_viewer(self, visitor: Visitor) -> None:
        """Is it a page of theirs that asks? In the same browser, another one may have signed in since it was loaded.
        Raises AuthenticationRequired."""
        if self.get_query_argument("viewer", visitor.user.id) != visitor.user.id:
            raise AuthenticationRequired

    @property
    def user(self) -> User:
        """Who asks, where only those are admitted who are signed in."""
        assert self.visitor is not None
        return self.visitor.user

    @property
    def address(self) -> str:
        """The client's own address, behind the proxies that are trusted."""
        forwarded = self.request.headers.get("X-Forwarded-For")
        return self.services.site.client_address(self.request.remote_ip or "", forwarded)

    @property
    def stream(self) -> IOStream:
        """The connection over which this was asked."""
        return cast(HTTP1Connection, self.request.connection).stream

    def check_room(self) -> None:
        """Is there room for a WebSocket of which nobody knows yet whose it is? Raises TooManyConnections."""
        self.services.strangers.check(self.address, over=self.stream)

    def _check_method(self) -> None:
        if self.request.method not in self.methods():
            raise MethodNotAllowed

    @classmethod
    def methods(cls) -> list[str]:
        """The methods that this handler knows."""
        known = [name for name in cls.SUPPORTED_METHODS if _defines(cls, name.lower())]
        return known if "GET" in known else [name for name in known if name != "HEAD"]

    async def head(self, *args: str, **kwargs: str) -> None:
        answered = self.get(*args, **kwargs)
        if answered is not None:
            await answered

    def _check_form(self) -> None:
        try:
            self.check_xsrf_cookie()
        except HTTPError:
            raise OutOfDate from None

    # -- refusals --------------------------------------------------------------------------------------------------

    def compute_etag(self) -> None:
        """No answer is kept by a browser, or it has an address of its own for each version: none needs a sum of it."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        problem = kwargs["exc_info"][1] if "exc_info" in kwargs else None
        refusal = refusal_of(problem, status_code)
        self.set_status(status_of(refusal))
        if self.get_status() == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        if isinstance(refusal, MethodNotAllowed):
            self.set_header("Allow", ", ".join(self.methods()))
        retry_after = getattr(refusal, "retry_after", None)
        if retry_after is not None:
            self.set_header("Retry-After", str(retry_after))
        self.refuse(refusal)

    def refuse(self, refusal: Refusal) -> None:
        """Write a refusal; its status is set already."""
        self.finish(msgspec.to_builtins(Refused(Problem(refusal.code, refusal.message))))

    def log_exception(
        self, typ: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        if value is not None and not isinstance(value, (Refusal, StorageUnavailable, HTTPError)):
            log_fault(f"{self.request.method} {self.route}", value)


def _defines(handler: type[RequestHandler], method: str) -> bool:
    return getattr(handler, method) is not getattr(RequestHandler, method)


def bearer_token(authorization: str) -> str | None:
    """The token in an ``Authorization`` header, or None if it holds something else."""
    scheme, _, token = authorization.strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


# -- whom handlers admit -------------------------------------------------------------------------------------------


async def everybody(door: Door) -> None:
    """Admit without asking who it is."""


async def signed_in(door: Door) -> None:
    """Admit whoever is known."""
    await door.sign_in()
