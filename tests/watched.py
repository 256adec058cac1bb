"""The server with somebody in its loop who takes the time: ``python watched.py FILE serve``.

The file holds the longest time, in seconds, by which the loop was late for somebody who wanted to go on. What its
threads spent waiting for a core does not count: the loop was ready then, or waited for one that held the interpreter's
lock, and the machine was busy.
"""

import asyncio
import gc
import mmap
import struct
import sys
import time
from functools import partial
from pathlib import Path

from liveguard import app, cli

BEAT = 0.001
SECONDS = struct.Struct("d")


def waited_for_a_core() -> float:
    """The seconds in which a thread could have run and no core was free (see proc(5)); 0 where nobody counts."""
    try:
        threads = Path("/proc/self/task").iterdir()
        return sum(int((thread / "schedstat").read_text().split()[1]) for thread in threads) / 1e9
    except (OSError, IndexError):
        return 0.0


async def watch(file: Path, server: app.Server) -> None:
    """Go on once a millisecond, and note the longest delay."""
    assert gc.isenabled()  # the command line switches the collector off while it loads
    file.write_bytes(SECONDS.pack(0))
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), SECONDS.size) as longest:
        while True:
            due, waited = time.monotonic() + BEAT, waited_for_a_core()
            await asyncio.sleep(BEAT)  # how late this is, is what is measured
            late = time.monotonic() - due - (waited_for_a_core() - waited)
            if late > SECONDS.unpack_from(longest)[0]:
                SECONDS.pack_into(longest, 0, late)


if __name__ == "__main__":
    app.serve = partial(app.serve, beside=partial(watch, Path(sys.argv.pop(1))))
    sys.exit(cli.main())
