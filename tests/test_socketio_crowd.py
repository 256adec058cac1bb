"""A crowd over Socket.IO: many who only listen, many who start and stop, and what is left when they are gone."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from server import Process, process, token_of
from socketio_lines import PollingClient, WebSocketClient

pytestmark = pytest.mark.slow

EACH = 5  # connections of one person
AT_ONCE = 50


async def move_in(home: Process, folder: Path, people: int) -> None:
    """As many more people, each guarded by the next one."""
    users = [
        {"id": f"p{number}", "email": f"p{number}@example.org", "firstName": "P", "lastName": f"{number}"}
        for number in range(people)
    ]
    pairs = [
        {"wardId": f"p{number}", "guardianId": f"p{(number + 1) % people}", "status": "accepted"}
        for number in range(people)
    ]
    (folder / "people.json").write_text(json.dumps({"users": users, "guardians": pairs}))
    status, _, complaint = await home.cli("import", str(folder / "people.json"))
    assert status == 0, complaint


async def gauge(home: Process, name: str) -> int:
    found = re.search(rf"^liveguard_{name} (\S+)$", (await home.fetch("/metrics")).text, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


async def settled(home: Process, name: str, value: int) -> None:
    """Wait until a figure is what it should be."""
    async with asyncio.timeout(20):
        while await gauge(home, name) != value:
            pass


async def come(home: Process, number: int, people: int) -> Any:
    """Somebody connects: every tenth by polling."""
    kind = PollingClient if number % 10 == 0 else WebSocketClient
    client = await kind.open(home.port, "", token=token_of(f"p{number % people}"))
    await client.answer()
    assert client.status == 101
    return client


async def walk(client: Any, sessions: int) -> None:
    """Start and stop."""
    for _ in range(sessions):
        client.say("start-live-session")
        await client.hear("session-started")
        client.say("update-location", {"latitude": 1, "longitude": 2})
        await client.hear("location-acknowledged")
        client.say("stop-live-session")
        await client.hear("session-ended")


async def a_crowd_comes_and_goes(home: Process, connections: int, sessions: int) -> None:
    people = connections // EACH
    crowd: list[Any] = []
    for first in range(0, connections, AT_ONCE):
        crowd += await asyncio.gather(*(come(home, number, people) for number in range(first, first + AT_ONCE)))
    await settled(home, "connections", connections)
    walkers = crowd[: min(people, sessions)]
    await asyncio.gather(*(walk(client, sessions // len(walkers)) for client in walkers))
    # The end that a walker has heard may have been somebody else's, whom they guard.
    await settled(home, "sessions", 0)
    for number, client in enumerate(crowd):
        if number % 3 == 0:
            client.close()
        client.hang_up()
    await settled(home, "connections", 0)


@pytest.mark.gen_test(timeout=300)
async def test_of_a_crowd_that_has_gone_nothing_is_left(tmp_path: Path, torture: bool) -> None:
    connections, sessions = (2000, 200) if torture else (200, 40)
    async with process(tmp_path) as home:
        await move_in(home, tmp_path, connections // EACH)
        # What is needed once, whoever comes, is there after the first few.
        await a_crowd_comes_and_goes(home, AT_ONCE, 10)
        before = memory(home)
        await a_crowd_comes_and_goes(home, connections, sessions)
        after = memory(home)
        async with asyncio.timeout(30):
            while after >= 1.1 * before:
                await asyncio.sleep(0.5)  # memory goes back when the server finds the time
                after = memory(home)
        print(f"{before} KiB before {connections} connections and {sessions} sessions, {after} KiB after")
        assert not re.search("error|warning|traceback", home.log, re.IGNORECASE), home.log[-2000:]


def memory(home: Process) -> int:
    """What the process has in memory, KiB."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{home.child.pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])
