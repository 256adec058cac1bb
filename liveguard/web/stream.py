"""A connection that speaks HTTP, and is closed when its answers are not read.

Tornado has a deadline for the headers of a request and for its body, and none for the answer.
"""

import contextlib
import fcntl
import socket
import struct
import sys
import termios
from time import monotonic
from typing import Any, Final

from tornado.iostream import IOStream

from liveguard.web.keepalive import Sweep

UNSENT: Final = 64 * 1024  # bytes of an answer that the kernel may have before it can send them

_ACKED: Final = slice(120, 128)  # in the kernel's tcp_info
_AT_ONCE: Final = struct.pack("ii", 1, 0)  # a socket that is closed keeps nothing for the other side


def bound_unsent(sock: socket.socket, most: int) -> None:
    """Bound what the kernel takes before it can send it; 0 leaves that to the kernel, which takes up to 4 MB.

    The kernel has so much memory for all connections of a machine together: 300 that did not read had half of it.
    """
    # Not every Unix has it, and some refuse to set anything once the other side is gone.
    with contextlib.suppress(AttributeError, OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, most)


def under_way(sock: socket.socket) -> int:
    """The bytes that the kernel has and that have not arrived at the other side's; 0 where the system does not tell."""
    try:
        (unsent,) = struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))
    except (OSError, ValueError):  # of one that is closed, the descriptor is none
        return 0
    return int(unsent)


def arrived(sock: socket.socket) -> int:
    """The bytes that have arrived at the other side's kernel; 0 where the system does not tell."""
    try:
        return int.from_bytes(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 128)[_ACKED], sys.byteorder)
    except (AttributeError, OSError):
        return 0


class Stream(IOStream):
    """Looked at only once the kernel takes no more of an answer, and then each ``patience`` until all is written.

    Whoever has read something since the last look, as little as it may be, is left alone: a phone on a bad network is
    slow, and not absent. So an answer ends between one patience and two after anything of it was read.
    """

    # Tornado's own attributes are nearly as many as CPython keeps without a dictionary; with these among them, a
    # connection takes 1.04 times as long.
    __slots__ = ("_patience", "_read", "_sweep", "_written", "turn")

    def __init__(self, sock: socket.socket, sweep: Sweep, patience: float, **settings: Any) -> None:
        super().__init__(sock, **settings)
        bound_unsent(sock, UNSENT)
        self.turn = 0
        self._sweep = sweep
        self._patience = patience
        self._written = 0  # bytes that the kernel has taken
        self._read = 0  # of them, what had been read when this was last looked at

    def write_to_fd(self, data: memoryview) -> int:
        try:
            sent = super().write_to_fd(data)
        except BlockingIOError:
            if not self.turn:
                self._read = self._read_so_far()
                self._sweep.watch(self, monotonic() + self._patience)
            raise
        self._written += sent
        return sent

    def due(self, now: float) -> float | None:
        """The sweep comes by."""
        if not self.writing():
            return None
        read = self._read_so_far()
        if read > self._read:
            self._read = read
            return now + self._patience
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self.close()
        return None

    def _read_so_far(self) -> int:
        """The bytes that have arrived at the other side, whose kernel takes only so many that nobody reads.

        Ours asks for more only when half of what it has is sent, which takes a slow client longer than it may. So what
        counts is not when it takes something, but what it still has.
        """
        return self._written - under_way(self.socket)

    def close_fd(self) -> None:
        self._sweep.forget(self)
        super().close_fd()
