"""Whoever does not read an answer is let go, and whoever is slow but reads gets all of it."""

import asyncio
import fcntl
import re
import socket
import struct
import termios
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from lines import Client
from server import House, house
from test_leaks import until
from test_shut_out import many_walks

from liveguard import app
from liveguard.web.native import NativeConnection
from liveguard.web.stream import UNSENT, Stream

pytestmark = pytest.mark.slow

TIMES = 200  # which is 5 MB


async def one_file_again_and_again(home: House) -> tuple[Client, bytes, int]:
    """Asked for without a wait for the answers; and what is in all of them together, how often."""
    version = re.search(r"/static/([0-9a-f]+)/", (await home.fetch("/login")).text)
    assert version
    path = f"/static/{version[1]}/app.css"
    asked = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{home.port}\r\n"
    rest = f"{asked}\r\n" * (TIMES - 2) + f"{asked}Connection: close\r\n\r\n"
    headers = {"Upgrade": "", "Connection": ""}
    client = await Client.open(home.port, path, headers=headers, first=rest.encode(), receive_buffer=4096)
    return client, (await home.fetch(path)).body, TIMES


async def an_export(home: House) -> tuple[Client, bytes, int]:
    """Which is sent while it is read from the database."""
    await many_walks(home)
    login = await home.server.people.logins.begin(await home.server.people.accounts.find("ben"))
    headers = {"Upgrade": "", "Connection": "close", "Cookie": f"liveguard={login}"}
    client = await Client.open(home.port, "/history/export.csv", headers=headers, receive_buffer=4096)
    return client, b"manual_stop", 2000


Ask = Callable[[House], Awaitable[tuple[Client, bytes, int]]]
whatever_is_asked_for = pytest.mark.parametrize("ask", [one_file_again_and_again, an_export])


@whatever_is_asked_for
@pytest.mark.gen_test
async def test_whoever_does_not_read_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Ask) -> None:
    monkeypatch.setattr(app, "SLOW", 0.5)
    async with house(tmp_path) as home:
        client, _, _ = await ask(home)
        await until(lambda: len(home.server.strangers) == 0)
        # Not even the kernel keeps the rest for them.
        with pytest.raises(ConnectionResetError):
            while await client.some():
                pass
        client.hang_up()


@whatever_is_asked_for
@pytest.mark.gen_test
async def test_whoever_reads_slowly_gets_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Ask) -> None:
    monkeypatch.setattr(app, "SLOW", 0.5)
    async with house(tmp_path) as home:
        client, mark, times = await ask(home)
        received = b""
        for _ in range(20):
            received += await client.some()
            await asyncio.sleep(0.15)  # a client who is slow is what is tried
        assert len(received) < 200_000
        received += await client.rest()
        assert received.count(mark) == times
        client.hang_up()


@pytest.mark.gen_test
async def test_what_is_not_read_does_not_fill_the_kernel(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        client, _, _ = await an_export(home)
        (stream,) = home.server.strangers._networks
        assert isinstance(stream, Stream)
        await until(stream.writing)
        (unsent,) = struct.unpack("i", fcntl.ioctl(stream.socket, termios.TIOCOUTQ, bytes(4)))
        assert unsent < 4 * UNSENT  # without its own accounts, of which the kernel makes much
        client.hang_up()
        # What is said over a WebSocket must go on as fast as it can.
        await home.ward("ana")
        (ana,) = home.server.connections.of("ana")
        assert isinstance(ana, NativeConnection)
        assert ana.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == 0
