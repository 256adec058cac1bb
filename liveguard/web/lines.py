"""All lines of Engine.IO, and what they share."""

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

from liveguard.web.limits import Bucket
from liveguard.web.wire import Wire
from liveguard.web.wires import Wires

if TYPE_CHECKING:
    from liveguard.web.line import Line

PATIENCE: Final = 10.0  # seconds for somebody to sign in over a line


class Asker(Protocol):
    """A request that may wait for its answer, or change to a WebSocket."""

    when_gone: Callable[[], None] | None
    """Called where the client does not wait any more."""

    @property
    def gone(self) -> bool:
        """Whether it did not even wait for this."""

    async def change_to(self, wire: Wire) -> None:
        """Answer an upgrade; what follows is the wire's."""


class Lines:
    """What all lines share."""

    def __init__(
        self,
        wires: Wires,
        message_came: Callable[["Line", bytes], None],
        binary_came: Callable[["Line"], None],
        ended: Callable[["Line"], None],
        bucket: Callable[[], Bucket],
    ) -> None:
        self.wires = wires
        self.bucket = bucket  # a new one
        self.message_came = message_came
        self.binary_came = binary_came
        self._ended = ended

    def opened(self, line: "Line", *, polled: bool) -> None:
        """Note a line that nobody has signed in yet. Raises TooManyConnections."""
        if polled:  # a WebSocket counts by itself
            self.wires.strangers.come(line, line.address)
        self.wires.opened(line)
        self._wait_for_sign_in(line)

    def signed_in(self, line: "Line", wire: Wire | None) -> None:
        """Somebody is signed in."""
        self.wires.strangers.gone(wire or line)
        self.wires.sweep.forget(line)

    def signed_out(self, line: "Line", wire: Wire | None) -> None:
        """They have taken their leave, and nobody is signed in again."""
        self.wires.strangers.count(wire or line, line.address)
        self._wait_for_sign_in(line)

    def changed_over(self, line: "Line", wire: Wire) -> None:
        """A line goes on over a WebSocket, which has counted by itself so far."""
        self.wires.strangers.gone(line if line.connection is None else wire)

    def _wait_for_sign_in(self, line: "Line") -> None:
        """Give somebody a moment to sign in."""
        self.wires.sweep.watch(line, monotonic() + PATIENCE)

    def ended(self, line: "Line") -> None:
        """Forget a line."""
        self.wires.sweep.forget(line)
        self.wires.closed(line)
        self._ended(line)
