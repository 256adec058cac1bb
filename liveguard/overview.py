"""The sessions that run, as those see them who may."""

from typing import Any, Literal, Self

from msgspec import UNSET, Struct, UnsetType

from liveguard.events import Location, Seconds, Timestamp, timestamp
from liveguard.sessions import LiveSession, Moment


class RunningSession(Struct, frozen=True, rename="camel"):
    """A session that runs, at one moment; the fields are those of ``guardian:session-started`` and what can be counted.

    ``since`` and ``endsAt`` are there while it is interrupted, ``seq`` once the journal has it.
    """

    session_id: str
    ward_id: str
    ward_email: str
    ward_first_name: str
    ward_last_name: str
    start_time: Timestamp
    state: Literal["active", "interrupted"]
    duration: Seconds
    connected_guardians: int
    guardian_ids: list[str]
    metadata: dict[str, Any] | None
    last_location: Location | None
    since: Timestamp | UnsetType = UNSET
    ends_at: Timestamp | UnsetType = UNSET
    seq: int | UnsetType = UNSET

    @classmethod
    def of(cls, session: LiveSession, now: Moment) -> Self:
        """How the session stands now."""
        ward, interruption = session.ward, session.interruption
        return cls(
            session_id=session.id,
            ward_id=ward.id,
            ward_email=ward.email,
            ward_first_name=ward.first_name,
            ward_last_name=ward.last_name,
            start_time=session.start.text,
            state="interrupted" if interruption else "active",
            duration=session.duration(now),
            connected_guardians=len(session.room.guardians),
            guardian_ids=list(session.room.guardians),
            metadata=session.metadata,
            last_location=session.last_location,
            since=interruption.since.text if interruption else UNSET,
            ends_at=timestamp(interruption.ends_at) if interruption else UNSET,
            seq=UNSET if session.seq is None else session.seq,
        )


def last_sign_of_life(session: LiveSession, now: Moment) -> int:
    """When the ward was last heard of, in milliseconds since the epoch."""
    if session.interruption is not None:
        return session.interruption.since.wall
    last_heard = session.carrier.last_heard if session.carrier else now.steady
    return now.wall - round(1000 * (now.steady - last_heard))
