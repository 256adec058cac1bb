"""Connections of which nobody knows whose they are: whatever they are, those of one network count together."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from lines import Client
from server import House, house, token_of
from socketio_lines import POLLING, WEBSOCKET, WebSocketClient, shake_hands, signed_in
from test_network import asked
from tornado.iostream import IOStream

from liveguard.addresses import network_of, parse_network
from liveguard.web import line, strangers, wire
from liveguard.web.websocket import TEXT


@pytest.fixture(autouse=True)
def times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is told why they are not let in may take the time to read it, and nobody is waited for who does not poll."""
    monkeypatch.setattr(wire, "LINGER", 60)
    monkeypatch.setattr(line, "LINGER", 0.1)


async def counted(home: House, number: int) -> None:
    """Wait until so many are counted."""
    async with asyncio.timeout(5):
        while len(home.server.strangers) != number:
            await asyncio.sleep(0)  # a turn of the server's loop: nothing tells of the end of a connection


async def opened(home: House, path: str, **how: dict[str, str]) -> Client:
    client = await Client.open(home.port, path, **how)
    await client.answer()
    return client


async def changing_over(home: House, sid: str) -> Client:
    """A WebSocket to which a line may change over."""
    client = await opened(home, f"{WEBSOCKET}&sid={sid}")
    client.frame(TEXT, b"2probe")
    assert (await client.message())[1] == b"3probe"
    return client


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::"),
        ("2001:db8:0:0:ffff:1:2:3", "2001:db8::"),
        ("2001:db8:0:1::7", "2001:db8:0:1::"),
        ("fe80::7%lo", "fe80::"),
        ("::1", "::"),
        ("unix:", "unix:"),
        ("", ""),
    ],
)
def test_an_address_counts_for_its_network(address: str, network: str) -> None:
    assert network_of(address) == network


@pytest.mark.gen_test
async def test_all_kinds_of_strangers_count_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers, "MOST_STRANGERS", 5)
    async with house(tmp_path) as home:
        people = [await home.guardian("ben") for _ in range(6)]
        sid = await shake_hands(home)
        idle = [await asyncio.open_connection("127.0.0.1", home.port) for _ in range(2)]
        upgraded = await opened(home, WEBSOCKET)
        # The last that there is room for is counted already when it asks for an upgrade.
        refused = await opened(home, "/ws/ward")
        assert upgraded.status == refused.status == 101
        await counted(home, 5)
        for full in range(2):
            assert await asked(home.port) == b""
            turned_away = f'liveguard_connections_turned_away_total{{reason="network"}} {full + 1}.0'
            assert turned_away in home.server.metrics.text().decode()
        for leave in (upgraded.hang_up, refused.hang_up, idle[0][1].close):
            leave()
            await counted(home, 4)
            assert b" 200 " in await asked(home.port)
            await counted(home, 4)
            idle.append(await asyncio.open_connection("127.0.0.1", home.port))
            await counted(home, 5)
            assert await asked(home.port) == b""
        for _, writer in idle:
            writer.close()
        await counted(home, 1)
        assert (await home.fetch(f"{POLLING}&sid={sid}", "POST", body="1")).status == 200
        await counted(home, 0)
        for peer in people:
            assert (await peer.answer("ping"))["event"] == "pong"


@pytest.mark.slow
@pytest.mark.gen_test
async def test_whoever_signs_in_does_not_count_until_they_take_their_leave(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await home.ward("ana")
        await counted(home, 0)
        ben = await WebSocketClient.open(home.port, "", token=token_of("ben"))
        await ben.answer()
        await counted(home, 0)
        ben.packet("41")
        await counted(home, 1)
        await ben.enter()
        await counted(home, 0)
        polled = await signed_in(home, "tom")
        await counted(home, 0)
        await home.fetch(polled, "POST", body="41")
        await counted(home, 1)
        ben.hang_up()


@pytest.mark.gen_test
async def test_a_line_that_changes_over_counts_once(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        polled = await signed_in(home)
        await counted(home, 0)
        known = await changing_over(home, polled.rpartition("=")[2])
        await counted(home, 1)
        known.frame(TEXT, b"5")
        await counted(home, 0)

        unknown = await changing_over(home, await shake_hands(home))
        await counted(home, 2)
        unknown.frame(TEXT, b"5")
        await counted(home, 1)
        unknown.frame(TEXT, b"1")
        await unknown.closed()
        # It is closed only once the client has answered.
        await counted(home, 1)
        unknown.hang_up()
        await counted(home, 0)
        known.hang_up()


@pytest.mark.slow
@pytest.mark.gen_test
async def test_behind_a_trusted_proxy_each_client_counts_for_their_own_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strangers, "MOST_STRANGERS", 2)
    async with house(tmp_path, trusted_proxies=(parse_network("127.0.0.1"),)) as home:

        def of(address: str) -> dict[str, str]:
            return {"X-Forwarded-For": address}

        idle = [await asyncio.open_connection("127.0.0.1", home.port) for _ in range(3)]
        await shake_hands(home, **of("2001:db8::1"))
        clients = [await opened(home, "/ws/ward", headers=of("2001:db8::2"))]
        assert clients[0].status == 101
        await counted(home, 2)
        answer = await home.fetch(POLLING, headers=of("2001:db8::3"))
        assert (answer.status, answer.error) == (429, "rate_limited")
        for path in (WEBSOCKET, "/ws/ward", "/ws/guardian"):
            clients.append(await opened(home, path, headers=of("2001:db8::ffff:0:0:4")))
            assert clients[-1].status == 429
        assert len(home.server.socketio.eio.sockets) == 1
        for path in (WEBSOCKET, "/ws/ward"):
            clients.append(await opened(home, path, headers=of("2001:db8:0:1::1")))
            assert clients[-1].status == 101
        # Whoever can say who they are is let in from wherever they come.
        ben = await home.connect("/ws/guardian", token=token_of("ben"), headers=of("2001:db8::5"))
        await ben.expect("guardian:snapshot")
        offered = {"Sec-WebSocket-Protocol": f"liveguard.v1, bearer.{token_of('ana')}"}
        ana = await home.connect("/ws/ward", headers=offered | of("2001:db8::5"))
        assert (await ana.answer("ping"))["event"] == "pong"
        await counted(home, 4)
        for client in clients:
            client.hang_up()
        for _, writer in idle:
            writer.close()


@contextlib.contextmanager
def coming_from(home: House, address: str) -> Iterator[socket.socket]:
    """The other end of a connection for which the server's system names this address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    with ours:
        ours.setblocking(False)
        home.server._http.handle_stream(IOStream(theirs), (address, 1024, 0, 0))
        yield ours


@pytest.mark.gen_test
async def test_who_has_one_address_of_ipv6_has_its_network_and_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strangers, "MOST_STRANGERS", 2)
    async with house(tmp_path) as home:
        loop = asyncio.get_running_loop()
        with coming_from(home, "2001:db8::1"), coming_from(home, "2001:db8::2"):
            with coming_from(home, "2001:db8::3") as third:
                assert await loop.sock_recv(third, 1) == b""
            with coming_from(home, "2001:db8:0:1::1") as other:
                await loop.sock_sendall(other, b"GET /healthz HTTP/1.0\r\nHost: 127.0.0.1:%d\r\n\r\n" % home.port)
                assert b" 200 " in await loop.sock_recv(other, 65536)
        await counted(home, 0)
