"""The history, a page at a time; and that nothing which is asked often costs more as the file grows."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from shelf import NOW, last_seq, shelf

from liveguard.errors import InvalidPayload
from liveguard.storage import Storage, Viewer

MINUTE = 60_000
ADMIN = Viewer("alex", is_admin=True)


async def fill(storage: Storage, sessions: int, wards: tuple[str, ...] = ("ana", "tom", "ida")) -> None:
    """So many sessions, a minute from one to the next, in turn of each ward."""
    for number in range(sessions):
        begun = NOW + number * MINUTE
        storage.journal.start(f"walk-{number}", wards[number % len(wards)], begun, {"number": number})
        storage.journal.end(f"walk-{number}", begun + 1000, 1, "manual_stop")
    await last_seq(storage)


async def all_pages(storage: Storage, viewer: Viewer, **which: Any) -> list[str]:
    """The sessions of all pages, as they come."""
    found, cursor = [], None
    while True:
        page = await storage.history.page(viewer, cursor=cursor, **which)
        assert len(page.sessions) <= which.get("limit", 50)
        found += [session.id for session in page.sessions]
        cursor = page.next_cursor
        if cursor is None:
            return found


def walks(numbers: "range | list[int]") -> list[str]:
    return [f"walk-{number}" for number in numbers]


@pytest.mark.parametrize("limit", [1, 7, 30, 200])
@pytest.mark.gen_test
async def test_all_pages_together_are_everything_once_the_newest_first(tmp_path: Path, limit: int) -> None:
    async with shelf(tmp_path) as storage:
        await fill(storage, 30)
        assert await all_pages(storage, ADMIN, limit=limit) == walks(range(29, -1, -1))


@pytest.mark.gen_test
async def test_sessions_that_began_at_the_same_moment_are_told_apart(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        for number in range(10):
            await storage.journal.start(f"walk-{number}", "ana", NOW)
            await storage.journal.end(f"walk-{number}", NOW, 0, "manual_stop")
        for viewer in (ADMIN, Viewer("ana")):
            assert await all_pages(storage, viewer, limit=3) == walks(range(9, -1, -1))


@pytest.mark.gen_test
async def test_a_page_does_not_move_when_new_sessions_end(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        await fill(storage, 10)
        first = await storage.history.page(ADMIN, limit=4)
        await storage.journal.start("new", "ana", NOW + 99 * MINUTE)
        await storage.journal.end("new", NOW + 99 * MINUTE, 0, "manual_stop")
        second = await storage.history.page(ADMIN, limit=4, cursor=first.next_cursor)
        assert [session.id for session in second.sessions] == walks([5, 4, 3, 2])


@pytest.mark.gen_test
async def test_each_sees_what_they_may_see_for_as_long_as_they_may(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        await fill(storage, 9)
        await storage.guardians.put("ana", "ben", "accepted", NOW)
        await storage.guardians.put("tom", "ben", "accepted", NOW)
        await storage.guardians.put("ana", "chloe", "pending", NOW)
        assert await all_pages(storage, Viewer("ana")) == walks([6, 3, 0])
        assert await all_pages(storage, Viewer("ben"), limit=2) == walks([7, 6, 4, 3, 1, 0])
        assert await all_pages(storage, Viewer("ben"), ward_id="tom") == walks([7, 4, 1])
        assert await all_pages(storage, Viewer("ben"), ward_id="ida") == []
        assert await all_pages(storage, ADMIN, ward_id="ida") == walks([8, 5, 2])
        for viewer in (Viewer("chloe"), Viewer("mallory"), Viewer("")):
            assert await all_pages(storage, viewer) == []
            assert await storage.history.get(viewer, "walk-0") is None
        assert (await storage.history.get(Viewer("ben"), "walk-0")).metadata == {"number": 0}
        await storage.guardians.put("ana", "ben", "revoked", NOW)
        assert await all_pages(storage, Viewer("ben")) == walks([7, 4, 1])
        assert await storage.history.get(Viewer("ben"), "walk-0") is None
        assert await storage.history.get(ADMIN, "walk-0") is not None


@pytest.mark.gen_test
async def test_a_span_of_time_counts_by_the_starts_its_end_left_out(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        await fill(storage, 10)
        span = {"since": NOW + 3 * MINUTE, "until": NOW + 6 * MINUTE}
        for viewer in (ADMIN, Viewer("ana")):
            assert await all_pages(storage, viewer, **span) == walks([5, 4, 3] if viewer.is_admin else [3])
        assert await all_pages(storage, ADMIN, since=-(10**30), until=10**30) == walks(range(9, -1, -1))


@pytest.mark.gen_test
async def test_what_still_runs_is_not_history(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        await storage.journal.start("walk", "ana", NOW)
        assert await all_pages(storage, ADMIN) == []
        assert await storage.history.get(ADMIN, "walk") is None


@pytest.mark.gen_test
async def test_whoever_is_lost_at_the_end_of_a_long_day_is_not_overlooked(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        await storage.guardians.put("tom", "ben", "accepted", NOW)
        await storage.guardians.put("ana", "ben", "accepted", NOW)
        await storage.guardians.put("tom", "chloe", "revoked", NOW)
        storage.journal.start("day", "tom", NOW)
        await fill(storage, 30, wards=("ana", "ida"))
        lost_at = NOW + 40 * MINUTE
        await storage.journal.end("day", lost_at, 2400, "ward_disconnected")

        async def lately(viewer: Viewer, since: int = NOW) -> tuple[list[str], list[str]]:
            last, worrying = await storage.history.last(viewer, 3), await storage.history.worrying(viewer, since)
            return [one.id for one in last], [one.id for one in worrying]

        assert await lately(ADMIN) == (["day", "walk-29", "walk-28"], ["day"])
        assert await lately(Viewer("ben")) == (["day", "walk-28", "walk-26"], ["day"])
        assert await lately(Viewer("ida")) == (["walk-29", "walk-27", "walk-25"], [])
        assert await lately(Viewer("chloe")) == ([], [])
        assert await lately(Viewer("ben"), lost_at) == (["day", "walk-28", "walk-26"], ["day"])
        assert await lately(Viewer("ben"), lost_at + 1) == (["day", "walk-28", "walk-26"], [])
        # Whoever begins something is there again.
        await storage.journal.start("evening", "tom", lost_at + MINUTE)
        assert await lately(ADMIN) == (["day", "walk-29", "walk-28"], [])


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("reason", "worrying"),
    [
        ("manual_stop", False),
        ("ward_disconnected", True),
        ("account_disabled", False),
        ("ended_by_admin", False),
        ("expired", True),
    ],
)
async def test_only_an_end_that_nobody_brought_about_is_worrying(tmp_path: Path, reason: Any, worrying: bool) -> None:
    async with shelf(tmp_path) as storage:
        storage.journal.start("walk", "ana", NOW)
        await storage.journal.end("walk", NOW + MINUTE, 60, reason)
        assert bool(await storage.history.worrying(Viewer("ana"), NOW)) is worrying


@pytest.mark.gen_test
async def test_whoever_is_lost_after_the_clock_was_set_back_is_not_overlooked(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        storage.journal.start("ahead", "ana", NOW + 10 * MINUTE)
        storage.journal.end("ahead", NOW + 11 * MINUTE, 60, "manual_stop")
        storage.journal.start("right", "ana", NOW)
        await storage.journal.end("right", NOW + MINUTE, 60, "ward_disconnected")
        assert [one.id for one in await storage.history.worrying(Viewer("ana"), NOW)] == ["right"]


@pytest.mark.parametrize("cursor", ["", "1", "1.", ".1", "1.2.3", "a.b", "-1.2", "1" * 40 + ".1", "١.٢", "1.1 OR 1"])
@pytest.mark.gen_test
async def test_a_cursor_that_was_never_given_is_refused(tmp_path: Path, cursor: str) -> None:
    async with shelf(tmp_path) as storage:
        with pytest.raises(InvalidPayload, match="cursor"):
            await storage.history.page(ADMIN, cursor=cursor)


# -- growth ------------------------------------------------------------------------------------------------------------


async def effort(storage: Storage, *asked: Callable[[], Awaitable[Any]]) -> list[int]:
    """How much work each takes, in tens of SQLite's own small steps."""
    steps = [0]

    def count() -> int:
        steps[0] += 1
        return 0

    def watch(db: sqlite3.Connection) -> None:
        db.set_progress_handler(count, 10)

    await storage.database.submit(watch, write=False)
    await storage.database.read_aside(watch)
    taken = []
    for ask in asked:
        await ask()  # a first time, so that nothing is prepared any more
        steps[0] = 0
        await ask()
        taken.append(steps[0])
    return taken


@pytest.mark.slow
@pytest.mark.gen_test
async def test_nothing_that_is_asked_often_costs_more_in_a_longer_history(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        for ward in ("ana", "tom"):
            await storage.guardians.put(ward, "ben", "accepted", NOW)
        numbers = iter(range(10**6))

        async def start_and_stop() -> None:
            session_id = f"effort-{next(numbers)}"
            await asyncio.gather(
                storage.journal.start(session_id, "ana", NOW), storage.journal.end(session_id, NOW, 0, "manual_stop")
            )

        asked = (
            start_and_stop,
            lambda: storage.journal.active(),
            lambda: storage.journal.guardian_view("ben", 0, NOW),
            lambda: storage.history.page(ADMIN),
            lambda: storage.history.page(ADMIN, cursor=f"{NOW + 500 * MINUTE}.999"),
            lambda: storage.history.page(Viewer("ben")),
            lambda: storage.history.page(Viewer("ana"), since=NOW + 100 * MINUTE, until=NOW + 900 * MINUTE),
            lambda: storage.history.last(ADMIN, 8),
            lambda: storage.history.last(Viewer("ben"), 8),
            lambda: storage.history.worrying(ADMIN, NOW),
            lambda: storage.history.worrying(Viewer("ben"), NOW),
            lambda: storage.history.get(Viewer("ben"), "walk-1"),
            lambda: storage.guardians.access(["ana", "tom"], ["ben"]),
        )
        await fill(storage, 1_000)
        short = await effort(storage, *asked)
        await fill(storage, 10_000)
        long = await effort(storage, *asked)
        for before, after in zip(short, long, strict=True):
            assert after <= 1.1 * before + 5, (short, long)


@pytest.mark.gen_test
async def test_the_sums_of_many_days_are_read_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with shelf(tmp_path) as storage:
        hour, weeks = 60 * MINUTE, 6
        for number in range(weeks * 7 * 24):
            storage.journal.start(f"walk-{number}", "ana", NOW + number * hour)
            storage.journal.end(f"walk-{number}", NOW + number * hour, number, "manual_stop")
        await last_seq(storage)
        counts: list[int] = []
        read_aside = storage.database.read_aside

        async def counted(job: Callable[[sqlite3.Connection], Any], **how: Any) -> Any:
            rows = await read_aside(job, **how)
            counts.append(sum(count for _, count, _ in rows))
            return rows

        monkeypatch.setattr(storage.database, "read_aside", counted)
        quarters = await storage.statistics.quarters(
            ADMIN, ward_id=None, since=NOW + hour, until=NOW + (weeks * 7 * 24 - 1) * hour
        )
        assert [seconds for _, _, seconds in quarters] == list(range(1, weeks * 7 * 24 - 1))
        # Whoever wants to write waits for each of them.
        assert max(counts) == 7 * 24
        assert sum(counts) == len(quarters)
