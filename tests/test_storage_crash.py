"""A process that is killed while it writes: what it was told is kept is there afterwards, and nothing is half there."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
from shelf import last_seq, read, shelf

WRITER = """
import asyncio, pathlib, sys
from liveguard.storage import Storage

async def walk(storage, ward, place, run):
    number = 0
    while True:
        number += 1
        session = f"{ward}-{place}-{run}-{number}"
        begun = await storage.journal.start(session, ward, number, {"note": "home " * 50})
        print(begun.seq, session, "started", flush=True)
        if number % 3:
            seq = await storage.journal.end(session, number, 0, "manual_stop")
            print(seq, session, "ended", flush=True)

async def main():
    storage = await Storage.open(pathlib.Path(sys.argv[1]), exclusive=True)
    wards = enumerate(("ana", "tom", "ida") * 4)
    await asyncio.gather(*(walk(storage, ward, place, sys.argv[2]) for place, ward in wards))

asyncio.run(main())
"""


def write_until_killed(path: Path, run: int, lines: int) -> list[tuple[int, str, str]]:
    """What a writer was told is kept, before it was killed at the given line of its report."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(run)], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout
        told = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        told += process.stdout.readlines()
    return [(int(seq), session, what) for seq, session, what in (line.split() for line in told if line.endswith("\n"))]


@pytest.mark.slow
@pytest.mark.gen_test(timeout=600)
async def test_what_was_confirmed_survives_a_kill_at_any_moment_and_the_numbers_have_no_gap(
    tmp_path: Path, torture: bool
) -> None:
    chance = random.Random(6)
    async with shelf(tmp_path) as storage:
        path = storage.database.path
    confirmed: list[tuple[int, str, str]] = []
    for run in range(200 if torture else 5):
        confirmed += write_until_killed(path, run, chance.randrange(1, 300))
        async with shelf(tmp_path) as storage:
            assert storage.set_aside is None
            last = await last_seq(storage)
        rows = read(path, "SELECT id, start_seq, end_seq FROM sessions")
        numbers = [row[1] for row in rows] + [row[2] for row in rows if row[2] is not None]
        assert sorted(numbers) == list(range(1, last + 1))
        kept = {(row[1], row[0], "started") for row in rows} | {(row[2], row[0], "ended") for row in rows}
        assert confirmed
        assert set(confirmed) <= kept
    assert read(path, "PRAGMA integrity_check") == [("ok",)]
