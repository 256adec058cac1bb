"""What systemd is told, where the server is a unit of ``Type=notify`` (sd_notify(3)). Elsewhere nobody asks."""

import asyncio
import contextlib
import os
import socket

READY = "READY=1"
STOPPING = "STOPPING=1"


def tell(state: str) -> None:
    """Tell it how the server does: ``READY`` or ``STOPPING``."""
    place = os.environ.get("NOTIFY_SOCKET")
    if place is None:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, contextlib.suppress(OSError):
        manager.setblocking(False)
        manager.sendto(state.encode(), place.replace("@", "\0", 1) if place.startswith("@") else place)


def show_life(loop: asyncio.AbstractEventLoop) -> None:
    """Tell it from now on that the loop goes on, twice as often as it asks for (``WatchdogSec``): a server that stands
    still serves nobody, and is begun anew."""
    microseconds = os.environ.get("WATCHDOG_USEC")
    if microseconds is not None:
        tell("WATCHDOG=1")
        loop.call_later(int(microseconds) / 2e6, show_life, loop)
