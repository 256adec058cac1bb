"""A connection: one open line to a person, whatever carries its bytes.

:class:`Connection` is what all transports share: who is there and how long for, what they ask for, what they may not,
and that the use cases learn of its arrival and its end once. How bytes go to and fro, those say who derive from it.
"""

import time
from abc import abstractmethod
from collections.abc import Callable
from time import monotonic
from typing import Any

from liveguard import events
from liveguard.errors import (
    AuthenticationRequired,
    InternalError,
    InvalidPayload,
    InvalidToken,
    NotAllowed,
    RateLimited,
    Refusal,
    StorageUnavailable,
    TokenExpired,
    TooManyConnections,
    Unavailable,
)
from liveguard.events import (
    ClientEvent,
    Notice,
    Ping,
    Pong,
    RefreshToken,
    Request,
    SendMessage,
    StartLiveSession,
    StopLiveSession,
    TokenRefreshed,
    UpdateLocation,
    refusal_event,
    timestamp,
)
from liveguard.events.close_codes import INTERNAL_ERROR, KEEPALIVE_MISSED, NOT_AUTHENTICATED, TOO_MANY
from liveguard.faults import log_fault
from liveguard.people import Visitor
from liveguard.web.connections import Connections
from liveguard.web.keepalive import Pulse
from liveguard.web.limits import Bucket

MOST_TOO_EARLY = 100
_SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Connection(events.Connection):
    """One open connection of a person, as a ward, as a guardian, or as both."""

    def __init__(self, connections: Connections, visitor: Visitor, *, as_ward: bool, as_guardian: bool) -> None:
        self.person = visitor.person
        self.visitor = visitor
        self.opened_at = self.last_heard = monotonic()
        self.turn = 0
        self.as_ward = as_ward
        self._as_guardian = as_guardian
        self._connections = connections
        self._live = connections.live
        self._bucket = Bucket(connections.limits)
        self.pulse = Pulse(connections.limits.ward_rhythm if as_ward else connections.limits.guardian_rhythm)
        self._expires = _deadline(visitor)
        self._came_as_ward = False
        self._came_as_guardian = False
        self._gone = False
        self._prolonging = False  # a token is being looked at
        # What a guardian says before they are in their rooms; None once they are.
        self._too_early: list[tuple[Request, SendMessage]] | None = [] if as_guardian else None
        self._caught_up = False  # as a guardian: what they missed is on its way, and they hear on from there
        self._unconfirmed = 0  # the newest event of the journal that was sent and not answered by a sign of life

    @property
    def browser(self) -> str | None:
        """The login of its cookie; None for whoever came by a token, which several devices may have."""
        return self.visitor.login_id if self.visitor.expires_at is None else None

    # -- left to the transports, as are send, catch_up and close ----------------------------------------------------

    @abstractmethod
    def ping(self) -> None:
        """Ask for a sign of life."""

    @abstractmethod
    def all_arrived(self) -> bool:
        """Whether everything that was to be sent is at the other side, as far as the kernel can tell."""

    @abstractmethod
    def progress(self) -> tuple[int, int]:
        """The bytes that have arrived at the other side, and the same with all that is on its way."""

    # -- arrival and end -------------------------------------------------------------------------------------------

    def arrive(self, since: int | None = None) -> None:
        """The line stands: tell the use cases, once. ``since`` is the last ``seq`` that a guardian has seen."""
        if not self._connections.welcome(self):
            self.close(TOO_MANY, TooManyConnections())
            return
        self._connections.sweep.watch(self, self.opened_at)
        if self.as_ward:
            self._came_as_ward = True
            self._guarded(self._live.ward_came, self)
        if self._as_guardian or self.visitor.login_id is not None:
            self._connections.spawn(self._settle_in(since))

    async def _settle_in(self, since: int | None) -> None:
        # A login that ended after it was seen at the door, and before this connection was noted, closed nothing.
        signed_in = await self._is_still_signed_in()
        if self._gone:
            return
        if not signed_in:
            self.close(NOT_AUTHENTICATED, AuthenticationRequired())
        elif self._as_guardian:
            await self._arrive_as_guardian(since)

    async def _is_still_signed_in(self) -> bool:
        try:
            return await self._connections.doorkeeper.still_knows(self.visitor)
        except StorageUnavailable:
            return True  # it was, a moment ago

    async def _arrive_as_guardian(self, since: int | None) -> None:
        self._came_as_guardian = True
        try:
            await self._live.guardian_came(self, since)
        except Exception as fault:
            # Better to come again than to wait here for news that never come.
            log_fault("a guardian's arrival", fault)
            self.close(INTERNAL_ERROR)
            return
        said, self._too_early = self._too_early or [], None
        for request, event in said:
            try:
                self._say(request, event)
            except Exception as fault:
                self._failed(request, fault)

    def gone(self, own_word: bool) -> None:
        """The connection has ended, by the client's own word or not. Told to the use cases at the first call only."""
        if self._gone:
            return
        self._gone = True
        self._connections.farewell(self)
        if self._came_as_ward:
            self._guarded(self._live.ward_gone, self, own_word)
        if self._came_as_guardian:
            self._guarded(self._live.guardian_gone, self)

    def _guarded(self, use_case: Callable[..., None], *arguments: Any) -> None:
        try:
            use_case(*arguments)
        except Exception as fault:
            log_fault(use_case.__name__, fault)

    # -- time ------------------------------------------------------------------------------------------------------

    def heard(self) -> None:
        """A sign of life: what had arrived before it, was received. It may have been under way for longer than that."""
        self.last_heard = monotonic()
        if self._unconfirmed and self.all_arrived():
            self._guarded(self._live.delivered, self.person.id, self._unconfirmed)
            self._unconfirmed = 0

    def sent(self, seq: int) -> None:
        """Remember what a sign of life will confirm. A ward hears what the same guardian may still miss."""
        if seq > self._unconfirmed and self._caught_up:
            self._unconfirmed = seq

    def due(self, now: float) -> float | None:
        """The sweep comes by: close what has expired or is dead. Returns the moment of its next visit."""
        left = self._expires - _since_boot()
        if left <= 0:
            self.close(NOT_AUTHENTICATED, TokenExpired())
            return None
        look_again = self.pulse.feel(self, now)
        if look_again is None:
            self.close(KEEPALIVE_MISSED)
            return None
        return min(look_again, now + left)

    # -- what the client asks for ----------------------------------------------------------------------------------

    def handle(self, request: Request, decode: Callable[[str, Any], ClientEvent], data: Any) -> None:
        """Do what the client asks for. What is refused, or fails by a fault of ours, is answered; nothing is raised."""
        too_many = not self._bucket.take(self.last_heard)
        try:
            # Somebody who wants to end their session is never kept from it.
            if too_many and request.event != StopLiveSession.name:
                raise RateLimited
            event = decode(request.event, data)
            self._check_role(event)
            _DEEDS[type(event)](self, request, event)
        except Exception as fault:
            self._failed(request, fault)
        if too_many and self._bucket.overflows(self.last_heard):
            self.close(TOO_MANY)

    def _failed(self, request: Request, fault: Exception) -> None:
        if not isinstance(fault, Refusal):
            log_fault(f"{type(self).__name__}.handle", fault)
            fault = InternalError()
        self.refuse(request, fault)

    def reject(self, request: Request, refusal: Refusal) -> None:
        """Refuse a message that says nothing; it counts for the rate like any other."""

        def decode(event: str, data: object) -> ClientEvent:
            raise refusal

        self.handle(request, decode, None)

    def refuse(self, request: Request, refusal: Refusal) -> None:
        """Answer with a refusal; the connection stays."""
        request.answer(refusal_event(refusal, request.event, _wall_clock()))

    def _check_role(self, event: ClientEvent) -> None:
        as_ward = self.as_ward and "ward" in event.said_by
        if not as_ward and not (self._as_guardian and "guardian" in event.said_by):
            raise NotAllowed

    def _start(self, request: Request, event: StartLiveSession) -> None:
        self._live.start(request, event.metadata)

    def _stop(self, request: Request, event: StopLiveSession) -> None:
        self._live.stop(request)

    def _locate(self, request: Request, event: UpdateLocation) -> None:
        self._live.locate(request, event)

    def _say(self, request: Request, event: SendMessage) -> None:
        if self.as_ward and event.ward_id in (None, self.person.id):
            self._live.say_as_ward(request, event.text)
        elif not self._as_guardian:
            raise NotAllowed
        elif event.ward_id is None:
            raise InvalidPayload("wardId must be the id of a ward")
        elif self._too_early is not None:
            if len(self._too_early) >= MOST_TOO_EARLY:
                raise RateLimited
            self._too_early.append((request, event))
        else:
            self._live.say_as_guardian(request, event.ward_id, event.text)

    def _pong(self, request: Request, event: Ping) -> None:
        request.answer(Pong(timestamp=timestamp(_wall_clock())))

    def _refresh(self, request: Request, event: RefreshToken) -> None:
        # One at a time, for whoever does not wait for the answer would have us keep them all.
        if self._prolonging:
            raise RateLimited
        self._prolonging = True
        self._connections.spawn(self._prolong(request, event.token))

    async def _prolong(self, request: Request, token: str) -> None:
        try:
            visitor = await self._connections.doorkeeper.sign_in(token)
            if visitor.person.id != self.person.id:
                raise InvalidToken
        except StorageUnavailable:
            self.refuse(request, Unavailable())
        except Refusal as refusal:
            self.refuse(request, refusal)
        else:
            self._admit_anew(request, visitor)
        finally:
            self._prolonging = False

    def _admit_anew(self, request: Request, visitor: Visitor) -> None:
        if self._gone or visitor.expires_at is None:
            return
        self.visitor = visitor
        self._expires = _deadline(visitor)
        self._connections.sweep.watch(self, monotonic())
        request.answer(TokenRefreshed(expires_at=timestamp(visitor.expires_at)))


_DEEDS: dict[type[ClientEvent], Callable[[Any, Request, Any], None]] = {
    StartLiveSession: Connection._start,
    StopLiveSession: Connection._stop,
    UpdateLocation: Connection._locate,
    SendMessage: Connection._say,
    RefreshToken: Connection._refresh,
    Ping: Connection._pong,
}


def last_word(refusal: Refusal) -> Notice:
    """What a client hears before its connection is closed."""
    return Notice(refusal_event(refusal, None, _wall_clock()))


def _wall_clock() -> int:
    return time.time_ns() // 1_000_000


def _deadline(visitor: Visitor) -> float:
    """When the visitor's sign-in expires, in seconds since boot: a jump of the wall clock prolongs nothing."""
    if visitor.expires_at is None:
        return float("inf")
    return _since_boot() + (visitor.expires_at - _wall_clock()) / 1000


def _since_boot() -> float:
    """As the monotonic clock, which on Linux stands still while the machine is suspended; a token grows older then."""
    return time.clock_gettime(_SINCE_BOOT)
