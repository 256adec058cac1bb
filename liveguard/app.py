"""The server: builds everything once, and starts and stops it in order."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from functools import cache, partial
from typing import Any

from tornado.netutil import bind_sockets

from liveguard import descriptors, logs, resources, systemd
from liveguard.addresses import WILDCARDS, Site
from liveguard.auth import Passwords, tokens_for
from liveguard.chronicle import Chronicle
from liveguard.clock import SystemClock
from liveguard.config import Settings
from liveguard.errors import ConfigurationError, StorageUnavailable
from liveguard.events.close_codes import RESTART
from liveguard.faults import log_fault
from liveguard.health import Health
from liveguard.live import Live
from liveguard.memory import Memory
from liveguard.people import People
from liveguard.rounds import Rounds
from liveguard.storage import Storage, probes
from liveguard.web import api, monitoring
from liveguard.web.application import LARGEST_BODY, Application, Route
from liveguard.web.assets import Assets
from liveguard.web.asyncapi import asyncapi
from liveguard.web.cards import Cards
from liveguard.web.connections import Connections
from liveguard.web.cookies import Cookies
from liveguard.web.engineio import EngineDoor
from liveguard.web.front import Front
from liveguard.web.left_out import LeftOut
from liveguard.web.limits import Limits
from liveguard.web.metrics import Metrics
from liveguard.web.openapi import openapi
from liveguard.web.pages import PAGES, Unknown
from liveguard.web.render import Renderer
from liveguard.web.services import Services
from liveguard.web.socketio import SocketIO
from liveguard.web.sockets import GuardianSocket, WardSocket
from liveguard.web.strangers import Strangers
from liveguard.web.wires import Wires

BACKLOG = 4096
COLLECT_AFTER = 20_000  # containers
DAY = 24 * 3600 * 1000  # milliseconds
SLOW = 10.0  # seconds for the headers of a request, again for its body, and for anything of its answer to be read
LARGEST_HEADERS = 32 * 1024  # bytes
LAST_WORDS = 2.5  # seconds for all connections to close
PATIENCE = 4.5  # seconds for everything, from the signal to the end
ECHO = 1.0  # seconds in which a second signal says no more than the first: timeout(1) tells the child, then its group
STOPS = (signal.SIGTERM, signal.SIGINT)

Beside = Callable[["Server"], Awaitable[None]]

log = logging.getLogger(__name__)


def routes(connections: Connections, wires: Wires, serve_socketio: Callable[[EngineDoor], Any]) -> list[Route]:
    """Every address of the server and who answers there."""
    sockets = {"connections": connections, "wires": wires}
    return [
        ("/ws/ward", WardSocket, sockets),
        ("/ws/guardian", GuardianSocket, sockets),
        ("/socket.io/", EngineDoor, {"serve": serve_socketio}),
        ("/api/login", api.Login),
        ("/api/me", api.Me),
        ("/api/sessions", api.Sessions),
        ("/api/sessions/{session_id}", api.Session),
        ("/api/history", api.History),
        ("/api/guardians", api.Guardians),
        ("/api/guardians/{pair_id}", api.Guardian),
        ("/api/wards", api.Wards),
        ("/api/invitations/{pair_id}/accept", api.Accept),
        ("/api/invitations/{pair_id}/decline", api.Decline),
        ("/api/openapi.json", api.OpenApi),
        ("/api/asyncapi.json", api.AsyncApi),
        ("/healthz", monitoring.Healthz),
        ("/readyz", monitoring.Readyz),
        ("/metrics", monitoring.Figures),
        ("/api/{rest*}", api.Unknown),
        *PAGES,
    ]


class Server:
    """One running liveguard. After ``start`` it serves at ``url``, until ``stop``."""

    url: str
    port: int
    set_up_link: str | None  # for the first admin, where there is none

    def __init__(self, settings: Settings, *, passwords: Passwords | None = None) -> None:
        self.settings = settings
        self.clock = SystemClock()
        self._passwords = passwords or Passwords()

    async def start(self) -> None:
        """Open the database, take up what was running, and listen. Raises what keeps it from it, nothing left open."""
        # The port comes first: whoever finds it taken should not have touched the database.
        self._sockets = _listen(self.settings.host, self.settings.port)
        try:
            self.storage = await Storage.open(self.settings.database, exclusive=True)
        except BaseException:
            self._close_sockets()
            raise
        try:
            await self._serve()
        except BaseException:
            self._close_sockets()
            await self.storage.close()
            raise

    async def _serve(self) -> None:
        self.port = self._sockets[0].getsockname()[1]
        self._build_use_cases()
        self._build_doors(self.settings.site(self.port))
        await self.live.restore()
        await self.chronicle.restore(self.live.sessions.get_active_sessions())
        self._http.add_sockets(self._sockets)
        self._rounds.begin()
        # Where the database cannot be written, the log says so now, and not only once a session begins.
        probes.write(self.storage.database).add_done_callback(asyncio.Future.exception)
        try:
            token = await self.people.links.for_set_up()
        except StorageUnavailable as fault:
            log.warning(
                "No link for the first admin, because the database cannot be written; each start makes one: %s",
                fault,
            )
            token = None
        self.set_up_link = None if token is None else f"{self.url}/link/{token}"

    def _build_use_cases(self) -> None:
        settings, storage, clock = self.settings, self.storage, self.clock
        self.tokens = tokens_for(settings)
        self.live = Live(storage, clock, grace=settings.reconnect_grace, longest=settings.session_limit)
        self.chronicle = Chronicle(storage, clock, keep_for=int(settings.location_retention * DAY))
        self.live.watch(self.chronicle.happened)
        self.people = People(storage, self._passwords, clock=clock, live=self.live, access_changed=self._access_changed)
        self._health = Health(storage, clock, self.live.journal_is_behind)

    def _build_doors(self, site: Site) -> None:
        self.url = site.public_url
        settings, limits = self.settings, Limits.of(self.settings)
        loop = asyncio.get_running_loop()
        doorkeeper = self.people.doorkeeper(self.tokens)
        self.connections = Connections(self.live, doorkeeper, limits, loop)
        sweep, self.strangers = self.connections.sweep, Strangers()
        self.wires = Wires(loop, sweep, self.strangers, max_message=limits.message, max_unsent=limits.unsent)
        self.socketio = SocketIO(self.connections, self.wires)
        memory = Memory(self.connections)
        self._rounds = Rounds(
            self.storage, self.people, self.connections, self.clock,
            admit=self.live.access_changed, lazily=[self.live.write_lazily, self.chronicle.write, memory.give_back],
        )  # fmt: skip
        assets = Assets(resources.static())
        renderer = Renderer(resources.templates(), {"static_url": assets.url, "imported": assets.imported})
        self.metrics = self._metrics()
        table = routes(self.connections, self.wires, self.socketio.serve)
        cookies = Cookies(site.scheme)
        described = table, site.public_url, cookies.login
        services = Services(
            site=site, left_out=LeftOut(site), clock=self.clock, live=self.live, people=self.people,
            doorkeeper=doorkeeper, tokens=self.tokens, strangers=self.strangers, cookies=cookies, health=self._health,
            metrics=self.metrics, metrics_token=settings.metrics_token, chronicle=self.chronicle, assets=assets,
            renderer=renderer, cards=Cards(renderer),
            connections=self.connections,
            openapi=cache(partial(openapi, *described)), asyncapi=cache(partial(asyncapi, *described)),
        )  # fmt: skip
        self._http = Front(
            Application(table, Unknown, services), site=site, strangers=self.strangers, sweep=sweep,
            metrics=self.metrics, slow=SLOW, max_header_size=LARGEST_HEADERS, max_body_size=LARGEST_BODY,
        )  # fmt: skip

    async def stop(self) -> None:
        """Take in nothing more, close all connections, and write what is to be written."""
        self._http.stop()
        await self.live.close()
        self.let_go()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.wires.all_closed(), LAST_WORDS)
        await self._http.close_all_connections()
        await self._rounds.end()
        await self._health.close()
        await self.storage.close()
        self._passwords.close()

    def let_go(self) -> None:
        """Close all connections. Their clients come back, and alarm nobody in the meantime."""
        self.connections.close(RESTART)
        self.socketio.close(RESTART)

    async def _access_changed(self, ward_ids: set[str], user_ids: set[str]) -> None:
        await self._rounds.access_changed(ward_ids, user_ids)

    def _close_sockets(self) -> None:
        for one in self._sockets:
            one.close()

    def _metrics(self) -> Metrics:
        metrics = Metrics()
        metrics.gauge("sessions", "Sessions that run", self.live.sessions.get_active_session_count)
        metrics.gauge("connections", "Open connections of people", lambda: len(self.connections))
        metrics.gauge("wards", "Wards who are connected", lambda: len(self.live.wards))
        metrics.gauge("guardians", "Guardians who are connected", lambda: len(self.live.audience.present))
        metrics.gauge("journal_healthy", "1 if the last write worked", lambda: self.storage.database.healthy)
        self.live.watch(lambda session, event, now: metrics.happened(event.name))
        return metrics


def _listen(host: str, port: int) -> list[socket.socket]:
    try:
        return bind_sockets(port, host, backlog=BACKLOG)
    except (OSError, UnicodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "not a host name"
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        raise ConfigurationError(f"Cannot listen on {place} (LIVEGUARD_HOST, LIVEGUARD_PORT): {reason}") from None


async def serve(settings: Settings, beside: Beside | None = None, tidy_up: Callable[[], None] = lambda: None) -> None:
    """Serve until SIGTERM, Ctrl-C or the end of the terminal; meanwhile do what is to be done beside it. Where the end
    is not waited for, ``tidy_up`` is called."""
    logs.configure(settings.log_format, settings.log_level)
    descriptors.raise_limit()
    told_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in STOPS:
        loop.add_signal_handler(number, told_to_stop.set)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup(1)
        # It stays to the end: who runs in a terminal that closes may hear of it from the shell, then from the system.
        loop.add_signal_handler(signal.SIGHUP, told_to_stop.set)
    server = Server(settings)
    await server.start()
    company: asyncio.Task[None] | None = None
    try:
        _announce(server)
        # What is there now stays: the collector need not look at it again and again.
        gc.freeze()
        # What is over leaves nothing for it, so it need not look after each 700 things that are new.
        gc.set_threshold(COLLECT_AFTER, 20, 20)
        gc.enable()  # the command line had switched it off
        company = None if beside is None else loop.create_task(_keep_company(server, beside))
        systemd.tell(systemd.READY)
        systemd.show_life(loop)
        await told_to_stop.wait()
    finally:
        systemd.tell(systemd.STOPPING)
        if company is not None:
            company.cancel()
        # Whoever insists need not wait. Python's own Ctrl-C would end the loop, then wait for the storage's thread.
        loop.call_later(ECHO, _take_signals, loop, signal.SIG_DFL)
        # A disk that hangs is not waited for: the next start finds in the journal what was confirmed.
        loop.call_later(PATIENCE, _leave, server, tidy_up)
        await server.stop()
        _take_signals(loop, signal.SIG_IGN)  # what is left takes a moment


def _take_signals(loop: asyncio.AbstractEventLoop, how: signal.Handlers) -> None:
    for number in STOPS:
        loop.remove_signal_handler(number)
        signal.signal(number, how)


def _leave(server: Server, tidy_up: Callable[[], None]) -> None:
    try:
        logging.shutdown()
        server.let_go()
        tidy_up()
    finally:
        os._exit(0)


async def _keep_company(server: Server, beside: Beside) -> None:
    """Do what is to be done beside the server, which serves on whatever becomes of it."""
    try:
        await beside(server)
    except* Exception as faults:
        for fault in faults.exceptions:
            log_fault("the company of the server", fault)


def _announce(server: Server) -> None:
    """Print where it serves. Where that cannot be printed, the log says it, but for the link: a secret is in no log."""
    link, lines = server.set_up_link, [f"liveguard serves at {server.url}"]
    if server.settings.host in WILDCARDS and server.settings.public_url is None:
        lines.append("Set LIVEGUARD_PUBLIC_URL to the address by which people reach it from elsewhere")
    introduction = [] if link is None else [f"There is no admin here yet. Introduce yourself once: {link}"]
    try:
        sys.stdout.write("".join(f"{line}\n" for line in lines + introduction))
        sys.stdout.flush()
    except OSError as problem:
        # What could not be written is still in the buffer, and would be tried once more at the end.
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        log.warning("The standard output cannot be written: %s", problem.strerror)
        for line in lines:
            log.warning("%s", line)
        if link is not None:
            log.warning("There is no admin here yet: for the link, start with a standard output that can be written")
