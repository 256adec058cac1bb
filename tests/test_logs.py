"""The log: one event is one line, and what does not print is written out, whatever somebody has sent."""

import fcntl
import itertools
import json
import logging
import os
import re
import select
from collections.abc import Callable, Iterator

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


def written(root: logging.Logger, log_format: str, happens: Callable[[logging.Logger], None]) -> list[str]:
    """The lines that are written of what happens."""
    reader, writer = os.pipe()
    handler = logs.Aside(writer)
    handler.setFormatter(logs.FORMATTERS[log_format]())
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    happens(logging.getLogger("liveguard.tests"))
    logging.getLogger("liveguard.tests").info("That is all")
    with os.fdopen(reader, "rb") as lines:
        found = list(itertools.takewhile(lambda line: b"That is all" not in line, lines))
    handler.close()
    os.close(writer)
    return b"".join(found).decode().splitlines()


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("sent", UNRULY, ids=ascii)
def test_whatever_somebody_has_sent_is_one_line_that_prints(root: logging.Logger, log_format: str, sent: str) -> None:
    (line,) = written(root, log_format, lambda log: log.info("from %s to %s", sent, "Ana Ünal"))
    assert line.isprintable()
    message = json.loads(line)["message"] if log_format == "json" else line
    assert message.endswith(f"from {sent.encode('unicode_escape').decode()} to Ana Ünal")


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("sent", UNRULY, ids=ascii)
def test_so_is_each_line_of_a_traceback(root: logging.Logger, log_format: str, sent: str) -> None:
    def fail(log: logging.Logger) -> None:
        try:
            raise ValueError(f"a{sent}INFO forged")
        except ValueError:
            log.exception("It broke")

    lines = written(root, log_format, fail)
    assert all(line.isprintable() for line in lines)
    assert not any(line.startswith("INFO") for line in lines)
    assert log_format == "text" or len(lines) == 1


def test_a_line_that_cannot_be_made_up_stops_nobody_and_is_named_by_its_place(root: logging.Logger) -> None:
    reader, writer = os.pipe()
    handler = logs.Aside(writer)
    root.handlers[:] = [handler]
    logging.getLogger("liveguard.tests").warning("%d", "not a number")
    logging.getLogger("liveguard.tests").warning("the next one")
    handler.close()
    os.close(writer)
    with os.fdopen(reader) as lines:
        assert re.fullmatch(
            r"A line of test_logs\.py:\d+ could not be made up: TypeError\nthe next one\n", lines.read()
        )


def test_a_log_that_does_not_wait_by_itself_is_waited_for(root: logging.Logger) -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)  # as whoever shares the terminal may do
    handler = logs.Aside(writer)
    root.handlers[:] = [handler]
    logging.getLogger("liveguard.tests").warning("%s", "x" * 10_000)
    taken = b""
    while not taken.endswith(b"\n") and select.select([reader], [], [], 5)[0]:
        taken += os.read(reader, 1000)
    handler.close()
    os.close(reader)
    os.close(writer)
    assert taken == b"x" * 10_000 + b"\n"


def test_of_what_nobody_takes_the_first_lines_stay_and_how_many_follow_is_said(
    root: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MOST_WAITING", 3)
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    handler = logs.Aside(writer)
    root.handlers[:] = [handler]
    logger = logging.getLogger("liveguard.tests")
    logger.warning("%s", "x" * 10_000)
    taken = os.read(reader, 1)  # now the thread has that line, and cannot write all of it
    for number in range(5):
        logger.warning("line %d", number)
    while b"missing" not in taken:
        taken += os.read(reader, 4096)
    handler.close()
    os.close(reader)
    os.close(writer)
    assert re.findall(rb"line \d|Here 2 lines", taken) == [b"line 0", b"line 1", b"line 2", b"Here 2 lines"]
