"""What a unit of systemd hears of its server: this side of sd_notify(3)."""

import asyncio
import signal
import socket
from contextlib import closing
from pathlib import Path

import pytest
from server import environment_of, process, run_cli


@pytest.mark.slow
@pytest.mark.gen_test
async def test_systemd_hears_when_it_serves_that_it_lives_and_when_it_stops(
    tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "notify"
    loop = asyncio.get_running_loop()
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(str(place))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(place))
        monkeypatch.setenv("WATCHDOG_USEC", "200000")

        async def heard() -> str:
            return (await asyncio.wait_for(loop.sock_recv(manager, 100), 10)).decode()

        with socket.create_server(("127.0.0.1", free_port)):
            status, _, _ = await run_cli(environment_of(tmp_path, port=free_port), "serve")
        assert status == 1
        with pytest.raises(BlockingIOError):
            manager.recv(100)  # nothing was said of a server that does not serve

        async with process(tmp_path) as home:
            assert await heard() == "READY=1"
            assert [await heard() for _ in range(3)] == ["WATCHDOG=1"] * 3
            home.child.send_signal(signal.SIGTERM)
            while await heard() != "STOPPING=1":
                pass
            assert await home.child.wait() == 0
