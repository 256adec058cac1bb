"""A server that is told to stop, one that comes back, and one that starts on a copy made under load."""

import asyncio
import time
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from lines import Client
from server import Process, move_in, process, token_of
from shelf import NOW, read
from socketio_lines import PollingClient, WebSocketClient
from storm import Ward

from liveguard.storage import Storage
from liveguard.storage.numbering import End, Start

MESSAGE = {"text": "ü" * 2000}


async def client(home: Process, role: str, name: str, **how: int) -> Client:
    opened = await Client.open(home.port, f"/ws/{role}", token=token_of(name), **how)
    await opened.answer()
    return opened


async def walk(home: Process, ward: str) -> tuple[Client, str]:
    """A ward's connection, and the session that it carries."""
    connection = await client(home, "ward", ward)
    connection.say("start-live-session")
    started = await connection.hear("session-started")
    return connection, started["data"]["sessionId"]


async def found_running(home: Process, ward: str) -> str:
    """The session that a ward finds when they come back."""
    connection = await client(home, "ward", ward)
    started = await connection.hear("session-started")
    connection.hang_up()
    return str(started["data"]["sessionId"])


@pytest.mark.slow
@pytest.mark.gen_test(timeout=120)
async def test_with_many_connections_some_of_which_do_not_read_it_stops_in_time_and_all_sessions_go_on(
    tmp_path: Path, torture: bool
) -> None:
    size = 500 if torture else 60
    wards, guardians = [f"ward-{n}" for n in range(size)], [f"guardian-{n}" for n in range(size)]
    silent, attentive = guardians[: size // 10], guardians[size // 10 :]
    guarded_by = {ward: (attentive[n % len(attentive)], silent[n % len(silent)]) for n, ward in enumerate(wards)}
    await move_in(tmp_path / "liveguard.db", cast={name: name for name in wards + guardians}, guarded_by=guarded_by)
    async with process(tmp_path, rate_limit=0) as home:
        deaf = await asyncio.gather(*(client(home, "guardian", name, receive_buffer=4096) for name in silent))
        reading = await asyncio.gather(*(client(home, "guardian", name) for name in attentive))
        walks = await asyncio.gather(*(walk(home, ward) for ward in wards))
        for connection, _ in walks:
            # More than the kernel takes for those who do not read, and less than they may owe.
            for _ in range(6):
                connection.say("send-message", MESSAGE)
        await asyncio.gather(*(connection.hear("message") for connection, _ in walks))
        codes = [asyncio.ensure_future(each.closed()) for each in (*reading, *(connection for connection, _ in walks))]
        began = time.monotonic()
        assert await home.stop() == 0
        took = time.monotonic() - began
        assert took < 5
        assert set(await asyncio.gather(*codes)) == {1012}
        assert "Traceback" not in home.log
        for each in (*deaf, *reading, *(connection for connection, _ in walks)):
            each.hang_up()
    print(f"{2 * size} connections, {len(silent)} of which do not read: gone {took:.2f} s after SIGTERM")
    async with process(tmp_path, rate_limit=0) as home:
        found = await asyncio.gather(*(found_running(home, ward) for ward in wards))
        assert found == [session for _, session in walks]


@pytest.mark.slow
@pytest.mark.gen_test
async def test_over_socketio_everybody_is_let_go_in_time_and_comes_back_to_the_same_session(tmp_path: Path) -> None:
    async def come(home: Process, kind: type[PollingClient | WebSocketClient], name: str) -> Any:
        connection = await kind.open(home.port, "", token=token_of(name))
        await connection.answer()
        return connection

    kinds = {"ana": PollingClient, "tom": WebSocketClient, "ida": PollingClient, "ben": WebSocketClient}
    async with process(tmp_path) as home:
        connections = {name: await come(home, kind, name) for name, kind in kinds.items()}
        begun = {}
        for ward in ("ana", "tom"):
            connections[ward].say("start-live-session")
            begun[ward] = (await connections[ward].hear("session-started"))["data"]["sessionId"]
        ends = {name: asyncio.ensure_future(connection.closed()) for name, connection in connections.items()}
        stopped = time.monotonic()
        assert await home.stop() == 0
        assert time.monotonic() - stopped < 5
        assert await ends["tom"] == await ends["ben"] == 1012
        await asyncio.gather(*ends.values())
        assert "Traceback" not in home.log
        for connection in connections.values():
            connection.hang_up()
    async with process(tmp_path) as home:
        for ward in ("ana", "tom"):
            connection = await come(home, kinds[ward], ward)
            assert (await connection.hear("session-started"))["data"]["sessionId"] == begun[ward]
            connection.hang_up()


# -- copies ------------------------------------------------------------------------------------------------------------


def journal_of(path: Path) -> dict[object, tuple[object, object]]:
    """Each session with the numbers of its start and its end."""
    return {session: (start, end) for session, start, end in read(path, "SELECT id, start_seq, end_seq FROM sessions")}


async def add_past(database: Path, sessions: int) -> None:
    """Sessions of long ago, so that the file takes its time to be copied."""
    storage = await Storage.open(database)
    for first in range(0, sessions, 1000):
        names = [f"past-{number}" for number in range(first, first + 1000)]
        entries: list[Start | End] = [Start(name, "ward-0", NOW, f'{{"note":"{"home " * 60}"}}') for name in names]
        entries += [End(name, NOW, 0, "manual_stop", None) for name in names]
        await storage.database.submit(partial(storage.database.entries.write, entries=entries), write=True)
    await storage.close()


class Record:
    """What the wards know just now: the confirmed starts, and the confirmed stops with their numbers."""

    def __init__(self, wards: list[Ward]) -> None:
        self.started = {session for ward in wards for session in ward.started}
        self.stopped = {session: seq for ward in wards for session, seq in ward.stopped.items()}

    def check(self, copy: Path, whole: dict[object, tuple[object, object]]) -> None:
        """The copy has all of this, and beyond it only what came later, up to one moment."""
        assert read(copy, "PRAGMA integrity_check") == [("ok",)]
        journal = journal_of(copy)
        numbers = {seq for both in journal.values() for seq in both if seq is not None}
        assert numbers == set(range(1, len(numbers) + 1))
        assert self.started <= journal.keys()
        assert all(journal[session][1] == seq for session, seq in self.stopped.items())
        for session, (start, end) in journal.items():
            assert whole[session][0] == start
            assert end in (None, whole[session][1])


@pytest.mark.slow
@pytest.mark.gen_test(timeout=120)
async def test_a_copy_made_under_load_is_as_of_one_moment_and_a_server_starts_on_it(
    tmp_path: Path, torture: bool
) -> None:
    names, database = [f"ward-{n}" for n in range(6)], tmp_path / "liveguard.db"
    cast = {name: name for name in [*names, "ben"]}
    await move_in(database, cast=cast, guarded_by=dict.fromkeys(names, ("ben",)))
    await add_past(database, 200_000 if torture else 1_000)
    wards, copies = [Ward(name, Random(name), lambda: None) for name in names[1:]], {}
    async with process(tmp_path, rate_limit=0) as home:
        # One session runs all the time, whatever the others do.
        steady, _ = await walk(home, names[0])
        storm = asyncio.gather(*(ward.live(home) for ward in wards))
        for number in range(5 if torture else 2):
            copy = tmp_path / f"copy-{number}" / "liveguard.db"
            copy.parent.mkdir(mode=0o700)
            copies[copy] = Record(wards)
            began = time.monotonic()
            assert await home.cli("backup", str(copy)) == (0, "", "")
            took = time.monotonic() - began
        await home.stop()
        await storm
        steady.hang_up()
    longest = max(ward.longest_wait for ward in wards)
    print(f"{copy.stat().st_size / 1e6:.0f} MB copied in {took:.2f} s; the longest wait for an answer {longest:.2f} s")
    whole = journal_of(database)
    for each, record in copies.items():
        record.check(each, whole)
    await check_server_on(copy)


async def check_server_on(copy: Path) -> None:
    """What ran at the moment of the copy is interrupted, and is resumed and stopped like any other."""
    ward_of = dict(read(copy, "SELECT id, ward_id FROM sessions WHERE end_seq IS NULL"))
    assert "ward-0" in ward_of.values()
    async with process(copy.parent) as home:
        ben = await home.guardian("ben")
        sessions = (await ben.expect("guardian:snapshot"))["sessions"]
        assert {session["sessionId"]: session["wardId"] for session in sessions} == ward_of
        assert {session["state"] for session in sessions} == {"interrupted"}
        for session, name in ward_of.items():
            ward = await home.ward(str(name))
            assert (await ward.expect("session-started"))["sessionId"] == session
            assert (await ward.answer("stop-live-session"))["event"] == "session-ended"
            await ben.expect("session-ended", sessionId=session)
