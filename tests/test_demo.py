"""The family of ``liveguard demo``: it goes about under whatever address people reach the server."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from server import PROGRAM, Stage, environment_of, look_again, process
from shelf import held_elsewhere

FAILING = """
import asyncio
from liveguard import app
from liveguard.config import Settings

async def one_who_fails() -> None:
    raise OSError("a place that is %s business" % "nobody's")

async def company(server: app.Server) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(one_who_fails())

asyncio.run(app.serve(Settings.read(), beside=company))
"""

IMPATIENT = """
import sys
from liveguard import app, cli

app.PATIENCE = 0.2
sys.exit(cli.main(["demo"]))
"""


@contextlib.asynccontextmanager
async def demo(
    folder: Path, port: int, program: tuple[str, ...] = (*PROGRAM, "demo"), **settings: Any
) -> AsyncIterator[Stage]:
    """``liveguard demo`` as a process, with nobody connected but its family."""
    environment = environment_of(folder, port=port, **settings) | {"TMPDIR": str(folder)}
    child = await asyncio.create_subprocess_exec(
        sys.executable, *program, env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert child.stdout is not None
    try:
        await asyncio.wait_for(child.stdout.readuntil(b"Ctrl-C"), 20)
        yield Stage(f"http://127.0.0.1:{port}", folder / "none")
        child.terminate()
        assert await asyncio.wait_for(child.wait(), 10) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("host", "public_url"), [("0.0.0.0", "http://192.0.2.7:8080"), ("127.0.0.1", "https://live.example.org")]
)
@pytest.mark.gen_test
async def test_the_family_goes_about_whatever_the_public_address(
    tmp_path: Path, free_port: int, host: str, public_url: str
) -> None:
    async with demo(tmp_path, free_port, host=host, public_url=public_url) as home, asyncio.timeout(10):
        while "liveguard_sessions 3.0\n" not in (await home.fetch("/metrics")).text:
            await look_again()
    assert [file.name for file in tmp_path.iterdir()] == []


@pytest.mark.slow
@pytest.mark.gen_test
async def test_nothing_is_left_of_the_family_where_its_end_is_not_waited_for(tmp_path: Path, free_port: int) -> None:
    with contextlib.ExitStack() as disk:
        async with demo(tmp_path, free_port, ("-c", IMPATIENT), host="127.0.0.1"):
            (database,) = tmp_path.glob("*/liveguard.db")
            disk.enter_context(held_elsewhere(database, "EXCLUSIVE"))
        assert [file.name for file in tmp_path.iterdir()] == []


@pytest.mark.slow
@pytest.mark.gen_test
async def test_whatever_ends_the_company_of_a_server_is_logged_and_the_server_serves_on(tmp_path: Path) -> None:
    async with process(tmp_path, program=("-c", FAILING)) as home, asyncio.timeout(5):
        while "A fault in the company of the server: OSError" not in home.log:
            assert (await home.fetch("/healthz")).status == 200
            await look_again()
        assert "one_who_fails" in home.log
        assert "nobody's business" not in home.log
        assert await home.stop() == 0
