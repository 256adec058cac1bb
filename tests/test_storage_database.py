"""One thread, batches in order, many jobs to a commit; and what happens when the file cannot be used."""

import asyncio
import logging
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from shelf import NOW, change_elsewhere, held_elsewhere, read, shelf

from liveguard.errors import Conflict, NotFound, StorageUnavailable
from liveguard.storage import Database, Storage, Viewer
from liveguard.storage.database import MOST_JOBS

Work = Callable[[sqlite3.Connection], Any]


def rename(name: str) -> Work:
    """A write that lasts: Mallory's first name."""
    return lambda db: db.execute("UPDATE users SET first_name = ? WHERE id = 'mallory'", (name,)).rowcount


def name_of_mallory(db: sqlite3.Connection) -> str:
    return str(db.execute("SELECT first_name FROM users WHERE id = 'mallory'").fetchone()[0])


def refuse(db: sqlite3.Connection) -> None:
    db.execute("UPDATE users SET last_name = 'half done'")
    raise Conflict


def look_in_vain(_: sqlite3.Connection) -> None:
    raise NotFound


async def statements(database: Database) -> list[str]:
    """All that SQLite is asked to do from now on."""
    asked: list[str] = []
    await database.submit(lambda db: db.set_trace_callback(asked.append), write=False)
    asked.clear()
    return asked


async def unavailable(future: "asyncio.Future[Any]") -> bool:
    try:
        await future
    except StorageUnavailable:
        return True
    return False


@pytest.mark.gen_test
async def test_whoever_waits_is_answered_in_the_order_of_the_jobs(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        answered: list[int] = []

        async def ask(number: int) -> None:
            if number % 3:
                await storage.users.get("ana")
            else:
                await storage.database.submit(rename(str(number)), write=True)
            answered.append(number)

        await asyncio.gather(*map(ask, range(3 * MOST_JOBS)))
        assert answered == list(range(3 * MOST_JOBS))


@pytest.mark.gen_test
async def test_jobs_that_wait_share_one_commit(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        asked = await statements(storage.database)
        await asyncio.gather(*(storage.database.submit(rename(str(n)), write=True) for n in range(50)))
        assert asked.count("BEGIN IMMEDIATE") == asked.count("COMMIT") == 1
        assert read(storage.database.path, "SELECT first_name FROM users WHERE id = 'mallory'") == [("49",)]


@pytest.mark.gen_test
async def test_what_comes_while_a_batch_is_under_way_shares_the_next(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        under_way, go_on = threading.Event(), threading.Event()
        asked = await statements(storage.database)
        loop = asyncio.get_running_loop()
        first = storage.database.submit(lambda _: (under_way.set(), go_on.wait(5)), write=True)
        await loop.run_in_executor(None, under_way.wait, 5)
        later = [storage.database.submit(rename(str(n)), write=True) for n in range(20)]
        go_on.set()
        await asyncio.gather(first, *later)
        assert asked.count("COMMIT") == 2


@pytest.mark.gen_test
async def test_a_batch_is_bounded_so_that_the_loop_is_not_held_up_by_its_answers(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        asked = await statements(storage.database)
        await asyncio.gather(*(storage.database.submit(rename("Mallory"), write=True) for _ in range(MOST_JOBS + 1)))
        assert asked.count("COMMIT") == 2


@pytest.mark.gen_test
async def test_a_read_finds_what_was_written_before_it_and_nothing_that_comes_after(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        submit = storage.database.submit
        futures = []
        for name in ("Eve", "Mal"):
            futures += [submit(name_of_mallory, write=False), submit(rename(name), write=True)]
        futures.append(submit(name_of_mallory, write=False))
        found = await asyncio.gather(*futures)
        assert found[::2] == ["Mallory", "Eve", "Mal"]


@pytest.mark.gen_test
async def test_a_bad_job_fails_alone_and_the_others_still_share_a_commit(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        asked = await statements(storage.database)
        jobs: list[Work] = [
            rename("Eve"),
            refuse,
            lambda db: db.execute("INSERT INTO users (id) VALUES (1)"),
            rename("Mal"),
        ]
        first, refusal, violation, last = await asyncio.gather(
            *(storage.database.submit(job, write=True) for job in jobs), return_exceptions=True
        )
        assert (first, last) == (1, 1)
        assert isinstance(refusal, Conflict)
        assert isinstance(violation, sqlite3.IntegrityError)
        assert asked.count("COMMIT") == 1
        assert read(storage.database.path, "SELECT first_name, last_name FROM users WHERE id = 'mallory'") == [
            ("Mal", "Lind")
        ]
        assert storage.database.healthy


@pytest.mark.gen_test
async def test_a_read_that_fails_costs_the_writes_beside_it_nothing(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        asked = await statements(storage.database)
        lookup = storage.database.submit(look_in_vain, write=False)
        await storage.database.submit(rename("Eve"), write=True)
        assert isinstance(lookup.exception(), NotFound)
        assert asked.count("BEGIN IMMEDIATE") == 1


@pytest.mark.gen_test
async def test_what_was_submitted_is_done_though_nobody_waits_for_it_any_more(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        given_up = storage.database.submit(rename("Eve"), write=True)
        given_up.cancel()
        assert await storage.database.submit(name_of_mallory, write=False) == "Eve"


@pytest.mark.gen_test
async def test_closing_finishes_what_was_submitted_and_takes_nothing_more(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        written = [storage.database.submit(rename(str(n)), write=True) for n in range(MOST_JOBS + 10)]
    assert all(future.done() and future.result() == 1 for future in written)
    assert await unavailable(storage.database.submit(name_of_mallory, write=False))
    with pytest.raises(StorageUnavailable):
        await storage.database.read_aside(name_of_mallory)


@pytest.mark.gen_test
async def test_each_commit_waits_for_the_disk(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:

        def settings(db: sqlite3.Connection) -> dict[str, Any]:
            names = ("synchronous", "foreign_keys", "journal_mode")
            return {name: db.execute(f"PRAGMA {name}").fetchone()[0] for name in names}

        found = await storage.database.submit(settings, write=False)
        assert found == {"synchronous": 2, "foreign_keys": 1, "journal_mode": "truncate"}


@pytest.mark.gen_test
async def test_no_log_however_detailed_says_what_is_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with shelf(tmp_path) as storage:
        await storage.journal.start("walk", "ana", NOW, {"note": "at 48.137 11.575"})
        await storage.logins.create("a hash", "ana", now=NOW, expires_at=NOW + 1)
        await storage.history.get(Viewer("ana"), "walk")
    assert caplog.records
    assert not [word for word in ("48.137", "a hash", "walk", "ana") if word in caplog.text]


@pytest.mark.gen_test
async def test_a_change_by_another_process_is_noticed_once_and_ones_own_never(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        await storage.database.changed_elsewhere()
        await storage.users.set_active("tom", False)
        assert not await storage.database.changed_elsewhere()
        change_elsewhere(storage.database.path, "UPDATE users SET is_active = 0 WHERE id = 'ben'")
        assert await storage.database.changed_elsewhere()
        assert not await storage.database.changed_elsewhere()


# -- reading aside -----------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_long_read_aside_holds_up_nobody(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        go_on = threading.Event()

        def long_read(db: sqlite3.Connection) -> int:
            go_on.wait(5)
            return int(db.execute("SELECT count(*) FROM users").fetchone()[0])

        aside = asyncio.ensure_future(storage.database.read_aside(long_read))
        await storage.database.submit(rename("Eve"), write=True)
        assert not aside.done()
        go_on.set()
        assert await aside == 6


@pytest.mark.gen_test
async def test_much_that_the_command_line_writes_keeps_nobody_from_reading_before_its_commit(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:

        def write_much(db: sqlite3.Connection) -> Any:
            db.execute(
                "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 8000)"
                " INSERT INTO session_entries (session_id, moment, kind, data)"
                " SELECT 'walk', n, 'message', hex(zeroblob(500)) FROM numbers"
            )
            with closing(sqlite3.connect(storage.database.path, timeout=0)) as other:
                return other.execute("SELECT count(*) FROM session_entries").fetchone()

        assert await storage.database.submit(write_much, write=True) == (0,)


@pytest.mark.gen_test
async def test_nothing_can_be_written_aside(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        with pytest.raises(StorageUnavailable):
            await storage.database.read_aside(rename("Eve"))
        with pytest.raises(NotFound):
            await storage.database.read_aside(look_in_vain)
        assert await storage.database.read_aside(name_of_mallory) == "Mallory"


# -- faults ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.gen_test
async def test_while_another_process_keeps_writers_out_reads_go_on_and_writes_fail_soon(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with shelf(tmp_path) as storage:
        database = storage.database
        with held_elsewhere(database.path, "IMMEDIATE"):
            began = time.monotonic()
            write, lookup = database.submit(rename("Eve"), write=True), storage.users.get("ana")
            assert await unavailable(write)
            assert 1.8 < time.monotonic() - began < 4, "it waits two seconds for its turn"
            assert (await lookup).id == "ana"
            assert not database.healthy and caplog.messages[-1].endswith("cannot be written: SQLITE_BUSY")
            began = time.monotonic()
            later = [database.submit(rename("Eve"), write=True) for _ in range(100)]
            assert all([await unavailable(future) for future in later])
            assert time.monotonic() - began < 1, "once it has failed, nobody waits long again"
            assert len(await storage.users.list()) == 6
            assert not database.healthy, "a read that works does not mend a journal that does not"
        assert await database.submit(rename("Eve"), write=True) == 1
        assert database.healthy


@pytest.mark.slow
@pytest.mark.gen_test
async def test_while_another_process_keeps_everybody_out_the_loop_goes_on(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        loop, gaps, last = asyncio.get_running_loop(), [0.0], time.monotonic()

        def tick() -> None:
            nonlocal last, ticking
            gaps.append(time.monotonic() - last)
            last = time.monotonic()
            ticking = loop.call_later(0.005, tick)

        ticking = loop.call_soon(tick)
        with held_elsewhere(storage.database.path, "EXCLUSIVE"):
            last = time.monotonic()
            gaps.clear()
            lookups = [storage.users.get("ana"), storage.database.submit(name_of_mallory, write=False)]
            writes = [storage.database.submit(rename("Eve"), write=True) for _ in range(10)]
            assert all([await unavailable(future) for future in (*lookups, *writes)])
            assert await unavailable(storage.database.submit(name_of_mallory, write=False))
            assert max(gaps) < 0.25
        ticking.cancel()
        assert await storage.database.submit(rename("Eve"), write=True) == 1


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_reader_elsewhere_that_does_not_finish_lets_writes_fail_whole(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        with held_elsewhere(storage.database.path, "DEFERRED"):
            write, lookup = storage.database.submit(rename("Eve"), write=True), storage.users.get("mallory")
            assert await unavailable(write)
            assert (await lookup).first_name == "Mallory", "nobody sees what was not kept"
        assert await storage.database.submit(name_of_mallory, write=False) == "Mallory"


async def limit_pages(storage: Storage, pages: int | None) -> None:
    """A disk on which nothing more fits; None takes the limit away."""

    def job(db: sqlite3.Connection) -> None:
        limit = pages if pages is not None else db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {limit}")

    await storage.database.submit(job, write=False)


@pytest.mark.gen_test
async def test_on_a_full_disk_reads_go_on_and_nothing_is_half_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with shelf(tmp_path) as storage:
        await limit_pages(storage, None)
        long_name = "M" * 100_000
        writes = [storage.database.submit(rename(name), write=True) for name in ("Eve", long_name, "Mal")]
        lookup = storage.database.submit(name_of_mallory, write=False)
        assert all([await unavailable(write) for write in writes])
        assert await lookup == "Mallory"
        assert not storage.database.healthy and caplog.messages[-1].endswith("cannot be written: SQLITE_FULL")
        await limit_pages(storage, 2**30)
        assert await storage.database.submit(rename(long_name), write=True) == 1
        assert storage.database.healthy


@pytest.mark.gen_test
async def test_in_a_read_only_file_reads_go_on(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        await storage.database.submit(lambda db: db.execute("PRAGMA query_only = ON"), write=False)
        assert await unavailable(storage.database.submit(rename("Eve"), write=True))
        assert await storage.database.submit(name_of_mallory, write=False) == "Mallory"
        await storage.database.submit(lambda db: db.execute("PRAGMA query_only = OFF"), write=False)
        assert await storage.database.submit(rename("Eve"), write=True) == 1


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_file_that_is_damaged_meanwhile_is_unavailable_until_it_is_mended(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        path = storage.database.path
        # What another process writes over the file is no good way to open it here: closing it would lose SQLite's lock.
        sound = path.read_bytes()
        damage = "import sys; f = open(sys.argv[1], 'r+b'); f.write(b'rubbish' * 1000)"
        await run_elsewhere(damage, str(path))
        assert await unavailable(storage.database.submit(rename("Eve"), write=True))
        assert not storage.database.healthy
        (tmp_path / "sound").write_bytes(sound)
        mend = "import sys; f = open(sys.argv[1], 'r+b'); f.write(open(sys.argv[2], 'rb').read())"
        await run_elsewhere(mend, str(path), str(tmp_path / "sound"))
        assert await storage.database.submit(rename("Eve"), write=True) == 1
        assert storage.database.healthy


async def run_elsewhere(code: str, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, *arguments)
    assert await process.wait() == 0


@pytest.mark.gen_test
async def test_a_connection_that_is_gone_fails_every_job_and_hangs_none(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        assert await unavailable(storage.database.submit(lambda db: db.close(), write=False))
        for write in (True, False):
            assert await unavailable(storage.database.submit(name_of_mallory, write=write))
        assert not storage.database.healthy
