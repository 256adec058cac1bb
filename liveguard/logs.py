"""The log, as text for people or as JSON for machines; either way one line is one event.

What clients send never reaches it unchanged: characters that do not print, line ends above all, are written out as
escapes. Secrets never reach it at all, because nobody hands them over.
"""

import contextlib
import logging
import os
import select
import sys
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final

import msgspec

from liveguard.events import timestamp

# What Tornado says below a warning quotes what clients sent, and aiosqlite tells of each question to the database.
QUIET = ("tornado", "asyncio", "engineio", "socketio", "aiosqlite")

MOST_WAITING: Final = 10_000  # lines that nobody takes
LAST_LINES: Final = 0.4  # seconds in which they may be taken at the end

log = logging.getLogger(__name__)


def _moment(record: logging.LogRecord) -> str:
    return timestamp(int(record.created * 1000))


def harmless(text: str) -> str:
    """The text on one line: whatever does not print is escaped."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


class TextFormatter(logging.Formatter):
    """``2026-01-31T09:30:00.000Z INFO liveguard.app: …``; the lines of a traceback are indented."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_moment(record)} {record.levelname} {record.name}: {harmless(record.getMessage())}"
        if not record.exc_info:
            return line
        traceback = self.formatException(record.exc_info)
        return "\n".join([line, *(f"    {harmless(each)}" for each in traceback.splitlines())])


class JsonFormatter(logging.Formatter):
    """One JSON object on a line: ``time``, ``level``, ``logger``, ``message``, and ``traceback`` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": harmless(record.getMessage()),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            entry["traceback"] = "\n".join(map(harmless, self.formatException(record.exc_info).splitlines()))
        return msgspec.json.encode(entry).decode("utf-8", "replace")


class Aside(logging.Handler):
    """Writes in a thread of its own: a terminal may be stopped, whoever reads a pipe be busy, and a disk hang, and the
    event loop waits for none of them. What is too much is left out, and how much that was is said behind it."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lines: SimpleQueue[str | None] = SimpleQueue()  # None is behind the last
        self._left_out = 0
        self._thread = Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        if self._lines.qsize() >= MOST_WAITING:
            self._left_out += 1
            return
        try:
            line = self.format(record)
        except Exception as fault:
            # Not what was to be in it: nobody knows what that is.
            line = f"A line of {record.filename}:{record.lineno} could not be made up: {type(fault).__name__}"
        self._lines.put(f"{line}\n")

    def close(self) -> None:
        """Let what is there be written, which is waited for a moment at most."""
        self._lines.put(None)
        self._thread.join(LAST_LINES)
        super().close()

    def _write_all(self) -> None:
        goes_on = True
        while goes_on:
            lines = [self._lines.get()]
            with contextlib.suppress(Empty):
                while True:
                    lines.append(self._lines.get_nowait())
            goes_on = None not in lines
            # As ever, a log that cannot be written says so nowhere.
            with contextlib.suppress(OSError):
                self._write("".join(filter(None, lines)).encode("utf-8", "backslashreplace"))
            if self._left_out and self._lines.empty():
                left_out, self._left_out = self._left_out, 0
                log.warning("Here %d lines are missing in the log, because nobody took them", left_out)

    def _write(self, text: bytes) -> None:
        # By the descriptor: Python's own file would be locked while nobody takes a line, and Python's end waits for it.
        while text:
            # Whoever shares the terminal may have told it not to let anybody wait.
            select.select((), (self._descriptor,), ())
            with contextlib.suppress(BlockingIOError):
                text = text[os.write(self._descriptor, text) :]


FORMATTERS: dict[str, type[logging.Formatter]] = {"text": TextFormatter, "json": JsonFormatter}


def configure(log_format: str, level: str) -> None:
    """Log to the standard error, from this level on."""
    handler = Aside(sys.stderr.fileno())
    handler.setFormatter(FORMATTERS[log_format]())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
