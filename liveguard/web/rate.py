"""How much one connection may send."""

from liveguard.web.limits import Limits

CALM = 1.0  # seconds without a refusal, after which the counting begins anew


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
