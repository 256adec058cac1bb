"""The log: one event is one line, and what does not print is written out, whatever somebody has sent."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from liveguard import logs

# A line of its own, a string's end, letters that run the other way, a terminal's colours, half a character.
UNRULY = "\r\n", "\0", "\u202e", "\u2066", "\u2028", "\ufeff", "\x1b[31m", "\x85", "\ud800"


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The log of the process, put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in logs.QUIET}
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("sent", UNRULY, ids=ascii)
def test_whatever_somebody_has_sent_is_one_line_that_prints(root: logging.Logger, log_format: str, sent: str) -> None:
    stream = io.StringIO()
    logs.configure(log_format, "info", stream)
    logging.getLogger("liveguard.tests").info("from %s to %s", sent, "Ana Ünal")
    (line,) = stream.getvalue().splitlines()
    assert line.isprintable()
    message = json.loads(line)["message"] if log_format == "json" else line
    assert message.endswith(f"from {sent.encode('unicode_escape').decode()} to Ana Ünal")


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("sent", UNRULY, ids=ascii)
def test_so_is_each_line_of_a_traceback(root: logging.Logger, log_format: str, sent: str) -> None:
    stream = io.StringIO()
    logs.configure(log_format, "info", stream)
    try:
        raise ValueError(f"a{sent}INFO forged")
    except ValueError:
        logging.getLogger("liveguard.tests").exception("It broke")
    lines = stream.getvalue().splitlines()
    assert all(line.isprintable() for line in lines)
    assert not any(line.startswith("INFO") for line in lines)
    assert log_format == "text" or len(lines) == 1
