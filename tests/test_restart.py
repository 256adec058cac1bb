"""A server that is told to stop, one that comes back, and one that starts on a copy made under load."""

import asyncio
import time
from pathlib import Path
from random import Random

import pytest
from lines import Client
from server import Process, move_in, process, token_of
from shelf import read
from storm import Ward

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


# -- copies ------------------------------------------------------------------------------------------------------------


def journal_of(path: Path) -> dict[object, tuple[object, object]]:
    """Each session with the numbers of its start and its end."""
    return {session: (start, end) for session, start, end in read(path, "SELECT id, start_seq, end_seq FROM sessions")}


@pytest.mark.slow
@pytest.mark.gen_test(timeout=120)
async def test_a_copy_made_under_load_is_as_of_one_moment_and_a_server_starts_on_it(
    tmp_path: Path, torture: bool
) -> None:
    names = [f"ward-{n}" for n in range(6)]
    await move_in(
        tmp_path / "liveguard.db",
        cast={name: name for name in [*names, "ben"]},
        guarded_by=dict.fromkeys(names, ("ben",)),
    )
    wards = [Ward(name, Random(name), lambda: None) for name in names]
    copies: list[Path] = []
    known: list[tuple[set[str], dict[str, int]]] = []
    async with process(tmp_path, rate_limit=0) as home:
        storm = asyncio.gather(*(ward.live(home) for ward in wards))
        for number in range(20 if torture else 2):
            known.append(
                (
                    {id for ward in wards for id in ward.started},
                    {id: seq for ward in wards for id, seq in ward.stopped.items()},
                )
            )
            copies.append(tmp_path / f"copy-{number}" / "liveguard.db")
            copies[-1].parent.mkdir(mode=0o700)
            status, _, err = await home.cli("backup", str(copies[-1]))
            assert (status, err) == (0, "")
        await home.stop()
        await storm
    whole = journal_of(home.database)
    for copy, (started, stopped) in zip(copies, known, strict=True):
        assert read(copy, "PRAGMA integrity_check") == [("ok",)]
        journal = journal_of(copy)
        numbers = sorted(seq for both in journal.values() for seq in both if seq is not None)  # type: ignore[type-var]
        assert numbers == list(range(1, len(numbers) + 1))
        assert started <= journal.keys()
        assert all(journal[session][1] == seq for session, seq in stopped.items())
        assert all(
            whole[session][0] == start and end in (None, whole[session][1]) for session, (start, end) in journal.items()
        )
    await check_server_on(copies[-1])


async def check_server_on(copy: Path) -> None:
    """What ran at the moment of the copy is interrupted, and is resumed and stopped like any other."""
    ward_of = dict(read(copy, "SELECT id, ward_id FROM sessions WHERE end_seq IS NULL"))
    assert ward_of
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
