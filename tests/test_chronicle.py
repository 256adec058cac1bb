"""What is remembered of sessions, and how long."""

import asyncio
import gzip
import re
import sqlite3
import sys
from contextlib import closing
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

import pytest
from family import DAY, MovedClock
from lines import Client
from msgspec.structs import astuple
from server import Answer, House, house, look_again, token_of
from tornado.testing import ExpectLog
from turns import in_short_turns

from liveguard import chronicle, rounds
from liveguard.chronicle import MOST_SHOWN, Chronicle
from liveguard.errors import StorageUnavailable
from liveguard.people import PastSession, User
from liveguard.rounds import Rounds
from liveguard.storage import Entry, Storage
from liveguard.storage.chronicle import MOST_ENTRIES, MOST_SAID
from liveguard.web.pages.history import Session
from liveguard.web.pages.page import Page

HERE = {"latitude": 48.2, "longitude": 16.37, "battery": 80}


async def walk(home: House) -> str:
    """Ana walks, is seen by Ben, writes, and arrives."""
    ben, ana = await home.guardian("ben"), await home.ward("ana")
    ana.say("start-live-session")
    session_id: str = (await ana.expect("session-started"))["sessionId"]
    await ana.answer("update-location", HERE)
    await ana.answer("send-message", {"text": "nearly there"})
    await ben.expect("message")
    await ana.answer("stop-live-session")
    return session_id


async def past(home: House) -> list[PastSession]:
    alex = await home.server.people.accounts.identify("alex")
    return (await home.server.people.history.page(alex)).sessions


@pytest.mark.gen_test
async def test_the_story_of_a_session_is_kept(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        session_id = await walk(home)
        await home.server.chronicle.write()
        entries = await home.server.chronicle.entries(session_id)
        assert [entry.kind for entry in entries] == ["started", "message"]
        assert sorted(entries[0].details["told"]) == ["Ben Keller", "Chloe Martin"]
        assert entries[0].details["here"] == ["Ben Keller"]
        assert [point.latitude for point in await home.server.chronicle.trail(session_id)] == [48.2]


@pytest.mark.gen_test
async def test_a_trail_is_forgotten_when_its_time_has_passed(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        session_id = await walk(home)
        file = f"/history/{session_id}/trail.gpx"
        assert (await home.fetch(file, who="ben")).status == 200
        await home.server.chronicle.write()
        storage, clock = home.server.storage, MovedClock()
        ended = (await storage.history.get(_admin(), session_id)).end_time  # type: ignore[union-attr]
        later = Chronicle(storage, clock, keep_for=7 * DAY)
        clock.wall = ended + 7 * DAY - 1
        await later.write()
        assert (await home.fetch(file, who="ben")).status == 200
        clock.wall = ended + 7 * DAY + 60_000
        await later.write()
        assert not await storage.chronicle.trail(session_id)
        assert (await home.fetch(file, who="ben")).status == 404
        row = await storage.database.submit(
            lambda db: db.execute("SELECT last_location FROM sessions").fetchone(), write=False
        )
        assert row[0] is None


@pytest.mark.gen_test
async def test_with_no_time_at_all_nothing_stays_beyond_the_session(tmp_path: Path) -> None:
    async with house(tmp_path, location_retention=0.0) as home:
        ana = await home.ward("ana")
        session_id = (await ana.answer("start-live-session"))["data"]["sessionId"]
        await ana.answer("update-location", HERE)
        file = f"/history/{session_id}/trail.gpx"
        assert (await home.fetch(file, who="ben")).status == 200
        await home.server.chronicle.write()
        await ana.answer("stop-live-session")
        assert (await home.fetch(file, who="ben")).status == 404
        for _ in range(2):
            await home.server.chronicle.write()
            assert not await home.server.storage.chronicle.trail(session_id)
        # Nor does the next one stay until much has to be forgotten again.
        session_id = await walk(home)
        await home.server.chronicle.write()
        assert not await home.server.storage.chronicle.trail(session_id)


@pytest.mark.slow
@pytest.mark.gen_test
async def test_the_trail_of_a_session_that_the_journal_has_late_is_forgotten_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path) as home:
        storage, clock = home.server.storage, MovedClock()
        with monkeypatch.context() as outage, ExpectLog("liveguard.journaling", "The journal cannot be written"):
            outage.setattr(storage.journal, "start", fails)
            session_id = await walk(home)
            # The file can be written again, and this is sooner than the journal tries it.
            await home.server.chronicle.write()
            assert await home.server.chronicle.trail(session_id)
        while not await past(home):
            await look_again()
        await home.server.chronicle.write()
        assert await storage.chronicle.trail(session_id)
        clock.wall = home.server.clock.now().wall + 8 * DAY
        await Chronicle(storage, clock, keep_for=7 * DAY).write()
        assert not await storage.chronicle.trail(session_id)


@pytest.mark.gen_test
async def test_much_that_is_to_be_forgotten_holds_up_no_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with house(tmp_path) as home:
        asked = 0

        async def purge(ended_before: int) -> int:
            nonlocal asked
            asked += 1
            return 500 if asked < 4 else 0

        monkeypatch.setattr(home.server.storage.chronicle, "purge", purge)
        home.server.chronicle._purged_at = float("-inf")
        for done in (1, 2, 3, 4, 4):
            await home.server.chronicle.write()
            assert asked == done


async def purged(home: House, sessions: int, points: int) -> list[int]:
    """How many points are forgotten at a time, of so many old sessions with so many each."""
    storage = home.server.storage

    def walk(db: sqlite3.Connection) -> None:
        numbers = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {}) "
        db.execute(
            numbers.format(sessions) + "INSERT INTO sessions"
            " (start_seq, id, ward_id, start_time, last_location, end_seq, end_time, duration, reason)"
            " SELECT 2 * n, n, 'ana', 0, '{}', 2 * n + 1, 0, 0, 'expired' FROM n"
        )
        db.execute(
            numbers.format(points) + "INSERT INTO trail_points (session_id, moment, latitude, longitude)"
            " SELECT id, n, 48, 16 FROM n, sessions"
        )

    def count(db: sqlite3.Connection) -> int:
        return int(db.execute("SELECT count(*) FROM trail_points").fetchone()[0])

    await storage.database.submit(walk, write=True)
    left = [sessions * points]
    while left[-1]:
        await storage.chronicle.purge(1)
        left.append(await storage.database.submit(count, write=False))
    return [before - after for before, after in pairwise(left)]


@pytest.mark.slow
@pytest.mark.gen_test
async def test_much_that_is_to_be_forgotten_is_so_in_pieces_for_which_a_start_can_wait(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        assert max(await purged(home, sessions=120, points=2000)) <= 100_000


@pytest.mark.gen_test
async def test_short_sessions_are_forgotten_by_the_hundred(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        assert await purged(home, sessions=600, points=3) == [1500, 300]


@pytest.mark.gen_test
async def test_a_restart_forgets_neither_the_trail_nor_the_messages(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        ana = await home.ward("ana")
        await ana.answer("start-live-session")
        await ana.answer("update-location", HERE)
        await ana.answer("send-message", {"text": "still walking"})
        # Not stopped: the server ends first.
        ana.lose()
    async with house(tmp_path) as home:
        session = home.server.live.sessions.of_ward("ana")
        assert session is not None
        memory = home.server.chronicle.of(session)
        assert memory.battery == 80
        assert [entry.details["text"] for entry in memory.messages] == ["still walking"]


@pytest.mark.gen_test
async def test_whatever_a_ward_may_say_of_a_place_is_read_again_after_a_restart(tmp_path: Path) -> None:
    most = {"latitude": 90, "longitude": -180, "accuracy": 1e9, "altitude": -1e9, "heading": 360, "speed": 1e9}
    async with house(tmp_path) as home:
        ana = await home.ward("ana")
        await ana.answer("start-live-session")
        for name in ("accuracy", "altitude", "speed"):
            refused = await ana.answer("update-location", {**most, name: sys.float_info.max})
            assert refused["event"] == "location-error" and name in refused["data"]["message"]
        assert (await ana.answer("update-location", {**most, "battery": 100}))["event"] == "location-acknowledged"
        ana.lose()
    async with house(tmp_path) as home:
        session = home.server.live.sessions.of_ward("ana")
        assert session is not None
        (point,) = home.server.chronicle.of(session).trail.points
        assert astuple(point)[1:] == (90, -180, 1e9, -1e9, 360, 1e9, 100)


@pytest.mark.gen_test
async def test_of_much_that_was_said_a_restart_reads_the_newest_and_counts_the_others(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        ana = await home.ward("ana")
        session_id = (await ana.answer("start-live-session"))["data"]["sessionId"]
        said = [Entry.of(session_id, moment, "message", role="ward", text=f"{moment}") for moment in range(250)]
        come = [Entry.of(session_id, moment, "came") for moment in range(250)]
        await home.server.storage.chronicle.write([*said, *come], {})
        ana.lose()
    async with house(tmp_path) as home:
        session = home.server.live.sessions.of_ward("ana")
        assert session is not None
        memory = home.server.chronicle.of(session)
        assert memory.messages == said[-MOST_SHOWN:] and memory.forgotten == 250 - MOST_SHOWN
        # And so does whoever says one thing more: each message keeps its name, by which a page knows what is new.
        await (await home.ward("ana")).answer("send-message", {"text": "nearly there"})
        page = (await home.fetch("/", who="ben")).text
        shown = re.findall(rf'id="m-{session_id}-(\d+)".*?>([^<]*)</span></li>', page)
        assert shown == [*((str(number), str(number)) for number in range(51, 250)), ("250", "nearly there")]


@pytest.mark.gen_test
async def test_a_story_that_cannot_be_read_keeps_no_server_from_its_start(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        for name in ("ana", "tom"):
            ward = await home.ward(name)
            await ward.answer("start-live-session")
            await ward.answer("send-message", {"text": "still walking"})
            ward.lose()
    with closing(sqlite3.connect(tmp_path / "liveguard.db")) as db, db:
        db.execute(
            "INSERT INTO trail_points (session_id, moment, latitude, longitude, altitude)"
            " SELECT id, 1, 48, 16, ? FROM sessions WHERE ward_id = 'ana'",
            (inf,),
        )
    with ExpectLog("liveguard.faults", "A fault in the story of a session that goes on"):
        async with house(tmp_path) as home:
            live, story = home.server.live, home.server.chronicle
            ana, tom = live.sessions.of_ward("ana"), live.sessions.of_ward("tom")
            assert ana is not None and story.of(ana).messages == []
            assert tom is not None and len(story.of(tom).messages) == 1
            assert (await (await home.ward("ana")).answer("stop-live-session"))["event"] == "session-ended"


@pytest.mark.gen_test
async def test_of_a_story_with_much_text_its_end_is_kept_in_view_as_well(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        session_id = await walk(home)
        said = [Entry.of(session_id, moment, "message", role="ward", text="x" * 2000) for moment in range(2000)]
        await home.server.storage.chronicle.write(said, {})
        entries = await home.server.storage.chronicle.entries(session_id)
        assert entries == said[-len(entries) :]
        size = len(said[0].data or "")
        assert MOST_SAID - size < len(entries) * size <= MOST_SAID


@pytest.mark.slow
@pytest.mark.gen_test
async def test_whoever_asks_for_a_very_long_story_many_times_at_once_keeps_nobody_else_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path) as home:
        session_id = await walk(home)
        text = "'" * (MOST_SAID // MOST_ENTRIES // 2)
        said = [Entry.of(session_id, moment, "message", role="ward", text=text) for moment in range(MOST_ENTRIES)]
        await home.server.storage.chronicle.write(said, {})
        begun, answered = 0, 0
        entries = home.server.chronicle.entries

        async def counted(session_id: str) -> list[Entry]:
            nonlocal begun
            begun += 1
            assert begun <= answered + 2  # whoever has one of theirs may not have read it yet
            return await entries(session_id)

        async def look(encoding: str) -> None:
            nonlocal answered
            page = await home.fetch(f"/history/{session_id}", who="ana", headers={"Accept-Encoding": encoding})
            answered += 1
            text = (gzip.decompress(page.body) if encoding else page.body).decode()
            assert page.status == 200 and text.count("<li class=") == MOST_ENTRIES + 1  # and its end

        await look("")  # its template is compiled
        monkeypatch.setattr(home.server.chronicle, "entries", counted)
        with in_short_turns(25):
            await asyncio.gather(*(look(encoding) for encoding in ("", "gzip") * 2))


@pytest.mark.slow
@pytest.mark.gen_test
async def test_of_very_long_stories_that_nobody_reads_to_their_end_a_viewer_has_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path) as home:
        session_id, entries, begun = await walk(home), home.server.chronicle.entries, 0
        said = [Entry.of(session_id, moment, "message", role="ward", text="'" * 1900) for moment in range(1000)]
        await home.server.storage.chronicle.write(said, {})

        async def counted(session_id: str) -> list[Entry]:
            nonlocal begun
            begun += 1
            return await entries(session_id)

        monkeypatch.setattr(home.server.chronicle, "entries", counted)
        monkeypatch.setattr("liveguard.web.pages.page.PART", 50)
        path, plain = f"/history/{session_id}", {"Upgrade": "", "Connection": ""}
        unread = await Client.open(home.port, path, token=token_of("ana"), headers=plain, receive_buffer=65_536)
        await unread.answer()
        await unread.read_bytes(400_000)  # so that some of its parts are through
        another = asyncio.create_task(home.fetch(path, who="ana"))
        assert (await home.fetch(path, who="ben")).status == 200
        assert begun == 2
        unread.hang_up()
        assert (await another).status == 200


@pytest.mark.gen_test
async def test_whoever_is_shut_out_while_they_wait_for_a_story_does_not_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path) as home:
        session_id, entries = await walk(home), home.server.chronicle.entries
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def held(session_id: str) -> list[Entry]:
            begun.set()
            await go_on.wait()
            return await entries(session_id)

        monkeypatch.setattr(home.server.chronicle, "entries", held)
        first = asyncio.create_task(home.fetch(f"/history/{session_id}", who="ben"))
        await begun.wait()
        asked = asyncio.Event()
        waiting_for = home.server.people.guardianships.waiting_for

        async def asks(user: User) -> int:
            asked.set()
            return await waiting_for(user)

        monkeypatch.setattr(home.server.people.guardianships, "waiting_for", asks)
        second = asyncio.create_task(home.fetch(f"/history/{session_id}", who="ben"))
        await asked.wait()
        await home.server.people.accounts.disable("ben")
        go_on.set()
        assert (await first).status == 200
        assert (await second).headers["Location"].startswith("/login")


@pytest.mark.gen_test
async def test_nor_does_whoever_is_shut_out_and_had_come_while_the_line_moved_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path) as home:
        session_id, entries = await walk(home), home.server.chronicle.entries
        waiting_for = home.server.people.guardianships.waiting_for
        begun: asyncio.Queue[asyncio.Event] = asyncio.Queue()
        in_queue, before_it, moves_up = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def held(session_id: str) -> list[Entry]:
            go_on = asyncio.Event()
            begun.put_nowait(go_on)
            await go_on.wait()
            return await entries(session_id)

        async def asks(user: User) -> int:
            waiting = await waiting_for(user)
            if in_queue.is_set():
                before_it.set()
                await moves_up.wait()
            in_queue.set()
            return waiting

        def finish(page: Session, chunk: Any = None) -> Any:
            moves_up.set()
            return Page.finish(page, chunk)

        async def look() -> Answer:
            return await home.fetch(f"/history/{session_id}", who="ben")

        monkeypatch.setattr(home.server.chronicle, "entries", held)
        first = asyncio.create_task(look())
        first_turn = await begun.get()
        monkeypatch.setattr(home.server.people.guardianships, "waiting_for", asks)
        second = asyncio.create_task(look())
        await in_queue.wait()
        monkeypatch.setattr(Session, "finish", finish, raising=False)
        third = asyncio.create_task(look())
        await before_it.wait()
        first_turn.set()
        second_turn = await begun.get()
        monkeypatch.setattr(home.server.chronicle, "entries", entries)
        await home.server.people.accounts.disable("ben")
        second_turn.set()
        assert (await first).status == (await second).status == 200
        assert (await third).headers["Location"].startswith("/login")


@pytest.mark.gen_test
async def test_of_a_very_long_story_its_end_is_kept_in_view(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        session_id = await walk(home)
        lived_through = [Entry.of(session_id, moment, "interrupted") for moment in range(MOST_ENTRIES)]
        calls = [Entry.of(session_id, MOST_ENTRIES, "message", text=text) for text in ("help", "I am safe again")]
        await home.server.storage.chronicle.write([*lived_through, *calls], {})
        entries = await home.server.storage.chronicle.entries(session_id)
        assert entries == [*lived_through[2:], *calls]


@pytest.mark.slow
@pytest.mark.gen_test
async def test_the_page_of_a_session_of_which_much_waits_to_be_written_is_not_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path, rate_limit=0) as home:
        ana = await home.ward("ana")
        session_id = (await ana.answer("start-live-session"))["data"]["sessionId"]
        written = [Entry.of(session_id, moment, "interrupted") for moment in range(MOST_ENTRIES)]
        await home.server.storage.chronicle.write(written, {})
        monkeypatch.setattr(home.server.storage.chronicle, "write", fails)
        await ana.answer("send-message", {"text": "somebody follows me"})
        page = (await home.fetch(f"/history/{session_id}", who="ben")).text
        assert page.count("<li class=") == MOST_ENTRIES
        assert "somebody follows me" in page


async def fails(*what: Any, **how: Any) -> None:
    raise StorageUnavailable("There is no room on the disk")


def said_to_be_lacking() -> ExpectLog:
    return ExpectLog("liveguard.chronicle", "The history will lack")


@pytest.mark.gen_test
async def test_while_nothing_can_be_written_the_newest_messages_are_kept_and_the_others_do_not_pile_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chronicle, "ROOM", 20_000)
    async with house(tmp_path, rate_limit=0) as home:
        story, storage = home.server.chronicle, home.server.storage.chronicle
        write = storage.write
        monkeypatch.setattr(storage, "write", fails)
        ana = await home.ward("ana")
        session_id = (await ana.answer("start-live-session"))["data"]["sessionId"]
        await (await home.guardian("ben")).leave()
        await ana.expect("guardians-changed", connectedGuardians=0)
        await ana.answer("send-message", {"text": "who was there matters less than this"})
        with said_to_be_lacking() as said:
            for number in range(100):
                await ana.answer("send-message", {"text": f"{number}: {'help ' * 100}"})
                await story.write()
        assert said.matched == 1
        kept = await story.entries(session_id)
        assert 20 < len(kept) < 40
        monkeypatch.setattr(storage, "write", write)
        await story.write()
        told = await home.server.chronicle.entries(session_id)
        assert [entry.details["text"].partition(":")[0] for entry in told] == [*map(str, range(100 - len(kept), 100))]


@pytest.mark.gen_test
async def test_where_there_is_little_room_who_came_and_left_is_forgotten_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path) as home:
        monkeypatch.setattr(home.server.storage.chronicle, "write", fails)
        ana = await home.ward("ana")
        session_id = (await ana.answer("start-live-session"))["data"]["sessionId"]
        await ana.answer("send-message", {"text": "I hear somebody"})
        await (await home.guardian("ben")).leave()
        await ana.expect("guardians-changed", connectedGuardians=0)
        await home.server.chronicle.write()
        assert [entry.kind for entry in await home.server.chronicle.entries(session_id)][2:] == ["came", "left"]
        monkeypatch.setattr(chronicle, "ROOM", 1000)
        with said_to_be_lacking():
            await home.server.chronicle.write()
        assert [entry.kind for entry in await home.server.chronicle.entries(session_id)] == ["started", "message"]


@pytest.mark.gen_test
async def test_while_nothing_can_be_written_the_trails_of_the_newest_sessions_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chronicle, "MOST_POINTS", 3)
    async with house(tmp_path) as home:
        storage, stories = home.server.storage.chronicle, home.server.chronicle
        write = storage.write
        monkeypatch.setattr(storage, "write", fails)
        ana, walks = await home.ward("ana"), []
        with said_to_be_lacking() as said:
            for _ in range(5):
                walks.append((await ana.answer("start-live-session"))["data"]["sessionId"])
                await ana.answer("update-location", HERE)
                await ana.answer("stop-live-session")
                await home.server.chronicle.write()
        assert said.matched == 1
        monkeypatch.setattr(storage, "write", write)
        await home.server.chronicle.write()
        assert [len(await stories.trail(session_id)) for session_id in walks] == [0, 0, 1, 1, 1]


@pytest.mark.slow
@pytest.mark.gen_test
async def test_an_orderly_stop_during_a_write_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopping, under_way, end = asyncio.Event(), asyncio.Event(), Rounds.end

    async def slowly(*what: Any) -> None:
        under_way.set()
        await stopping.wait()
        await write(*what)

    async def ending(self: Rounds) -> None:
        stopping.set()
        await end(self)

    monkeypatch.setattr(rounds, "WRITE", 0)
    monkeypatch.setattr(Rounds, "end", ending)
    async with house(tmp_path) as home:
        ana = await home.ward("ana")
        write = home.server.storage.chronicle.write
        monkeypatch.setattr(home.server.storage.chronicle, "write", slowly)
        session_id = (await ana.answer("start-live-session"))["data"]["sessionId"]
        await ana.answer("update-location", HERE)
        await ana.answer("send-message", {"text": "somebody follows me"})
        await under_way.wait()
    storage = await Storage.open(tmp_path / "liveguard.db")
    try:
        assert [entry.kind for entry in await storage.chronicle.entries(session_id)][:2] == ["started", "message"]
        assert [point.latitude for point in await storage.chronicle.trail(session_id)] == [48.2]
    finally:
        await storage.close()


def _admin() -> Any:
    from liveguard.storage import Viewer

    return Viewer("", is_admin=True)
