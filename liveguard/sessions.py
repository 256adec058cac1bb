"""Live sessions and their lifecycle.

            start                     connection lost, grace > 0
  (none) ─────────▶ starting ─▶ active ───────────────────────────▶ interrupted
                       │          │ ▲      the ward is back in time       │
       guardians       │          │ └────────────────────────────────────┤
       unreadable      ▼          ▼  stop · grace = 0 · disabled         │ grace over
                    (none)      ended ◀──────────────────────────────────┘

:class:`ActiveSessions` is the process's one session dict. A ward's slot in it is taken before anything is awaited;
whoever holds the slot is the ward's one session. Nothing here knows a network, a database or a clock: a
:class:`Moment` comes in as an argument.
"""

import enum
import random
import secrets
from typing import Any, Literal, NamedTuple

from msgspec import UNSET, Struct

from liveguard.errors import SessionAlreadyActive
from liveguard.events import (
    Connection,
    GuardiansChanged,
    GuardianSessionStarted,
    Location,
    LocationUpdated,
    Message,
    Person,
    Reason,
    Sender,
    SessionEnded,
    SessionInterrupted,
    SessionResumed,
    SessionStarted,
    UpdateLocation,
    located,
    timestamp,
)
from liveguard.rooms import Room


class Moment(Struct, frozen=True, gc=False):
    """One reading of both clocks."""

    wall: int  # milliseconds since the epoch
    steady: float  # seconds, monotonic

    @property
    def text(self) -> str:
        """The wall clock as it stands on the wire."""
        return timestamp(self.wall)


class State(enum.Enum):
    """Where a session stands in its life."""

    STARTING = "starting"
    ACTIVE = "active"
    INTERRUPTED = "interrupted"
    ENDED = "ended"


_RUNNING = State.ACTIVE, State.INTERRUPTED


class Interruption(NamedTuple):
    """Since when the ward's connection is lost, for how many seconds it may come back, and when it was last heard of:
    in milliseconds since the epoch, None where that went down with the process before."""

    since: Moment
    grace: float
    heard: int | None

    @property
    def ends_at(self) -> int:
        """When the grace is over, in milliseconds since the epoch."""
        return self.since.wall + int(self.grace * 1000)


# An id opens nothing, so it need not be hard to guess. Asking the system each time lets the thread of the database go
# first: 4 µs for 0.1.
_chance = random.Random(secrets.token_bytes(16))  # noqa: S311


def new_id(now: Moment) -> str:
    """The id of a session that begins now: a UUID of version 7 (RFC 9562, 5.7) in 32 hexadecimal digits.

    It begins with the time, so what is new lies together in each index of the file: with random ids each start and
    each end writes a page of its own, and a commit of 14 takes a third longer.
    """
    chance = _chance.getrandbits(74)
    bits = now.wall << 80 | 0x7 << 76 | (chance >> 62) << 64 | 0b10 << 62 | chance & (1 << 62) - 1
    return f"{bits:032x}"


def whole_seconds(seconds: float) -> int:
    """A duration as it stands on the wire: whole, half up, never negative."""
    return max(0, int(seconds + 0.5))


class LiveSession:
    """One ward's session, from the moment its slot is taken until it has ended."""

    __slots__ = (
        "carrier",
        "ended",
        "ended_by",
        "guardians",
        "id",
        "interruption",
        "last_location",
        "located_by",
        "metadata",
        "room",
        "seq",
        "spared_until",
        "start",
        "state",
        "ward",
    )

    def __init__(
        self,
        session_id: str,
        ward: Person,
        metadata: dict[str, Any] | None,
        start: Moment,
        room: Room,
        carrier: Connection | None = None,
    ) -> None:
        self.id = session_id
        self.ward = ward
        self.metadata = metadata
        self.start = start
        self.spared_until = 0.0  # seconds, monotonic: after a restart, the longest time is not over before that
        self.carrier = carrier  # the connection whose end is the ward's going
        self.room = room
        self.guardians: dict[str, Person] = {}  # all the accepted ones, connected or not
        self.state = State.STARTING
        self.seq: int | None = None  # of its start, once the journal has that
        self.interruption: Interruption | None = None
        self.last_location: Location | None = None
        self.located_by: Connection | None = None  # that told it
        self.ended: SessionEnded | None = None
        self.ended_by: str | None = None  # the id of an admin

    @property
    def running(self) -> bool:
        """Whether guardians may see it."""
        return self.state in _RUNNING

    def activate(self, seq: int | None) -> None:
        """The journal has it (``seq``), or could not be written (None): from now on it is live."""
        self._leave(State.STARTING)
        self.state = State.ACTIVE
        self.seq = seq

    def interrupt(self, now: Moment, grace: float) -> SessionInterrupted:
        """The carrying connection is lost; ``grace`` in seconds."""
        self._leave(State.ACTIVE)
        self.state = State.INTERRUPTED
        heard = now.wall - round(1000 * (now.steady - self.carrier.last_heard)) if self.carrier else None
        self.carrier = None  # or what is left of it would stay for as long as the ward is waited for
        self.interruption = Interruption(now, grace, heard)
        return SessionInterrupted(
            session_id=self.id,
            ward_id=self.ward.id,
            since=now.text,
            ends_at=timestamp(self.interruption.ends_at),
            timestamp=now.text,
        )

    def resume(self, now: Moment, carrier: Connection) -> SessionResumed:
        """The ward is back."""
        self._leave(State.INTERRUPTED)
        since = self.interruption.since if self.interruption else now
        interrupted_for = whole_seconds(now.steady - since.steady)
        self.state = State.ACTIVE
        self.carrier = carrier
        self.interruption = None
        return SessionResumed(
            session_id=self.id, ward_id=self.ward.id, interrupted_for=interrupted_for, timestamp=now.text
        )

    def duration(self, now: Moment) -> int:
        """How long it has run, in whole seconds."""
        return whole_seconds(now.steady - self.start.steady)

    def ends(self, now: Moment) -> Moment:
        """When it ends, if it ends now: not before it began, though the wall clock may have been set back meanwhile."""
        ran = int((now.steady - self.start.steady) * 1000)
        return now if now.wall >= self.start.wall else Moment(self.start.wall + ran, now.steady)

    def end(
        self, now: Moment, reason: Reason, seq: int | None, told: Moment, ended_by: str | None = None
    ) -> SessionEnded:
        """It ended at ``now`` and is told at ``told``."""
        self._leave(State.ACTIVE, State.INTERRUPTED)
        self.state = State.ENDED
        self.ended_by = ended_by
        self.ended = SessionEnded(
            session_id=self.id,
            ward_id=self.ward.id,
            ward_email=self.ward.email,
            start_time=self.start.text,
            end_time=now.text,
            duration=self.duration(now),
            reason=reason,
            ward_first_name=self.ward.first_name,
            ward_last_name=self.ward.last_name,
            seq=UNSET if seq is None else seq,
            timestamp=told.text,
        )
        return self.ended

    def started(self, now: Moment) -> SessionStarted:
        """What the ward hears."""
        return SessionStarted(
            session_id=self.id,
            start_time=self.start.text,
            room_name=self.room.name,
            guardians=list(self.guardians.values()),
            connected_guardians=len(self.room.guardians),
            durable=self.seq is not None,
            timestamp=now.text,
        )

    def started_for_guardians(self, now: Moment) -> GuardianSessionStarted:
        """What guardians hear."""
        interruption = self.interruption
        return GuardianSessionStarted(
            ward_id=self.ward.id,
            ward_email=self.ward.email,
            session_id=self.id,
            start_time=self.start.text,
            ward_first_name=self.ward.first_name,
            ward_last_name=self.ward.last_name,
            metadata=self.metadata,
            last_location=self.last_location,
            state="interrupted" if interruption else "active",
            timestamp=now.text,
            since=interruption.since.text if interruption else UNSET,
            ends_at=timestamp(interruption.ends_at) if interruption else UNSET,
            seq=UNSET if self.seq is None else self.seq,
        )

    def locate(self, update: UpdateLocation, now: Moment, connection: Connection) -> LocationUpdated:
        """The ward is somewhere, as one of their devices says."""
        self.last_location, self.located_by = located(update, now.wall), connection
        return LocationUpdated(
            ward_id=self.ward.id,
            ward_email=self.ward.email,
            session_id=self.id,
            location=self.last_location,
            timestamp=now.text,
        )

    def message(self, writer: Person, role: Literal["ward", "guardian"], text: str, now: Moment) -> Message:
        """Somebody in the room writes."""
        return Message(
            session_id=self.id,
            ward_id=self.ward.id,
            sender=Sender(writer.id, writer.first_name, writer.last_name, role),
            text=text,
            timestamp=now.text,
        )

    def guardians_changed(self) -> GuardiansChanged:
        """Who is in the room now."""
        ids = list(self.room.guardians)
        return GuardiansChanged(session_id=self.id, connected_guardians=len(ids), guardian_ids=ids)

    def _leave(self, *states: State) -> None:
        if self.state not in states:
            raise ValueError(f"a session that is {self.state.value} cannot do this")


class ActiveSessions:
    """The one session dict: each ward's only session, by the ward's id."""

    def __init__(self) -> None:
        self._by_ward: dict[str, LiveSession] = {}

    def claim(self, session: LiveSession) -> None:
        """Take the ward's slot. Raises :class:`SessionAlreadyActive` when it is taken."""
        if session.ward.id in self._by_ward:
            raise SessionAlreadyActive
        self._by_ward[session.ward.id] = session

    def release(self, session: LiveSession) -> None:
        """Free the ward's slot, where this session still holds it."""
        if self._by_ward.get(session.ward.id) is session:
            del self._by_ward[session.ward.id]

    def of_ward(self, ward_id: str) -> LiveSession | None:
        """The session in the ward's slot, one that is still starting included."""
        return self._by_ward.get(ward_id)

    def wards(self) -> set[str]:
        """The ids of the wards whose slot is taken."""
        return set(self._by_ward)

    def get_active_sessions(self) -> list[LiveSession]:
        """The sessions that run: active or interrupted, the oldest first."""
        return [session for session in self._by_ward.values() if session.running]

    def get_user_active_session(self, user_id: str) -> LiveSession | None:
        """This ward's session, if one runs."""
        session = self._by_ward.get(user_id)
        return session if session is not None and session.running else None

    def has_active_session(self, user_id: str) -> bool:
        """Whether this ward has a session that runs."""
        return self.get_user_active_session(user_id) is not None

    def get_active_session_count(self) -> int:
        """How many sessions run."""
        return sum(session.running for session in self._by_ward.values())
