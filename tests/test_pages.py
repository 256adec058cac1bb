"""The pages over HTTP: who gets which, what comes in them, what their forms do."""

import asyncio
import csv
import html
import itertools
import json
import re
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlencode

import pytest
from server import PASSWORD, PATIENCE, Browser, House, house, look_again, started, test_settings
from shelf import change_elsewhere
from tornado.testing import ExpectLog

from liveguard import resources
from liveguard.errors import StorageUnavailable
from liveguard.people import Entry, User
from liveguard.sessions import Moment
from liveguard.tables import csv_line
from liveguard.trail import Changes, Point
from liveguard.web.drawing import draw_trail
from liveguard.web.pages.dashboard import Dashboard
from liveguard.web.pages.entrance import local_path
from liveguard.web.pages.history import BLINK, gpx, without_blinks
from liveguard.web.render import Reader, clock, initials, negotiate

PAGES = ("/", "/ward", "/people", "/history", "/account")


async def sign_in(home: House, name: str, to: str = "/") -> Browser:
    browser = home.browser()
    await browser.get("/login")
    answer = await browser.post("/login", {"email": f"{name}@example.org", "password": PASSWORD, "next": to})
    assert answer.status == 303
    assert answer.headers["Location"] == to
    await browser.get("/account")  # the token of the forms is a new one now
    return browser


@pytest.mark.slow
@pytest.mark.gen_test
async def test_whoever_is_not_signed_in_is_asked_to_and_comes_back(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("ben",)) as home:
        for page in PAGES:
            answer = await home.fetch(page)
            assert answer.status == 303
            assert answer.headers["Location"].startswith("/login")
        await sign_in(home, "ben", "/history?ward=ana")


@pytest.mark.parametrize(
    "path", ["https://evil.example", "//evil.example", "/\\evil.example", "evil", "", "/a\r\nX: y", "/a\\b"]
)
def test_a_sign_in_leads_to_pages_of_our_own_only(path: str) -> None:
    assert local_path(path) == "/"


@pytest.mark.slow
@pytest.mark.gen_test
async def test_somebody_signs_out_in_one_other_place_or_in_all_of_them(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("ben",)) as home:
        here, there, elsewhere = [await sign_in(home, "ben") for _ in range(3)]

        async def still_in() -> list[bool]:
            return [(await one.get("/account")).status == 200 for one in (here, there, elsewhere)]

        # The one used last stands first, and one's own has no button.
        ends = re.findall(r"/account/logins/\w+/end", (await here.get("/account")).text)
        assert len(ends) == 2
        assert (await here.post(ends[0])).status == 303
        assert sorted(await still_in()) == [False, True, True]
        assert (await here.post("/account/logins/end")).status == 303
        assert await still_in() == [True, False, False]
        # Whoever sits there and waits for news must know that none will come.
        assert (await there.get("/")).headers["Location"] == "/login?over=1"
        assert "This browser is signed out." in (await there.get("/login?over=1")).text
        assert "Sign out everywhere else" not in (await here.get("/account")).text


@pytest.mark.gen_test
async def test_a_wrong_password_and_an_unknown_person_look_the_same(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("ben",)) as home:
        texts = set()
        for email in ("ben@example.org", "nobody@example.org"):
            browser = home.browser()
            await browser.get("/login")
            answer = await browser.post("/login", {"email": email, "password": "not it at all"})
            assert answer.status == 401
            texts.add(re.sub(r'name="_xsrf" value="[^"]*"', "", answer.text.replace(email, "")))
        assert len(texts) == 1


@pytest.mark.gen_test
async def test_of_many_who_may_start_the_last_are_a_number_while_all_is_quiet(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        people = home.server.people
        for number in range(30):
            ward = await people.accounts.add(f"w{number:02}@example.org", first_name=f"Ward{number:02}")
            await people.guardianships.arrange(ward.email, "mallory@example.org", "accepted")
        calm = (await home.fetch("/", who="mallory")).text.partition('id="calm"')[2].partition("</div>")[0]
        assert calm.count("Ward") == 11
        assert "and 19 others." in calm


@pytest.mark.gen_test
async def test_only_admins_see_the_admins_page_and_an_unknown_page_is_one_as_well(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        assert (await home.fetch("/admin", who="alex")).status == 200
        refused = await home.fetch("/admin", who="ben")
        assert refused.status == 403
        assert "This page is for the admins of this server." in refused.text
        assert "The form" not in refused.text
        missing = await home.fetch("/nowhere")
        assert missing.status == 404
        assert "text/html" in missing.headers["Content-Type"]


def test_the_shell_has_at_hand_all_that_it_loads() -> None:
    static = Path(__file__).parent.parent / "static"
    listed = (static / "sw.js").read_text().partition("const files = [")[2].partition("]")[0]
    at_hand = re.findall(r'"([\w.]+)"', listed)
    for name in at_hand:
        loaded = re.findall(r'from "\./(\w+\.js)"', (static / name).read_text())
        assert set(loaded) <= set(at_hand), name


@pytest.mark.gen_test
async def test_static_files_are_kept_for_ever_and_compressed(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        page = await home.fetch("/login")
        paths = re.findall(r'"(/static/[^"]+)"', page.text)
        assert paths
        for path in paths:
            answer = await home.fetch(path, headers={"Accept-Encoding": "gzip"})
            assert answer.status == 200
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert (await home.fetch("/static/000000000000/app.css")).status == 404


@pytest.mark.gen_test
async def test_a_page_asks_for_all_of_its_scripts_at_once(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        session_id = (await (await home.ward("ana")).answer("start-live-session"))["data"]["sessionId"]
        for path in (*PAGES, f"/history/{session_id}", "/ward/offline", "/offline"):
            asked = re.findall(r'"(/static/\w+/)(\w+\.js)"', (await home.fetch(path, who="ben")).text)
            assert len(set(asked)) == len(asked)
            for folder, name in asked:
                for one in re.findall(r'from "\./([\w.]+)"', (await home.fetch(folder + name)).text):
                    assert (folder, one) in asked, f"{path} learns of {one} from {name}"


@pytest.mark.slow
@pytest.mark.gen_test
async def test_the_first_view_of_the_dashboard_is_small(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        for name in ("ana", "tom", "ida"):
            ward = await home.ward(name)
            await ward.answer("start-live-session")
        gzip = {"Accept-Encoding": "gzip"}
        page = await home.fetch("/", who="ben", headers=dict(gzip))
        text = (await home.fetch("/", who="ben")).text
        paths = set(re.findall(r'(?:href|src)="(/static/[^"]+\.(?:css|js|svg))"', text))
        total = len(page.body) + sum([len((await home.fetch(path, headers=dict(gzip))).body) for path in paths])
        assert total < 60 * 1024


@pytest.mark.gen_test
async def test_nothing_is_rendered_for_whoever_sees_no_change(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        ana = await home.ward("ana")
        await ana.answer("start-live-session")
        page = (await home.fetch("/live?since=", who="ben")).json
        assert len(page["order"]) == len(page["cards"]) == 1
        assert list((await home.fetch(f"/live?since={page['version']}", who="ben")).json) == ["heard"]
        tom = await home.ward("tom")
        await tom.answer("start-live-session")
        changed = (await home.fetch(f"/live?since={page['version']}", who="ben")).json
        assert len(changed["order"]) == 2
        assert len(changed["cards"]) == 1
        # A page of his shows nothing of somebody else's who has signed in in his browser since.
        assert (await home.fetch("/live?since=&viewer=ben", who="ben")).status == 200
        assert (await home.fetch("/live?since=&viewer=ben", who="mallory")).status == 401
        mallory = (await home.fetch("/live?since=", who="mallory")).json
        assert mallory["order"] == []
        assert "Ana" not in str(mallory)


@pytest.mark.gen_test
async def test_a_ward_who_did_not_stop_is_told_how_it_ended_until_the_next_session(tmp_path: Path) -> None:
    async with house(tmp_path, reconnect_grace=0) as home:
        tom, ana = await home.ward("tom"), await home.ward("ana")
        ben = await home.guardian("ben")
        for ward in (tom, ana):
            await ward.answer("start-live-session")
        ana.lose()
        assert (await ben.expect("session-ended"))["reason"] == "ward_disconnected"
        page = (await home.fetch("/ward", who="ana")).text
        assert re.search("Your last session ended by itself at .{5,20}: Connection lost, did not come back", page)
        assert "ended by itself" not in (await home.fetch("/ward", who="ben")).text
        for who, others in (("ben", 1), ("ana", 0)):
            assert (await home.fetch("/", who=who)).text.count("has not stopped the last session") == others
        ana = await home.ward("ana")
        for event in ("start-live-session", "stop-live-session"):
            await ana.answer(event)
            assert "ended by itself" not in (await home.fetch("/ward", who="ana")).text


@pytest.mark.gen_test
async def test_of_two_who_have_one_name_each_page_says_which_has_not_stopped(tmp_path: Path) -> None:
    async with house(tmp_path, reconnect_grace=0) as home:
        await home.server.people.accounts.change("tom", first_name="Ana", last_name="Winter")
        tom, ana, ben = await home.ward("tom"), await home.ward("ana"), await home.guardian("ben")
        await tom.answer("start-live-session")
        running = (await ana.answer("start-live-session"))["data"]["sessionId"]
        tom.lose()
        await ben.expect("session-ended", reason="ward_disconnected")
        changes = (await home.fetch("/live?since=", who="ben")).json
        pages = [(await home.fetch(path, who="ben")).text for path in ("/", f"/history/{running}", "/history")]
        for page in (changes["worrying"], *pages[:2]):
            assert page.count("Ana Winter (tom@example.org) has not stopped the last session") == 1
        for page in (changes["ended"], pages[0], pages[2]):
            assert page.count('<span class="name">Ana Winter (tom@example.org)</span>') == 1


@pytest.mark.parametrize("fails", [("end",), ("start", "end")])
@pytest.mark.slow
@pytest.mark.gen_test
async def test_an_end_that_could_not_be_written_yet_stands_on_all_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: tuple[str, ...]
) -> None:
    async def full(*_: object, **__: object) -> int:
        raise StorageUnavailable("The disk is full")

    async with house(tmp_path, reconnect_grace=0) as home:
        ana, ben, journal = await home.ward("ana"), await home.guardian("ben"), home.server.storage.journal
        written = {name: getattr(journal, name) for name in fails}
        with ExpectLog("liveguard.journaling", "The journal cannot be written"):
            if "start" in fails:
                monkeypatch.setattr(journal, "start", full)
            session_id = (await ana.answer("start-live-session"))["data"]["sessionId"]
            monkeypatch.setattr(journal, "end", full)
            await ana.answer("update-location", {"latitude": 48.2, "longitude": 16.37})
            ana.lose()
            assert (await ben.expect("session-ended"))["reason"] == "ward_disconnected"
        # Nor could where she was.
        assert '<trkpt lat="48.2' in (await home.fetch(f"/history/{session_id}/trail.gpx", who="ben")).text
        assert (await home.fetch(f"/history/{session_id}/trail.gpx", who="mallory")).status == 404
        version = await shows_the_end(home, session_id)
        assert "seq" not in (await home.fetch(f"/api/sessions/{session_id}", who="ben")).json
        assert (await home.fetch(f"/api/sessions/{session_id}", who="mallory")).status == 404
        # Once it is written, an open page hears of it, for what it shows may be less than there is now.
        for name, write in written.items():
            monkeypatch.setattr(journal, name, write)
        catching_up = home.server.live._journaling._catching_up
        assert catching_up is not None
        await catching_up
        assert await shows_the_end(home, session_id) != version
        assert "seq" in (await home.fetch(f"/api/sessions/{session_id}", who="ben")).json


async def shows_the_end(home: House, session_id: str) -> str:
    """Everybody who may sees that Ana was lost; the version of Ben's dashboard."""
    changes = (await home.fetch("/live?since=", who="ben")).json
    pages = [(await home.fetch("/", who=who)).text for who in ("ben", "alex")]
    for page in (changes["worrying"], *pages):
        assert page.count("Ana Winter has not stopped the last session") == page.count("Try to reach them.") == 1
    assert "All is quiet" not in changes["summary"]
    assert changes["ended"].count(f'href="/history/{session_id}"') == 1
    assert "Your last session ended by itself" in (await home.fetch("/ward", who="ana")).text
    # Whoever follows that line, or was there when it ended, is told the same; she herself knows.
    told = "Ana Winter has not stopped this session."
    assert told in (await home.fetch(f"/history/{session_id}", who="ben")).text
    assert told not in (await home.fetch(f"/history/{session_id}", who="ana")).text
    assert "Ana Winter" not in (await home.fetch("/", who="mallory")).text
    return changes["version"]


@pytest.mark.slow
@pytest.mark.gen_test
async def test_the_page_of_a_session_shows_the_others_most_urgent_first(tmp_path: Path) -> None:
    async with house(tmp_path, reconnect_grace=0.5) as home:
        ben = await home.guardian("ben")
        wards = {name: await home.ward(name) for name in ("tom", "ida", "ana")}
        paths = {name: (await ward.answer("start-live-session"))["data"]["sessionId"] for name, ward in wards.items()}
        wards["ida"].lose()
        await ben.expect("session-ended")
        wards["tom"].lose()
        await ben.expect("session-interrupted", sessionId=paths["tom"])
        others = (await home.fetch(f"/history/{paths['ana']}", who="ben")).text.partition('id="others"')[2]
        said = ("Tom Berger</bdi> · Connection lost", "Ida Winter has not stopped the last session")
        assert -1 < others.find(said[0]) < others.find(said[1])


@pytest.mark.gen_test
async def test_an_open_dashboard_hears_whom_one_guards(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await home.server.storage.database.changed_elsewhere()  # the first time it says yes, whatever happened
        guardianships = home.server.people.guardianships
        before = (await home.fetch("/live?since=", who="mallory")).json
        assert "You watch over nobody." in before["calm"]
        other = (await home.fetch("/live?since=", who="chloe")).json["version"]
        await guardianships.put("ana", "mallory", "accepted")
        after = (await home.fetch(f"/live?since={before['version']}", who="mallory")).json
        assert "As soon as Ana Winter starts a session" in after["calm"]
        await guardianships.put("ana", "mallory", "revoked")
        again = (await home.fetch(f"/live?since={after['version']}", who="mallory")).json
        assert "You watch over nobody." in again["calm"]
        assert list((await home.fetch(f"/live?since={other}", who="chloe")).json) == ["heard"]


@pytest.mark.gen_test
async def test_who_watches_over_nobody_is_led_to_their_own_way_first(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        page = (await home.fetch("/", who="ana", headers={"Accept-Language": "en"})).text
        ways = re.findall(r'<a class="(button[^"]*)" href="(/[^"]*)"', page)
        assert ways == [("button", "/ward"), ("button quiet", "/people")]


@pytest.mark.gen_test
async def test_it_hears_of_what_the_command_line_changes_as_well(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        version = (await home.fetch("/live?since=", who="chloe")).json["version"]
        change_elsewhere(home.database, "UPDATE guardians SET status = 'revoked' WHERE guardian_id = 'chloe'")
        changed: dict[str, Any] = {}
        async with asyncio.timeout(PATIENCE):
            while "calm" not in changed:
                await look_again()
                changed = (await home.fetch(f"/live?since={version}", who="chloe")).json
        assert "You watch over nobody." in changed["calm"]


@pytest.mark.gen_test
async def test_what_changes_while_the_dashboard_is_made_is_news_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path) as home:
        people, around = home.server.people, Dashboard.around

        async def meanwhile(page: Dashboard) -> dict[str, object]:
            found = await around(page)
            await people.guardianships.put("ana", "chloe", "revoked")
            return found

        monkeypatch.setattr(Dashboard, "around", meanwhile)
        page = (await home.fetch("/", who="chloe")).text
        monkeypatch.undo()
        (version,) = re.findall('data-version="([^"]+)"', page)
        assert "Ana" in page
        assert "Ana" not in (await home.fetch(f"/live?since={version}", who="chloe")).json["calm"]


@pytest.mark.gen_test
async def test_whoever_was_signed_out_while_they_signed_out_others_signs_in_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path, with_password=("ana",)) as home:
        ana, people = await sign_in(home, "ana", "/account"), home.server.people
        end_others = people.logins.end_others

        async def too_late(user: User, here: str) -> str:
            await people.logins.end_all(user)
            return await end_others(user, here)

        monkeypatch.setattr(people.logins, "end_others", too_late)
        answer = await ana.post("/account/logins/end")
        assert (answer.status, answer.headers["Location"]) == (303, "/login?over=1")


@pytest.mark.gen_test
async def test_the_last_sign_of_life_is_told_without_rendering_anything(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        ana = await home.ward("ana")
        await ana.answer("start-live-session")
        page = await home.fetch("/live?since=", who="ben")
        (card,) = page.json["cards"].values()
        shown = re.search('class="heard" data-ago="([0-9]+)">([^<]+)<', card)
        assert shown is not None
        assert (int(page.headers["Now"]) - int(shown[1])) // 1000 == int(shown[2].split()[0])
        version = page.json["version"]

        async def silent_for() -> int:
            (heard,) = (await home.fetch(f"/live?since={version}", who="ben")).json["heard"]
            return int(heard)

        before = await silent_for()
        while (now := await silent_for()) - before < 50:
            before = min(now, before)
        await ana.answer("ping")
        assert await silent_for() < now


@pytest.mark.gen_test
async def test_of_who_is_lost_the_last_sign_of_life_is_told_and_not_when_that_was_noticed(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        ben, ana = await home.guardian("ben"), await home.ward("ana")
        await ana.answer("start-live-session")
        version, silent_for = (await home.fetch("/live?since=", who="ben")).json["version"], 0
        while silent_for < 50:
            (silent_for,) = (await home.fetch(f"/live?since={version}", who="ben")).json["heard"]
        ana.lose()
        lost = await ben.expect("session-interrupted")
        noticed = datetime.fromisoformat(lost["since"]).timestamp() * 1000
        for page in ("/", f"/history/{lost['sessionId']}"):
            shown = re.search('Last sign of life <time data-ago="([0-9]+)"', (await home.fetch(page, who="ben")).text)
            assert shown is not None
            assert noticed - 5000 < int(shown[1]) <= noticed - 50


@pytest.mark.gen_test
async def test_after_a_restart_no_last_sign_of_life_is_made_up(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        ana = await home.ward("ana")
        session = await ana.answer("start-live-session")
        await home.server.stop()
        home.server = await started(test_settings(tmp_path, port=home.port))
        for page in ("/", f"/history/{session['data']['sessionId']}"):
            text = (await home.fetch(page, who="ben")).text
            assert "No sign of life since the server started again <time" in text
            assert "Last sign of life" not in text


@pytest.mark.slow
@pytest.mark.gen_test
async def test_an_admin_decides_who_guards_whom_and_it_takes_effect_at_once(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("alex",)) as home:
        mallory = await home.guardian("mallory")
        ana = await home.ward("ana")
        await ana.answer("start-live-session")
        alex = await sign_in(home, "alex", "/admin")
        pair = {"ward": "ana@example.org", "guardian": "mallory@example.org", "status": "accepted"}
        missing = await alex.post("/admin/guardians", pair | {"guardian": "nobody@example.org"})
        assert (missing.status, 'value="nobody@example.org"' in missing.text) == (404, True)
        assert "Nobody here has the email nobody@example.org." in missing.text
        assert (await alex.post("/admin/guardians", pair | {"ward": "nobody@example.org"})).status == 404
        assert (await alex.post("/admin/guardians", pair | {"guardian": "ana@example.org"})).status == 403
        done = await alex.post("/admin/guardians", pair)
        assert (done.status, done.headers["Location"]) == (303, "/admin?q=ana%40example.org&done=accepted")
        started = await mallory.expect("guardian:session-started")
        assert started["wardId"] == "ana"
        page = await alex.get(done.headers["Location"])
        assert re.search('<p class="done" role="status">.*They guard from now on', page.text, re.DOTALL)
        # To be asked takes nothing from whoever guards already.
        asked = await alex.post("/admin/guardians", pair | {"status": "pending"})
        assert asked.headers["Location"].endswith("&done=guards_already")
        (path,) = {
            form
            for form, name in re.findall(r'action="(/admin/guardians/[^"]+)".*?class="hidden"> (\w+) ', page.text)
            if name == "Mallory"
        }
        assert (await alex.post(path, {})).status == 303
        assert (await mallory.expect("guardian:access-revoked"))["wardId"] == "ana"
        assert "Mallory" not in (await alex.get("/admin?q=ana%40example.org")).text


@pytest.mark.slow
@pytest.mark.gen_test
async def test_what_was_done_is_said_as_it_is(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("alex", "ana")) as home:
        alex, ana = await sign_in(home, "alex", "/admin"), await sign_in(home, "ana", "/people")
        done = await ana.post("/people/invite", {"email": "ben@example.org"})
        assert "They watch over you already" in (await ana.get(done.headers["Location"])).text
        await home.server.people.accounts.disable("mallory")
        pair = {"ward": "ana@example.org", "guardian": "mallory@example.org", "status": "accepted"}
        done = await alex.post("/admin/guardians", pair)
        assert "it takes effect once it is enabled" in (await alex.get(done.headers["Location"])).text


@pytest.mark.gen_test
async def test_what_was_not_done_is_not_said(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("alex",)) as home:
        alex = await sign_in(home, "alex")
        for page, done in (("/people", "accepted"), ("/account", "saved"), ("/admin", "ended")):
            assert (await alex.get(f"{page}?done={done}")).text.count('class="done"') == 1
            assert 'class="done"' not in (await alex.get(f"{page}?done=x")).text, page


@pytest.mark.gen_test
async def test_no_ward_is_promised_a_guardian_whose_account_is_disabled(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        assert "Ben Keller" in (await home.fetch("/ward", who="ana")).text
        await home.server.people.accounts.disable("ben")
        before = (await home.fetch("/ward", who="ana")).text
        assert "Chloe Martin" in before
        assert "Ben Keller" not in before
        # Who they are, and that they will be back with the account, is not forgotten.
        people = (await home.fetch("/people", who="ana")).text
        assert re.search(r'Ben Keller <span class="tag">disabled</span>', people)
        assert people.count(">disabled<") == 1
        listed = (await home.fetch("/api/guardians", who="ana")).json["guardians"]
        assert {one["guardianId"]: one["status"] for one in listed} == {"ben": "accepted", "chloe": "accepted"}
        await home.server.people.accounts.disable("chloe")
        assert "You have no guardians just now. Nobody would be told." in (await home.fetch("/ward", who="ana")).text
        ana = await home.ward("ana")
        await ana.answer("start-live-session")
        assert "You have no guardians just now. Nobody is told." in (await home.fetch("/ward", who="ana")).text
        await home.server.people.accounts.enable("ben")
        assert "Ben Keller" in (await home.fetch("/ward", who="ana")).text


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("language", "before", "during"),
    [
        ("en", {"tom": "this person sees", "ana": "these people see"}, {"tom": "is told as", "ana": "are told as"}),
        ("de", {"tom": "sieht diese Person", "ana": "sehen diese Menschen"}, {"tom": "erfährt", "ana": "erfahren"}),
    ],
)
async def test_one_guardian_is_spoken_of_as_one(
    tmp_path: Path, language: str, before: dict[str, str], during: dict[str, str]
) -> None:
    async with house(tmp_path) as home:
        for who in ("tom", "ana"):
            page = (await home.fetch("/ward", who=who, headers={"Accept-Language": language})).text
            assert before[who] in page
            assert during[who] in page


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_time_zone_that_nobody_knows_breaks_no_page(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("ben",)) as home:
        await (await home.ward("ana")).answer("start-live-session")
        ben = home.browser()
        await ben.get("/login")
        await ben.post("/login", {"email": "ben@example.org", "password": PASSWORD, "time_zone": "Etc/Unknown"})
        await ben.get("/account")
        # Nor are these zones to a browser: what this machine is set to, and files beside the zones.
        files = ("localtime", "Factory", "posixrules", "posix/Europe/Vienna")
        for zone in ("Etc/Unknown", "Mars/Olympus", "../etc/passwd", "Europe", "x" * 64, *files):
            refused = await ben.post("/account/preferences", {"language": "", "time_zone": zone, "hours": ""})
            assert (refused.status, "This time zone is not known" in refused.text) == (400, True), zone
        # One that was known once is kept all the same.
        user = await home.server.people.accounts.identify("ben")
        await home.server.people.preferences.choose(user, language="", time_zone="Etc/Unknown", hours="")
        for page in ("/", "/live", "/history", "/account"):
            assert (await ben.get(page)).status == 200, page
        assert "All times are in UTC" in (await ben.get("/history")).text


@pytest.mark.gen_test
async def test_nobody_counts_by_the_dashboard_what_others_do(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        ana, mallory = await home.ward("ana"), await home.ward("mallory")
        for ward in (ana, mallory):
            await ward.answer("start-live-session")
        versions = []
        for places in (0, 1, 7):
            for _ in range(places):
                await ana.answer("update-location", {"latitude": 48.2, "longitude": 16.37})
            await mallory.answer("update-location", {"latitude": 1, "longitude": 1})
            version = (await home.fetch("/live", who="mallory")).json["version"]
            versions.append(int(version.rpartition(".")[2]))
        steps = [later - earlier for earlier, later in itertools.pairwise(versions)]
        assert min(steps) > 1000  # microseconds, and no numbers


@pytest.mark.gen_test
async def test_an_invitation_that_waits_is_said_on_each_page(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        people = home.server.people
        for ward in ("ana", "tom"):
            await people.guardianships.invite(await people.accounts.identify(ward), "mallory@example.org")
        for page in ("/", "/ward", "/history", "/account"):
            assert "2 invitations wait for your answer" in (await home.fetch(page, who="mallory")).text, page
        assert "for your answer" not in (await home.fetch("/people", who="mallory")).text
        for pair in await people.guardianships.of_guardian(await people.accounts.identify("mallory")):
            await people.guardianships.decline(await people.accounts.identify("mallory"), pair.id)
        assert "for your answer" not in (await home.fetch("/", who="mallory")).text


@pytest.mark.gen_test
async def test_whose_time_zone_is_not_known_is_told_what_the_times_are(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("ben",)) as home:
        ben = await sign_in(home, "ben")
        for path in PAGES:
            assert "All times are in UTC" in (await ben.get(path)).text
        await ben.post("/account/preferences", {"language": "", "time_zone": "Europe/Vienna", "hours": ""})
        for path in PAGES:
            assert "All times are in UTC" not in (await ben.get(path)).text
        assert "All times" not in (await home.browser().get("/login")).text


@pytest.mark.gen_test
async def test_an_admin_sees_the_lost_first_and_need_not_type_twice(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("alex",)) as home:
        for name in ("ana", "tom", "ida"):
            ward = await home.ward(name)
            await ward.answer("start-live-session")
            if name == "tom":
                ben = await home.guardian("ben")
                ward.lose()
                await ben.expect("session-interrupted")
        alex = await sign_in(home, "alex", "/admin")
        page = (await alex.get("/admin")).text
        assert re.findall('<a href="/history/[0-9a-f]{32}">([^<]*)</a>', page) == [
            "Tom Berger",
            "Ana Winter",
            "Ida Winter",
        ]
        fields = {"email": "ben@example.org", "first_name": "Benedikt", "last_name": "Neu"}
        taken = await alex.post("/admin/people", fields)
        assert taken.status == 409
        for value in fields.values():
            assert f'value="{value}"' in taken.text
        # It is not the admin's own name that is missing.
        assert "Please give a first name." in (await alex.post("/admin/people", fields | {"first_name": " "})).text


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_name_with_what_nobody_sees_is_not_called_a_missing_one(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("ana", "alex")) as home:
        ana, alex, newcomer = await sign_in(home, "ana"), await sign_in(home, "alex", "/admin"), home.browser()
        people = home.server.people
        link = f"/link/{await people.links.for_invitation(await people.accounts.identify('ana'))}"
        await newcomer.get(link)
        forms = ((ana, "/account/name"), (alex, "/admin/people"), (newcomer, link))
        name = {"first_name": "Nora", "last_name": "Winter"}
        others = {"email": "nora@example.org", "password": "a long one indeed"}
        for browser, path in forms:
            for field in name:
                # As a telephone's list of contacts gives it away.
                copied = {field: f"\u202a{name[field]}\u202c"}
                answer = await browser.post(path, {**name, **others, **copied})
                assert answer.status == 400
                assert "A name has at most 100 characters, and none that cannot be seen." in answer.text
                assert re.findall('name="([^"]+)"[^>]*aria-invalid', answer.text) == [field]


@pytest.mark.gen_test
async def test_a_form_behind_a_link_marks_the_field_of_which_it_says_that_it_is_wrong(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        people, newcomer = home.server.people, home.browser()
        link = f"/link/{await people.links.for_invitation(await people.accounts.identify('ana'))}"
        await newcomer.get(link)
        good = {"first_name": "Nora", "email": "nora@example.org", "password": "a long one indeed"}
        bad = {"first_name": " ", "email": "ben@example.org", "password": "short"}
        for field, value in (*bad.items(), ("email", "nobody")):
            answer = (await newcomer.post(link, {**good, field: value})).text
            (marked,) = re.findall('name="([^"]+)"[^>]* aria-invalid="true" aria-describedby="problem', answer)
            assert (marked, answer.count('id="problem"')) == (field, 1)


@pytest.mark.slow
@pytest.mark.gen_test
async def test_whoever_is_new_is_welcomed_and_asked_for_no_new_password(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("alex",)) as home:
        alex, newcomer = await sign_in(home, "alex", "/admin"), home.browser()
        added = await alex.post("/admin/people", {"email": "zoe@example.org", "first_name": "Zoe"})
        (path,) = set(re.findall(r"/link/[\w-]+", added.text))
        welcome = (await newcomer.get(path)).text
        assert "Welcome" in welcome and "zoe@example.org" in welcome and "new password" not in welcome
        short = await newcomer.post(path, {"password": "short"})
        assert (short.status, "Welcome" in short.text) == (400, True)
        assert (await newcomer.post(path, {"password": "a long one indeed"})).status == 303
        zoe = await home.server.people.accounts.find("zoe@example.org")
        admin = await home.server.people.accounts.identify("alex")
        forgotten = (await newcomer.get(f"/link/{await home.server.people.links.for_reset(zoe, by=admin)}")).text
        assert "Choose a new password" in forgotten and "Welcome" not in forgotten


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_password_may_be_as_long_as_the_form_lets_it_be_whatever_its_letters(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("ben",)) as home:
        ben = await sign_in(home, "ben", "/account")
        (longest,) = set(re.findall('type="password"[^>]*maxlength="([0-9]+)"', (await ben.get("/account")).text))
        long_one = "ü" * int(longest)
        done = await ben.post("/account/password", {"old": PASSWORD, "new": long_one})
        assert (done.status, done.headers.get("Location")) == (303, "/account?done=password")
        again = home.browser()
        await again.get("/login")
        assert (await again.post("/login", {"email": "ben@example.org", "password": long_one})).status == 303
        known = {"email": "ben@example.org", "password": long_one}
        assert (await home.fetch("/api/login", "POST", body=known)).status == 200


@pytest.mark.gen_test
async def test_whom_another_admin_has_disabled_meanwhile_gets_no_link_and_the_page_says_why(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("alex",)) as home:
        alex = await sign_in(home, "alex", "/admin")
        await home.server.people.accounts.disable("ben")
        answer = await alex.post("/admin/people/ben/reset")
        assert (answer.status, answer.headers["Location"]) == (303, "/admin?done=disabled")
        assert "The account is disabled." in (await alex.get("/admin?done=disabled")).text


@pytest.mark.gen_test
async def test_an_id_may_have_any_letters(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("alex",)) as home:
        who = "https://idp.example.org/u/7?x=%2F#ä"
        await home.server.storage.users.add(user_id=who, email="zoe@example.org", now=0)
        alex = await sign_in(home, "alex", "/admin")
        for change in ("disable", "enable"):
            path = re.search(f'action="(/admin/people/https[^"]*/{change})"', (await alex.get("/admin?q=zoe")).text)
            assert path
            assert (await alex.post(path[1])).status == 303
            assert (await home.server.people.accounts.find(who)).is_active == (change == "enable")


@pytest.mark.slow
@pytest.mark.gen_test
async def test_people_come_a_page_at_a_time_and_are_found_by_their_letters(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("alex",)) as home:
        users = home.server.storage.users
        for number in range(105):
            await users.add(email=f"zoe{number:03}@example.org", first_name="Zoe", last_name="", now=0)
        alex = await sign_in(home, "alex", "/admin")
        first = (await alex.get("/admin?q=Zoe")).text
        assert ("zoe000@" in first, "zoe099@" in first, "zoe100@" in first) == (True, True, False)
        (more,) = re.findall(r'href="(/admin\?[^"#]+)', first)
        second = (await alex.get(more.replace("&amp;", "&"))).text
        assert ("zoe099@" in second, "zoe100@" in second, "zoe104@" in second) == (False, True, True)
        assert "More people" not in second


@pytest.mark.parametrize(
    ("last_name", "asked"),
    [
        ("Özil", ("özil", "ÖZIL", "Özil", "mesut öz")),
        ("İnan", ("İnan", "nan")),
        ("Чехов", ("чехов", "ЧЕХОВ")),
        ("Strauß", ("strauß", "STRAUß")),
        ("O[Neil]*?^", ("o[neil]*?^", "]*", "?^", "[NE")),
    ],
)
@pytest.mark.gen_test
async def test_people_are_found_by_small_and_capital_letters_of_all_languages(
    tmp_path: Path, last_name: str, asked: tuple[str, ...]
) -> None:
    async with house(tmp_path) as home:
        users = home.server.storage.users
        await users.add(email="zoe@example.org", first_name="Mesut", last_name=last_name, now=0)
        for letters in asked:
            found = (await home.fetch("/admin?" + urlencode({"q": letters}), who="alex")).text
            assert ("zoe@example.org" in found, "ana@example.org" in found) == (True, False), letters
        for letters in ("*", "?", "[mn]esut", "Mesut *l"):
            found = (await home.fetch("/admin?" + urlencode({"q": letters}), who="alex")).text
            assert "ana@example.org" not in found
            assert ("zoe@example.org" in found) == (letters in last_name)


@pytest.mark.gen_test
async def test_everybody_may_ask_the_history_for_those_whom_they_may_see(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        ana = await home.ward("ana")
        await ana.answer("start-live-session")
        await ana.answer("stop-live-session")
        others = {"alex": {"ana"}, "ben": {"ana", "tom", "ida"}, "chloe": {"ana"}, "mallory": set()}
        for name, wards in others.items():
            page = (await home.fetch("/history", who=name)).text
            (choice,) = re.findall(r'<select id="ward".*?</select>', page, re.DOTALL)
            assert set(re.findall(r'value="([^"]*)"', choice)) == {"", name, *wards}


@pytest.mark.gen_test
async def test_the_history_of_somebody_whom_one_guards_no_more_is_not_taken_for_everybodys(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        for name in ("ana", "tom"):
            ward = await home.ward(name)
            await ward.answer("start-live-session")
            toms = await ward.answer("stop-live-session")
        asked = "/history?ward=ana"  # as ben has kept it
        assert re.findall('class="name">(.*?)<', (await home.fetch(asked, who="ben")).text) == ["Ana Winter"]
        (pair,) = [one for one in (await home.fetch("/api/wards", who="ben")).json["wards"] if one["wardId"] == "ana"]
        await home.fetch(f"/api/guardians/{pair['id']}", "DELETE", who="ana")
        page = (await home.fetch(asked, who="ben")).text
        assert '<option value="ana"' not in page
        assert re.findall('class="name">(.*?)<', page) == ["Tom Berger"]
        assert f"1 session · {toms['data']['duration']} s" in page and "ward=ana" not in page


@pytest.mark.gen_test
async def test_days_that_are_asked_for_the_wrong_way_round_are_turned(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        ana = await home.ward("ana")
        await ana.answer("start-live-session")
        await ana.answer("stop-live-session")
        page = (await home.fetch("/history?from=2100-01-02&to=2020-01-01", who="ben")).text
        assert 'name="from" type="date" value="2020-01-01"' in page
        assert 'name="to" type="date" value="2100-01-02"' in page
        assert page.count('class="name">Ana Winter') == 1
        export = await home.fetch("/history/export.csv?from=2100-01-02&to=2020-01-01", who="ben")
        assert len(export.text.splitlines()) == 2


@pytest.mark.gen_test
async def test_a_day_that_is_none_is_shown_with_what_is_wrong(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("ben",)) as home:
        ben = await sign_in(home, "ben")
        for query, field in (("from=0002-01-01&to=2026-01-01", "from"), ("from=2026-01-01&to=tomorrow", "to")):
            answer = await ben.get(f"/history?{query}")
            assert answer.status == 400
            assert "no day to look for" in answer.text
            (wrong,) = re.findall(r'name="(\w+)" type="date" value="[^"]+" aria-invalid="true"', answer.text)
            assert wrong == field
            assert 'value="2026-01-01"' in answer.text
            assert (await ben.get(f"/history/export.csv?{query}")).status == 400
        assert "no day to look for" not in (await ben.get("/history?from=2026-01-01&to=")).text


@pytest.mark.gen_test
async def test_an_empty_dashboard_says_what_is_known_and_where_to_go_on(tmp_path: Path) -> None:
    async with house(tmp_path, reconnect_grace=0) as home:

        async def calm(who: str) -> str:
            page = (await home.fetch("/", who=who)).text
            (found,) = re.findall('<div id="calm".*?</div>', page, re.DOTALL)
            return html.unescape(found)

        assert 'href="/ward">On my way' in await calm("mallory")
        assert "switch on “Sound”" in await calm("ben")
        assert "Nobody is on their way just now." in await calm("ben")
        ben, ana = await home.guardian("ben"), await home.ward("ana")
        await ana.answer("start-live-session")
        ana.lose()
        await ben.expect("session-ended")
        # She may well be on her way, and no page may say that nobody is.
        assert "No session is running just now." in await calm("ben")
        for path, who in (("/", "ben"), ("/admin", "alex")):
            assert "Nobody is on their way" not in (await home.fetch(path, who=who)).text
            german = await home.fetch(path, who=who, headers={"Accept-Language": "de"})
            assert "iemand ist unterwegs" not in german.text and "ist niemand unterwegs" not in german.text


@pytest.mark.slow
@pytest.mark.gen_test
async def test_the_page_of_a_session_tells_who_was_there_and_how_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path) as home:
        ben, ana = await home.guardian("ben"), await home.ward("ana")
        await home.server.people.accounts.change("ben", first_name="Benno")
        metadata = {
            "note": "to the station",
            "urgent": True,
            "with": ["Tom", "Ida"],
            "phone": {"model": "a & b"},
            "bus": 7,
        }
        session_id = (await ana.answer("start-live-session", metadata))["data"]["sessionId"]
        await ben.expect("guardian:session-started")
        running = (await home.fetch(f"/history/{session_id}", who="ben")).text
        assert "Watching from the start: Benno Keller" in running
        # What is no text is shown as the JSON that it came as.
        for text in (running, (await home.fetch("/", who="ben")).text):
            shown = [html.unescape(value) for value in re.findall(r'<dd dir="auto">(.*?)</dd>', text)]
            assert shown[-4:] == ["true", '["Tom","Ida"]', '{"model":"a & b"}', "7"]
        tom = await home.ward("tom")  # whom Ben guards as well, and Chloe does not
        await tom.answer("start-live-session")
        chloe = await home.guardian("chloe")
        assert (await ana.expect("guardians-changed"))["guardianIds"] == ["ben", "chloe"]
        ben.lose()
        assert (await ana.expect("guardians-changed"))["guardianIds"] == ["chloe"]
        await ana.answer("send-message", {"text": "somebody follows me"})
        await chloe.answer("send-message", {"text": "I call you", "wardId": "ana"})
        ana.lose()
        lost, clock = await chloe.expect("session-interrupted"), home.server.clock.now
        monkeypatch.setattr(home.server.clock, "now", lambda: Moment(clock().wall + 12_000, clock().steady + 12))
        ana = await home.ward("ana")
        assert (await chloe.expect("session-resumed"))["interruptedFor"] == 12
        ended = await ana.answer("stop-live-session")
        assert ended["event"] == "session-ended"
        page = (await home.fetch(f"/history/{session_id}", who="chloe")).text
        assert "Watching from the start: Benno Keller" in page
        assert page.count('class="ended"') == running.count('class="ended"') + 1
        story = page.partition('class="timeline"')[2]
        assert re.findall(r"<p>([^<]*)</p>", story)[1:-1] == [
            "Chloe Martin is watching.",
            "Ben Keller has left.",
            "The connection was lost.",
            "Back again, after 12 s.",
        ]
        assert f'<li class="interrupted"><time datetime="{lost["since"][:19]}Z">' in story
        said = [("Ana Winter", "somebody follows me"), ("Chloe Martin", "I call you")]
        assert re.findall(r"<bdi>([^<]*)</bdi></p><p [^>]*><q>([^<]*)</q>", story) == said


@pytest.mark.slow
@pytest.mark.gen_test
async def test_the_story_of_a_session_that_an_early_version_wrote_down_is_told(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        ana = await home.ward("ana")
        session_id = (await ana.answer("start-live-session"))["data"]["sessionId"]
        await ana.answer("stop-live-session")
        await home.server.chronicle.write()
        # It did not note who was watching when a session began.
        change_elsewhere(home.database, "UPDATE session_entries SET data = json_remove(data, '$.here')")
        page = await home.fetch(f"/history/{session_id}", who="ben")
        assert (page.status, "Guardians: " in page.text) == (200, True)


@pytest.mark.gen_test
async def test_what_is_of_another_day_than_the_start_of_its_session_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path) as home:
        ana, people = await home.ward("ana"), home.server.people
        await people.preferences.suggest_time_zone(await people.accounts.identify("ben"), "Asia/Kolkata")
        for minutes, event, data in (
            (0, "start-live-session", {}),
            (5, "send-message", {"text": "one"}),
            (15, "send-message", {"text": "two"}),
        ):
            # In Kolkata it is ten to midnight at first, everywhere else on these pages the same evening.
            moment = Moment(1_767_205_200_000 + minutes * 60_000, time.monotonic())
            monkeypatch.setattr(home.server.clock, "now", lambda moment=moment: moment)
            await ana.answer(event, data)
        session = home.server.live.sessions.of_ward("ana")
        assert session is not None

        async def times(who: str, path: str, language: str) -> list[str]:
            page = (await home.fetch(path, who=who, headers={"Accept-Language": language})).text
            return re.findall(r"<time [^>]*T18:[23]5:00Z\">([^<]*)<", page)

        story = f"/history/{session.id}"
        for path in ("/", story):
            assert await times("ben", path, "en-GB") == ["23:55", "1 Jan, 00:05"]
            assert await times("ben", path, "de") == ["23:55", "1. Jan., 00:05"]
        for path in ("/ward", story):
            assert await times("ana", path, "en-GB") == ["18:25", "18:35"]
        for language, since in (("en-GB", "since 31 Dec, 23:50"), ("de", "seit 31. Dez., 23:50")):
            assert since in (await home.fetch("/", who="ben", headers={"Accept-Language": language})).text
        assert ">since 18:20<" in (await home.fetch("/", who="alex", headers={"Accept-Language": "en-GB"})).text


@pytest.mark.gen_test
async def test_only_what_a_ward_has_stopped_looks_as_if_all_was_well(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        ana, tom = await home.ward("ana"), await home.ward("tom")
        stopped, ended = [(await one.answer("start-live-session"))["data"]["sessionId"] for one in (ana, tom)]
        await ana.answer("stop-live-session")
        await home.server.live.end_by_admin(ended, "alex")
        pages = [(await home.fetch(f"/history/{session}", who="ben")).text for session in (stopped, ended)]
        assert [('class="state over"' in page, 'class="ended over"' in page) for page in pages] == [
            (False, False),
            (True, True),
        ]


@pytest.mark.gen_test
async def test_the_page_of_a_session_shows_how_the_others_are_to_those_who_guard_them(tmp_path: Path) -> None:
    async with house(tmp_path, reconnect_grace=0) as home:
        ana, tom, ida = [await home.ward(name) for name in ("ana", "tom", "ida")]
        ended = (await ida.answer("start-live-session"))["data"]["sessionId"]
        for ward in (ana, tom):
            session_id = (await ward.answer("start-live-session"))["data"]["sessionId"]
        ben = await home.guardian("ben")
        ida.lose()
        await ben.expect("session-ended", reason="ward_disconnected")
        anas = home.server.live.sessions.of_ward("ana")
        assert anas is not None

        async def others(who: str, session_id: str) -> list[str]:
            page = (await home.fetch(f"/history/{session_id}", who=who)).text
            return re.findall(r"Ida Winter has not stopped the|<bdi>(?:Ana|Tom|Ida) \w+</bdi> · \w+", page)

        assert await others("ben", anas.id) == ["Ida Winter has not stopped the", "<bdi>Tom Berger</bdi> · Live"]
        assert await others("ben", session_id) == ["Ida Winter has not stopped the", "<bdi>Ana Winter</bdi> · Live"]
        assert sorted(await others("ben", ended)) == ["<bdi>Ana Winter</bdi> · Live", "<bdi>Tom Berger</bdi> · Live"]
        assert await others("chloe", anas.id) == await others("ana", anas.id) == []


@pytest.mark.gen_test
async def test_exports_hold_what_somebody_may_see_and_no_formula(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        ana = await home.ward("ana")
        await ana.answer("start-live-session", {"note": "=1+1"})
        await ana.answer("update-location", {"latitude": 48.2, "longitude": 16.37})
        ended = await ana.answer("stop-live-session")
        await home.server.chronicle.write()
        session_id = ended["data"]["sessionId"]
        table = await home.fetch("/history/export.csv", who="ben")
        assert session_id in table.text
        trail = await home.fetch(f"/history/{session_id}/trail.gpx", who="ben")
        assert '<trkpt lat="48.200000" lon="16.370000">' in trail.text
        assert session_id in (await home.fetch("/history/export.json", who="ben")).text
        assert session_id not in (await home.fetch("/history/export.csv", who="mallory")).text
        assert (await home.fetch(f"/history/{session_id}", who="mallory")).status == 404
        assert (await home.fetch(f"/history/{session_id}/trail.gpx", who="mallory")).status == 404


@pytest.mark.parametrize(
    ("longitude", "written"),
    [(-180, "-180.000000"), (179.999999, "179.999999"), (179.9999999, "-180.000000"), (180, "-180.000000")],
)
def test_a_trail_on_the_date_line_is_written_as_the_schema_of_gpx_has_it(longitude: float, written: str) -> None:
    assert f'<trkpt lat="-17.500000" lon="{written}">' in gpx([Point(0, -17.5, longitude)])


@pytest.mark.gen_test
async def test_where_nothing_was_heard_for_long_nobody_knows_the_way(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        ana = await home.ward("ana")
        await ana.answer("start-live-session")
        session_id = (await ana.answer("stop-live-session"))["data"]["sessionId"]
        # Each minute, as a program says it; then under the ground for ten; and once with half a minute more.
        minutes = [0, 1, 2, 3, 13, 14, 15.5, 16.5]
        points = [Point(int(minute * 60_000), 48.2, 16.37 + minute / 1000) for minute in minutes]
        await home.server.storage.chronicle.write([], {session_id: Changes(points, True, None)})
        page = (await home.fetch(f"/history/{session_id}", who="ben")).text
        known, guessed = (re.search(rf'<path class="{name}" d="([^"]+)"', page) for name in ("way", "way guessed"))
        assert known is not None
        assert guessed is not None
        assert [len(leg.split("L")) - 1 for leg in known[1].split("M")[1:]] == [3, 3]
        assert [len(leg.split("L")) - 1 for leg in guessed[1].split("M")[1:]] == [1]
        trail = (await home.fetch(f"/history/{session_id}/trail.gpx", who="ben")).text
        assert [part.count("<trkpt") for part in trail.split("<trkseg>")[1:]] == [4, 4]
        assert trail.count("</trkseg>") == 2


def test_a_way_of_which_little_is_said_is_known_all_the_same() -> None:
    each_hour = [Point(hour * 3_600_000, 48.2, 16.37 + hour / 100) for hour in range(9)]
    for points in ([], each_hour[:1], each_hour):
        drawing = draw_trail(points)
        assert drawing is None or not drawing.guessed
    assert (drawing := draw_trail(each_hour)) is not None
    assert drawing.path.count("L") == 8


def test_a_story_does_not_tell_that_a_guardian_went_from_page_to_page() -> None:
    def ben(kind: Literal["came", "left"], moment: int) -> Entry:
        return Entry("a-session", moment, kind, "ben", "Ben Keller")

    chloe = Entry("a-session", 3, "came", "chloe", "Chloe Martin")
    came, again = ben("came", 1), ben("came", BLINK + 4)
    left = [ben("left", 2), ben("left", 5), ben("left", 3 * BLINK)]
    assert without_blinks([came, left[0], chloe, ben("came", 4), left[1], again, left[2]]) == [came, chloe, left[2]]
    late = ben("came", 4 * BLINK)
    assert without_blinks([came, left[2], late]) == [came, left[2], late]


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_a_cell_is_no_formula(cell: str) -> None:
    assert next(csv.reader([csv_line(["ana", cell])])) == ["ana", f"'{cell}"]


def test_a_cell_is_no_formula_where_semicolons_separate_either() -> None:
    line = csv_line(["Ana;=1+1", 'Ana;"=1+1"', {"note": "Home;=1+1 ;-)"}])
    assert not re.search(r';["\s]*[=+@-]', line)
    first, second, metadata = next(csv.reader([line]))
    assert (first, second) == ("Ana;'=1+1", 'Ana;\'"=1+1"')
    assert json.loads(metadata) == {"note": "Home;=1+1 ;-)"}


@pytest.mark.gen_test
async def test_of_very_many_who_watch_the_last_are_a_number(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("ana", "ben")) as home:
        people = home.server.people
        for number in range(12):
            await people.accounts.add(f"{number}@example.org", first_name=f"G{number}", user_id=f"g{number}")
            await people.guardianships.put("ana", f"g{number}", "accepted")
        ward = await home.ward("ana")
        await ward.answer("start-live-session")
        ana, ben = await sign_in(home, "ana"), await sign_in(home, "ben")
        assert re.search(r">(?:[\w ]+, ){11}and 3 others are told as soon as they look<", (await ana.get("/ward")).text)
        watching = [await home.guardian(f"g{number}") for number in range(12)]
        named = ", ".join(f"G{number}" for number in range(11))
        assert f"{named}, and G11 are watching over you" in (await ana.get("/ward")).text  # one more is no number
        watching.append(await home.guardian("chloe"))
        assert f"{named}, and 2 others are watching over you" in (await ana.get("/ward")).text
        assert re.search(r"Chloe Martin, G0, .*, and 2 others</dd>", (await ben.get("/")).text)
        watching.append(await home.guardian("ben"))
        assert re.search(r"Chloe Martin, G0, .*, 2 others and you</dd>", (await ben.get("/")).text)


@pytest.mark.gen_test
async def test_a_link_is_not_used_up_by_looking_at_it(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        people = home.server.people
        token = await people.links.for_sign_in(await people.accounts.identify("ben"))
        browser = home.browser()
        for _ in range(2):
            assert (await browser.get(f"/link/{token}")).status == 200
        assert (await browser.post(f"/link/{token}")).status == 303
        assert (await browser.get("/")).status == 200
        assert (await home.browser().get(f"/link/{token}")).status == 410


@pytest.mark.gen_test
async def test_a_link_of_somebody_disabled_asks_for_nothing_that_would_lead_nowhere(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        people = home.server.people
        ana, alex = [await people.accounts.identify(name) for name in ("ana", "alex")]
        invitation = await people.links.for_invitation(ana)
        links = [invitation, await people.links.for_sign_in(ana), await people.links.for_reset(ana, by=alex)]
        await people.accounts.disable("ana")
        for token in links:
            shown = await home.browser().get(f"/link/{token}")
            assert shown.status == 410
            assert "<input" not in shown.text
        await people.accounts.enable("ana")
        assert (await home.browser().get(f"/link/{invitation}")).status == 200


@pytest.mark.gen_test
async def test_an_invitation_by_link_makes_an_account_and_a_guardian(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("ana",)) as home:
        ana = await sign_in(home, "ana")
        shown = await ana.post("/people/link")
        found = re.search(r"/link/[\w-]+", shown.text)
        assert found is not None
        assert "<svg" in shown.text
        newcomer = home.browser()
        await newcomer.get(found[0])
        fields = {"email": "new@example.org", "first_name": "Nora", "last_name": "Neu", "password": "a long one indeed"}
        assert (await newcomer.post(found[0], fields)).status == 303
        assert "Nora Neu" in (await ana.get("/people")).text


@pytest.mark.slow
@pytest.mark.gen_test
async def test_only_an_invitation_is_not_for_who_it_comes_from(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("ana",)) as home:
        browser, people = await sign_in(home, "ana"), home.server.people
        ana, alex = [await people.accounts.identify(name) for name in ("ana", "alex")]
        invitation = (await browser.get(f"/link/{await people.links.for_invitation(ana)}")).text
        assert "This is your own invitation." in invitation and "<form class=" not in invitation
        # Still signed in, and yet the password is forgotten.
        forgotten = f"/link/{await people.links.for_reset(ana, by=alex)}"
        assert 'name="password"' in (await browser.get(forgotten)).text
        assert (await browser.post(forgotten, {"password": "a long one indeed"})).status == 303
        sign_in_link = f"/link/{await people.links.for_sign_in(ana)}"
        assert "data-at-once" in (await browser.get(sign_in_link)).text
        assert (await browser.post(sign_in_link)).status == 303
        assert (await browser.get("/")).status == 200


@pytest.mark.gen_test
async def test_whoever_has_an_account_already_comes_from_the_invitation_to_the_sign_in(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        people = home.server.people
        path = f"/link/{await people.links.for_invitation(await people.accounts.identify('ana'))}"
        chloe = home.browser()
        await chloe.get(path)
        fields = {"email": "chloe@example.org", "first_name": "Chloe", "last_name": "", "password": "a long one indeed"}
        taken = await chloe.post(path, fields)
        assert taken.status == 409
        (alert,) = re.findall('<p class="problem".*?</p>', taken.text, re.DOTALL)
        (to,) = re.findall('href="([^"]*)"', alert)
        login = (await chloe.get(html.unescape(to))).text
        assert f'name="next" value="{path}"' in login
        assert 'value="chloe@example.org"' in login


@pytest.mark.parametrize(
    ("settings", "asked", "led_to"),
    [
        ({"host": "0.0.0.0"}, "192.0.2.7:{port}", "http://192.0.2.7:{port}"),
        ({"host": "0.0.0.0"}, "[2001:DB8::7]:{port}", "http://[2001:db8::7]:{port}"),
        ({"allowed_hosts": (("live.lan", None),)}, "Live.lan", "http://live.lan"),
        ({"public_url": "https://live.example.org"}, "127.0.0.1:{port}", "https://live.example.org"),
    ],
)
@pytest.mark.gen_test
async def test_a_link_leads_where_the_page_was_asked_for_unless_there_is_a_public_address(
    tmp_path: Path, settings: dict[str, Any], asked: str, led_to: str
) -> None:
    async with house(tmp_path, with_password=("ana",), **settings) as home:
        host = asked.format(port=home.port)
        there = {"Host": host, "Origin": f"{home.server.settings.site(home.port).scheme}://{host.lower()}"}
        browser = home.browser()
        await browser.get("/login", **there)
        signed_in = await browser.post("/login", {"email": "ana@example.org", "password": PASSWORD}, **there)
        assert signed_in.status == 303
        await browser.get("/people", **there)
        shown = await browser.post("/people/link", **there)
        assert re.search(rf"{re.escape(led_to.format(port=home.port))}/link/[\w-]{{20,}}<", shown.text)


@pytest.mark.slow
@pytest.mark.gen_test
async def test_an_invitation_by_link_can_be_withdrawn_until_somebody_has_used_it(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("ana", "mallory")) as home:
        ana, mallory = await sign_in(home, "ana"), await sign_in(home, "mallory")
        link = re.findall(r"/link/[\w-]+", (await ana.post("/people/link")).text)[0]
        (withdraw,) = re.findall(r"/people/link/\w+/withdraw", (await ana.get("/people")).text)
        assert link.removeprefix("/link/") not in withdraw
        assert "/withdraw" not in (await mallory.get("/people")).text
        assert (await mallory.post(withdraw)).headers["Location"] == "/people?problem=link_over"
        assert (await home.browser().get(link)).status == 200
        assert (await ana.post(withdraw)).headers["Location"] == "/people?done=withdrawn"
        assert "/withdraw" not in (await ana.get("/people?done=withdrawn")).text
        gone = await home.browser().get(link)
        assert gone.status == 410
        assert "It was used or withdrawn already" in gone.text
        assert (await ana.post(withdraw)).headers["Location"] == "/people?problem=link_over"
        assert "among your guardians" in (await ana.get("/people?problem=link_over")).text


def test_the_language_is_the_accounts_or_else_the_browsers() -> None:
    assert negotiate("", "de-AT,de;q=0.9,en;q=0.8") == "de_AT"
    assert negotiate("", "fr,en-GB;q=0.7") == "en_GB"
    assert negotiate("en", "de-AT") == "en"
    assert negotiate("", "x" * 9000) == "en"
    assert negotiate("", "de;q=x,,;") == "en"
    assert Reader("de_AT").language == "de"


@pytest.mark.node
@pytest.mark.parametrize(
    ("language", "hours", "written"),
    [
        ("en", "24", ["00:05:06", "12:05:06"]),
        ("de", "24", ["00:05:06", "12:05:06"]),
        ("en", "12", ["12:05:06 AM", "12:05:06 PM"]),
        ("de", "12", ["12:05:06 AM", "12:05:06 PM"]),
    ],
)
def test_scripts_write_midnight_and_noon_by_the_clock_that_was_chosen(
    language: str, hours: str, written: list[str]
) -> None:
    module = f"data:text/javascript,{quote((resources.static() / 'clock.js').read_text())}"
    script = f"""
        globalThis.document = {{ documentElement: {{ lang: "{language}" }}, addEventListener: () => {{}} }};
        const {{ learn, timeOfDay }} = await import("{module}");
        for (const moment of [0, 12].map((hour) => Date.UTC(2026, 0, 31, hour, 5, 6))) {{
          learn(moment);
          console.log(timeOfDay("UTC", "{hours}")(moment));
        }}
    """
    said = subprocess.run(
        ["node", "--input-type=module", "-e", script], check=True, capture_output=True, text=True, timeout=20
    )
    assert said.stdout.replace("\u202f", " ").splitlines() == written


def test_durations_and_initials() -> None:
    assert [clock(seconds) for seconds in (-5, 0, 65, 3600, 90061)] == ["0:00", "0:00", "1:05", "1:00:00", "25:01:01"]
    names = ("Ana Winter", "ben@example.org", "Ana Maria Winter", " ", "Ana (Mum)", "-")
    assert [initials(name) for name in names] == ["AW", "B", "AW", "?", "AM", "?"]


def test_every_sentence_is_there_in_german() -> None:
    from babel.messages.pofile import read_po

    from liveguard.web.render import LOCALES

    with (LOCALES / "messages.pot").open("rb") as file:
        wanted = read_po(file)
    with (LOCALES / "de/LC_MESSAGES/messages.po").open("rb") as file:
        german = read_po(file, locale="de")
    for message in wanted:
        if not message.id:
            continue
        found = german.get(message.id, message.context)
        assert found is not None, message.id
        assert all(found.string) if isinstance(found.string, tuple) else found.string, message.id
