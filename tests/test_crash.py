"""A server that is killed again and again in the middle of a storm: nothing that was confirmed is lost.

The only witnesses are the programs outside it and, at the end, the file.
"""

import asyncio
import random
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import pytest
from server import Process, move_in, process
from shelf import NOW, read
from storm import Guardian, Ward

from liveguard.storage import Storage
from liveguard.storage.numbering import Start

KILLS = 1000
WARDS = [f"ward-{number}" for number in range(6)]
GUARDIANS = [f"guardian-{number}" for number in range(5)]
GUARDED_BY = {ward: (GUARDIANS[number % 5], GUARDIANS[(number + 2) % 5]) for number, ward in enumerate(WARDS)}


class Storm:
    """The programs of all, and the moment at which the server is killed."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.wards = [Ward(name, Random(chance.random()), self._said) for name in WARDS]
        self.guardians = [
            Guardian(
                name, [ward for ward in self.wards if name in GUARDED_BY[ward.name]], Random(chance.random()),
                exact=number % 2 == 0,
            )
            for number, name in enumerate(GUARDIANS)
        ]  # fmt: skip
        self.kills = 0
        self._words_left = 0

    async def rage(self, home: Process) -> None:
        """Until the server is killed, at any moment."""
        self._home = home
        self._words_left = self.chance.randrange(1, 120)
        programs = [ward for ward in self.wards if self.chance.random() < 0.8] + self.guardians
        # A program that finds the server wrong is heard at once.
        await asyncio.gather(*(program.live(home) for program in programs), home.child.wait())
        self.kills += 1

    def _said(self) -> None:
        self._words_left -= 1
        if self._words_left == 0:
            loop = asyncio.get_running_loop()
            if self.chance.random() < 0.1:
                # One that was about to end in peace.
                self._home.child.send_signal(signal.SIGTERM)
            loop.call_later(self.chance.uniform(0, 0.02), self._kill)

    def _kill(self) -> None:
        if self._home.child.returncode is None:
            self._home.child.kill()

    @property
    def confirmed(self) -> dict[str, str]:
        return {session: start for ward in self.wards for session, start in ward.started.items()}

    @property
    def stopped(self) -> dict[str, int]:
        return {session: seq for ward in self.wards for session, seq in ward.stopped.items()}


@pytest.mark.slow
@pytest.mark.gen_test(timeout=7200)
async def test_what_was_confirmed_is_true_after_a_kill_at_any_moment_and_everybody_learns_of_it(
    tmp_path: Path, torture: bool
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # shown where the test fails
    storm = Storm(Random(seed))
    await move_in(tmp_path / "liveguard.db", cast={name: name for name in WARDS + GUARDIANS}, guarded_by=GUARDED_BY)
    for _ in range(KILLS if torture else 8):
        async with process(tmp_path, rate_limit=0) as home:
            await storm.rage(home)
        assert "Traceback" not in home.log
    async with process(tmp_path, rate_limit=0) as home:
        await find_all_well(home, storm)
        # At full size somebody never comes back: that takes half a minute.
        await end_all(home, storm, left_alone=storm.wards[:3] if torture else [])
    print(f"{storm.kills} kills, {len(storm.confirmed)} confirmed starts, {len(storm.stopped)} confirmed stops")


async def find_all_well(home: Process, storm: Storm) -> None:
    """Nobody has come back yet: what runs is interrupted, and each guardian learns what they do not know yet."""
    sessions = read(home.database, "SELECT id, ward_id, start_seq, end_seq FROM sessions ORDER BY start_seq")
    numbers = [seq for row in sessions for seq in row[2:] if seq is not None]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    ends = {session: end for session, _, _, end in sessions}
    assert storm.confirmed.keys() <= ends.keys()
    assert storm.stopped.items() <= ends.items()
    running = {session: ward for session, ward, _, end in sessions if end is None}
    assert len(set(running.values())) == len(running)
    for guardian in storm.guardians:
        async with guardian.connected(home):
            pass
        theirs = [row for row in sessions if row[1] in guardian.wards]
        assert guardian.first_seq is not None
        missing = {session for session, _, _, end in theirs if end and end > guardian.first_seq} - guardian.ended.keys()
        assert not missing, (guardian.name, missing)
        assert {session for session, ward in running.items() if ward in guardian.wards} <= guardian.started.keys()
    answer = await home.fetch("/api/sessions", who=WARDS[0])
    assert {session["state"] for session in answer.json["sessions"]} <= {"interrupted"}


async def end_all(home: Process, storm: Storm, *, left_alone: list[Ward]) -> None:
    """Each session is resumed by its ward and stopped; where nobody comes back, it ends when the grace is over."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(guardian.connected(home)) for guardian in storm.guardians]
        for ward in storm.wards:
            if ward not in left_alone:
                async with ward.connected(home) as client:
                    await ward.come_back(client)
                    if ward.running:
                        await ward.stop(client)
        for guardian, client in zip(storm.guardians, clients, strict=True):
            while guardian.started.keys() - guardian.ended.keys():
                guardian.hear(await client.event())
            await guardian.hear_all(client)
    sessions = read(home.database, "SELECT id, ward_id, start_seq, end_seq FROM sessions")
    assert all(end is not None for *_, end in sessions)
    assert storm.stopped.items() <= {session: end for session, *_, end in sessions}.items()


# -- a start with much to take up -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.gen_test(timeout=120)
async def test_a_server_takes_up_thousands_of_sessions(tmp_path: Path, torture: bool) -> None:
    count = 10_000 if torture else 300
    wards = [f"ward-{number}" for number in range(count)]
    database = tmp_path / "liveguard.db"
    await move_in(database, cast={name: name for name in [*wards, "ben"]}, guarded_by=dict.fromkeys(wards, ("ben",)))
    starts = [Start(f"walk-{ward}", ward, NOW, '{"note":"home"}') for ward in wards]
    storage = await Storage.open(database)
    await storage.database.submit(lambda db: storage.database.entries.write(db, starts), write=True)
    await storage.close()
    began = time.monotonic()
    async with process(tmp_path) as home:
        print(f"{count} sessions taken up in {time.monotonic() - began:.2f} s, from the command to the first line")
        assert f"\nliveguard_sessions {count}.0\n" in (await home.fetch("/metrics")).text
        ben = await home.guardian("ben")
        snapshot = await ben.expect("guardian:snapshot")
        assert {session["state"] for session in snapshot["sessions"]} == {"interrupted"}
        assert {session["wardId"] for session in snapshot["sessions"]} == set(wards)
        ana = await home.ward(wards[-1])
        assert (await ana.expect("session-started"))["sessionId"] == f"walk-{wards[-1]}"
        await ben.expect("session-resumed", wardId=wards[-1])
