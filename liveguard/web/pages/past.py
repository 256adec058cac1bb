"""A session that has ended, as the pages show it."""

from datetime import datetime
from typing import NamedTuple, Self

from liveguard.events import WORRYING
from liveguard.people import PastSession
from liveguard.web.cards import said_at_start

WORRIES_FOR = 3600_000  # milliseconds for which all is not quiet after a session whose ward never stopped it


class Past(NamedTuple):
    """One line of the history; moments in milliseconds since the epoch."""

    id: str
    ward_id: str
    name: str
    email: str
    start: int
    end: int
    duration: int
    reason: str
    said: list[tuple[str, str]]

    @classmethod
    def of(cls, session: PastSession) -> Self:
        """From what the history says."""
        return cls(
            session.session_id,
            session.ward_id,
            f"{session.ward_first_name} {session.ward_last_name}".strip() or session.ward_email,
            session.ward_email,
            milliseconds(session.start_time),
            milliseconds(session.end_time),
            session.duration,
            session.reason,
            said_at_start(session.metadata or {}),
        )

    @property
    def worrying(self) -> bool:
        """Whether it ended without a word of anybody: whether its ward is safe, is not known."""
        return self.reason in WORRYING

    @property
    def worries_until(self) -> int:
        """When all may be called quiet again."""
        return self.end + WORRIES_FOR


def milliseconds(text: str) -> int:
    """The moment of a time on the wire."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)
