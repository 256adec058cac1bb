"""The WebSocket of a line of Engine.IO."""

from time import monotonic
from typing import TYPE_CHECKING, Final

from liveguard.events.close_codes import PROTOCOL_ERROR
from liveguard.web.packets import PING, PONG, PROBE, UPGRADE
from liveguard.web.websocket import text_frame
from liveguard.web.wire import Wire
from liveguard.web.wires import Wires

if TYPE_CHECKING:
    from liveguard.web.line import Line

PATIENCE: Final = 10.0  # seconds for a change from polling, once it is begun


class LineWire(Wire):
    """The WebSocket of a line, or one to which a line may change over."""

    __slots__ = ("_carries", "_line", "_opening", "_probed")

    def __init__(self, wires: Wires, line: "Line", opening: bytes | None = None) -> None:
        super().__init__(wires)
        self._line = line
        self._opening = opening
        self._carries = False  # the line, and not only the attempt of an upgrade
        self._probed = False

    def opened(self) -> None:
        self._wires.strangers.count(self, self._line.address)
        if self._opening is None:
            self._wires.sweep.watch(self, monotonic() + PATIENCE)
            self._line.probe(self)
        else:
            self._carry()
            self.write(text_frame(self._opening))

    def _carry(self) -> None:
        self._carries = True
        self._line.change_over(self)

    def pour(self, frames: bytes) -> None:
        """Send frames at once, however many they are."""
        self.flush()
        if not self.closing:
            self.hand_on(frames)

    def heard(self) -> None:
        if self._carries:
            self._line.heard()

    def text_came(self, payload: bytes) -> None:
        if self._carries:
            self._line.packet_came(payload)
        elif payload == PING + PROBE and not self._probed:
            self._probed = True
            self.write(text_frame(PONG + PROBE))
        elif payload == UPGRADE and self._probed:
            self._wires.sweep.forget(self)
            self._carry()
        else:
            self.shut(PROTOCOL_ERROR)

    def binary_came(self, payload: bytes) -> None:
        if self._carries:
            self._line.binary_came()
        else:
            self.shut(PROTOCOL_ERROR)

    def gone(self, own_word: bool) -> None:
        # A close frame is a transport's word, not a person's.
        self._line.wire_gone(self)

    def due(self, now: float) -> float | None:
        if self.closing:
            return super().due(now)
        self.shut(PROTOCOL_ERROR)
        return None

    def resume_writing(self) -> None:
        super().resume_writing()
        self._line.drained()
