"""What machines ask: does the process live, can it do its work, and how much of it is there?"""

import hmac
from ipaddress import ip_address

import msgspec
from msgspec import UNSET
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from liveguard.errors import NotAllowed
from liveguard.health import Finding
from liveguard.web.base import Door, bearer_token, everybody
from liveguard.web.bodies import Alive, Ready
from liveguard.web.openapi import Operation

FORWARDED = ("Forwarded", "Via", "X-Forwarded-For", "X-Real-IP")


class Healthz(Door):
    """``GET /healthz``: the process answers."""

    admit = everybody

    @Operation(answer=Alive)
    def get(self) -> None:
        self.finish(msgspec.to_builtins(Alive("ok")))


class Readyz(Door):
    """``GET /readyz``: the database answers and the journal can be written; 503 with what does not work.

    A damaged database that was set aside at a start is named as long as it lies there.
    """

    admit = everybody

    @Operation(answer=Ready, statuses=(200, 503))
    async def get(self) -> None:
        found = await self.services.health.readiness()
        self.set_status(200 if found.ready else 503)
        all_of_it: Finding = "ok" if found.ready else "failing"
        self.finish(msgspec.to_builtins(Ready(all_of_it, found.database, found.journal, found.set_aside or UNSET)))


class Figures(Door):
    """``GET /metrics``: the figures for Prometheus.

    They are for whoever has the token, or where none is set, for this machine alone.
    """

    async def admit(self) -> None:
        token = self.services.metrics_token
        if token is not None:
            shown = bearer_token(self.request.headers.get("Authorization", "")) or ""
            if not hmac.compare_digest(shown.encode(), token.encode()):
                raise NotAllowed("The figures are for those who have the token")
        elif not self._asked_here():
            raise NotAllowed("The figures are for this machine alone")

    @Operation(answer=str, content_type=CONTENT_TYPE_PLAIN_0_0_4, security=({"metricsToken": []}, {}))
    def get(self) -> None:
        self.set_header("Content-Type", CONTENT_TYPE_PLAIN_0_0_4)
        self.finish(self.services.metrics.text())

    def _asked_here(self) -> bool:
        # What somebody forwards from here without being trusted may come from anywhere.
        forwarded = any(name in self.request.headers for name in FORWARDED)
        if forwarded and self.address == self.request.remote_ip:
            return False
        try:
            return ip_address(self.address).is_loopback
        except ValueError:
            return False
