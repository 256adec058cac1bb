"""Everybody's connections, and what they share."""

import asyncio
from collections.abc import Coroutine, Iterable
from time import monotonic
from typing import TYPE_CHECKING, Any

from liveguard.errors import AuthenticationRequired
from liveguard.events.close_codes import KEEPALIVE_MISSED, NOT_AUTHENTICATED
from liveguard.faults import log_fault
from liveguard.live import Live
from liveguard.people import Doorkeeper
from liveguard.web.keepalive import Sweep
from liveguard.web.limits import Limits

if TYPE_CHECKING:
    from liveguard.web.connection import Connection


class Connections:
    """All open connections of the process, over whatever transport."""

    def __init__(self, live: Live, doorkeeper: Doorkeeper, limits: Limits, loop: asyncio.AbstractEventLoop) -> None:
        self.live = live
        self.doorkeeper = doorkeeper
        self.limits = limits
        self.sweep = Sweep(loop)
        self._loop = loop  # asking for the running loop costs a system call on Python 3.11
        self._by_person: dict[str, list[Connection]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = 0
        self.closed = 0  # so many have closed since the beginning

    def __len__(self) -> int:
        return self._open

    def of(self, person_id: str) -> "list[Connection]":
        """The open connections of one person."""
        return list(self._by_person.get(person_id, ()))

    def welcome(self, connection: "Connection") -> bool:
        """Note a connection that has opened. False, and nothing is noted, where its person has too many."""
        person_id = connection.person.id
        if len(self._by_person.get(person_id, ())) >= self.limits.connections and not self._makes_room(person_id):
            return False
        self._by_person.setdefault(person_id, []).append(connection)
        self._open += 1
        return True

    def _makes_room(self, person_id: str) -> bool:
        """Close one of a guardian's connections that does not answer, in favour of one that stands outside.

        They are asked at once, for a dead one is found half a minute after its network is gone, and the person is back
        long before. A ward's are asked often enough, and what closes them is told.
        """
        now, patience = monotonic(), self.limits.ward_rhythm.patience
        guarding = [one for one in self.of(person_id) if not one.as_ward]
        late = [one for one in guarding if one.pulse.is_late(one, now, patience)]
        if late:
            late[0].close(KEEPALIVE_MISSED)
            self.farewell(late[0])
        return bool(late)

    def farewell(self, connection: "Connection") -> None:
        """Forget a connection that has ended; idempotent."""
        others = self._by_person.get(connection.person.id, [])
        if connection in others:
            others.remove(connection)
            self._open -= 1
            self.closed += 1
            if not others:
                del self._by_person[connection.person.id]

    def close(self, code: int) -> None:
        """Close all connections from this side."""
        for connection in self._all():
            connection.close(code)

    def login_ids(self, of: Iterable[str] | None) -> set[str]:
        """The logins by which some connections of these people were opened, or of all; None means all."""
        asked = self._all() if of is None else [connection for person_id in of for connection in self.of(person_id)]
        return {connection.visitor.login_id for connection in asked if connection.visitor.login_id}

    def close_logins(self, ended: set[str]) -> None:
        """These logins are over, and with them the connections that they opened."""
        for connection in self._all():
            if connection.visitor.login_id in ended:
                connection.close(NOT_AUTHENTICATED, AuthenticationRequired())

    def _all(self) -> "list[Connection]":
        return [connection for connections in self._by_person.values() for connection in connections]

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that must wait, beside the connection that asked for it."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        fault = None if task.cancelled() else task.exception()
        if fault is not None:
            log_fault("a connection's task", fault)
