"""How much one client gets, and how a connection is held to its rate."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

from liveguard.config import Settings
from liveguard.web.keepalive import Rhythm

CALM = 1.0  # seconds without a refusal, after which the counting begins anew


@dataclass(frozen=True)
class Limits:
    """The bounds of one connection, and of one person's connections."""

    rate: float  # messages a second, 0 for no limit
    burst: int
    connections: int  # of one person
    message: int  # bytes, of a frame or a message of several
    unsent: int  # bytes
    ward_rhythm: Rhythm
    guardian_rhythm: Rhythm
    patience: float = 10.0  # seconds of refusals for the rate, then the connection is closed

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Those of these settings."""
        return cls(
            rate=settings.rate_limit,
            burst=settings.rate_burst,
            connections=settings.max_connections,
            message=settings.max_frame,
            unsent=settings.max_unsent,
            ward_rhythm=Rhythm(settings.ward_ping_interval, settings.ward_ping_timeout),
            guardian_rhythm=Rhythm(settings.guardian_ping_interval, settings.guardian_ping_timeout),
        )

    @cached_property
    def between_messages(self) -> float:
        """Seconds from one message to the next at a steady rate."""
        return 1 / self.rate if self.rate else 0.0

    @cached_property
    def burst_time(self) -> float:
        """Seconds that the messages of one burst would take at a steady rate."""
        return (self.burst - 1) * self.between_messages


class Bucket:
    """Lets bursts pass, and after them a steady rate. A rate of 0 lets everything pass.

    It holds one moment only: when it will be full again. A message that is let through moves it on.
    """

    __slots__ = ("_full_at", "_limits", "_refused_at", "_refused_since")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._full_at = 0.0
        self._refused_since = 0.0
        self._refused_at = -CALM

    def take(self, now: float) -> bool:
        """Whether a message may pass now."""
        limits = self._limits
        if self._full_at <= now:
            self._full_at = now + limits.between_messages
            return True
        if self._full_at - now > limits.burst_time:
            return False
        self._full_at += limits.between_messages
        return True

    def overflows(self, now: float) -> bool:
        """Note a refusal. Whether there have been such for too long, without a pause."""
        if now - self._refused_at >= CALM:
            self._refused_since = now
        self._refused_at = now
        return now - self._refused_since >= self._limits.patience
