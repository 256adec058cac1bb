"""How a fault of our own is logged: where it happened and of what kind, never what somebody had sent."""

import logging
from traceback import format_tb

log = logging.getLogger(__name__)


def log_fault(where: str, fault: BaseException) -> None:
    """Log a fault. Its text is left out, because it may quote a message, and with it a place or a token."""
    trace = "".join(format_tb(fault.__traceback__)).rstrip()
    log.error("A fault in %s: %s\n%s", where, type(fault).__name__, trace)
