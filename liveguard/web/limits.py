"""How much one client gets (PROTOCOL 7)."""

from dataclasses import dataclass
from functools import cached_property

from liveguard.web.keepalive import Rhythm

WARD_RHYTHM = Rhythm(interval=5.0, patience=5.0)
GUARDIAN_RHYTHM = Rhythm(interval=20.0, patience=10.0)


@dataclass(frozen=True)
class Limits:
    """The bounds of one connection, and of one person's connections."""

    rate: float = 20  # messages a second, 0 for no limit
    burst: int = 40
    patience: float = 10.0  # seconds of refusals for the rate, then the connection is closed
    connections: int = 10  # of one person
    message: int = 64 * 1024  # bytes, of a frame or a message of several
    unsent: int = 256 * 1024  # bytes
    ward_rhythm: Rhythm = WARD_RHYTHM
    guardian_rhythm: Rhythm = GUARDIAN_RHYTHM

    @cached_property
    def between_messages(self) -> float:
        """Seconds from one message to the next at a steady rate."""
        return 1 / self.rate if self.rate else 0.0

    @cached_property
    def burst_time(self) -> float:
        """Seconds that the messages of one burst would take at a steady rate."""
        return (self.burst - 1) * self.between_messages
