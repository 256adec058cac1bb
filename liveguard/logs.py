"""The log, as text for people or as JSON for machines; either way one line is one event.

What clients send never reaches it unchanged: characters that do not print, line ends above all, are written out as
escapes. Secrets never reach it at all, because nobody hands them over.
"""

import logging
import sys
from typing import Any, TextIO

import msgspec

from liveguard.events import timestamp

# What Tornado says below a warning quotes what clients sent.
QUIET = ("tornado", "asyncio", "engineio", "socketio")


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


FORMATTERS: dict[str, type[logging.Formatter]] = {"text": TextFormatter, "json": JsonFormatter}


def configure(log_format: str, level: str, stream: TextIO | None = None) -> None:
    """Log to ``stream``, the standard error by default, from this level on."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(FORMATTERS[log_format]())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
