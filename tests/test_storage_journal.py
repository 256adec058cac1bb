"""The journal: numbers without a gap, ends that stay, and what a guardian who comes back has missed."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shelf import CAST, NOW, last_seq, read, shelf

from liveguard.errors import NotFound
from liveguard.events import Person
from liveguard.storage import Storage
from liveguard.storage.entries import Entries
from liveguard.storage.migrations import migrate
from liveguard.storage.numbering import Begun, End, Start

HOUR = 3600 * 1000
DAY = 24 * HOUR
BEN = Person(id="ben", first_name="Ben", last_name="Lind", email="ben@example.org")


async def walk(storage: Storage, session_id: str, ward: str = "ana", when: int = NOW) -> int:
    """A whole session; the ``seq`` of its end."""
    await storage.journal.start(session_id, ward, when)
    return await storage.journal.end(session_id, when + HOUR, 3600, "manual_stop")


async def missed(storage: Storage, guardian: str, since: int | None = None, now: int = NOW + HOUR) -> list[str]:
    view = await storage.journal.guardian_view(guardian, since, now)
    return [session.id for session in view.missed]


@pytest.mark.gen_test
async def test_starts_and_ends_draw_one_number_each_in_the_order_in_which_they_come(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        journal = storage.journal
        first, second, end, third = await asyncio.gather(
            journal.start("one", "ana", NOW),
            journal.start("two", "tom", NOW),
            journal.end("one", NOW + 1, 0, "manual_stop"),
            journal.start("three", "ida", NOW),
        )
        assert (first.seq, second.seq, end, third.seq) == (1, 2, 3, 4)
        assert await last_seq(storage) == 4


@pytest.mark.gen_test
async def test_a_start_brings_the_guardians_whom_it_reaches(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        for guardian, status in (("ben", "accepted"), ("chloe", "pending"), ("ida", "accepted")):
            await storage.guardians.put("ana", guardian, status, NOW)
        await storage.users.set_active("ida", False)
        ana, tom = await asyncio.gather(
            storage.journal.start("one", "ana", NOW), storage.journal.start("two", "tom", NOW)
        )
        assert ana.guardians == [BEN]
        assert tom.guardians == []


@pytest.mark.gen_test
async def test_what_is_written_twice_keeps_its_first_number_and_its_first_end(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        journal = storage.journal
        assert (await journal.start("one", "ana", NOW)).seq == (await journal.start("one", "ana", NOW)).seq == 1
        assert await journal.end("one", NOW + 1000, 1, "manual_stop") == 2
        assert await journal.end("one", NOW + 9000, 9, "expired", ended_by="tom") == 2
        assert read(storage.database.path, "SELECT end_time, duration, reason, ended_by FROM sessions") == [
            (NOW + 1000, 1, "manual_stop", None)
        ]
        assert (await journal.start("one", "ana", NOW)).seq == 1
        assert await last_seq(storage) == 2


@pytest.mark.gen_test
async def test_an_end_without_a_start_is_refused_and_leaves_no_gap(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        journal = storage.journal
        first, unknown, nobody, last = await asyncio.gather(
            journal.start("one", "ana", NOW),
            journal.end("two", NOW, 0, "manual_stop"),
            journal.start("three", "nobody", NOW),
            journal.end("one", NOW, 0, "manual_stop"),
            return_exceptions=True,
        )
        assert isinstance(unknown, NotFound)
        assert isinstance(nobody, sqlite3.IntegrityError)
        assert isinstance(first, Begun)
        assert (first.seq, last) == (1, 2)
        assert await last_seq(storage) == 2


@pytest.mark.gen_test
async def test_the_numbers_go_on_after_a_restart(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        await walk(storage, "one")
    async with shelf(tmp_path) as storage:
        assert (await storage.journal.start("two", "ana", NOW)).seq == 3


@pytest.mark.gen_test
async def test_what_runs_is_there_after_a_restart_with_all_that_was_said(tmp_path: Path) -> None:
    metadata = {"note": "home “by the river” \u0000 👣", "deep": {"list": [1, 2.5, None]}}
    location = {"latitude": 48.1, "longitude": 11.5, "timestamp": "2027-01-15T08:00:00.000Z"}
    async with shelf(tmp_path) as storage:
        await walk(storage, "over")
        await storage.journal.start("two", "tom", NOW + 2)
        await storage.journal.start("one", "ana", NOW + 1, metadata)
        await storage.journal.locate({"one": location, "unknown": location})
    async with shelf(tmp_path) as storage:
        two, one = await storage.journal.active()
        assert (two.id, two.metadata, two.last_location) == ("two", None, None)
        assert (one.id, one.ward.first_name, one.start_time, one.seq) == ("one", "Ana", NOW + 1, 4)
        assert (one.metadata, one.last_location) == (metadata, location)


# -- what a guardian has missed ----------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_guardian_on_a_first_visit_has_missed_nothing(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        await storage.guardians.put("ana", "ben", "accepted", NOW)
        await walk(storage, "one")
        view = await storage.journal.guardian_view("ben", None, NOW + HOUR)
        assert (view.is_active, view.wards, view.missed, view.seq, view.stands_at) == (True, {"ana": 0}, [], 2, None)


@pytest.mark.gen_test
async def test_a_first_visit_is_noted_with_what_it_saw_and_only_once(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        await storage.guardians.put("ana", "ben", "accepted", NOW)
        await walk(storage, "one")
        first = await storage.journal.first_view("ben", NOW + HOUR)
        assert (first.is_active, first.wards, first.missed, first.seq, first.stands_at) == (True, {"ana": 0}, [], 2, 2)
        await walk(storage, "two")
        again = await storage.journal.first_view("ben", NOW + HOUR)
        assert ([end.id for end in again.missed], again.seq, again.stands_at) == (["two"], 4, 2)
        assert await missed(storage, "ben") == ["two"]


@pytest.mark.gen_test
async def test_a_guardian_hears_of_the_ends_after_what_was_delivered(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        await storage.guardians.put("ana", "ben", "accepted", NOW)
        seq = await walk(storage, "one")
        await storage.journal.mark_delivered({"ben": seq, "nobody": 7})
        assert await missed(storage, "ben") == []
        await walk(storage, "two")
        await storage.journal.start("three", "ana", NOW, {"note": "home"})
        await storage.journal.end("three", NOW + 60_000, 60, "ended_by_admin", ended_by="tom")
        view = await storage.journal.guardian_view("ben", None, NOW + HOUR)
        assert (view.stands_at, view.seq) == (seq, 6)
        assert [session.id for session in view.missed] == ["two", "three"]
        last = view.missed[-1]
        assert (last.ward.email, last.start_time, last.end_time) == ("ana@example.org", NOW, NOW + 60_000)
        assert (last.duration, last.reason, last.ended_by, last.seq) == (60, "ended_by_admin", "tom", 6)


@pytest.mark.gen_test
async def test_what_was_delivered_is_never_forgotten_again(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        await storage.journal.mark_delivered({"ben": 8})
        await storage.journal.mark_delivered({"ben": 5})
        assert read(storage.database.path, "SELECT delivered_seq FROM users WHERE id = 'ben'") == [(8,)]


@pytest.mark.gen_test
async def test_a_guardian_may_say_where_they_stand(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        await storage.guardians.put("ana", "ben", "accepted", NOW)
        first, second = await walk(storage, "one"), await walk(storage, "two")
        await storage.journal.mark_delivered({"ben": second})
        assert await missed(storage, "ben", since=first) == ["two"]
        assert await missed(storage, "ben", since=0) == ["one", "two"]
        assert await missed(storage, "ben", since=second) == []


@pytest.mark.gen_test
async def test_who_has_seen_more_than_there_is_knew_another_file(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        await storage.guardians.put("ana", "ben", "accepted", NOW)
        await walk(storage, "one")
        view = await storage.journal.guardian_view("ben", 2**70, NOW + HOUR)
        assert (view.stands_at, [session.id for session in view.missed]) == (0, ["one"])


@pytest.mark.gen_test
async def test_only_ends_while_the_guardian_was_accepted_are_told(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        await walk(storage, "before")
        await storage.guardians.put("ana", "ben", "accepted", NOW)
        await storage.guardians.put("ana", "chloe", "pending", NOW)
        await walk(storage, "during")
        assert await missed(storage, "ben", since=0) == ["during"]
        for stranger in ("chloe", "mallory", "nobody"):
            assert await missed(storage, stranger, since=0) == []
        await storage.guardians.put("ana", "ben", "revoked", NOW)
        assert await missed(storage, "ben", since=0) == []
        await walk(storage, "without him")
        await storage.guardians.put("ana", "ben", "accepted", NOW)
        await walk(storage, "again")
        assert await missed(storage, "ben", since=0) == ["again"]


@pytest.mark.gen_test
async def test_a_change_of_nothing_does_not_begin_the_acceptance_anew(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        await storage.guardians.put("ana", "ben", "accepted", NOW)
        await walk(storage, "one")
        await storage.guardians.put("ana", "ben", "accepted", NOW + 1)
        assert await missed(storage, "ben", since=0) == ["one"]


@pytest.mark.gen_test
async def test_the_end_of_a_ward_who_was_disabled_is_told_and_a_disabled_guardian_is_known_as_such(
    tmp_path: Path,
) -> None:
    async with shelf(tmp_path) as storage:
        await storage.guardians.put("ana", "ben", "accepted", NOW)
        await walk(storage, "one")
        await storage.users.set_active("ana", False)
        assert await missed(storage, "ben", since=0) == ["one"]
        await storage.users.set_active("ben", False)
        assert not (await storage.journal.guardian_view("ben", 0, NOW)).is_active


@pytest.mark.slow
@pytest.mark.gen_test
async def test_of_much_the_newest_two_hundred_of_a_week_are_told_in_their_order(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        for ward in ("ana", "tom"):
            await storage.guardians.put(ward, "ben", "accepted", NOW)
        expected = []
        for number in range(130):
            for ward in ("ana", "tom"):
                expected.append(f"{ward}-{number}")
                await walk(storage, expected[-1], ward)
        assert await missed(storage, "ben", since=0) == expected[-200:]
        await walk(storage, "late", when=NOW + 7 * DAY + HOUR)
        assert await missed(storage, "ben", since=0, now=NOW + 7 * DAY + 3 * HOUR) == ["late"]


@pytest.mark.gen_test
async def test_guardians_who_arrive_together_each_get_their_own_view(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        await storage.guardians.put("ana", "ben", "accepted", NOW)
        await storage.guardians.put("tom", "chloe", "accepted", NOW)
        one = await walk(storage, "one")
        await walk(storage, "two", "tom")
        view = storage.journal.guardian_view
        ben, behind, chloe, mallory, first = await asyncio.gather(
            view("ben", 0, NOW),
            view("ben", one, NOW),
            view("chloe", 0, NOW),
            view("mallory", 0, NOW),
            view("ben", None, NOW),
        )
        told = [[session.id for session in each.missed] for each in (ben, behind, chloe, mallory, first)]
        assert told == [["one"], [], ["two"], [], []]
        assert (set(chloe.wards), mallory.wards) == ({"tom"}, {})


# -- many at once are as one after the other ---------------------------------------------------------------------------

session_ids = st.sampled_from(["one", "two", "three", "four"])
entries = st.lists(
    st.one_of(
        st.builds(
            Start, session_ids, st.sampled_from(CAST), st.just(NOW), st.sampled_from([None, "{}"]), again=st.just(True)
        ),
        st.builds(
            End, session_ids, st.just(NOW), st.integers(0, 9), st.just("manual_stop"), st.none(), again=st.just(True)
        ),
    ),
    max_size=8,
)


def journal_after(batches: list[list[Start | End]]) -> tuple[list[Any], list[Any], list[Any]]:
    """What the entries get, and what the journal then has."""
    answers: list[Any] = []
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrate(db, Path())
        for name in CAST:
            db.execute(
                "INSERT INTO users (id, email, email_key, first_name, last_name, created_at)"
                " VALUES (:name, :name, :name, :name, '', 1)",
                {"name": name},
            )
        written = Entries(Path())
        for batch in batches:
            written.catch_up(db)
            answers += written.write(db, batch)
        return (
            answers,
            db.execute("SELECT * FROM sessions ORDER BY start_seq").fetchall(),
            db.execute("SELECT value FROM sequence").fetchall(),
        )


@pytest.mark.slow
@settings(deadline=None)
@given(entries)
def test_entries_that_are_written_together_become_what_they_become_one_by_one(wanted: list[Start | End]) -> None:
    started: set[str] = set()
    possible = []
    for entry in wanted:
        if isinstance(entry, Start):
            started.add(entry.session_id)
        if entry.session_id in started:
            possible.append(entry)
    together, one_by_one = journal_after([possible]), journal_after([[entry] for entry in possible])
    assert together == one_by_one
    _, sessions, [(last,)] = together
    numbers = [row[0] for row in sessions] + [row[6] for row in sessions if row[6] is not None]
    assert sorted(numbers) == list(range(1, last + 1))
