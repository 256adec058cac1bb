"""The descriptors of the process: open files and sockets, of which the system allows only so many.

Where the last one is taken, nobody can be let in, the journal cannot be opened, and accept(2) fails again and again for
the same connection. So connections leave the last ones to everything else.
"""

import contextlib
import resource
from typing import Final

RESERVE: Final = 200  # ten times what a server has open to which nobody is connected, for files that come and go


def raise_limit() -> None:
    """Allow the process as many as the system lets it have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Some systems say that there is no limit, and have one.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def limit() -> int:
    """How many the process may have; a negative number where it may have any."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return -1 if most == resource.RLIM_INFINITY else most


def is_reserved(descriptor: int) -> bool:
    """Is this one of the last, which are not for connections? The system gives away the lowest that is free."""
    most = limit()
    return most >= 0 and descriptor >= max(most - RESERVE, most // 2)
