"""What the tests in browsers share: one event loop and one Chromium for all of them, a server for each."""

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser
from tornado.ioloop import IOLoop
from visitors import Street, chromium, open_street

Unseen = list[dict[str, Any]]


@pytest.fixture(scope="session")
def unseen() -> Unseen:
    """What failed in the event loop where nobody awaited it."""
    return []


@pytest.fixture(scope="session")
def io_loop(unseen: Unseen) -> Iterator[IOLoop]:
    """The loop of all tests in browsers, since a browser can be talked to in the loop of its start alone."""
    io_loop = IOLoop(make_current=False, asyncio_loop=asyncio.new_event_loop())
    loop = io_loop.asyncio_loop
    loop.set_exception_handler(lambda _, context: unseen.append(context))
    yield io_loop
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    io_loop.close(all_fds=True)


@pytest.fixture(autouse=True)
def nothing_unseen(io_loop: IOLoop, unseen: Unseen) -> Iterator[None]:
    """The test runs in the loop, and what fails there where nobody awaits it, fails the test."""
    asyncio.set_event_loop(io_loop.asyncio_loop)
    yield
    asyncio.set_event_loop(None)
    gc.collect()
    gc.freeze()  # what is left stays for good: the collector need not look at it again
    contexts, unseen[:] = unseen[:], []
    for context in contexts:
        raise AssertionError(f"Unseen in the event loop: {context['message']}") from context.get("exception")


@pytest.fixture(scope="session")
def browser(io_loop: IOLoop) -> Iterator[Browser]:
    """The one Chromium."""
    opening = chromium()
    yield io_loop.run_sync(opening.__aenter__)
    io_loop.run_sync(lambda: opening.__aexit__(None, None, None))


@pytest.fixture
def street(io_loop: IOLoop, browser: Browser, tmp_path: Path) -> Iterator[Street]:
    """A server with the cast in it, and the browser in front of it. At the end no page has complained of anything."""
    opening = open_street(tmp_path, browser)
    yield io_loop.run_sync(opening.__aenter__)
    io_loop.run_sync(lambda: opening.__aexit__(None, None, None))
