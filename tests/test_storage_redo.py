"""The redo log: a burst of starts and ends is confirmed ahead of the tables, and never lost or written twice."""

import asyncio
import contextlib
import errno
import os
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from math import inf
from pathlib import Path
from typing import Any

import pytest
from shelf import NOW, be_unsure, change_elsewhere, held_elsewhere, last_seq, read, shelf
from tornado.testing import ExpectLog

from liveguard.clock import SystemClock
from liveguard.errors import ConfigurationError, StorageUnavailable
from liveguard.events import Person
from liveguard.journaling import RECENT, Journaling
from liveguard.rooms import Presences, Room
from liveguard.sessions import LiveSession, Moment
from liveguard.storage import GuardianView, Storage, Viewer, redo, upkeep
from liveguard.storage.redo import SUFFIX, records
from liveguard.storage.upkeep import back_up

SESSIONS = "SELECT id, start_seq, end_seq FROM sessions ORDER BY start_seq"
WARDS = ("ana", "tom", "ida", "ben", "chloe")


@asynccontextmanager
async def busy(folder: Path) -> AsyncIterator[Storage]:
    """A storage that has just committed something, and whose tables catch up with nothing by themselves."""
    async with shelf(folder, exclusive=True) as storage:
        storage.database.entries.pace = inf
        await storage.journal.start("first", "mallory", NOW)
        yield storage


async def burst(storage: Storage, name: str = "walk") -> list[int]:
    """Five start at once; their numbers."""
    starts = [storage.journal.start(f"{name}-{ward}", ward, NOW, again=False) for ward in WARDS]
    return [begun.seq for begun in await asyncio.gather(*starts)]


async def all_end(storage: Storage) -> list[int]:
    """And end at once."""
    ends = [storage.journal.end(f"walk-{ward}", NOW + 1000, 1, "manual_stop", again=False) for ward in WARDS]
    return await asyncio.gather(*ends)


def killed(storage: Storage, folder: Path) -> Path:
    """What a process that is killed now would leave, in another folder."""
    folder.mkdir()
    for file in storage.database.path.parent.glob("liveguard.db*"):
        if file.is_file() and not file.name.endswith(".lock"):
            shutil.copy(file, folder)
    return folder


async def sessions(folder: Path) -> list[tuple[object, ...]]:
    """What the next server finds."""
    async with shelf(folder, exclusive=True) as storage:
        return read(storage.database.path, SESSIONS)


@pytest.mark.gen_test
async def test_a_burst_goes_ahead_and_the_next_commit_takes_it_in(tmp_path: Path) -> None:
    async with busy(tmp_path) as storage:
        assert await burst(storage) == [2, 3, 4, 5, 6]
        assert await all_end(storage) == [7, 8, 9, 10, 11]
        assert read(storage.database.path, SESSIONS) == [("first", 1, None)]
        await storage.users.set_active("mallory", True)
        walks = [(f"walk-{ward}", place + 2, place + 7) for place, ward in enumerate(WARDS)]
        assert read(storage.database.path, SESSIONS) == [("first", 1, None), *walks]
        assert await last_seq(storage) == 11
        log = tmp_path / f"liveguard.db{SUFFIX}"
        size = log.stat().st_size
        assert await burst(storage, "next") == [12, 13, 14, 15, 16]
        assert log.stat().st_size == size, "what the tables have is written over"


@pytest.mark.gen_test
async def test_the_tables_catch_up_by_themselves(tmp_path: Path) -> None:
    async with busy(tmp_path) as storage:
        storage.database.entries.pace = 0.05
        await burst(storage)
        while len(read(storage.database.path, SESSIONS)) < 6:
            await storage.users.get("ana")
    assert not (tmp_path / f"liveguard.db{SUFFIX}").exists()


@pytest.mark.gen_test
async def test_who_is_alone_gets_a_commit(tmp_path: Path) -> None:
    async with busy(tmp_path) as storage:
        await storage.journal.start("one", "ana", NOW, again=False)
        assert read(storage.database.path, SESSIONS) == [("first", 1, None), ("one", 2, None)]


@pytest.mark.gen_test
async def test_who_reads_what_has_ended_reads_the_newest_as_well(tmp_path: Path) -> None:
    async with busy(tmp_path) as storage:
        await burst(storage)
        await all_end(storage)
        page = await storage.history.page(Viewer("", is_admin=True))
        assert {session.id for session in page.sessions} == {f"walk-{ward}" for ward in WARDS}


@pytest.mark.gen_test
async def test_after_a_kill_everything_that_was_confirmed_is_there_with_its_number(tmp_path: Path) -> None:
    async with busy(tmp_path) as storage:
        await burst(storage)
        await storage.users.set_active("mallory", True)  # these are in the tables, and their records behind the next
        await all_end(storage)
        left = killed(storage, tmp_path / "killed")
        expected = [("first", 1, None), *((f"walk-{ward}", place + 2, place + 7) for place, ward in enumerate(WARDS))]
        assert await sessions(left) == expected
        assert await sessions(left) == expected


@pytest.mark.parametrize("damage", ["cut off", "overwritten"])
@pytest.mark.gen_test
async def test_a_record_that_was_not_written_as_a_whole_is_none(tmp_path: Path, damage: str) -> None:
    async with busy(tmp_path) as storage:
        await burst(storage)
        log = tmp_path / f"liveguard.db{SUFFIX}"
        assert storage.database.entries._redo is not None
        whole = storage.database.entries._redo._end
        await all_end(storage)
        left = killed(storage, tmp_path / "killed")
        with (left / log.name).open("r+b") as torn:
            if damage == "cut off":
                torn.truncate(whole + 40)
            else:
                torn.seek(whole + 40)
                torn.write(b"rubbish")
        assert [row[2] for row in await sessions(left)] == [None] * 6
        async with shelf(left) as again:
            assert await last_seq(again) == 6


@pytest.mark.gen_test
async def test_a_log_that_does_not_go_on_from_these_tables_says_nothing_about_them(tmp_path: Path) -> None:
    async with busy(tmp_path) as storage:
        older = killed(storage, tmp_path / "older")
        await storage.journal.start("second", "ana", NOW)
        await storage.journal.end("second", NOW, 0, "manual_stop")
        await burst(storage)
        shutil.copy(tmp_path / f"liveguard.db{SUFFIX}", older)
        assert await sessions(older) == [("first", 1, None)]


@pytest.mark.gen_test
async def test_nor_does_it_later_when_their_numbers_have_come_as_far(tmp_path: Path) -> None:
    async with busy(tmp_path) as storage:
        older = killed(storage, tmp_path / "older")
        await storage.journal.start("second", "ana", NOW)
        await burst(storage)
        shutil.copy(tmp_path / f"liveguard.db{SUFFIX}", older)
    async with shelf(older, exclusive=True) as storage:
        assert await storage.journal.end("first", NOW, 0, "manual_stop") == 2
        left = killed(storage, tmp_path / "killed")
    assert await sessions(left) == [("first", 1, 2)]


@pytest.mark.parametrize("exclusive", [True, False], ids=["the server", "the command line"])
@pytest.mark.gen_test
async def test_a_log_that_cannot_be_read_is_passed_over_by_nobody(tmp_path: Path, exclusive: bool) -> None:
    async with shelf(tmp_path):
        pass
    (tmp_path / f"liveguard.db{SUFFIX}").mkdir()
    with pytest.raises(ConfigurationError, match=f"^The redo log .*{SUFFIX} cannot be read: Is a directory$"):
        await Storage.open(tmp_path / "liveguard.db", exclusive=exclusive)


@pytest.mark.gen_test
async def test_the_command_line_and_a_copy_find_what_a_killed_server_has_left(tmp_path: Path) -> None:
    async with busy(tmp_path) as storage:
        await burst(storage)
        left, other = killed(storage, tmp_path / "left"), killed(storage, tmp_path / "other")
        # Beside a server that runs, the log is that server's.
        async with shelf(tmp_path) as beside:
            assert [session.id for session in await beside.journal.active()] == ["first"]
    async with shelf(left) as command:
        assert len(await command.journal.active()) == 6
    (tmp_path / "link.db").symlink_to(other / "liveguard.db")
    back_up(tmp_path / "link.db", tmp_path / "copy.db")
    assert len(read(tmp_path / "copy.db", SESSIONS)) == 6


@pytest.mark.gen_test
async def test_a_copy_has_what_a_server_that_runs_has_confirmed_so_far(tmp_path: Path) -> None:
    async with busy(tmp_path) as storage:
        await burst(storage)
        back_up(storage.database.path, tmp_path / "copy.db")
        assert read(storage.database.path, SESSIONS) == [("first", 1, None)]
    walks = [(f"walk-{ward}", place + 2, None) for place, ward in enumerate(WARDS)]
    assert read(tmp_path / "copy.db", SESSIONS) == [("first", 1, None), *walks]
    assert not (tmp_path / f"copy.db{SUFFIX}").exists()


@pytest.mark.slow
@pytest.mark.gen_test
async def test_nothing_in_a_copy_is_ahead_of_its_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()

    async def somebody_is_accepted() -> None:
        await burst(storage)
        async with shelf(tmp_path) as beside:
            with contextlib.suppress(StorageUnavailable):  # whoever copies has the tables in hand by then
                await beside.guardians.put("ana", "ben", "accepted", NOW)

    def late(path: Path) -> list[bytes]:
        found = list(records(path))
        if not found:
            asyncio.run_coroutine_threadsafe(somebody_is_accepted(), loop).result()
        return found

    async with busy(tmp_path) as storage:
        monkeypatch.setattr(upkeep, "records", late)
        await loop.run_in_executor(None, back_up, storage.database.path, tmp_path / "copy.db")
    copied = "SELECT value, (SELECT max(accepted_seq) FROM guardians) FROM sequence"
    assert read(tmp_path / "copy.db", copied) == [(1 + upkeep.APART, None)]


def of_ana(number: int) -> LiveSession:
    """One of many sessions that have begun and not ended."""
    ana, now = Person("ana", "Ana", "", "ana@example.org"), Moment(NOW, 0.0)
    session = LiveSession(f"many-{number}", ana, None, now, Room("ana", Presences()))
    session.activate(1)
    return session


@pytest.mark.gen_test
async def test_who_arrives_while_the_tables_take_in_a_burst_learns_of_each_end(tmp_path: Path) -> None:
    """What they read is older than that, and what comes behind it must still be known when they are told."""
    async with busy(tmp_path) as storage:
        journaling, database = Journaling(storage, SystemClock()), storage.database
        await storage.guardians.put("ana", "ben", "accepted", NOW)
        await storage.journal.first_view("ben", NOW)
        many = [of_ana(number) for number in range(3 * RECENT)]
        starts = [storage.journal.start(session.id, "ana", NOW, again=False) for session in many]
        await asyncio.gather(*starts[:RECENT])

        async def end(session: LiveSession) -> None:
            now = Moment(NOW + 1000, 1.0)
            seq = await journaling.end(session, now, "manual_stop")
            assert seq is not None
            session.end(now, "manual_stop", seq, now)
            journaling.remember(session, seq)

        await asyncio.gather(*map(end, many[:-5]))
        behind = database.entries.written

        async def first_end() -> None:
            await end(many[-5])
            # The loop has its hands full with telling, and meanwhile the thread commits.
            until = time.monotonic() + 10
            while database.entries.written == behind and time.monotonic() < until:
                time.sleep(0.001)  # the thread has its turn

        ends = [asyncio.ensure_future(first_end()), *(asyncio.ensure_future(end(session)) for session in many[-4:])]
        await asyncio.sleep(0)  # they ask
        seen = asyncio.ensure_future(storage.journal.guardian_view("ben", None, NOW + 2000))
        told = asyncio.ensure_future(hear(journaling, seen))
        while database._waiting:
            await asyncio.sleep(0)  # until the batch is under way
        database._catch_up()
        await asyncio.gather(*ends)
        assert await told == {session.id for session in many}


async def hear(journaling: Journaling, asked: "asyncio.Future[GuardianView]") -> set[str]:
    """The sessions of whose ends Ben is told when he comes."""
    view = await asked
    unwritten = journaling.unwritten_ends("ben", view.wards, max(view.looked_up_to, view.stands_at or 0))
    return {end.id for end in view.missed} | {end.session_id for end in unwritten}


@pytest.mark.gen_test
async def test_what_is_only_read_beside_a_burst_does_not_make_it_wait_for_a_commit(tmp_path: Path) -> None:
    async with busy(tmp_path) as storage:
        (began, user) = await asyncio.gather(burst(storage), storage.users.get("ana"))
        assert (began, user.email) == ([2, 3, 4, 5, 6], "ana@example.org")
        assert read(storage.database.path, SESSIONS) == [("first", 1, None)]
        # What is read of sessions asks for all that was confirmed, and that is a commit.
        (ended, running) = await asyncio.gather(all_end(storage), storage.journal.active())
        assert (ended, len(running)) == ([7, 8, 9, 10, 11], 6)
        assert len(read(storage.database.path, SESSIONS)) == 6


@pytest.mark.gen_test
async def test_where_the_log_cannot_be_written_everything_waits_for_the_tables(tmp_path: Path) -> None:
    async with busy(tmp_path) as storage:
        log = storage.database.entries._redo
        assert log is not None
        os.dup2(os.open("/dev/full", os.O_WRONLY), log._file)
        assert await burst(storage) == [2, 3, 4, 5, 6]
        assert len(read(storage.database.path, SESSIONS)) == 6


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_record_whose_write_failed_is_not_taken_up_though_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite

    def failing(*arguments: Any) -> int:
        pwrite(*arguments)
        raise OSError(errno.EIO, "Input/output error")

    async with busy(tmp_path) as storage:
        await burst(storage)
        monkeypatch.setattr(redo.os, "pwrite", failing)
        with held_elsewhere(storage.database.path, "IMMEDIATE"):
            with pytest.raises(StorageUnavailable):
                await burst(storage, "refused")
            left = killed(storage, tmp_path / "killed")
    assert len(await sessions(left)) == 6


@pytest.mark.gen_test
async def test_a_commit_that_failed_and_was_kept_is_not_written_twice(tmp_path: Path) -> None:
    async with busy(tmp_path) as storage:
        assert await burst(storage) == [2, 3, 4, 5, 6]
        be_unsure(storage)
        end = storage.journal.end("first", NOW, 0, "manual_stop", again=False)
        with pytest.raises(StorageUnavailable):
            await asyncio.gather(storage.users.set_active("mallory", True), end)
        with pytest.raises(StorageUnavailable):
            await end
        assert await storage.journal.end("first", NOW, 0, "manual_stop") == 7
        assert await all_end(storage) == [8, 9, 10, 11, 12]


@pytest.mark.slow
@pytest.mark.gen_test
async def test_after_a_commit_that_failed_the_next_one_is_written_whatever_is_in_it(tmp_path: Path) -> None:
    """What the failed one has left in SQLite's journal may count after a crash, ahead of what is in the log by then."""
    async with busy(tmp_path) as storage:
        path = storage.database.path
        with closing(sqlite3.connect(path)) as beside:
            version = beside.execute("PRAGMA data_version").fetchone()
            await storage.users.set_active("mallory", True)
            assert beside.execute("PRAGMA data_version").fetchone() == version, "nothing was changed by that"
            with held_elsewhere(path, "IMMEDIATE"), pytest.raises(StorageUnavailable):
                await storage.users.set_active("mallory", True)
            await storage.users.set_active("mallory", True)
            assert beside.execute("PRAGMA data_version").fetchone() != version


@pytest.mark.slow
@pytest.mark.gen_test
async def test_while_the_tables_cannot_be_written_the_log_keeps_what_was_confirmed_and_no_more(tmp_path: Path) -> None:
    async with busy(tmp_path) as storage:
        await burst(storage)
        with held_elsewhere(storage.database.path, "IMMEDIATE"):
            with pytest.raises(StorageUnavailable):
                await storage.users.set_active("mallory", True)
            with pytest.raises(StorageUnavailable):
                await all_end(storage)
            with pytest.raises(StorageUnavailable):
                await storage.journal.active()
            # Who only wants to come in need not wait for it.
            assert await storage.users.get("ana")
            left = killed(storage, tmp_path / "killed")
        assert len(await sessions(left)) == 6
        assert [session.id for session in await storage.journal.active()] == [
            "first",
            *(f"walk-{ward}" for ward in WARDS),
        ]


@pytest.mark.gen_test
async def test_what_the_tables_refuse_for_good_holds_up_nothing_else(tmp_path: Path) -> None:
    async with busy(tmp_path) as storage:
        unknown = storage.journal.start("unknown", "nobody", NOW, again=False)
        await asyncio.gather(unknown, burst(storage))
        with ExpectLog("liveguard.storage.entries", "The journal refused an entry for good: IntegrityError"):
            await storage.users.set_active("mallory", True)
        assert len(read(storage.database.path, SESSIONS)) == 6
        assert await last_seq(storage) == 7


@pytest.mark.gen_test
async def test_whom_a_start_reaches_is_what_is_true_at_its_moment(tmp_path: Path) -> None:
    async with busy(tmp_path) as storage:

        async def reached(name: str) -> list[str]:
            starts = [storage.journal.start(f"{name}-{place}", "ana", NOW, again=False) for place in range(4)]
            (begun, *_) = await asyncio.gather(*starts)
            return [guardian.id for guardian in begun.guardians]

        await storage.guardians.put("ana", "ben", "accepted", NOW)
        assert await reached("one") == ["ben"]
        await storage.guardians.put("ana", "ben", "revoked", NOW)
        assert await reached("two") == []
        await storage.guardians.put("ana", "ben", "accepted", NOW)
        assert await reached("three") == ["ben"]
        change_elsewhere(storage.database.path, "UPDATE guardians SET status = 'revoked'")
        assert await reached("four") == []


@pytest.mark.gen_test
async def test_a_damaged_file_is_set_aside_together_with_its_log(tmp_path: Path) -> None:
    async with busy(tmp_path) as storage:
        await burst(storage)
        left = killed(storage, tmp_path / "killed")
    (left / "liveguard.db").write_bytes(b"rubbish " * 2000)
    with ExpectLog("liveguard.storage.files", "The database .* is damaged"):
        assert await sessions(left) == []
    assert (left / f"liveguard.db.damaged-1{SUFFIX}").stat().st_size


@pytest.mark.gen_test
async def test_a_guardian_who_arrives_is_told_the_newest_number_wherever_it_is(tmp_path: Path) -> None:
    async with busy(tmp_path) as storage:
        await burst(storage)
        alone = await storage.journal.guardian_view("ben", None, NOW)
        assert (alone.seq, alone.looked_up_to) == (6, 1)
        beside_a_write, _ = await asyncio.gather(
            storage.journal.guardian_view("ben", None, NOW), storage.users.set_active("mallory", True)
        )
        assert (beside_a_write.seq, beside_a_write.looked_up_to) == (6, 6)
