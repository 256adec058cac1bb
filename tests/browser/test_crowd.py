"""Two hundred at once: sessions that all move, and texts that would like to be scripts."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Response, expect
from server import Peer
from visitors import Street, open_street

from liveguard.web.render import Renderer

pytestmark = [pytest.mark.browser, pytest.mark.slow]

MANY = 200
ESCAPES = ["", '">', "'>", "</script>", "</style>", "</title>", "</textarea>", "-->", "{{7*7}}", "\\u003e&lt;\\"]
SCRIPTS = [
    "<script>boom()</script>", "<img src=x onerror=boom()>", "<svg onload=boom()>", "<svg/onload=boom()//",
    "<iframe src=javascript:boom()>", "<a href=javascript:boom() autofocus onfocus=boom()>x</a>",
    "<body onload=boom()>", "<details open ontoggle=boom()>x", "<input autofocus onfocus=boom()>",
    "<object data=javascript:boom()>", "<video><source onerror=boom()></video>", "<style>*{background:red}</style>",
    "<meta http-equiv=refresh content=0;url=javascript:boom()>", "<base href=//evil.example>",
    "<form action=javascript:boom()><button autofocus>", "<link rel=stylesheet href=//evil.example>",
    "' onfocus=boom() autofocus x='", '" onfocus=boom() autofocus x="', "${boom()}", "javascript:boom()",
]  # fmt: skip
PAYLOADS = [escape + script for escape in ESCAPES for script in SCRIPTS]
LISTENS = "window.booms = 0; window.boom = () => { window.booms += 1; };"


async def harmless(page: Page) -> None:
    """Nothing of it ran; what the policy alone would have stopped, it would have complained of."""
    assert await page.evaluate("window.booms") == 0, page.url
    assert "evil" not in await page.evaluate("document.baseURI")


async def crowd(street: Street, names: list[str]) -> list[Peer]:
    """Wards of these ids and names, whom Ben guards, connected."""
    people = street.home.server.people
    for number, name in enumerate(names):
        await people.accounts.add(f"ward{number}@example.org", first_name=name, user_id=name)
        await people.guardianships.put(name, "ben", "accepted")
    return [await street.home.ward(name) for name in names]


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The templates that the server renders, one after the other."""
    names: list[str] = []
    render = Renderer.render

    def watched(self: Renderer, template: str, *args: Any, **context: Any) -> str:
        names.append(template)
        return render(self, template, *args, **context)

    monkeypatch.setattr(Renderer, "render", watched)
    return names


async def has_changed(answer: Response) -> bool:
    """Whether the server had anything new to tell a page."""
    return "version" in await answer.json()


async def next_change(page: Page) -> bool:
    """Whether the server has anything new when the page asks for the next time."""
    async with page.expect_response("**/live?**") as response:
        pass
    return await has_changed(await response.value)


@pytest.mark.gen_test
async def test_two_hundred_sessions_that_move_are_rendered_once_a_second_and_not_at_all_when_they_rest(
    street: Street, rendered: list[str]
) -> None:
    wards = await crowd(street, [f"Ward {number}" for number in range(MANY)])
    for ward in wards:
        ward.say("start-live-session", {"note": "Walking home"})
    chloe = await street.sign_in("chloe")
    chloe_sees: list[Response] = []
    chloe.on("response", lambda answer: chloe_sees.append(answer) if "/live?" in answer.url else None)
    ben = await street.sign_in("ben")
    await expect(ben.locator(".card")).to_have_count(MANY)
    for step in range(3):
        place = {"latitude": 48.2 + step / 1000, "longitude": 16.37, "battery": 50}
        for ward in wards:
            ward.say("update-location", place)
        while not await next_change(ben):
            pass
    shown = ben.locator(".card code", has_text=f"{place['latitude']:.5f}, 16.37000")
    await expect(shown).to_have_count(MANY)
    asked = await ben.evaluate(
        "performance.getEntriesByType('resource').filter(({ name }) => name.includes('/live?'))"
        ".map(({ startTime }) => startTime)"
    )
    pauses = [after - before for before, after in pairwise(asked)]
    assert min(pauses) > 900, pauses

    while await next_change(ben):
        pass
    rendered.clear()
    assert not any([await next_change(ben) for _ in range(2)])
    assert rendered == []
    assert not any([await has_changed(answer) for answer in chloe_sees])  # none of it is hers to see


@pytest.mark.gen_test
async def test_two_hundred_scripts_in_names_notes_and_messages_stay_text(browser: Browser, tmp_path: Path) -> None:
    async with open_street(tmp_path, browser, rate_limit=0) as street:
        assert len(set(PAYLOADS)) == MANY
        ana = await street.home.ward("ana")
        accounts = street.home.server.people.accounts
        await accounts.change("ana", first_name=PAYLOADS[1], last_name=PAYLOADS[5])
        ben, chloe = [await street.sign_in(name, device=LISTENS) for name in ("ben", "chloe")]
        phone = await street.sign_in("ana", "/ward", device=LISTENS)

        # They come while the pages are open, and are there when they are loaded.
        await ana.answer("start-live-session", {"note": PAYLOADS[2], PAYLOADS[3][:60]: PAYLOADS[4]})
        for text in PAYLOADS:
            ana.say("send-message", {"text": text})
        for page, messages in ((chloe, chloe.locator(".messages .text")), (phone, phone.locator("#messages .text"))):
            await expect(messages).to_have_count(MANY)
            assert await messages.all_text_contents() == PAYLOADS
            await harmless(page)
            await page.reload()
            await expect(messages).to_have_count(MANY)
            await harmless(page)
        for ward, note in zip(await crowd(street, PAYLOADS), PAYLOADS, strict=True):
            ward.say("start-live-session", {"note": note, note: [note]})
        await expect(ben.locator(".card")).to_have_count(MANY + 1)
        assert set(PAYLOADS) <= set(await ben.locator(".card h2").all_text_contents())
        assert set(PAYLOADS) <= set(await ben.locator(".card .note q").all_text_contents())
        await harmless(ben)
        begun = street.home.server.live.sessions.of_ward("ana")
        assert begun is not None
        await ana.answer("stop-live-session")
        await street.home.server.chronicle.write()
        for path in ("/", "/people", "/history", f"/history/{begun.id}"):
            await ben.goto(street.home.url + path)
            await harmless(ben)
        await harmless(await street.go_on(ben, "alex", "/admin"))


@pytest.mark.gen_test
async def test_what_is_being_written_goes_on_when_the_cards_become_shorter(street: Street) -> None:
    wards = await crowd(street, [f"w{number}" for number in range(13)])
    for ward in wards[:12]:
        await ward.answer("start-live-session")
    ben = await street.sign_in("ben")
    field = ben.get_by_label("Message to w3")
    await field.press_sequentially("Where are ")
    await wards[12].answer("start-live-session")
    await expect(ben.locator(".card.compact")).to_have_count(13)
    await expect(ben.locator("#kept")).to_contain_text("w3")
    await ben.keyboard.type("you?")
    await ben.keyboard.press("Enter")
    assert (await wards[3].expect("message"))["text"] == "Where are you?"
    kept = ben.locator("#kept .unsent")
    await expect(kept).to_have_count(0)
    # Until that session ends.
    await wards[12].answer("stop-live-session")
    await field.fill("Hurry up")
    await wards[12].answer("start-live-session")
    await expect(kept).to_be_visible()
    await wards[3].answer("stop-live-session")
    await expect(kept).to_contain_text("w3: This was not sent, and cannot be any more")
    await expect(kept.get_by_role("textbox")).not_to_be_editable()


@pytest.mark.gen_test
async def test_who_writes_in_a_card_stays_where_they_are_when_another_card_goes(street: Street) -> None:
    wards = await crowd(street, [f"w{number}" for number in range(11)])
    for ward in wards:
        await ward.answer("start-live-session")
    ben = await street.sign_in("ben", viewport={"width": 800, "height": 600})
    await street.connected(ben)
    field = ben.get_by_label("Message to w1", exact=True)
    await field.press_sequentially("Where are ")
    before = await field.bounding_box()
    assert before is not None
    steps = ((wards[10], "stop", 10), (wards[9], "stop", 9), (wards[10], "start", 10), (wards[9], "start", 11))
    for ward, step, number in steps:
        await ward.answer(f"{step}-live-session")
        await expect(ben.locator(".card")).to_have_count(number)
        after = await field.bounding_box()
        assert after is not None
        assert abs(after["y"] - before["y"]) < 2
    await ben.keyboard.type("you?")
    await expect(field).to_have_value("Where are you?")


@pytest.mark.gen_test
async def test_who_only_reads_stays_where_they_are_when_another_card_comes_or_goes(street: Street) -> None:
    wards = await crowd(street, [f"w{number}" for number in range(6)])
    for ward in wards[:5]:
        await ward.answer("start-live-session")
    ben = await street.sign_in("ben", viewport={"width": 390, "height": 700})
    await street.connected(ben)
    read = ben.locator(".card[data-name=w1]")
    # As after a click beside all that can be pressed, and after what had the focus has gone.
    for focus in ("document.activeElement.blur()", "document.getElementById('main').focus({ preventScroll: true })"):
        await ben.evaluate(focus)
        await read.evaluate("(card) => scrollBy(0, card.getBoundingClientRect().top - 150)")
        for step, number in (("start", 6), ("stop", 5)):
            await wards[5].answer(f"{step}-live-session")
            await expect(ben.locator(".card")).to_have_count(number)
            box = await read.bounding_box()
            assert box is not None
            assert abs(box["y"] - 150) < 2
