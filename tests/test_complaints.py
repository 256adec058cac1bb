"""What the command line says where something is in its way: one line that names the file, and what can be done."""

import asyncio
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from family import quick_passwords
from faults import disk_of_its_own
from server import PASSWORD, environment_of, move_in, run_cli
from shelf import read
from test_storage_upkeep import damaged

pytestmark = pytest.mark.slow


async def complaint(database: Path, *arguments: str) -> str:
    """The one line with which a command fails."""
    status, out, err = await run_cli(environment_of(database.parent, database=database), *arguments)
    assert (status, out) == (1, ""), err
    assert err.startswith("liveguard: ") and err.endswith("\n") and err.count("\n") == 1
    return err.removeprefix("liveguard: ").removesuffix("\n")


@contextlib.asynccontextmanager
async def on_a_small_disk(folder: Path) -> AsyncIterator[Path]:
    """A database on a disk of its own."""
    with disk_of_its_own(folder / "disk"):
        database = folder / "disk" / "liveguard.db"
        await move_in(database)
        yield database


def fill(folder: Path) -> None:
    with (folder / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass


@pytest.mark.gen_test
async def test_on_a_full_disk_a_change_says_to_make_room(tmp_path: Path) -> None:
    async with on_a_small_disk(tmp_path) as database:
        fill(database.parent)
        line = await complaint(database, "user", "disable", "ana@example.org")
        assert line == f"{database}: The database cannot be used just now (SQLITE_FULL); make room on its disk"


@pytest.mark.gen_test
async def test_on_a_read_only_disk_a_change_says_where_to_look(tmp_path: Path) -> None:
    async with on_a_small_disk(tmp_path) as database:
        subprocess.run(["mount", "-o", "remount,ro", str(database.parent)], check=True)
        line = await complaint(database, "user", "disable", "ana@example.org")
        assert line.startswith(f"{database}: The database cannot be used just now (SQLITE_READONLY")
        assert line.endswith("; see to its owner and mode, and whether its disk is read-only")


@pytest.mark.gen_test
async def test_of_a_disabled_account_it_is_said_what_it_keeps_from_working(tmp_path: Path) -> None:
    database = tmp_path / "liveguard.db"
    await move_in(database)
    environment = environment_of(tmp_path, database=database)
    ana, ben = "ana@example.org", "ben@example.org"
    assert (await run_cli(environment, "guardian", "add", ana, ben))[1] == f"{ben} guards {ana}: accepted\n"
    assert (await run_cli(environment, "user", "disable", ben))[0] == 0
    added = (await run_cli(environment, "guardian", "add", ana, ben))[1]
    assert added == f"{ben} guards {ana}: accepted; they hear of nothing before `liveguard user enable`\n"
    assert await complaint(database, "token", ben) == f"{ben} is disabled: `liveguard user enable` lets them in again"


@pytest.mark.gen_test
async def test_of_a_file_that_another_program_keeps_locked_everything_says_so(tmp_path: Path) -> None:
    database = tmp_path / "liveguard.db"
    await move_in(database)
    free = "another program keeps it locked: wait for that one, or end it"
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        line = await complaint(database, "user", "disable", "ana@example.org")
        assert line == f"{database}: The database cannot be used just now (SQLITE_BUSY); {free}"
        other.execute("COMMIT")
        other.execute("BEGIN EXCLUSIVE")
        commands = ("user", "list"), ("check",), ("backup", str(tmp_path / "copy")), ("serve",)
        for line in await asyncio.gather(*(complaint(database, *command) for command in commands)):
            assert line.startswith(f"The database {database} cannot be ")
            assert line.endswith(free)
        other.execute("COMMIT")
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("SELECT id FROM users").fetchall()
        assert await complaint(database, "serve") == f"The database {database} cannot be opened: {free}"


@pytest.mark.gen_test
async def test_in_a_damaged_database_a_list_says_to_go_back_to_a_copy(tmp_path: Path) -> None:
    database = await damaged(tmp_path)
    line = await complaint(database, "history")
    assert line.startswith(f"{database}: The database cannot be used just now (SQLITE_CORRUPT")
    assert line.endswith("; it is damaged: see `liveguard check`, and go back to a copy")
    database.write_bytes(b"rubbish" * 1000)
    database.with_name("liveguard.db.lock").touch()  # as a server leaves it
    for command in (("user", "list"), ("backup", str(tmp_path / "copy"))):
        assert (await complaint(database, *command)).endswith(": see `liveguard check`, and go back to a copy")


@pytest.mark.parametrize("command", [("user", "list"), ("check",), ("backup", "copy.db")], ids=" ".join)
@pytest.mark.gen_test
async def test_what_was_never_a_database_is_not_to_be_written_over(tmp_path: Path, command: tuple[str, ...]) -> None:
    database = tmp_path / "liveguard.db"
    database.write_text("Milk, eggs, and bread for Sunday\n" * 100)
    line = f"The file {database} is no database: LIVEGUARD_DATABASE must name another one"
    assert await complaint(database, *command) == line


@pytest.mark.gen_test
async def test_a_history_is_json_or_csv_and_nobody_has_an_empty_id(tmp_path: Path) -> None:
    database = tmp_path / "liveguard.db"
    await move_in(database)
    status, out, err = await run_cli(environment_of(tmp_path), "history", "--json", "--csv")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "id must be" in await complaint(database, "user", "add", "eva@example.org", "--id", "")


@pytest.mark.parametrize("command", [("user", "list"), ("check",), ("backup", "copy.db")], ids=" ".join)
@pytest.mark.gen_test
async def test_where_no_database_is_the_setting_that_names_it_is_said(tmp_path: Path, command: tuple[str, ...]) -> None:
    database = tmp_path / "liveguard.db"
    assert await complaint(database, *command) == f"There is no database at {database}: LIVEGUARD_DATABASE names it"


@pytest.mark.gen_test
async def test_a_copy_that_is_told_to_stop_leaves_nothing_half_done(tmp_path: Path) -> None:
    database, place = tmp_path / "liveguard.db", tmp_path / "copies"
    await move_in(database)
    place.mkdir()
    command = [sys.executable, "-m", "liveguard", "backup", str(place / "copy.db")]
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        child = await asyncio.create_subprocess_exec(*command, env=environment_of(tmp_path))
        while not any(place.iterdir()):
            await asyncio.sleep(0.01)  # nobody tells that it has begun
        child.terminate()
    assert await asyncio.wait_for(child.wait(), 20) != 0
    assert not any(place.iterdir())


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
@pytest.mark.gen_test
async def test_json_is_for_programs_whatever_the_terminal_can_spell(tmp_path: Path, encoding: str) -> None:
    database = tmp_path / "liveguard.db"
    await move_in(database)
    here = {**environment_of(tmp_path), "PYTHONIOENCODING": encoding}
    name = "Zoë 🚲"
    assert (await run_cli(here, "user", "change", "ana@example.org", "--first-name", name))[0] == 0
    status, out, err = await run_cli(here, "user", "list", "--json")
    assert (status, err) == (0, "")
    assert name in [user["firstName"] for user in json.loads(out)]


@pytest.mark.gen_test
async def test_of_a_database_that_nobody_named_nothing_is_said(tmp_path: Path) -> None:
    assert await complaint(Path("~nobody-here/liveguard.db"), "check") == (
        "LIVEGUARD_DATABASE names a home folder that nobody has"
    )
    assert await complaint(tmp_path, "check") == f"LIVEGUARD_DATABASE is a folder, not a file: {tmp_path}"


@pytest.mark.parametrize("command", ["backup", "export"])
@pytest.mark.gen_test
async def test_a_file_that_cannot_be_written_is_named_as_it_was_asked_for(tmp_path: Path, command: str) -> None:
    async with on_a_small_disk(tmp_path) as disk:
        database = tmp_path / "liveguard.db"
        await move_in(database)
        fill(disk.parent)
        missing, full, below = tmp_path / "no" / "b.db", disk.parent / "b.db", database / "b.db"
        novel = tmp_path / "novel"
        novel.write_text("My novel")
        assert await complaint(database, command, str(missing)) == f"{missing}: No such file or directory"
        assert await complaint(database, command, str(full)) == f"{full}: No space left on device"
        assert await complaint(database, command, str(below)) == f"{below}: Not a directory"
        assert "give another name" in await complaint(database, command, str(novel))
        assert novel.read_text() == "My novel"
        assert not [
            file for folder in (tmp_path, disk.parent) for file in folder.iterdir() if file.name.startswith("b.db")
        ]
        fine = tmp_path / "fine"
        assert await run_cli(environment_of(tmp_path), command, str(fine)) == (0, "", "")
        assert fine.stat().st_mode & 0o777 == 0o600
        assert command == "export" or read(fine, "PRAGMA integrity_check") == [("ok",)]


TYPED = """
import pty, sys
sys.exit(pty.spawn([sys.executable, "-m", "liveguard", *sys.argv[1:]]) >> 8)
"""


@pytest.mark.gen_test
async def test_at_a_terminal_a_password_is_asked_for_and_not_shown(tmp_path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", TYPED, "user", "add", "eva@example.org", "--password-stdin", env=environment_of(tmp_path),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert child.stdin and child.stdout
    try:
        assert await asyncio.wait_for(child.stdout.readuntil(b"Password: "), 10) == b"Password: "
        child.stdin.write(f"{PASSWORD}\n".encode())
        said = await asyncio.wait_for(child.stdout.readuntil(b" with the id "), 10)
        assert said.split() == b"Added eva@example.org with the id".split()
        assert await asyncio.wait_for(child.wait(), 10) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
    ((kept,),) = read(tmp_path / "liveguard.db", "SELECT password_hash FROM users")
    with contextlib.closing(quick_passwords()) as passwords:
        assert await passwords.matches(str(kept), PASSWORD)


@pytest.mark.parametrize(("locale", "utf8"), [("C.UTF-8", "0"), ("C", "0"), ("C", "1")])
@pytest.mark.gen_test
async def test_a_password_is_utf8_in_every_locale(tmp_path: Path, locale: str, utf8: str) -> None:
    database = tmp_path / "liveguard.db"
    await move_in(database)
    command = [sys.executable, "-m", "liveguard", "user", "password", "ana@example.org", "--password-stdin"]
    here = environment_of(tmp_path, database=database) | {"LC_ALL": locale, "PYTHONUTF8": utf8}
    for typed, said in (
        ("Grüße".encode("latin-1"), b"liveguard: The password on the standard input is not UTF-8\n"),
        ("Grüße".encode(), b""),
    ):
        done = subprocess.run(command, input=typed + b"\n", env=here, capture_output=True, timeout=10)
        assert (done.returncode, done.stderr) == (1 if said else 0, said)
    ((kept,),) = read(database, "SELECT password_hash FROM users WHERE id = 'ana'")
    with contextlib.closing(quick_passwords()) as passwords:
        assert await passwords.matches(str(kept), "Grüße")


@pytest.mark.gen_test
async def test_a_password_that_nobody_can_type_is_said_to_be_missing(tmp_path: Path) -> None:
    await move_in(tmp_path / "liveguard.db")
    command = f"{sys.executable} -m liveguard user password ana@example.org --password-stdin <&-"
    done = subprocess.run(command, shell=True, env=environment_of(tmp_path), capture_output=True, text=True, timeout=10)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "liveguard: The password is read from the standard input, which is closed\n"


@pytest.mark.parametrize("command", [("serve",), ("user", "add", "eva@example.org")])
@pytest.mark.gen_test
async def test_what_is_there_and_no_file_is_no_place_for_a_database(tmp_path: Path, command: tuple[str, ...]) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "device").symlink_to("/dev/null")
    beside = set(os.listdir("/dev"))
    assert await complaint(tmp_path / "device", *command) == (
        "/dev/null is there and is no file: LIVEGUARD_DATABASE must name another one"
    )
    assert await complaint(pipe, *command) == (
        f"{pipe} is there and is no file: LIVEGUARD_DATABASE must name another one"
    )
    assert {name for name in set(os.listdir("/dev")) - beside if name.startswith("null")} == set()
    assert {file.name for file in tmp_path.iterdir()} == {"pipe", "device"}
