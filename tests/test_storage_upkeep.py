"""A consistent copy of a database in use, and what can be found wrong with one."""

import asyncio
import os
import re
import sqlite3
import stat
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from faults import disk_of_its_own, small_disk
from server import environment_of, run_cli
from shelf import NOW, last_seq, read, shelf
from tornado.testing import ExpectLog

from liveguard.errors import ConfigurationError
from liveguard.storage import Storage
from liveguard.storage.files import check_is_no_file_of
from liveguard.storage.migrations import MIGRATIONS
from liveguard.storage.redo import SUFFIX
from liveguard.storage.upkeep import APART, back_up, problems


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_copy_made_under_load_is_whole_and_a_server_can_start_on_it(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        journal, loop, copy = storage.journal, asyncio.get_running_loop(), tmp_path / "copy.db"
        for number in range(500):
            await asyncio.gather(*(journal.start(f"{ward}-{number}", ward, NOW) for ward in ("ana", "tom", "ida")))

        async def walk(ward: str, copied: "asyncio.Future[None]") -> None:
            number = 500
            while not copied.done() or number < 510:
                await journal.start(f"{ward}-{number}", ward, NOW)
                await journal.end(f"{ward}-{number}", NOW, 0, "manual_stop")
                number += 1

        copied = loop.run_in_executor(None, back_up, storage.database.path, copy)
        await asyncio.gather(copied, *(walk(ward, copied) for ward in ("ana", "tom", "ida")))
        assert storage.database.healthy
        last = await last_seq(storage)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    on_copy = await Storage.open(copy, exclusive=True)
    assert on_copy.set_aside is None
    in_copy = await last_seq(on_copy) - APART
    await on_copy.close()
    assert 1500 <= in_copy <= last
    assert read(copy, "SELECT count(*) + count(end_seq) FROM sessions") == [(in_copy,)]
    assert read(copy, "PRAGMA integrity_check") == [("ok",)]
    assert {file.name for file in tmp_path.iterdir() if file.name.startswith("copy.db.")} == {"copy.db.lock"}


@pytest.mark.gen_test
async def test_whoever_had_heard_more_than_a_copy_knows_misses_no_end_after_somebody_went_back_to_it(
    tmp_path: Path,
) -> None:
    copy = tmp_path / "copy.db"
    async with shelf(tmp_path) as storage:
        await storage.guardians.put("ana", "ben", "accepted", NOW)
        await walk(storage, "before")
        back_up(storage.database.path, copy)
        heard = [await walk(storage, f"lost {number}") for number in range(5)][-1]
    on_copy = await Storage.open(copy, exclusive=True)
    for number in range(6):
        await walk(on_copy, f"new {number}")
    view = await on_copy.journal.guardian_view("ben", heard, NOW)
    await on_copy.close()
    assert [end.id for end in view.missed] == [f"new {number}" for number in range(6)]


async def walk(storage: Storage, session_id: str) -> int:
    """A session of Ana's; the ``seq`` of its end."""
    await storage.journal.start(session_id, "ana", NOW)
    return await storage.journal.end(session_id, NOW, 0, "manual_stop")


def test_even_of_a_file_that_no_server_has_filled_yet_there_is_a_copy(tmp_path: Path) -> None:
    (tmp_path / "liveguard.db").touch()
    for _ in ("a first one", "another"):
        back_up(tmp_path / "liveguard.db", tmp_path / "copy.db")
    assert read(tmp_path / "copy.db", "SELECT count(*) FROM sqlite_schema") == [(0,)]


@pytest.mark.gen_test
async def test_a_copy_replaces_an_older_one_and_never_a_database_in_use(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage, shelf(tmp_path / "other") as other:
        path, copy = storage.database.path, tmp_path / "copy.db"
        back_up(path, copy)
        await storage.users.add(email="zoe@example.org", now=NOW)
        back_up(path, copy)
        assert read(copy, "SELECT count(*) FROM users") == [(7,)]
        await other.users.list()
        (tmp_path / f"killed.db{SUFFIX}").touch()
        for place in (tmp_path, other.database.path, tmp_path / "killed.db"):
            with pytest.raises(ConfigurationError, match="no place for a copy"):
                back_up(path, place)


@pytest.mark.gen_test
async def test_what_is_no_copy_is_not_replaced_by_one(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        path = storage.database.path
    novel, recipes, empty = (tmp_path / name for name in ("novel", "recipes", "empty"))
    novel.write_text("SQLite format 3 is where my novel begins")
    with closing(sqlite3.connect(recipes)) as db:
        db.execute("CREATE TABLE recipes (id INTEGER)")
    for place in (novel, recipes):
        before = place.read_bytes()
        with pytest.raises(ConfigurationError, match=f"^{place} is no copy of liveguard's, and is kept: [^\n]+$"):
            back_up(path, place)
        assert place.read_bytes() == before
    empty.touch()
    back_up(path, empty)
    assert read(empty, "SELECT count(*) FROM users") == [(6,)]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["backup", "export"])
@pytest.mark.gen_test
async def test_through_a_link_the_file_is_replaced_that_it_leads_to(tmp_path: Path, command: str) -> None:
    async with shelf(tmp_path), shelf(tmp_path / "other") as other:
        elsewhere, link = tmp_path / "elsewhere", tmp_path / "link"
        elsewhere.mkdir()
        link.symlink_to("elsewhere/file")
        for _ in ("a first one", "another"):
            assert await run_cli(environment_of(tmp_path), command, str(link)) == (0, "", "")
            assert link.is_symlink()
            assert [file.name for file in elsewhere.iterdir()] == ["file"]
            assert b"ana@example.org" in link.read_bytes()
        if command == "backup":
            # A server has made its secret beside it: it is no copy.
            (elsewhere / "file.secret").touch()
            status, _, err = await run_cli(environment_of(tmp_path), command, str(link))
            assert (status, err) == (1, f"liveguard: {link} is a database in use, and no place for a copy\n")
        await other.users.list()
        link.unlink()
        link.symlink_to(other.database.path)
        if command == "backup":
            status, out, err = await run_cli(environment_of(tmp_path), command, str(link))
            assert (status, out) == (1, "")
            assert err == f"liveguard: {link} is a database in use, and no place for a copy\n"


@pytest.mark.slow
@pytest.mark.parametrize("command", ["backup", "export"])
@pytest.mark.gen_test
async def test_what_belongs_to_the_database_is_no_place_for_a_copy_or_an_export(tmp_path: Path, command: str) -> None:
    async with shelf(tmp_path / "data") as storage:
        path = storage.database.path
    path.with_name("liveguard.db.lock").touch()
    (tmp_path / "link").symlink_to(path)
    before = {file: file.read_bytes() for file in path.parent.iterdir()}
    environment = environment_of(tmp_path, database=path)
    for place in (path, tmp_path / "link", os.path.relpath(f"{path}.lock"), f"{path}-redo"):
        complaint = f"liveguard: {place} is a file of the database {path}: give another name\n"
        assert await run_cli(environment, command, str(place)) == (1, "", complaint)
    assert {file: file.read_bytes() for file in path.parent.iterdir()} == before
    assert await run_cli(environment, command, f"{path}-2") == (0, "", "")


def test_by_whichever_way_a_file_of_the_database_is_known(tmp_path: Path) -> None:
    path, by_link = tmp_path / "data" / "liveguard.db", tmp_path / "links" / "link.db"
    for file in (path, by_link):
        file.parent.mkdir()
    path.touch()
    by_link.symlink_to(path)
    (tmp_path / "folder").symlink_to(path.parent)
    (tmp_path / "lock").symlink_to(f"{path}.lock")
    os.link(path, tmp_path / "same")
    own = ["", "-journal", "-wal", "-shm", "-redo", ".lock", ".secret", ".damaged-1", ".damaged-1-journal"]
    ways = [f"{folder}/liveguard.db{end}" for folder in (path.parent, tmp_path / "folder") for end in own]
    for place in (*ways, by_link, f"{by_link}.secret", tmp_path / "lock", tmp_path / "same"):
        with pytest.raises(ConfigurationError, match=f"^{re.escape(str(place))} is a file of the database [^\n]+$"):
            check_is_no_file_of(by_link, Path(place))
    for place in (f"{path}.json", f"{path}-2", tmp_path / "liveguard.db", tmp_path / "liveguard.db.damaged-1"):
        check_is_no_file_of(by_link, Path(place))


@pytest.mark.gen_test
async def test_a_copy_that_cannot_be_made_leaves_nothing_half_done(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        path = storage.database.path
        with pytest.raises(ConfigurationError, match="no database"):
            back_up(tmp_path / "nothing", tmp_path / "copy")
        with pytest.raises(OSError):
            back_up(path, tmp_path / "no folder" / "copy")
    (tmp_path / "rubbish").write_bytes(b"rubbish" * 1000)
    (tmp_path / "rubbish.lock").touch()  # as a server leaves it
    with pytest.raises(sqlite3.DatabaseError):
        back_up(tmp_path / "rubbish", tmp_path / "copy")
    assert not [file for file in tmp_path.iterdir() if file.name.startswith("copy")]


async def damaged(folder: Path) -> Path:
    """A database whose schema is sound, and one page of whose sessions is not."""
    async with shelf(folder) as storage:
        for number in range(300):
            await storage.journal.start(f"walk-{number}", "ana", NOW + number, {"note": "home " * 20})
        path = storage.database.path
    where = "SELECT page_size, rootpage FROM pragma_page_size, sqlite_schema WHERE name = 'sessions'"
    ((size, page),) = read(path, where)
    assert isinstance(size, int) and isinstance(page, int)
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"rubbish!" * (size // 8))
    return path


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_copy_of_a_damaged_database_replaces_none(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        copy = tmp_path / "copy.db"
        back_up(storage.database.path, copy)
    good, path = copy.read_bytes(), await damaged(tmp_path)
    for place in (copy, tmp_path / "another.db"):
        with pytest.raises(ConfigurationError, match=r"^The database .* is damaged \([^\n]+$"):
            back_up(path, place)
    assert copy.read_bytes() == good
    assert [file for file in tmp_path.iterdir() if not file.name.startswith("liveguard.db")] == [copy]


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_copy_of_what_began_anew_does_not_replace_one_of_what_lies_aside(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    async with shelf(tmp_path) as storage:
        copy = tmp_path / "copy.db"
        back_up(storage.database.path, copy)
    path = await damaged(tmp_path)
    with ExpectLog("liveguard.storage.files", "The database .* is damaged"):
        await (await Storage.open(path, exclusive=True)).close()
    (tmp_path / "link").symlink_to(path)
    for place in (path, tmp_path / "link"):
        with pytest.raises(ConfigurationError, match=r"liveguard\.db\.damaged-1.*another name[^\n]*$"):
            back_up(place, copy)
        assert "damaged-1" in problems(place)[0]
    assert read(copy, "SELECT count(*) FROM users") == [(6,)]
    back_up(path, tmp_path / "another.db")
    (tmp_path / "liveguard.db.damaged-1").unlink()
    back_up(path, copy)
    assert read(copy, "SELECT count(*) FROM users") == [(0,)]
    assert problems(path) == []


@asynccontextmanager
async def in_order(folder: Path) -> AsyncIterator[Storage]:
    """A database with which nothing is wrong: its folder is its owner's, and it has an admin."""
    folder.chmod(0o700)
    async with shelf(folder) as storage:
        await storage.users.add(email="alex@example.org", is_admin=True, now=NOW)
        yield storage


@pytest.mark.gen_test
async def test_a_sound_database_has_no_problems_also_while_it_is_served(tmp_path: Path) -> None:
    async with in_order(tmp_path) as storage:
        assert problems(storage.database.path) == []
        storage.database.path.chmod(0o644)
        assert "Others than the owner" in problems(storage.database.path)[0]


@pytest.mark.slow
@pytest.mark.gen_test
async def test_whoever_looks_for_problems_keeps_nobody_from_writing(tmp_path: Path) -> None:
    async with in_order(tmp_path) as storage:
        with closing(sqlite3.connect(storage.database.path)) as db, db:
            db.execute(
                "WITH RECURSIVE walks (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM walks WHERE n < 50000)"
                " INSERT INTO sessions (start_seq, id, ward_id, start_time, end_seq, end_time, duration, reason)"
                " SELECT 2 * n, 'walk-' || n, 'ana', :now + n, 2 * n + 1, :now + n, 0, 'manual_stop' FROM walks",
                {"now": NOW},
            )
        looking = asyncio.create_task(asyncio.to_thread(problems, storage.database.path))
        written = 0
        while not looking.done():
            await storage.guardians.put("ana", "ben", "accepted", NOW)
            written += 1
        assert await looking == []
        assert written > 10  # who waits for the whole look, writes once or twice


@pytest.mark.gen_test
async def test_a_disk_without_room_is_a_problem(tmp_path: Path) -> None:
    with disk_of_its_own(tmp_path / "disk"):
        async with in_order(tmp_path / "disk") as storage:
            (found,) = problems(storage.database.path)
            assert "make room" in found


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_database_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    """Whoever may mount a disk may write whatever its mode, and the other way round."""
    with small_disk(tmp_path / "disk") as mounted:
        (tmp_path / "disk").chmod(0o700)
        async with in_order(tmp_path / "disk") as storage:
            path = storage.database.path
        environment = environment_of(tmp_path, database=path)
        if mounted:
            subprocess.run(["mount", "-o", "remount,ro", str(path.parent)], check=True)
        else:
            path.chmod(0o400)
        status, out, err = await run_cli(environment, "check")
        assert (status, out) == (1, "")
        assert f"liveguard: {path} cannot be written by who asks" in err


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("UPDATE sequence SET value = value", None),
        ("INSERT INTO logins VALUES ('x', 'nobody', 0, 0, 0, '')", "points to nothing in users"),
        ("CREATE INDEX mended ON users (first_name)", None),
        ("UPDATE users SET is_active = 0 WHERE is_admin", "Nobody in .* is an admin"),
        ("DELETE FROM users", None),
        (f"PRAGMA user_version = {len(MIGRATIONS) + 1}", "newer liveguard"),
    ],
)
@pytest.mark.gen_test
async def test_what_is_wrong_is_named(tmp_path: Path, change: str, problem: str | None) -> None:
    async with in_order(tmp_path) as storage:
        path = storage.database.path
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(change)
    found = problems(path)
    assert len(found) == (problem is not None)
    assert problem is None or re.search(problem, found[0])


def test_the_database_of_another_program_is_not_called_empty(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    path = tmp_path / "recipes.db"
    with closing(sqlite3.connect(path)) as db:
        path.chmod(0o600)
        assert problems(path) == [f"The database {path} is empty; the first start fills it"]
        db.execute("CREATE TABLE recipes (id INTEGER)")
        assert problems(path) == [f"The file {path} is the database of another program"]


@pytest.mark.gen_test
async def test_an_index_that_lies_is_found(tmp_path: Path) -> None:
    async with in_order(tmp_path) as storage:
        path = storage.database.path
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute(
            "UPDATE sqlite_schema SET sql = replace(sql, 'email_key TEXT', 'email_key INTEGER') WHERE name = 'users'"
        )
        (root,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'guardians_by_guardian'").fetchone()
        db.execute("UPDATE sqlite_schema SET rootpage = ? WHERE name = 'logins_by_user'", (root,))
    assert any("damaged" in line for line in problems(path))
    (tmp_path / "rubbish").write_bytes(b"rubbish" * 1000)
    assert "rubbish" in problems(tmp_path / "rubbish")[-1]
