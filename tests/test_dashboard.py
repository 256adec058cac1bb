"""The dashboard of somebody who sees very many sessions: whole, in order, and as it is now."""

import asyncio
import gzip
import json
import logging
import re
from pathlib import Path

import pytest
from family import quick_passwords
from server import Answer, House, house, token_of

from liveguard import resources
from liveguard.chronicle import Memory
from liveguard.events import Person
from liveguard.people.transfer import import_people
from liveguard.rooms import Room
from liveguard.sessions import Interruption, LiveSession, Moment, new_id
from liveguard.trail import Point
from liveguard.web.cards import MOST_FULL, Cards, in_order
from liveguard.web.render import Reader, Renderer

MANY = 600  # more than one part of the page holds
NOON = Moment(1_700_000_000_000, 1000.0)


def session_of(number: int, start: Moment) -> LiveSession:
    ward = Person(f"ward-{number}", f"ward-{number}@example.org", "Ward", str(number))
    session = LiveSession(new_id(start), ward, {"note": f"100 % <{number}>"}, start, Room(f"room-{number}", {}))
    session.activate(number)
    return session


async def begin(home: House, count: int) -> None:
    """Wards who are on their way, though none of them is connected."""
    users = [{"id": f"ward-{number}", "email": f"ward-{number}@example.org"} for number in range(count)]
    passwords = quick_passwords()
    await import_people(home.server.storage, passwords, home.server.clock, json.dumps({"users": users}).encode())
    passwords.close()
    for number in range(count):
        home.server.live.sessions.claim(session_of(number, Moment(NOON.wall + number, NOON.steady)))


def cards_in(page: str) -> list[str]:
    return re.findall('<li class="card [^"]*" id="(s-[0-9a-f]{32})"', page)


async def dashboard(home: House, encoding: str = "") -> Answer:
    answer = await home.fetch("/", who="alex", headers={"Accept-Encoding": encoding})
    assert answer.status == 200
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    return answer


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_page_of_many_parts_is_whole_plain_and_compressed(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await begin(home, MANY)
        order = (await home.fetch("/live?since=", who="alex")).json["order"]
        assert len(order) == MANY
        plain = await dashboard(home)
        compressed = await dashboard(home, "gzip")
        assert compressed.headers["Content-Encoding"] == "gzip"
        for text in (plain.text, gzip.decompress(compressed.body).decode()):
            assert cards_in(text) == order
            assert [text.count(f"<q>100 % &lt;{number}&gt;</q>") for number in range(MANY)] == [1] * MANY
            assert text.rstrip().endswith("</html>")
            assert "<!--" not in text
            assert not re.search("[\x00-\x08]", text)
        assert len(compressed.body) < len(plain.body) / 10


@pytest.mark.gen_test
async def test_a_page_that_is_open_leaves_no_line_in_the_log_each_second(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with house(tmp_path) as home:
        caplog.set_level(logging.INFO, "liveguard.access")
        version = (await home.fetch("/live?since=", who="ben")).json["version"]
        assert (await home.fetch(f"/live?since={version}", who="ben")).status == 200
        assert (await home.fetch("/", who="ben")).status == 200
        assert (await home.fetch("/live?since=")).status == 401
        told = [record.getMessage() for record in caplog.records if record.name == "liveguard.access"]
        assert [line.split()[:3] for line in told] == [["GET", "/", "200"], ["GET", "/live", "401"]]


@pytest.mark.slow
@pytest.mark.gen_test
async def test_many_changes_are_the_cards_of_the_page_plain_and_compressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path) as home:
        await begin(home, MANY)
        shown = dict(zip(cards_in((page := await dashboard(home)).text), cards_of(page.text), strict=True))
        for turn in (0.005, 0.0):  # in few parts, and in as many as there are cards
            monkeypatch.setattr("liveguard.web.pages.page.TURN", turn)
            for encoding in ("", "gzip"):
                answer = await home.fetch("/live?since=", who="alex", headers={"Accept-Encoding": encoding})
                assert int(answer.headers["Content-Length"]) == len(answer.body)
                # Proxies take a few thousand bytes of them.
                assert len(str(answer.headers)) < 1500
                changes = json.loads(gzip.decompress(answer.body) if encoding else answer.body)
                assert list(changes["cards"]) == changes["order"] == list(shown)
                assert {name: timeless(card) for name, card in changes["cards"].items()} == shown


def cards_of(page: str) -> list[str]:
    return [timeless(card) for card in re.findall('<li class="card .*?</li>', page, re.DOTALL)]


def timeless(card: str) -> str:
    """A card without what ticks."""
    return re.sub(r'data-ago="[0-9]+">[^<]*|(?<=Z">)[^<]*', "", card)


@pytest.mark.slow
@pytest.mark.gen_test
async def test_whoever_asks_for_the_head_of_the_dashboard_gets_no_more(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await begin(home, MANY)
        for encoding in ("", "gzip"):
            answer = await home.fetch("/", "HEAD", who="alex", headers={"Accept-Encoding": encoding})
            assert (answer.status, answer.body) == (200, b"")
            assert int(answer.headers["Content-Length"]) > 0


@pytest.mark.gen_test
async def test_what_a_viewer_sees_shows_a_change_at_once_and_is_written_for_nobody_else(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        ana, ben = await home.ward("ana"), await home.guardian("ben")
        await ana.answer("start-live-session")
        await ben.expect("guardian:session-started")
        for _ in range(2):
            assert "only you" in (await home.fetch("/", who="ben")).text
            assert "<dd>Ben Keller</dd>" in (await home.fetch("/", who="chloe")).text
            german = await home.fetch("/", who="ben", headers={"Accept-Language": "de"})
            assert "nur du" in german.text
            assert "only you" not in german.text
        ana.say("update-location", {"latitude": 48.2, "longitude": 16.3, "battery": 55})
        await ben.expect("location-updated")
        for who in ("ben", "chloe"):
            assert "55%" in (await home.fetch("/", who=who)).text


@pytest.mark.gen_test
async def test_what_is_written_in_a_session_never_ticks(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        ana = await home.ward("ana")
        await ana.answer("start-live-session", {"note": "\x02clock 999999999999999\x03"})
        page = (await home.fetch("/", who="ben")).text
        assert "<q>\x02clock 999999999999999\x03</q>" in page


def test_the_most_urgent_comes_first() -> None:
    now = NOON.wall + 3_600_000
    lost, silent, older, newer, just_heard = (
        Memory(session_of(number, Moment(NOON.wall + number * 600_000, NOON.steady))) for number in range(5)
    )
    lost.session.interruption = Interruption(NOON, 30, NOON.wall)
    silent.move(Point(NOON.wall + 1_000, 48, 16))
    older.move(Point(now - 9_000, 48, 16))  # both are fresh, so the newer session comes first
    newer.move(Point(now - 1_000, 48, 16))
    just_heard.move(Point(now, 48, 16))
    expected = [lost, silent, just_heard, newer, older]
    assert in_order([older, newer, silent, just_heard, lost], now) == expected
    assert in_order(reversed(expected), now) == expected


def test_an_age_is_found_as_it_would_be_rendered() -> None:
    renderer = Renderer(resources.templates(), {"static_url": str})
    cards = Cards(renderer)
    for language in ("en", "de"):
        for seconds in (-3, 0, 1, 59, 60, 61, 3599, 3600, 7199, 7200, 172_799, 172_800, 259_199, 1_000_000):
            rendered = renderer.render("ago.html", Reader(language), seconds=seconds).strip()
            assert cards.ago(language, seconds).decode() == rendered


@pytest.mark.gen_test
async def test_among_many_each_card_still_shows_the_last_word_and_how_rough_a_place_is(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        ana, chloe = await home.ward("ana"), await home.guardian("chloe")
        await ana.answer("start-live-session")
        await begin(home, MOST_FULL)
        for text in ("Leaving now", "Somebody is behind me"):
            await ana.answer("send-message", {"text": text})
        await chloe.answer("send-message", {"wardId": "ana", "text": "I see you"})
        await ana.answer("update-location", {"latitude": 48.2, "longitude": 16.37, "accuracy": 300})
        page = (await dashboard(home)).text
        assert page.count(">accurate to 300 m only<") == 1
        assert len(re.findall('class="card [^"]*compact', page)) == MOST_FULL + 1
        assert re.findall('<p class="last-word".*?class="text"[^>]*>(.*?)</span>', page) == ["Somebody is behind me"]


@pytest.mark.gen_test
async def test_whoever_leaves_before_the_answer_is_no_fault(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        version = (await home.fetch("/live?since=", who="ben")).json["version"]
        for _ in range(10):
            _, writer = await asyncio.open_connection("127.0.0.1", home.port)
            writer.write(
                f"GET /live?since={version} HTTP/1.1\r\nHost: 127.0.0.1:{home.port}\r\n"
                f"Authorization: Bearer {token_of('ben')}\r\n\r\n".encode()
            )
            await writer.drain()
            writer.transport.abort()
        assert list((await home.fetch(f"/live?since={version}", who="ben")).json) == ["heard"]
