"""What the handlers of the web work with. Built once, in ``app.py``."""

from asyncio import Lock
from collections.abc import Callable
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from liveguard.addresses import Site
from liveguard.auth import Tokens
from liveguard.chronicle import Chronicle
from liveguard.clock import Clock
from liveguard.health import Health
from liveguard.live import Live
from liveguard.people import Doorkeeper, People
from liveguard.web.assets import Assets
from liveguard.web.cards import Cards
from liveguard.web.connections import Connections
from liveguard.web.cookies import Cookies
from liveguard.web.left_out import LeftOut
from liveguard.web.metrics import Metrics
from liveguard.web.render import Renderer
from liveguard.web.strangers import Strangers


@dataclass(frozen=True)
class Services:
    """The house behind the doors."""

    site: Site
    left_out: LeftOut
    clock: Clock
    live: Live
    people: People
    doorkeeper: Doorkeeper
    tokens: Tokens
    strangers: Strangers
    cookies: Cookies
    health: Health
    metrics: Metrics
    metrics_token: str | None
    chronicle: Chronicle
    assets: Assets
    renderer: Renderer
    cards: Cards
    connections: Connections
    # Written when they are first asked for: a server that starts need not wait for them.
    openapi: Callable[[], bytes]
    asyncapi: Callable[[], bytes]
    long_pages: WeakValueDictionary[str, Lock] = field(default_factory=WeakValueDictionary)
    """For each viewer who asks for any, the queue in which these are made."""
