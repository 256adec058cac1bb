"""What all tests share: an event loop that hides nothing, free ports, and what a machine must have for some of them."""

import asyncio
import contextlib
import gc
import logging
import os
import random
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cast import Stage
from node_clients import NODE_MODULES
from server import check_for_secrets
from tornado.ioloop import IOLoop

from liveguard.storage import transactions


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--torture", action="store_true", help="run the tests of reliability and security at full size")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Side by side, the longest files begin first: one that began last would be waited for by itself."""
    if hasattr(config, "workerinput"):
        seconds = dict.fromkeys((item.path for item in items), 0.0)
        for item in items:
            seconds[item.path] += _given(item)
        items.sort(key=lambda item: -seconds[item.path])


def _given(item: pytest.Item) -> float:
    """The seconds that a test is given beyond the usual: a measure of what it takes, and so is that it is slow."""
    own = item.get_closest_marker("gen_test")
    if own and "timeout" in own.kwargs:
        return float(own.kwargs["timeout"])
    return 1.0 if item.get_closest_marker("slow") else 0.0


def pytest_collection_finish() -> None:
    _collect()


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, (present, advice) in NEEDED.items():
        if item.get_closest_marker(marker) and not present():
            # On CI nothing may be left out unnoticed.
            if os.environ.get("CI") == "true":
                pytest.fail(advice, pytrace=False)
            pytest.skip(advice)


def has_chromium() -> bool:
    return shutil.which("chromium") is not None


def has_node() -> bool:
    return shutil.which("node") is not None and NODE_MODULES.is_dir()


NEEDED: dict[str, tuple[Callable[[], bool], str]] = {
    "browser": (has_chromium, "Chromium is missing: apt-get install chromium"),
    "node": (has_node, "Node or its packages are missing: apt-get install nodejs npm && make test"),
}


@pytest.fixture
def make_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    """The kind of event loop on which a test runs; a module may have its tests run on several."""
    return asyncio.new_event_loop


@pytest.fixture
def io_loop(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> Iterator[IOLoop]:
    """The test's event loop. What fails in it where nobody awaits, fails the test."""
    unseen: list[dict[str, Any]] = []
    io_loop = IOLoop(make_current=False, asyncio_loop=make_loop())
    loop = io_loop.asyncio_loop
    loop.set_exception_handler(lambda _, context: unseen.append(context))
    asyncio.set_event_loop(loop)
    yield io_loop
    _cancel_all(loop)
    _collect()
    asyncio.set_event_loop(None)
    io_loop.close(all_fds=True)
    for context in unseen:
        raise AssertionError(f"Unseen in the event loop: {context['message']}") from context.get("exception")


def _collect() -> None:
    """Let what is over fail now. What is left stays for good, and out of the collector's sight costs it no time."""
    gc.collect()
    gc.freeze()


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())


@pytest.fixture(autouse=True)
def no_stray_error(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing logs a secret, or an error unexpectedly; who expects one says so with ``tornado.testing.ExpectLog``."""
    yield
    check_for_secrets("a log", "\n".join(record.getMessage() for record in caplog.get_records("call")))
    errors = [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
    assert not errors, "\n".join(record.getMessage() for record in errors)


@pytest.fixture
def free_port() -> int:
    """A port of the loopback interface on which nobody listens, for a server in a process of its own.

    It is none of those that the system gives to whoever asks for any port (from 32768 on): until that server listens, a
    test beside this one might be given it.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@pytest.fixture
def torture(pytestconfig: pytest.Config) -> bool:
    """Whether this run is one at full size."""
    return bool(pytestconfig.getoption("--torture"))


@pytest.fixture
def stage(io_loop: IOLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """The stage of the lifecycle's stories, everybody moved in."""
    monkeypatch.setattr(transactions, "PATIENT", 0)
    monkeypatch.setattr(transactions, "HURRIED", 0)
    stage = Stage(tmp_path / "liveguard.db")
    io_loop.run_sync(stage.open)
    yield stage
    io_loop.run_sync(stage.close)
