"""The server as a whole: how it starts and stops, what it says, what it obeys, and what survives it."""

import asyncio
import contextlib
import csv
import fcntl
import json
import math
import os
import re
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from server import PASSWORD, Process, Stage, environment_of, house, look_again, process, run_cli, token_of
from shelf import held_elsewhere, read
from tornado.httpclient import AsyncHTTPClient
from tornado.testing import ExpectLog

from liveguard import app, rounds

PLACE = {"latitude": 53.551234, "longitude": 9.931234}


@contextlib.contextmanager
def locked(database: Path) -> Iterator[None]:
    """Another process keeps the database to itself."""
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


# -- the start -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.gen_test
async def test_it_says_in_one_line_where_it_serves_and_nothing_else(tmp_path: Path) -> None:
    async with process(tmp_path) as home:
        assert re.fullmatch(r"liveguard serves at http://127\.0\.0\.1:\d+\n", home.first_lines)
        assert (await home.fetch("/healthz")).json == {"status": "ok"}
        assert (await home.fetch("/readyz")).json == {"status": "ok", "database": "ok", "journal": "ok"}
        assert await home.stop() == 0
        assert await home.child.stdout.read() == b""  # type: ignore[union-attr]


@pytest.mark.slow
@pytest.mark.parametrize("public_url", [None, "http://192.0.2.7:8080"])
@pytest.mark.gen_test
async def test_on_all_addresses_it_asks_for_the_one_that_people_use(tmp_path: Path, public_url: str | None) -> None:
    named = {} if public_url is None else {"public_url": public_url}
    async with process(tmp_path, host="0.0.0.0", **named) as home:
        assert await home.stop() == 0
        said = (await home.child.stdout.read()).decode()  # type: ignore[union-attr]
        assert re.fullmatch("" if named else r"[^\n]*LIVEGUARD_PUBLIC_URL[^\n]*\n", said)


@pytest.mark.slow
@pytest.mark.parametrize(("host", "printed"), [("0:0:0:0:0:0:0:1", "[::1]"), ("::0", "localhost")])
@pytest.mark.gen_test
async def test_it_answers_at_its_address_however_that_was_spelled(tmp_path: Path, host: str, printed: str) -> None:
    async with process(tmp_path, host=host) as home:
        assert home.url == f"http://{printed}:{home.port}"
        answer = await AsyncHTTPClient(force_instance=True).fetch(f"http://[::1]:{home.port}/healthz")
        assert answer.code == 200


@pytest.mark.slow
@pytest.mark.gen_test
async def test_where_nobody_is_known_the_first_admin_comes_in_by_a_link(tmp_path: Path) -> None:
    home = await Process.start(tmp_path)
    try:
        line = (await home.child.stdout.readline()).decode()  # type: ignore[union-attr]
        link = re.search(rf"{re.escape(home.url)}(/link/[\w-]{{20,}})\n$", line)
        assert link, line
        browser = home.browser()
        assert (await browser.get(link[1])).status == 200
        fields = {"first_name": "Alex", "last_name": "Admin", "email": "alex@example.org", "password": PASSWORD}
        assert (await browser.post(link[1], fields)).status == 303
        assert (await browser.get("/admin")).status == 200
        assert (await home.browser().get(link[1])).status == 410
        assert await home.stop() == 0
        assert link[1].rpartition("/")[2] not in home.log
    finally:
        await ended(home)


@pytest.mark.slow
@pytest.mark.gen_test
async def test_what_the_readme_says_leads_to_a_server_that_somebody_administers(tmp_path: Path) -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    lines = re.findall(r"^\.venv/bin/liveguard ((?:user|guardian) add .+|serve) ?&?$", readme, re.MULTILINE)
    assert lines.pop(0) == "serve"
    home = await Process.start(tmp_path)
    try:
        link = (await home.child.stdout.readline()).decode().rpartition(home.url)[2].strip()  # type: ignore[union-attr]
        for line in lines:
            assert (await home.cli(*line.split()))[0] == 0, line
        status, _, complaint = await home.cli("check")
        assert status == 1
        assert "is an admin" in complaint
        browser = home.browser()
        assert "There is no admin" in (await browser.get(link)).text
        fields = {"first_name": "Alex", "last_name": "Admin", "email": "alex@example.org", "password": PASSWORD}
        assert (await browser.post(link, fields)).status == 303
        page = (await browser.get("/admin")).text
        assert "ana@example.org" in page
        assert "ben@example.org" in page
        assert (await home.cli("check"))[2].count("admin") == 0
        await home.stop()
        again = await Process.start(tmp_path)
        try:
            await again.stop()
            assert await again.child.stdout.read() == b""  # type: ignore[union-attr]
        finally:
            await ended(again)
    finally:
        await ended(home)


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_command_to_which_nobody_listens_has_done_what_it_was_told(tmp_path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        "sh", "-c", 'exec "$0" "$@" >&-', sys.executable, "-m", "liveguard", "user", "add", "eva@example.org",
        env=environment_of(tmp_path), stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert await child.communicate() == (None, b"")
    assert child.returncode == 0
    assert read(tmp_path / "liveguard.db", "SELECT email FROM users") == [("eva@example.org",)]


@pytest.mark.slow
@pytest.mark.parametrize("place", ["a pipe that nobody reads", "a full disk", "nowhere"])
@pytest.mark.gen_test
async def test_where_its_address_cannot_be_printed_it_serves_and_logs_all_but_the_link(
    tmp_path: Path, free_port: int, place: str
) -> None:
    stdout = unwritable(place)
    closing = ("sh", "-c", 'exec "$0" "$@" >&-') if place == "nowhere" else ()
    child = await asyncio.create_subprocess_exec(
        *closing, sys.executable, "-m", "liveguard", "serve", stdout=stdout, stderr=asyncio.subprocess.PIPE,
        env=environment_of(tmp_path, host="0.0.0.0", port=free_port),
    )  # fmt: skip
    os.close(stdout)
    assert child.stderr is not None
    try:
        log = await asyncio.wait_for(child.stderr.readuntil(b"a standard output that can be written\n"), 10)
        said = [line.partition("WARNING liveguard.app: ")[2] for line in log.decode().splitlines()]
        assert said[0].startswith("The standard output cannot be written: ")
        assert said[1] == f"liveguard serves at http://localhost:{free_port}"
        assert said[2].startswith("Set LIVEGUARD_PUBLIC_URL")
        assert said[3].startswith("There is no admin here yet")
        home = Stage(f"http://127.0.0.1:{free_port}", tmp_path / "liveguard.db")
        assert (await home.fetch("/healthz")).status == 200
        child.terminate()
        rest = await asyncio.wait_for(child.stderr.read(), 10)
        assert await child.wait() == 0
        assert b"/link/" not in log + rest
        assert b"Error" not in rest
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


@pytest.mark.slow
@pytest.mark.gen_test
async def test_it_serves_on_while_nobody_takes_its_log_and_has_it_all_when_somebody_does(
    tmp_path: Path, free_port: int
) -> None:
    reader, writer = os.pipe()  # a terminal that Ctrl-S has stopped is no other
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "liveguard", "serve", stdout=asyncio.subprocess.PIPE, stderr=writer,
        env=environment_of(tmp_path, port=free_port),
    )  # fmt: skip
    os.close(writer)
    assert child.stdout is not None
    home = Stage(f"http://127.0.0.1:{free_port}", tmp_path / "liveguard.db")
    log = asyncio.StreamReader()
    taking: asyncio.BaseTransport | None = None
    try:
        await asyncio.wait_for(child.stdout.readline(), 10)
        for _ in range(100):
            assert (await home.fetch("/healthz")).status == 200
        taking, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(log), os.fdopen(reader, "rb")
        )
        for _ in range(100):
            assert b"GET /healthz 200" in await asyncio.wait_for(log.readline(), 5)
        taking.pause_reading()  # type: ignore[attr-defined]
        for _ in range(100):
            assert (await home.fetch("/healthz")).status == 200
        child.terminate()
        assert await asyncio.wait_for(child.wait(), 5) == 0
    finally:
        if taking is not None:
            taking.close()  # type: ignore[attr-defined]
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
@pytest.mark.slow
@pytest.mark.gen_test
async def test_without_a_standard_error_it_serves_and_ends_in_order(
    tmp_path: Path, free_port: int, closed: str
) -> None:
    child = await asyncio.create_subprocess_exec(
        "sh", "-c", f'exec "$0" "$@" {closed}', sys.executable, "-m", "liveguard", "serve",
        env=environment_of(tmp_path, port=free_port),
    )  # fmt: skip
    home = Stage(f"http://127.0.0.1:{free_port}", tmp_path / "liveguard.db")
    try:
        async with asyncio.timeout(10):
            while not await answers(home):
                await look_again()
        child.terminate()
        assert await asyncio.wait_for(child.wait(), 5) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


async def answers(home: Stage) -> bool:
    try:
        return (await home.fetch("/healthz")).status == 200
    except OSError:
        return False


def unwritable(place: str) -> int:
    """A descriptor that takes nothing."""
    if place != "a pipe that nobody reads":
        return os.open("/dev/full", os.O_WRONLY)
    reader, writer = os.pipe()
    os.close(reader)
    return writer


FAILING = """
import asyncio, gc
from liveguard import app
from liveguard.config import Settings

def fail() -> None:
    raise MemoryError

gc.freeze = fail
asyncio.run(app.serve(Settings.read()))
"""


@pytest.mark.slow
@pytest.mark.gen_test
async def test_what_fails_once_it_listens_ends_it_and_leaves_nothing_taken(tmp_path: Path) -> None:
    async with process(tmp_path, program=("-c", FAILING)) as home:
        assert await asyncio.wait_for(home.child.wait(), 10) == 1
        assert "MemoryError" in home.log
        async with process(tmp_path, port=home.port) as again:
            assert (await again.fetch("/healthz")).status == 200


async def ended(home: Process) -> None:
    if home.child.returncode is None:
        home.child.kill()
    await home.child.wait()


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_port_that_is_taken_is_named_in_one_line_and_the_database_is_not_touched(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, out, err = await run_cli(environment_of(tmp_path, port=port), "serve")
    assert (status, out) == (1, "")
    place = f"127.0.0.1:{port} (LIVEGUARD_HOST, LIVEGUARD_PORT)"
    assert err == f"liveguard: Cannot listen on {place}: Address already in use\n"
    assert not (tmp_path / "liveguard.db").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("203.0.113.5:8080", "Cannot assign requested address"),
        ("[2001:db8::5]:8080", "Cannot assign requested address"),
        ("no-host.invalid:8080", ".+"),
        (f"{'a' * 64}:8080", "not a host name"),
    ],
)
@pytest.mark.gen_test
async def test_where_it_cannot_listen_it_says_in_one_line_why(tmp_path: Path, host: str, reason: str) -> None:
    environment = environment_of(tmp_path, host=host.removesuffix(":8080").strip("[]"), port=8080)
    status, out, err = await run_cli(environment, "serve")
    assert (status, out) == (1, "")
    said = re.escape(f"liveguard: Cannot listen on {host} (LIVEGUARD_HOST, LIVEGUARD_PORT): ")
    assert re.fullmatch(f"{said}{reason}\n", err), err


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_second_server_on_the_same_database_is_refused_in_one_line(tmp_path: Path) -> None:
    async with process(tmp_path) as home:
        status, out, err = await home.cli("serve")
        assert (status, out) == (1, "")
        assert re.fullmatch(r"liveguard: [^\n]*liveguard\.db[^\n]*\n", err)
        assert (await home.fetch("/readyz")).status == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "many"), ("GRACE", "5"), ("JWT_SECRET", "short"), ("DATABASE", "/dev/null/x.db")]
)
@pytest.mark.gen_test
async def test_what_makes_no_sense_stops_the_start_in_one_line(tmp_path: Path, name: str, value: str) -> None:
    environment = {**environment_of(tmp_path), f"LIVEGUARD_{name}": value}
    status, out, err = await run_cli(environment, "serve")
    assert (status, out) == (1, "")
    assert re.fullmatch(r"liveguard: [^\n]+\n", err)
    assert "short" not in err.replace("too short", "")


# -- the end -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.slow
@pytest.mark.gen_test
async def test_told_to_stop_it_closes_all_connections_and_is_gone_within_five_seconds(
    tmp_path: Path, number: int
) -> None:
    async with process(tmp_path) as home:
        ana, ben = await home.ward("ana"), await home.guardian("ben")
        session = (await ana.answer("start-live-session"))["data"]
        await ben.expect("guardian:session-started")
        assert (await ana.answer("send-message", {"text": "At the corner"}))["event"] == "message"
        silent = await home.connect("/ws/guardian", token=token_of("chloe"))
        silent._reader.cancel()  # reads nothing, and answers no close frame
        began = time.monotonic()
        home.child.send_signal(number)
        assert await ana.closed() == await ben.closed() == 1012
        # As by timeout(1), which tells the child and then its group.
        assert await home.stop(number) == 0
        assert time.monotonic() - began < 5
        assert not {"session-ended", "session-interrupted"} & {event["event"] for event in ben.heard}
        assert "Traceback" not in home.log
        async with process(tmp_path) as again:
            ana = await again.ward("ana")
            assert (await ana.expect("session-started"))["sessionId"] == session["sessionId"]
    said = read(home.database, "SELECT data FROM session_entries WHERE kind = 'message'")
    assert "At the corner" in str(said)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.slow
@pytest.mark.gen_test
async def test_whoever_insists_need_not_wait_for_the_end(tmp_path: Path, number: int) -> None:
    async with process(tmp_path) as home:
        ana = await home.ward("ana")
        session = (await ana.answer("start-live-session"))["data"]
        silent = await home.connect("/ws/guardian", token=token_of("chloe"))
        silent._reader.cancel()  # answers no close frame, so the server waits for it
        began = time.monotonic()
        while home.child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(home.child.pid, number)  # and nobody but the loop asks how it ended
            await asyncio.sleep(0.05)  # whoever insists does so in time
        assert home.child.returncode == -number
        assert time.monotonic() - began > app.ECHO * 0.9
        async with process(tmp_path) as again:
            ana = await again.ward("ana")
            assert (await ana.expect("session-started"))["sessionId"] == session["sessionId"]


HANGS = """
import asyncio, time
from liveguard import app
from liveguard.config import Settings

async def hang(server: app.Server) -> None:
    while not (told := server.settings.database.with_name("hang")).exists():
        await asyncio.sleep(0.01)  # a file tells nobody that it is there
    server.storage.database.submit(lambda db: told.unlink() or time.sleep(60), write=True)

asyncio.run(app.serve(Settings.read(), beside=hang))
"""


@pytest.mark.slow
@pytest.mark.gen_test
async def test_also_while_the_disk_hangs_it_closes_all_connections_and_does_not_wait(tmp_path: Path) -> None:
    async with process(tmp_path, program=("-c", HANGS)) as home:
        ana, tom, ben = await home.ward("ana"), await home.ward("tom"), await home.guardian("ben")
        session = (await ana.answer("start-live-session"))["data"]
        (hang := tmp_path / "hang").touch()
        while hang.exists():
            await asyncio.sleep(0.01)  # nor that it is gone
        assert not (await tom.answer("start-live-session", patience=10))["data"]["durable"]
        began = time.monotonic()
        home.child.send_signal(signal.SIGTERM)  # once: it closes them and is gone, so a second one might kill it
        assert await ana.closed() == await ben.closed() == 1012
        assert await home.child.wait() == 0
        assert time.monotonic() - began < 10  # what hangs, hangs for a minute
        assert not {"session-ended", "session-interrupted"} & {event["event"] for event in ben.heard}
        async with process(tmp_path) as again:
            ana = await again.ward("ana")
            assert (await ana.expect("session-started"))["sessionId"] == session["sessionId"]


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_terminal_that_closes_says_so_twice_and_insists_on_nothing(tmp_path: Path) -> None:
    async with process(tmp_path) as home:
        ana = await home.ward("ana")
        silent = await home.connect("/ws/guardian", token=token_of("chloe"))
        silent._reader.cancel()  # answers no close frame, so the server waits for it
        home.child.send_signal(signal.SIGHUP)
        assert await ana.closed() == 1012
        assert await home.stop(signal.SIGHUP) == 0


@pytest.mark.slow
@pytest.mark.gen_test
async def test_under_nohup_it_serves_on_when_the_terminal_closes(tmp_path: Path) -> None:
    async with process(tmp_path, program=("-c", NOHUP)) as home:
        ana = await home.ward("ana")
        home.child.send_signal(signal.SIGHUP)
        home.child.send_signal(signal.SIGHUP)
        await ana.answer("ping")
        assert (await home.fetch("/healthz")).status == 200
        # It has begun again, with the allocator that gives back, and the signal is still ignored.
        assert b"\0PYTHONMALLOC=malloc\0" in Path(f"/proc/{home.child.pid}/environ").read_bytes()
        assert await home.stop() == 0


NOHUP = """
import os, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_IGN)
del os.environ["PYTHONMALLOC"]
os.execv(sys.executable, [sys.executable, "-m", "liveguard", "serve"])
"""


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_session_survives_a_server_that_is_killed(tmp_path: Path) -> None:
    async with process(tmp_path) as home:
        ana = await home.ward("ana")
        session = (await ana.answer("start-live-session", {"note": "home"}))["data"]
        await home.stop(signal.SIGKILL)
    async with process(tmp_path, reconnect_grace=0) as home:
        ben = await home.guardian("ben")
        started = await ben.expect("guardian:session-started")
        assert (started["sessionId"], started["state"]) == (session["sessionId"], "interrupted")
        assert (started["startTime"], started["metadata"]) == (session["startTime"], {"note": "home"})
        ana = await home.ward("ana")
        await ben.expect("session-resumed")
        await ana.answer("stop-live-session")
        assert (await ben.expect("session-ended"))["reason"] == "manual_stop"


@pytest.mark.slow
@pytest.mark.gen_test
async def test_what_a_guardian_has_heard_is_known_after_a_restart(tmp_path: Path) -> None:
    async with process(tmp_path) as home:
        ana, ben = await home.ward("ana"), await home.guardian("ben")
        await ana.answer("start-live-session")
        heard = (await ana.answer("stop-live-session"))["data"]
        await ben.expect("session-ended")
        await ben.leave()
        await ana.answer("start-live-session")
        missed = (await ana.answer("stop-live-session"))["data"]
        assert await home.stop() == 0
    async with process(tmp_path) as home:
        ben = await home.guardian("ben")
        assert (await ben.expect("guardian:snapshot"))["sessions"] == []
        assert (await ben.expect("session-ended"))["sessionId"] == missed["sessionId"]
        assert await ben.all_so_far() == []
        assert heard["seq"] < missed["seq"]


@pytest.mark.slow
@pytest.mark.gen_test
async def test_while_the_disk_hangs_it_stops_in_time_all_the_same(tmp_path: Path) -> None:
    async with process(tmp_path) as home:
        ana = await home.ward("ana")
        await ana.answer("ping")
        with locked(home.database):
            ana.say("start-live-session")
            began = time.monotonic()
            assert await home.stop() == 0
            assert time.monotonic() - began < 5.5


# -- what the command line changes ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.gen_test
async def test_what_the_command_line_changes_is_obeyed_within_a_second_and_so_say_its_lists(tmp_path: Path) -> None:
    async with process(tmp_path) as home:

        async def lists(*commands: str) -> list[str]:
            return [out for _, out, _ in await asyncio.gather(*(home.cli(*command.split()) for command in commands))]

        def cells(text: str) -> list[list[str]]:
            return [line.split() for line in text.splitlines()]

        ana, ben, mallory = await home.ward("ana"), await home.guardian("ben"), await home.guardian("mallory")
        begun = (await ana.answer("start-live-session"))["data"]
        await ben.expect("guardian:session-started")
        text, encoded = await lists("sessions", "sessions --json")
        runs = ["ana@example.org", begun["startTime"], begun["sessionId"]]
        assert cells(text) == [["WARD", "SINCE", "SESSION"], runs]
        assert [[one["wardEmail"], one["startTime"], one["sessionId"]] for one in json.loads(encoded)] == [runs]
        added = await home.cli("guardian", "add", "ana@example.org", "mallory@example.org", "--status", "accepted")
        assert added == (0, "mallory@example.org guards ana@example.org: accepted\n", "")
        await mallory.expect("guardian:session-started", patience=1)
        revoked = await home.cli("guardian", "revoke", "ana@example.org", "ben@example.org")
        assert revoked == (0, "ben@example.org does not guard ana@example.org any more\n", "")
        await ben.expect("guardian:access-revoked", patience=1)
        nobody = await home.cli("guardian", "revoke", "tom@example.org", "mallory@example.org")
        assert nobody == (1, "", "liveguard: mallory@example.org does not guard tom@example.org\n")
        await ana.answer("update-location", PLACE)
        await mallory.expect("location-updated")
        assert await ben.all_so_far() == []
        assert (await home.cli("user", "disable", "ana@example.org"))[:2] == (0, "Disabled ana@example.org\n")
        assert await ana.closed(patience=1) == 4401
        ended = await mallory.expect("session-ended")
        assert ended["reason"] == "account_disabled"

        text, encoded, people = await lists("guardian list", "guardian list --json", "user list")
        pairs = [
            ("ana", "ben", "revoked"), ("ana", "chloe", "accepted"), ("ana", "mallory", "accepted"),
            ("ida", "ben", "accepted"), ("tom", "ben", "accepted"),
        ]  # fmt: skip
        rows = [[f"{ward}@example.org", f"{guardian}@example.org", status] for ward, guardian, status in pairs]
        heading, *listed = cells(text)
        assert (heading, sorted(listed)) == (["WARD", "GUARDIAN", "STATUS"], rows)
        known = json.loads(encoded)
        assert sorted([one["wardEmail"], one["guardianEmail"], one["status"]] for one in known) == rows
        assert sorted((one["wardId"], one["guardianId"], one["status"]) for one in known) == pairs
        notes = {line[0]: line[1:] for line in cells(people)}
        assert (notes["EMAIL"], notes["ana@example.org"]) == (["NAME", "ID"], ["Ana", "Winter", "ana", "disabled"])
        assert (notes["alex@example.org"][-2:], notes["ben@example.org"][-1]) == (["alex", "admin"], "ben")

        text, encoded, spread = await lists("history", "history --json", "history --csv")
        was = ["ana@example.org", begun["startTime"], str(ended["duration"]), "account_disabled"]
        assert cells(text) == [["WARD", "STARTED", "SECONDS", "REASON"], was]
        (past,), (row,) = json.loads(encoded), csv.DictReader(spread.splitlines())
        assert [past[name] for name in ended.keys() - {"timestamp"}] == [
            ended[name] for name in ended.keys() - {"timestamp"}
        ]
        assert [row["wardEmail"], row["startTime"], row["duration"], row["reason"]] == was
        assert (row["sessionId"], row["endTime"]) == (past["sessionId"], past["endTime"])
        assert (await home.cli("user", "enable", "ana@example.org"))[:2] == (0, "Enabled ana@example.org\n")
        assert (await (await home.ward("ana")).answer("ping"))["event"] == "pong"


@pytest.mark.slow
@pytest.mark.gen_test
async def test_who_is_enabled_again_is_told_what_ended_meanwhile_also_before_the_tables_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "WRITE", math.inf)
    async with house(tmp_path) as home:
        ben = await home.guardian("ben")
        wards = [await home.ward(name) for name in ("ana", "tom", "chloe", "mallory")]
        for ward in wards:
            await ward.answer("start-live-session")
        await ben.all_so_far()
        environment = environment_of(tmp_path)
        assert (await run_cli(environment, "user", "disable", "ben@example.org"))[0] == 0
        assert await ben.closed() == 4401
        home.server.storage.database.entries.pace = math.inf
        for ward in wards:
            ward.say("stop-live-session")
        ends = [await ward.expect("session-ended") for ward in wards]
        assert (await run_cli(environment, "user", "enable", "ben@example.org"))[0] == 0
        assert len(home.server.storage.database.entries) == len(ends)
        back = await home.guardian("ben")
        for end in ends[:2]:
            assert (await back.expect("session-ended"))["sessionId"] == end["sessionId"]
        assert await back.all_so_far() == []


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_page_hears_no_more_once_its_login_has_expired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "PURGE", 0)
    async with house(tmp_path, with_password=("ben",)) as home:
        browser, device = home.browser(), await home.guardian("ben")
        await browser.get("/login")
        assert (await browser.post("/login", {"email": "ben@example.org", "password": PASSWORD})).status == 303
        page = await home.connect("/ws/guardian", headers={"Cookie": browser.cookie_header, "Origin": home.url})
        await page.expect("guardian:snapshot")
        await home.server.storage.database.changed_elsewhere()  # nor will a round find that it has
        await home.server.storage.database.submit(lambda db: db.execute("UPDATE logins SET expires_at = 1"), write=True)
        assert (await page.expect("session-error"))["code"] == "authentication_required"
        assert await page.closed() == 4401
        assert (await device.answer("ping"))["event"] == "pong"


# -- readiness -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.gen_test
async def test_somebody_gets_another_email_or_becomes_an_admin_and_is_still_the_same_person(tmp_path: Path) -> None:
    async with process(tmp_path, with_password=("ana",)) as home:
        ana = home.browser()
        await ana.get("/login")
        await ana.post("/login", {"email": "ana@example.org", "password": PASSWORD})

        async def change(email: str, *how: str) -> tuple[int, str, str]:
            return await home.cli("user", "change", email, *how)

        async def obeyed(path: str, status: int) -> None:
            async with asyncio.timeout(1):
                while (await ana.get(path)).status != status:
                    await look_again()

        said = await change("ana@example.org", "--email", "anna@example.org", "--last-name", "Frost", "--admin")
        assert said == (0, "Changed anna@example.org\n", "")
        await obeyed("/admin", 200)
        assert "anna@example.org" in (await ana.get("/account")).text
        # Her token names her by her id, and so does whoever guards her.
        assert (await home.fetch("/api/me", who="ana")).json["lastName"] == "Frost"
        wards = (await home.fetch("/api/wards", who="ben")).json["wards"]
        (pair,) = (ward for ward in wards if ward["wardId"] == "ana")
        assert (pair["email"], pair["firstName"], pair["status"]) == ("anna@example.org", "Ana", "accepted")
        assert (await change("anna@example.org", "--no-admin"))[0] == 0
        await obeyed("/admin", 403)

        for how, complaint in (
            (("--email", "BEN@example.org"), "email is already there"),
            (("--email", "ben"), "email must be"),
            (("--first-name", "x" * 101), "firstName must be"),
        ):
            status, out, err = await change("anna@example.org", *how)
            assert (status, out) == (1, "")
            assert re.fullmatch(rf"liveguard: [^\n]*{complaint}[^\n]*\n", err)
        assert (await change("alex@example.org", "--no-admin")) == (
            1,
            "",
            "liveguard: This is the last admin: make somebody else one first\n",
        )
        for wrong in ((), ("--admin", "--no-admin")):
            status, out, err = await change("anna@example.org", *wrong)
            assert (status, out, err.count("\n")) == (2, "", 1)


@pytest.mark.slow
@pytest.mark.gen_test
async def test_while_the_journal_cannot_be_written_it_is_not_ready_but_alive(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        with locked(home.database):
            began = time.monotonic()
            answer = await home.fetch("/readyz")
            assert time.monotonic() - began < 2
            assert answer.status == 503
            assert (answer.json["status"], answer.json["journal"]) == ("failing", "failing")
            assert (await home.fetch("/healthz")).status == 200
            answers = await asyncio.gather(*(home.fetch("/readyz") for _ in range(20)))
            assert {answer.status for answer in answers} == {503}
        async with asyncio.timeout(5):
            while (await home.fetch("/readyz")).status != 200:
                await look_again()


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_damaged_database_is_kept_aside_and_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "liveguard.db").write_bytes(b"SQLite format 3\x00" + b"rubbish" * 1000)
    with ExpectLog("liveguard.storage.files", "The database .* is damaged"):
        async with house(tmp_path) as home:
            answer = await home.fetch("/readyz")
            assert (answer.status, answer.json["database"], answer.json["journal"]) == (200, "ok", "ok")
            aside = tmp_path / answer.json["setAside"]
            assert b"rubbish" in aside.read_bytes()
            browser, link = home.browser(), home.server.set_up_link
            assert link is not None
            fields = {"first_name": "Alex", "last_name": "", "email": "alex@example.org", "password": PASSWORD}
            await browser.get(urlsplit(link).path)
            # The first thing that an admin does is to add people.
            assert (await browser.post(urlsplit(link).path, fields)).headers["Location"] == "/admin#people"
            assert aside.name in (await browser.get("/admin")).text
            aside.unlink()
            async with asyncio.timeout(5):
                while "setAside" in (await home.fetch("/readyz")).json:
                    await look_again()


@pytest.mark.gen_test
async def test_an_admin_sees_how_it_stands_also_where_the_file_was_moved_away(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        size = f"{home.database.stat().st_size / 1_000_000:.1f} MB"
        home.database.rename(tmp_path / "elsewhere.db")
        page = await home.fetch("/admin", who="alex")
        assert page.status == 200
        assert size in page.text and "cannot be written" in page.text
        (tmp_path / "elsewhere.db").rename(home.database)


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_session_starts_while_the_journal_cannot_be_written_and_is_written_later(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        ana, ben = await home.ward("ana"), await home.guardian("ben")
        await ben.expect("guardian:snapshot")
        await ana.answer("ping")
        with locked(home.database), ExpectLog("liveguard.journaling", "The journal cannot be written"):
            started = await ana.answer("start-live-session", patience=8)
            assert started["event"] == "session-started", started
            assert started["data"]["durable"] is False
            assert "seq" not in await ben.expect("guardian:session-started")
        async with asyncio.timeout(5):
            while not await home.server.storage.journal.active():
                await look_again()


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_network_drive_from_which_no_look_comes_back_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_up = []

    def on_the_drive(look: Callable[..., Any]) -> Callable[..., Any]:
        def from_it(path: Any, *how: Any, **more: Any) -> Any:
            if tmp_path in (Path(path), Path(path).parent):
                held_up.append(look)
            return look(path, *how, **more)

        return from_it

    async with house(tmp_path) as home:
        ana = await home.ward("ana")
        with monkeypatch.context() as drive, held_elsewhere(home.database, "EXCLUSIVE"):
            drive.setattr(os, "stat", on_the_drive(os.stat))
            drive.setattr(os, "listdir", on_the_drive(os.listdir))
            assert (await ana.answer("ping"))["event"] == "pong"
            assert (await home.fetch("/readyz")).status == 503
            assert held_up == []
        async with asyncio.timeout(5):
            while (await home.fetch("/readyz")).status != 200:
                await look_again()


@pytest.mark.slow
@pytest.mark.gen_test
async def test_who_ended_a_session_is_said_before_it_is_written(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        ana = await home.ward("ana")
        session_id = (await ana.answer("start-live-session"))["data"]["sessionId"]
        no_journal = ExpectLog("liveguard.journaling", "The journal cannot be written")
        with held_elsewhere(home.database, "IMMEDIATE"), no_journal:
            await home.server.live.end_by_admin(session_id, "alex")
            unwritten = (await home.fetch(f"/api/sessions/{session_id}", who="ana")).json
        async with asyncio.timeout(5):
            while not (written := (await home.fetch(f"/api/sessions/{session_id}", who="ana")).json).get("seq"):
                await look_again()
        assert unwritten["endedBy"] == "alex"
        assert {**unwritten, "seq": 2} == written


# -- slowness ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.gen_test
async def test_whoever_is_slow_with_a_request_is_let_go_after_ten_seconds(tmp_path: Path) -> None:
    async with house(tmp_path) as home:

        async def lasts(sent: bytes) -> float:
            began = time.monotonic()
            reader, writer = await asyncio.open_connection("127.0.0.1", home.port)
            writer.write(sent)
            dripping = asyncio.get_running_loop().create_task(drip(writer))
            await reader.read()
            dripping.cancel()
            writer.close()
            return time.monotonic() - began

        async def drip(writer: asyncio.StreamWriter) -> None:
            while True:
                await asyncio.sleep(1)  # a client who is slow is what is tried
                writer.write(b"x")

        head = b"POST /api/login HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % home.port
        times = await asyncio.gather(
            lasts(b""), lasts(head + b"X-Slow: "), lasts(head + b"Content-Length: 1000\r\n\r\n{")
        )
        assert all(9 < seconds < 12 for seconds in times), times


@pytest.mark.gen_test
async def test_headers_of_any_size_are_not_read(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        reader, writer = await asyncio.open_connection("127.0.0.1", home.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Large: " + b"x" * 100_000)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() in (b"", b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()
        assert (await home.fetch("/healthz")).status == 200


# -- the log -------------------------------------------------------------------------------------------------------

SENT = ("a-password-nobody-may-read", "53.551234", "9.931234", "a secret note", "a-query")


async def use(home: Process) -> None:
    """Do a bit of everything, some of it wrong."""
    ana, ben = await home.ward("ana"), await home.guardian("ben")
    await ben.expect("guardian:snapshot")
    await ana.answer("start-live-session", {"note": "a secret note"})
    await ana.answer("update-location", PLACE)
    await ana.answer("update-location", {**PLACE, "latitude": 1e9})
    await ana.answer("send-message", {"text": "a secret note"})
    await ben.expect("message")
    await home.fetch("/api/login", "POST", body={"email": "ana@example.org", "password": "a-password-nobody-may-read"})
    await home.fetch("/api/login", "POST", body='{"email": "ana@example.org", "password": a-password-nobody-may-read}')
    await home.fetch(
        f"/api/me?token={token_of('ana')}&a-query", headers={"Cookie": "liveguard=a-password-nobody-may-read"}
    )
    await home.fetch("/link/a-password-nobody-may-read")
    await home.fetch("/a-password-nobody-may-read%0d%0aINFO%20forged")
    await home.fetch("/healthz", headers={"User-Agent": "a-password-nobody-may-read\x1b[31m"})
    await ana.leave()


@pytest.mark.slow
@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.gen_test
async def test_one_line_of_the_log_is_one_event_and_no_secret_is_in_it(tmp_path: Path, log_format: str) -> None:
    async with process(tmp_path, log_format=log_format, log_level="debug") as home:
        await use(home)
        assert await home.stop() == 0
        lines = home.log.splitlines()
        for line in lines:
            if log_format == "json":
                entry = json.loads(line)
                assert {"time", "level", "logger", "message"} <= set(entry)
            else:
                assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING) [\w.]+: ", line), line
        assert any("GET /link/{token} 410" in line for line in lines)
        assert not [line for line in lines if "aiosqlite" in line]  # which tells of each question to the database
        for secret in (*SENT, "forged", "eyJ", "\x1b"):
            assert secret not in home.log


@pytest.mark.slow
@pytest.mark.gen_test
async def test_the_log_is_as_quiet_as_it_is_told_to_be(tmp_path: Path) -> None:
    async with process(tmp_path, log_level="warning") as home:
        await use(home)
        assert await home.stop() == 0
        assert home.log == ""


# -- the process ---------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_nothing_is_left_open_when_it_has_stopped(tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    async with house(tmp_path) as home:
        await home.fetch("/healthz")
    before = descriptors()
    for _ in range(3):
        async with house(tmp_path) as home:
            ana = await home.ward("ana")
            await ana.answer("start-live-session")
            await home.fetch("/readyz")
    assert descriptors() <= before
