"""The dashboard's two cookies: who is signed in, and the token that its forms must carry."""

from dataclasses import dataclass
from typing import Any

from tornado.web import RequestHandler

from liveguard.people.logins import DAY, LASTS

NAME = "liveguard"


@dataclass(frozen=True)
class Cookies:
    """Their names and attributes.

    Through TLS they are bound to this very host by their names: no other host, and nothing without TLS, can set them.
    """

    scheme: str

    @property
    def login(self) -> str:
        """The name of the cookie that holds the login's token."""
        return f"{self._prefix}{NAME}"

    @property
    def form(self) -> str:
        """The name of the cookie that a form's token is compared with."""
        return f"{self._prefix}{NAME}_form"

    @property
    def attributes(self) -> dict[str, Any]:
        """Whatever is not said anew with each cookie."""
        return {"path": "/", "httponly": True, "samesite": "Lax", "secure": self.scheme == "https"}

    def keep(self, handler: RequestHandler, token: str) -> None:
        """Let the browser keep a login, from now on for as long as the server does."""
        handler.set_cookie(self.login, token, expires_days=LASTS // DAY, **self.attributes)

    def sign_in(self, handler: RequestHandler, token: str) -> None:
        """Let the browser keep a new login."""
        self.keep(handler, token)
        # Whoever could have planted a form's token before the sign-in, knows it no longer.
        handler.clear_cookie(self.form, **self.attributes)

    def sign_out(self, handler: RequestHandler) -> None:
        """Let the browser forget the login."""
        handler.clear_cookie(self.login, **self.attributes)
        handler.clear_cookie(self.form, **self.attributes)

    @property
    def _prefix(self) -> str:
        return "__Host-" if self.scheme == "https" else ""
