"""The page of one session: a guardian who follows one ward misses nothing, of this ward or of another."""

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, Route, expect
from server import House, Peer
from visitors import IS_HEARD, IS_NOTIFIED, NO_NETWORK, Street, open_street, said_last

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LINES_OF_A_TIME = """(element) => {
    const texts = [...element.childNodes].filter((node) => /\\d:\\d\\d/.test(node.data));
    const [time] = texts[0].data.matchAll(/\\d+:\\d\\d\\s[AP]M/g);
    const range = document.createRange();
    range.setStart(texts[0], time.index);
    range.setEnd(texts[0], time.index + time[0].length);
    return new Set([...range.getClientRects()].map(({ top }) => top)).size;
}"""


async def start(home: House, name: str) -> tuple[Peer, str]:
    """A ward who is on their way, and where the page of that session is."""
    ward = await home.ward(name)
    started = await ward.answer("start-live-session")
    return ward, f"/history/{started['data']['sessionId']}"


async def told(page: Page, sentence: str) -> None:
    """It is said, heard, and notified of."""
    await said_last(page, sentence)
    await page.wait_for_function("(text) => window.tones.length && window.notices.at(-1) === text", arg=sentence)
    await page.evaluate("window.tones = []")


@pytest.mark.gen_test
async def test_it_tells_all_that_the_dashboard_tells(street: Street) -> None:
    ana, path = await start(street.home, "ana")
    ben = await street.sign_in("ben", path, device=IS_HEARD + IS_NOTIFIED, viewport={"width": 390, "height": 700})
    for name in ("Sound", "Notifications"):
        await ben.get_by_role("button", name=name).click()
    await street.connected(ben)
    await ben.evaluate("window.away = true")
    said, others = ben.locator("#said"), ben.locator("#others")
    ana.lose()
    await expect(ben.locator(".session-head .state.lost")).to_be_visible()
    await expect(said).to_be_empty()  # she may only turn a page
    await told(ben, "The connection to Ana Winter is lost.")
    ana = await street.home.ward("ana")
    await told(ben, "Ana Winter is back.")
    await ana.answer("send-message", {"text": "On the bridge"})
    await told(ben, "Ana Winter writes: On the bridge")
    await expect(said.get_by_role("link")).to_have_count(0)

    # Of another ward it tells as well, wherever Ben is on the page, and leads there.
    await ben.get_by_label("Message to Ana").focus()
    tom, toms = await start(street.home, "tom")
    await told(ben, "Tom Berger has started a session.")
    await expect(said.get_by_role("link")).to_have_attribute("href", toms)
    await expect(said).to_be_in_viewport(ratio=1)
    await expect(others).to_contain_text("Tom Berger · Live")
    await tom.answer("send-message", {"text": "In the bus"})
    await told(ben, "Tom Berger writes: In the bus")
    tom.lose()
    await told(ben, "The connection to Tom Berger is lost.")
    await expect(others.locator(".lost-line")).to_contain_text("Tom Berger · Connection lost")
    assert (await ben.title()).startswith("⚠ (2) Ana Winter")

    # After the end the page still tells of the others. An admin, whom no socket tells of it, is told as well.
    alex = await street.sign_in("alex", path)
    await expect(alex.locator("#live:not(.stale)")).to_be_visible()
    await ana.answer("stop-live-session")
    await expect(alex.locator("#said")).to_have_text("Ana Winter is safe and has stopped the session.")
    await told(ben, "Ana Winter is safe and has stopped the session.")
    await expect(ben.locator(".session-head .state")).to_contain_text("Safe, stopped it")
    await expect(ben.get_by_label("Message to Ana")).to_have_count(0)
    await expect(ben.locator("main")).to_be_focused()
    await street.home.ward("tom")
    await told(ben, "Tom Berger is back.")
    await expect(others).to_contain_text("Tom Berger · Live")
    await said.get_by_role("link").press("Enter")
    await expect(ben.get_by_role("heading", level=1)).to_have_text("Tom Berger")


@pytest.mark.gen_test
async def test_who_reads_of_an_old_session_is_told_of_a_new_one(street: Street) -> None:
    ana, path = await start(street.home, "ana")
    await ana.answer("stop-live-session")
    ben = await street.sign_in("ben", path)
    await expect(ben.locator("#live:not(.stale)")).to_be_visible()
    await ana.answer("start-live-session")
    await expect(ben.locator("#said")).to_have_text("Ana Winter has started a session.")
    await expect(ben.locator("#others")).to_contain_text("Ana Winter · Live")
    # Her own old sessions are no place for Ana to watch from.
    await ana.answer("stop-live-session")
    assert await (await street.go_on(ben, "ana", path)).get_by_role("button", name="Sound").count() == 0


def says_that_it_is_not_there(page: str) -> Callable[[Route], Awaitable[None]]:
    async def answer(route: Route) -> None:
        await route.fulfill(status=404, body=page, content_type="text/html")

    return answer


@pytest.mark.gen_test
async def test_a_page_that_is_not_there_for_a_moment_is_looked_for_again(street: Street) -> None:
    ana, path = await start(street.home, "ana")
    ben = await street.sign_in("ben", path)
    await expect(ben.locator("#live:not(.stale)")).to_be_visible()
    # A proxy says so, with a page of its own, and the server, with one of ours.
    for number, page in enumerate(("<h1>404 page not found</h1>", '<main id="main"><h1>Nothing is here</h1></main>')):
        async with ben.expect_response(lambda answer: answer.status == 404):
            await ben.route(f"**{path}", says_that_it_is_not_there(page), times=1)
        await ana.answer("send-message", {"text": f"Message {number}"})
        await expect(ben.locator(".timeline")).to_contain_text(f"Message {number}")
        await expect(ben.locator(".session-head .state")).to_contain_text("Live")
    street.excuse("404")


@pytest.mark.gen_test
async def test_what_could_not_be_sent_any_more_can_be_copied(tmp_path: Path, browser: Browser) -> None:
    async with open_street(tmp_path, browser, reconnect_grace=1) as street:
        tom, toms = await start(street.home, "tom")
        ana, anas = await start(street.home, "ana")
        page, other = await street.sign_in("ben", toms), await street.sign_in("ben", anas, locale="de-DE")
        field = page.get_by_label("Message to Tom")
        await field.press_sequentially("Where are y")
        await field.press("Home")
        tom.lose()
        await expect(page.locator("#said .lost")).to_contain_text("Tom Berger did not come back")
        await expect(page.locator(".session-head .state.lost")).to_have_text(" Connection lost, did not come back")
        await expect(page.get_by_role("status").filter(has_text="This was not sent")).to_be_visible()
        await expect(field).to_have_value("Where are y")
        await expect(field).to_be_focused()
        await expect(field).not_to_be_editable()
        await expect(page.get_by_role("button", name="Send")).to_have_count(0)

        # Whoever looks at the page of another is told, and sees it for as long as on the dashboard.
        await expect(other.locator("#said .lost")).to_contain_text("Tom Berger ist nicht zurückgekommen")
        await expect(other.locator("#others .lost-line")).to_contain_text("Tom Berger")
        await other.get_by_label("Nachricht an Ana").fill("Wo bist du")
        people = street.home.server.people
        ben = await people.accounts.identify("ben")
        (pair,) = [one for one in await people.guardianships.of_guardian(ben) if one.ward.id == "ana"]
        await people.guardianships.revoke(ben, pair.id)
        await expect(other.get_by_role("heading", level=1)).to_have_text("Hier ist nichts")
        await said_last(other, "Du begleitest Ana Winter nicht mehr.")
        await expect(other.get_by_label("Nachricht an Ana")).to_have_value("Wo bist du")
        await expect(other.get_by_text("Das wurde nicht gesendet")).to_be_visible()
        # Where he is accepted again, it can be sent.
        again = await people.guardianships.invite(await people.accounts.identify("ana"), "ben@example.org")
        await people.guardianships.accept(ben, again.id)
        await expect(other.get_by_text("Das wurde nicht gesendet")).to_have_count(0)
        await other.get_by_label("Nachricht an Ana").press("Enter")
        await ana.expect("message", text="Wo bist du")
        await expect(other.get_by_label("Nachricht an Ana")).to_have_value("")
        street.excuse("status of 404")


@pytest.mark.gen_test
async def test_what_happened_meanwhile_is_said_when_the_connection_is_back(street: Street) -> None:
    ana, path = await start(street.home, "ana")
    ida, _ = await start(street.home, "ida")
    tom, _ = await start(street.home, "tom")
    ben = await street.sign_in("ben", path)
    await expect(ben.locator("#others li")).to_have_count(2)
    await ben.context.set_offline(True)
    await expect(ben.locator("#away")).to_be_visible()
    await ana.answer("send-message", {"text": "Somebody follows me"})
    for text in ("I fell on the stairs", "Nearly there"):
        await ida.answer("send-message", {"text": text})
    ida.lose()
    await tom.answer("stop-live-session")
    await ben.context.set_offline(False)
    said = ben.locator("#said")
    for sentence in (
        "Ana Winter writes: Somebody follows me",
        "The connection to Ida Winter is lost.",
        "Ida Winter writes: I fell on the stairs Ida Winter writes: Nearly there",
        "Tom Berger is safe and has stopped the session.",
    ):
        await expect(said).to_contain_text(sentence)
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_what_is_written_in_the_same_moment_stands_there_in_its_order(street: Street) -> None:
    ana, path = await start(street.home, "ana")
    ben = await street.sign_in("ben", path)
    await street.connected(ben)
    texts = [f"Line {number}" for number in range(20)]
    for half in (texts[:10], texts[10:]):
        for text in half:
            ana.say("send-message", {"text": text})
        for text in half:
            await expect(ben.locator(".timeline")).to_contain_text(text)
    assert await ben.locator(".timeline q").all_inner_texts() == texts
    # And the page goes on.
    await ana.answer("stop-live-session")
    await expect(ben.locator(".timeline")).to_contain_text("Safe, stopped it")


@pytest.mark.gen_test
async def test_a_page_that_cannot_be_made_anew_does_not_pass_for_live(street: Street) -> None:
    _, path = await start(street.home, "ana")
    ben = await street.sign_in("ben", path)
    await expect(ben.locator("#live:not(.stale)")).to_be_visible()
    await ben.evaluate("() => { document.adoptNode = () => { throw new Error('broken'); }; }")
    await expect(ben.locator("#live.stale")).to_be_visible()
    await ben.evaluate("delete document.adoptNode")
    await expect(ben.locator("#live:not(.stale)")).to_be_visible()
    street.excuse("broken")


@pytest.mark.gen_test
async def test_who_writes_below_a_long_story_sees_what_comes_in_and_where_they_write(street: Street) -> None:
    ana, path = await start(street.home, "ana")
    for number in range(20):
        await ana.answer("send-message", {"text": f"Message {number}"})
    ben = await street.sign_in("ben", path, viewport={"width": 390, "height": 700})
    await street.connected(ben)
    field = ben.get_by_label("Message to Ana")
    await expect(field).not_to_be_in_viewport()
    await ben.get_by_role("link", name="To the newest").click()
    await expect(field).to_be_in_viewport(ratio=1)
    await field.fill("I am")
    before = await field.bounding_box()
    for text in ("Somebody follows me", "Where are you?"):
        await ana.answer("send-message", {"text": text})
        await expect(ben.locator(".timeline li").last).to_contain_text(text)
        await expect(ben.locator(".timeline li").last).to_be_in_viewport(ratio=1)
        assert await field.bounding_box() == before
    await expect(field).to_be_focused()
    await expect(field).to_have_value("I am")
    # Who reads further up, stays there.
    await ben.evaluate("scrollTo(0, 300)")
    await ana.answer("send-message", {"text": "Hello?"})
    await expect(ben.locator(".timeline li").last).to_contain_text("Hello?")
    assert await ben.evaluate("scrollY") == 300


@pytest.mark.gen_test
async def test_a_time_of_day_stays_in_one_line(street: Street) -> None:
    _, path = await start(street.home, "ana")
    people = street.home.server.people
    ahead = 12 - datetime.now(UTC).hour
    noon = f"Etc/GMT{-ahead:+d}"  # where it is, as the sign of this name has it, the longest hour to read
    for who, page, place in (("ben", path, ".timeline time"), ("alex", "/admin", ".people p.soft")):
        reader = await people.accounts.identify(who)
        await people.preferences.choose(reader, language="en", time_zone=noon, hours="12")
        window = await street.sign_in(who, page, locale="en-US", viewport={"width": 390, "height": 800})
        text = window.locator(place).first
        await expect(text).to_contain_text(re.compile(r"\d:\d\d\s[AP]M"))
        assert await text.evaluate(LINES_OF_A_TIME) == 1


@pytest.mark.gen_test
async def test_without_script_it_shows_the_others_as_well(street: Street) -> None:
    _, path = await start(street.home, "ana")
    tom, toms = await start(street.home, "tom")
    tom.lose()
    ben = await street.sign_in("ben", path, java_script_enabled=False)
    await expect(ben.locator("#others .lost-line")).to_contain_text("Tom Berger · Connection lost")
    await expect(ben.get_by_role("button", name="Sound")).to_be_hidden()
    await ben.locator("#others").get_by_role("link").click()
    await ben.wait_for_url(street.home.url + toms)
    await expect(ben.locator("#others")).to_contain_text("Ana Winter · Live")
