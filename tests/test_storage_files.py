"""Where the database lies, who may use it, and what becomes of a file that is not as it should be."""

import os
import random
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Timer

import pytest
from shelf import NOW, read, shelf
from tornado.testing import ExpectLog

from liveguard.errors import ConfigurationError
from liveguard.storage import Storage, files
from liveguard.storage.files import served_alone
from liveguard.storage.migrations import APPLICATION_ID, MIGRATIONS, migrate


async def refused(path: Path, *, create: bool = True, exclusive: bool = False) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(ConfigurationError) as caught:
        await Storage.open(path, create=create, exclusive=exclusive)
    line = str(caught.value)
    assert str(path) in line
    assert "\n" not in line
    return line


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.gen_test
async def test_folder_and_files_are_for_their_owner_only(tmp_path: Path) -> None:
    storage = await Storage.open(tmp_path / "new" / "data" / "liveguard.db", exclusive=True)
    await storage.users.add(email="ana@example.org", now=NOW)
    await storage.close()
    assert mode(tmp_path / "new" / "data") == 0o700
    assert {mode(file) for file in (tmp_path / "new" / "data").iterdir()} == {0o600}


@pytest.mark.gen_test
async def test_what_was_kept_is_there_when_the_file_is_opened_again(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        await storage.journal.start("walk", "ana", NOW)
    async with shelf(tmp_path) as storage:
        assert [session.id for session in await storage.journal.active()] == ["walk"]


@pytest.mark.gen_test
async def test_a_database_that_must_be_there_already_is_not_made(tmp_path: Path) -> None:
    assert "There is no database" in await refused(tmp_path / "liveguard.db", create=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.gen_test
async def test_a_place_where_nothing_can_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert "cannot be made" in await refused(tmp_path / "file" / "liveguard.db")
    (tmp_path / "folder").mkdir()
    assert "is no file" in await refused(tmp_path / "folder")


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_second_server_is_refused_and_the_command_line_is_not(tmp_path: Path) -> None:
    path = tmp_path / "liveguard.db"
    server = await Storage.open(path, exclusive=True)
    assert "Another liveguard" in await refused(path, exclusive=True)
    beside = await Storage.open(path, create=False)
    await beside.users.add(email="ana@example.org", now=NOW)
    assert len(await server.users.list()) == 1
    await beside.close()
    await server.close()
    await (await Storage.open(path, exclusive=True)).close()


@pytest.mark.gen_test
async def test_a_server_waits_for_the_command_line_that_takes_up_a_log(tmp_path: Path) -> None:
    """It holds the lock of the server that was killed, and lets go of it in a moment."""
    path = tmp_path / "liveguard.db"
    with ExitStack() as command_line:
        command_line.enter_context(served_alone(path))
        Timer(0.1, command_line.close).start()
        await (await Storage.open(path, exclusive=True)).close()


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_file_that_is_found_through_a_link_is_the_same_file(tmp_path: Path) -> None:
    path, link = tmp_path / "liveguard.db", tmp_path / "other" / "liveguard.db"
    link.parent.mkdir()
    link.symlink_to(path)
    # Through a link to nowhere, the file itself is made, for its owner only.
    server = await Storage.open(link, exclusive=True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert "Another liveguard" in await refused(path, exclusive=True)
    await server.close()
    path.write_bytes(b"rubbish " * 1000)
    with ExpectLog("liveguard.storage.files", "The database .* is damaged"):
        server = await Storage.open(link, exclusive=True)
    assert server.set_aside
    assert server.set_aside.read_bytes() == b"rubbish " * 1000
    assert link.is_symlink()
    await server.close()


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_server_that_was_killed_leaves_no_lock_behind(tmp_path: Path) -> None:
    path = tmp_path / "liveguard.db"
    code = (
        "import asyncio, os, sys, pathlib; from liveguard.storage import Storage\n"
        "async def main():\n"
        "    storage = await Storage.open(pathlib.Path(sys.argv[1]), exclusive=True)\n"
        "    await storage.users.add(email='ana@example.org', now=1)\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(path)], timeout=10, check=False)
    assert killed.returncode == -9
    storage = await Storage.open(path, exclusive=True)
    assert len(await storage.users.list()) == 1
    await storage.close()


@pytest.mark.gen_test
async def test_a_file_with_a_wal_gets_the_ways_of_the_server_that_opens_it_and_an_old_sqlite_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shelf(tmp_path):
        pass  # moves everybody in
    with closing(sqlite3.connect(tmp_path / "liveguard.db")) as db:
        assert db.execute("PRAGMA journal_mode = WAL").fetchone() == ("wal",)
    for exclusive, mode in ((False, "wal"), (True, "truncate")):
        storage = await Storage.open(tmp_path / "liveguard.db", exclusive=exclusive)
        assert await storage.database.submit(journal_mode, write=False) == mode
        await storage.journal.start(f"walk-{mode}", "ana", NOW)
        await storage.close()
    assert read(tmp_path / "liveguard.db", "SELECT count(*) FROM sessions") == [(2,)]
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 37, 2))
    with pytest.raises(ConfigurationError, match="too old"):
        await Storage.open(tmp_path / "liveguard.db")


def journal_mode(db: sqlite3.Connection) -> str:
    return str(db.execute("PRAGMA journal_mode").fetchone()[0])


# -- shapes ------------------------------------------------------------------------------------------------------------


def old_file(path: Path, version: int) -> None:
    """A file as an older program left it, with Ana in it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        migrate(db, path, MIGRATIONS[:version])
        db.execute(
            "INSERT INTO users (id, email, email_key, first_name, last_name, created_at)"
            " VALUES ('ana', 'ana@example.org', 'ana@example.org', 'Ana', 'Lind', 1)"
        )


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
@pytest.mark.gen_test
async def test_an_older_file_is_brought_up_to_date_and_keeps_what_it_has(tmp_path: Path, version: int) -> None:
    old_file(tmp_path / "liveguard.db", version)
    fresh = await Storage.open(tmp_path / "fresh.db")
    await fresh.close()
    async with shelf(tmp_path) as storage:
        assert (await storage.users.get("ana")).first_name == "Ana"
    shape = "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name"
    assert read(tmp_path / "liveguard.db", shape) == read(tmp_path / "fresh.db", shape)
    assert read(tmp_path / "liveguard.db", "PRAGMA user_version") == [(len(MIGRATIONS),)]


@pytest.mark.gen_test
async def test_beside_a_server_that_runs_no_command_brings_its_file_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "WHILE_TAKEN_UP", 0)
    path = tmp_path / "liveguard.db"
    old_file(path, len(MIGRATIONS) - 1)
    before = path.read_bytes()
    with served_alone(path):
        assert "stop the server first" in await refused(path, create=False)
        assert path.read_bytes() == before
    await (await Storage.open(path, create=False)).close()
    assert read(path, "PRAGMA user_version") == [(len(MIGRATIONS),)]
    # A server that has just done so is no reason, nor is one that is about to fill an empty file.
    for empty in (False, True):
        if empty:
            path.write_bytes(b"")
        with served_alone(path):
            await (await Storage.open(path, create=False)).close()


@pytest.mark.skipif(os.geteuid() != 0, reason="Only root works on what belongs to others")
@pytest.mark.gen_test
async def test_a_command_of_roots_leaves_nothing_beside_the_file_that_its_owner_cannot_use(tmp_path: Path) -> None:
    path = tmp_path / "liveguard.db"
    old_file(path, len(MIGRATIONS) - 1)
    os.chown(path, 4711, 4712)
    await (await Storage.open(path, create=False)).close()
    owners = {each.name: (each.stat().st_uid, each.stat().st_gid) for each in tmp_path.iterdir()}
    assert "liveguard.db.lock" in owners
    assert set(owners.values()) == {(4711, 4712)}, owners


@pytest.mark.gen_test
async def test_a_newer_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        path = storage.database.path
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    before = path.read_bytes()
    for exclusive in (True, False):
        assert "newer liveguard" in await refused(path, exclusive=exclusive)
    assert path.read_bytes() == before


def test_a_migration_that_fails_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "liveguard.db"
    broken = (*MIGRATIONS, ("CREATE TABLE gift (id INTEGER)", "ALTER TABLE nothing RENAME TO something"))
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        with pytest.raises(sqlite3.OperationalError):
            migrate(db, path, broken)
        assert not db.in_transaction
    assert read(path, "PRAGMA user_version") == [(len(MIGRATIONS),)]
    assert read(path, "SELECT name FROM sqlite_schema WHERE name = 'gift'") == []


@pytest.mark.slow
def test_two_processes_that_migrate_at_once_do_it_once(tmp_path: Path) -> None:
    path = tmp_path / "liveguard.db"
    code = (
        "import sqlite3, sys, pathlib; from liveguard.storage.migrations import migrate\n"
        "path = pathlib.Path(sys.argv[1]); db = sqlite3.connect(path, isolation_level=None, timeout=10)\n"
        "sys.stdin.readline(); migrate(db, path)"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE) for _ in range(2)]
    for process in both:
        process.communicate(b"\n", timeout=10)
    assert [process.returncode for process in both] == [0, 0]
    assert read(path, "SELECT value FROM sequence") == [(0,)]


@pytest.mark.gen_test
async def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "liveguard.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE recipes (id INTEGER)")
    before = path.read_bytes()
    for exclusive in (True, False):
        assert "another program" in await refused(path, exclusive=exclusive)
    assert path.read_bytes() == before
    assert APPLICATION_ID.to_bytes(4, "big") not in before


@pytest.mark.parametrize("content", [b"Milk, eggs, and bread for Sunday\n", b"x", b"rubbish" * 1000])
@pytest.mark.gen_test
async def test_a_file_that_was_never_a_database_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "liveguard.db"
    path.write_bytes(content)
    for exclusive in (True, True, False):
        assert "is no database" in await refused(path, exclusive=exclusive)
        assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"liveguard.db": content}


# -- damage ------------------------------------------------------------------------------------------------------------


async def filled(folder: Path) -> Path:
    """A database with some pages to damage."""
    async with shelf(folder) as storage:
        for number in range(300):
            await storage.journal.start(f"walk-{number}", "ana", NOW + number, {"note": "home " * 20})
        path = storage.database.path
    path.with_name("liveguard.db.lock").touch()  # as a server leaves it
    return path


def header(content: bytearray) -> None:
    content[:16] = b"not SQLite's file"[:16]


def middle(content: bytearray) -> None:
    rubbish = random.Random(1).randbytes(len(content) // 2)
    content[len(content) // 4 : len(content) // 4 + len(rubbish)] = rubbish


def second_half(content: bytearray) -> None:
    del content[len(content) // 2 :]


@pytest.mark.slow
@pytest.mark.parametrize("damage", [header, middle, second_half], ids=lambda damage: damage.__name__)
@pytest.mark.gen_test
async def test_a_damaged_file_is_set_aside_whole_and_a_fresh_one_begun(
    tmp_path: Path, damage: Callable[[bytearray], None]
) -> None:
    path = await filled(tmp_path)
    content = bytearray(path.read_bytes())
    damage(content)
    path.write_bytes(content)
    with ExpectLog("liveguard.storage.files", "The database .* is damaged"):
        storage = await Storage.open(path, exclusive=True)
    assert storage.set_aside == path.with_name("liveguard.db.damaged-1")
    assert storage.set_aside.read_bytes() == content
    assert len(await storage.users.list()) == 0
    await storage.users.add(email="ana@example.org", now=NOW)
    await storage.close()
    assert mode(path) == 0o600


@pytest.mark.gen_test
async def test_that_a_file_was_set_aside_is_known_for_as_long_as_it_lies_there(tmp_path: Path) -> None:
    path = tmp_path / "liveguard.db"
    path.with_name("liveguard.db.secret").touch()
    for number in (1, 2):
        path.write_bytes(b"rubbish" * 1000)
        with ExpectLog("liveguard.storage.files", "The database .* is damaged"):
            storage = await Storage.open(path, exclusive=True)
        assert storage.set_aside == path.with_name(f"liveguard.db.damaged-{number}")
        await storage.close()
        path.unlink()
    storage = await Storage.open(path, exclusive=True)
    assert storage.set_aside == path.with_name("liveguard.db.damaged-2")
    for number in (1, 2):
        path.with_name(f"liveguard.db.damaged-{number}").unlink()
    assert storage.set_aside is None
    await storage.close()


@pytest.mark.gen_test
async def test_the_command_line_sets_nothing_aside(tmp_path: Path) -> None:
    path = tmp_path / "liveguard.db"
    path.write_bytes(b"rubbish" * 1000)
    path.with_name("liveguard.db.lock").touch()  # as a server leaves it
    assert "damaged" in await refused(path)
    assert sorted(os.listdir(tmp_path)) == ["liveguard.db", "liveguard.db.lock"]


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_sound_file_is_not_set_aside(tmp_path: Path) -> None:
    path = await filled(tmp_path)
    storage = await Storage.open(path, exclusive=True)
    assert storage.set_aside is None
    assert len(await storage.journal.active()) == 300
    await storage.close()


@pytest.mark.slow
@pytest.mark.gen_test
async def test_what_a_killed_process_left_half_written_is_rolled_back(tmp_path: Path) -> None:
    path = await filled(tmp_path)
    code = (
        "import os, sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('PRAGMA cache_size = 1'); db.execute('BEGIN IMMEDIATE')\n"
        "db.execute(\"UPDATE sessions SET metadata = 'half' || metadata\"); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], timeout=10, check=False).returncode == -9
    assert any(file.stat().st_size for file in tmp_path.iterdir() if file.name.endswith("-journal"))
    storage = await Storage.open(path, exclusive=True)
    assert {session.metadata["note"] for session in await storage.journal.active()} == {"home " * 20}
    await storage.close()
