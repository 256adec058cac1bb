"""A real server whose database fails while it serves: people are told all the same, and the journal catches up."""

import asyncio
import signal
import time
from pathlib import Path

import pytest
import watched
from faults import (
    Fault,
    disk_of_its_own,
    full_disk,
    locked,
    read_only,
    rubbish_everywhere,
    rubbish_in_the_journal,
    small_disk,
)
from server import Process, look_again, move_in, process
from shelf import change_elsewhere, read

PLACE = {"latitude": 53.55, "longitude": 9.93}
STILL_READABLE = [full_disk, read_only]
FAULTS = [*STILL_READABLE, locked, rubbish_everywhere, rubbish_in_the_journal]
SAID = [full_disk, locked, rubbish_everywhere]  # where nothing can be written but the log can


async def until_ready(home: Process, status: int) -> float:
    """Wait until /readyz answers so; the seconds that it took."""
    began = time.monotonic()
    async with asyncio.timeout(5):
        while (await home.fetch("/readyz")).status != status:
            await look_again()
    return time.monotonic() - began


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.gen_test
async def test_while_the_storage_fails_sessions_go_on_and_afterwards_the_journal_catches_up(
    tmp_path: Path, torture: bool, fault: Fault
) -> None:
    with small_disk(tmp_path / "disk"):
        database = tmp_path / "disk" / "liveguard.db"
        longest_wait = tmp_path / "longest wait"
        program = (watched.__file__, str(longest_wait))
        async with process(tmp_path, program=program, database=database, rate_limit=0) as home:
            ana, tom = await home.ward("ana"), await home.ward("tom")
            ben, chloe = await home.guardian("ben"), await home.guardian("chloe")
            before = (await tom.answer("start-live-session"))["data"]
            await ben.expect("guardian:session-started", wardId="tom")
            with fault(home):
                if fault in STILL_READABLE:
                    # It is found before anybody says anything.
                    assert await until_ready(home, 503) < 2
                failing_after = asyncio.ensure_future(until_ready(home, 503))
                ana.say("start-live-session", {"note": "home"})
                tom.say("stop-live-session")
                started = await ana.expect("session-started", patience=4)
                assert started["durable"] is False
                assert {guardian["id"] for guardian in started["guardians"]} == {"ben", "chloe"}
                assert "seq" not in await chloe.expect("guardian:session-started", wardId="ana")
                assert "seq" not in await ben.expect("session-ended", wardId="tom", patience=4)
                assert await failing_after < 2
                assert (await home.fetch("/healthz")).status == 200
                if fault is locked:
                    await remain(home, 10 if torture else 1)
                assert (await ana.answer("update-location", PLACE))["event"] == "location-acknowledged"
                await chloe.expect("location-updated", wardId="ana")
                if fault in STILL_READABLE:
                    newcomer = await home.guardian("chloe")
                    assert "seq" not in await newcomer.expect("guardian:session-started", wardId="ana")
                assert (await home.fetch("/readyz")).status == 503
                if fault in SAID:
                    await until_said(home, failing=True)
            caught_up_after = await until_ready(home, 200)
            if fault in SAID:
                await until_said(home, failing=False)
            sessions = dict(read(database, "SELECT id, end_seq FROM sessions"))
            assert sessions[started["sessionId"]] is None
            assert sessions[before["sessionId"]]
            late = watched.SECONDS.unpack(longest_wait.read_bytes())[0]
            print(
                f"{fault.__name__}: 503 after {failing_after.result():.2f} s, caught up {caught_up_after:.2f} s after"
                f" its end, the loop was late by {1000 * late:.0f} ms at most"
            )
            # What is promised is 50 ms, of a machine with time for it; whoever waits for a database, waits longer.
            assert 0 < late < (0.05 if torture else 0.25)
            await home.stop(signal.SIGKILL)
        async with process(tmp_path, database=database) as home:
            ana, ben = await home.ward("ana"), await home.guardian("ben")
            assert (await ana.expect("session-started"))["sessionId"] == started["sessionId"]
            assert (await ben.expect("session-ended"))["sessionId"] == before["sessionId"]
            assert (await ana.answer("stop-live-session"))["data"]["seq"]


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_server_starts_on_a_full_disk_as_well_and_takes_up_what_was_running(tmp_path: Path) -> None:
    with disk_of_its_own(tmp_path / "disk"):
        database = tmp_path / "disk" / "liveguard.db"
        async with process(tmp_path, database=database) as home:
            ana = await home.ward("ana")
            session = (await ana.answer("start-live-session"))["data"]["sessionId"]
            await home.stop(signal.SIGKILL)
            # An older one, whose end was told and never written.
            change_elsewhere(
                database, "INSERT INTO sessions (start_seq, id, ward_id, start_time) VALUES (0, 'x', 'ana', 1)"
            )
            with full_disk(home):
                async with process(tmp_path, database=database) as again:
                    ana = await again.ward("ana")
                    assert (await ana.expect("session-started"))["sessionId"] == session
                    assert (await again.fetch("/readyz")).status == 503
                    assert (await ana.answer("stop-live-session"))["event"] == "session-ended"


@pytest.mark.slow
@pytest.mark.gen_test
async def test_that_nothing_can_be_written_is_said_at_the_start_and_not_by_the_first_session(tmp_path: Path) -> None:
    with disk_of_its_own(tmp_path / "disk"):
        database = tmp_path / "disk" / "liveguard.db"
        async with process(tmp_path, database=database) as home:
            await home.stop()
        before = len(home.log)
        with full_disk(home):
            async with process(tmp_path, database=database) as home:
                assert "liveguard_journal_healthy 0.0" in (await home.fetch("/metrics")).text
                await home.stop()
        assert home.log[before:].count(f"The database {database} cannot be written: SQLITE_FULL") == 1


@pytest.mark.slow
@pytest.mark.gen_test
async def test_on_a_full_disk_a_server_without_an_admin_serves_and_says_that_it_has_no_link(tmp_path: Path) -> None:
    with disk_of_its_own(tmp_path / "disk"):
        database = tmp_path / "disk" / "liveguard.db"
        await move_in(database, cast={"ana": "Ana Winter"}, guarded_by={})
        async with process(tmp_path, database=database) as home:
            await home.stop()
        before = len(home.log)
        with full_disk(home):
            async with process(tmp_path, database=database) as home:
                assert (await (await home.ward("ana")).answer("start-live-session"))["data"]["durable"] is False
                assert await home.stop() == 0
                assert await home.child.stdout.read() == b""  # type: ignore[union-attr]
        said = home.log[before:]
        assert said.count("WARNING liveguard.app: No link for the first admin") == 1
        assert "SQLITE_FULL" in said


@pytest.mark.slow
@pytest.mark.gen_test
async def test_stopped_on_a_damaged_file_it_says_what_is_lost_and_begins_anew_beside_it(tmp_path: Path) -> None:
    async with process(tmp_path) as home:
        ana, ben = await home.ward("ana"), await home.guardian("ben")
        await ben.expect("guardian:snapshot")
        with rubbish_everywhere(home):
            assert (await ana.answer("start-live-session"))["data"]["durable"] is False
            await ben.expect("guardian:session-started")
            assert await home.stop() == 0
            assert "ERROR liveguard.journaling: What could not be written is lost: 1 " in home.log
            async with process(tmp_path) as again:
                aside = tmp_path / (await again.fetch("/readyz")).json["setAside"]
                assert aside.read_bytes().startswith(b"rubbish rubbish ")
                assert f"it is kept as {aside}" in again.log


async def until_said(home: Process, *, failing: bool) -> None:
    """Wait until the log, which is written behind what happens, says how the database does, once for each change."""

    def said(what: str) -> int:
        return home.log.count(f"WARNING liveguard.storage.database: The database {home.database} {what}")

    for _ in range(500):
        if said("cannot be written: SQLITE_") == said("can be written again") + failing:
            return
        await look_again()
    raise AssertionError(home.log)


async def remain(home: Process, seconds: float) -> None:
    """It stays unready for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert (await home.fetch("/readyz")).status == 503
        await look_again()
