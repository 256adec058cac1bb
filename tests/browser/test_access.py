"""Everybody can use each page in each of its states: axe-core finds nothing, light or dark, and nothing is too wide."""

from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect
from server import Peer
from visitors import NO_NETWORK, VIENNA, Street, faults_of, open_street

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.node]
long = pytest.mark.gen_test(timeout=120)

# The page of a link that signs in is gone before anybody sees it, unless its script does not press its button.
WAITS = "HTMLElement.prototype.click = () => {};"
STAYS_AWAY = "window.fetch = () => Promise.reject(new Error('no network'));"
GROUND = "(e) => getComputedStyle(e).backgroundColor"
COVERED = "(e) => e.getBoundingClientRect().bottom > document.querySelector('#stop').getBoundingClientRect().top"
WIDTHS = (320, 390, 820, 1440)
States = AsyncIterator[Page]


async def check(states: States) -> None:
    """No state has faults in either scheme, and none makes the page scroll sideways; the ward's page is of AAA."""
    async for page in states:
        enhanced = "/ward" in page.url
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            # What is no matter of colour is the same in both.
            faults = await faults_of(page, only_colours=scheme == "dark", enhanced=enhanced)
            assert faults == [], (page.url, scheme)
        for width in WIDTHS:
            await page.set_viewport_size({"width": width, "height": 800})
            too_wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert too_wide <= 0, (page.url, width)


async def an_evening(street: Street) -> tuple[Peer, str]:
    """Ana is on her way and has shared a place, Tom is lost, Ida has arrived. Ana's connection and Ida's session."""
    ana, tom, ida = [await street.home.ward(name) for name in ("ana", "tom", "ida")]
    for ward in (ana, tom, ida):
        await ward.answer("start-live-session", {"note": "Walking home", "company": "alone", "a" * 40: "b" * 400})
    for ward in (ana, ida):
        await ward.answer("update-location", {"latitude": 48.2, "longitude": 16.37, "accuracy": 20, "battery": 12})
        await ward.answer("send-message", {"text": "Just crossed the bridge " + "o" * 300})
    past = street.home.server.live.sessions.of_ward("ida")
    await ida.answer("stop-live-session")
    tom.lose()
    assert past is not None
    return ana, past.id


@long
async def test_the_dashboard(street: Street) -> None:
    async def states() -> States:
        ben = await street.sign_in("ben")
        await expect(ben.locator("#calm")).to_be_visible()
        yield ben
        await an_evening(street)
        await expect(ben.locator(".card.lost")).to_be_visible()
        await expect(ben.locator("#ended .rows")).to_be_visible()
        yield ben
        await ben.context.set_offline(True)
        await expect(ben.locator("#live.stale #away")).to_be_visible()
        yield ben
        await ben.context.set_offline(False)
        await expect(ben.locator("#live:not(.stale)")).to_be_visible()
        street.excuse(*NO_NETWORK)
        yield await street.go_on(ben, "mallory", "/")

    await check(states())


@long
async def test_the_wards_page(street: Street) -> None:
    async def states() -> States:
        yield await street.visit("/ward/offline", device=STAYS_AWAY)
        yield await street.visit("/offline", device=STAYS_AWAY)
        ana = await street.sign_in("mallory", "/ward", geolocation=VIENNA, permissions=["geolocation"])
        yield ana  # who is Mallory yet, and has no guardians
        await street.home.guardian("ben")
        people = street.home.server.people
        for number in range(30):  # so many that all colours are among them
            await people.accounts.add(f"{number}@example.org", first_name="Guardian", user_id=f"guardian{number}")
            await people.guardianships.put("ana", f"guardian{number}", "accepted")
        await street.go_on(ana, "ana", "/ward")
        await expect(ana.get_by_role("button", name="Start")).to_be_enabled()
        yield ana
        await ana.get_by_role("button", name="Start").click()
        await expect(ana.locator("#watching-line")).to_contain_text("Ben Keller")
        await ana.get_by_label("Message to your guardians").fill("Just crossed the bridge " + "o" * 300)
        await ana.keyboard.press("Enter")
        await expect(ana.locator("#messages")).to_contain_text("bridge")
        yield ana
        await ana.locator("#share").click()
        await expect(ana.locator("#share-line")).to_contain_text("Location sent")
        yield ana
        await ana.goto(f"{street.home.url}/account")
        await expect(ana.locator("#unshared")).to_be_visible()
        yield ana
        await ana.goto(f"{street.home.url}/ward")
        await ana.locator("#stop").dispatch_event("click")
        await expect(ana.get_by_role("dialog")).to_be_visible()
        yield ana
        await ana.keyboard.press("Escape")
        await ana.context.set_offline(True)
        await expect(ana.locator("#line.away")).to_be_visible()
        yield ana
        await ana.context.close()
        street.excuse(*NO_NETWORK)

    await check(states())


@long
async def test_people_invitations_and_the_account(street: Street) -> None:
    pairs, users = street.home.server.people.guardianships, street.home.server.people.accounts

    async def states() -> States:
        page = await street.sign_in("mallory", "/people")
        yield page
        await pairs.invite(await users.identify("ana"), "mallory@example.org")
        await pairs.invite(await users.identify("ana"), "tom@example.org")
        declined = await pairs.put("ana", "ida", "pending")
        await pairs.decline(await users.identify("ida"), declined.id)
        yield await street.go_on(page, "mallory", "/people")
        yield await street.go_on(page, "mallory", "/")  # is told of them elsewhere, too
        ana = await street.go_on(page, "ana", "/people")
        yield ana
        await ana.get_by_role("button", name="Remove Ben Keller").click()
        await expect(ana.get_by_role("dialog")).to_be_visible()
        yield ana
        await ana.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        await ana.get_by_label("Invite somebody who has an account").fill("nobody@example.org")
        await ana.get_by_role("button", name="Invite", exact=True).click()
        await expect(ana.get_by_role("alert")).to_be_visible()
        street.excuse("status of 404")
        yield ana
        await ana.get_by_role("button", name="Make an invitation link").click()
        await expect(ana.get_by_role("img", name="QR code")).to_be_visible()
        yield ana
        yield await street.go_on(page, "ben", "/account")

    await check(states())


@long
async def test_the_history(street: Street) -> None:
    async def states() -> States:
        ben = await street.sign_in("mallory", "/history")
        yield ben  # who is Mallory yet, and has seen nothing
        ana, past = await an_evening(street)
        await street.home.server.chronicle.write()
        await street.go_on(ben, "ben", "/history")
        await ben.get_by_text("The same as a table").click()
        yield ben
        await ben.get_by_role("link", name="Ida Winter").click()
        await expect(ben.get_by_role("heading", level=1)).to_have_text("Ida Winter")
        assert past in ben.url
        yield ben
        for name in ("ana", "tom"):
            running = street.home.server.live.sessions.of_ward(name)
            assert running is not None
            await ben.goto(f"{street.home.url}/history/{running.id}")
            yield ben
        await ben.get_by_label("Message to Tom").fill("Where are you?")
        await ana.answer("send-message", {"text": "Just crossed the bridge " + "o" * 300})
        await expect(ben.locator("#said a")).to_be_visible()
        yield ben
        await (await street.home.ward("tom")).answer("stop-live-session")
        await expect(ben.locator("#unsent")).not_to_be_empty()
        yield ben

    await check(states())


@long
async def test_the_admins_page(street: Street) -> None:
    async def states() -> States:
        alex = await street.sign_in("alex", "/admin")
        yield alex
        await an_evening(street)
        await street.home.server.people.accounts.disable("mallory")
        await alex.reload()
        for button in ("End session Ana Winter", "Disable Ben Keller"):
            await alex.get_by_role("button", name=button).click()
            await expect(alex.get_by_role("dialog")).to_be_visible()
            yield alex
            await alex.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        yield alex
        await alex.get_by_role("button", name="New password Ben Keller").click()
        await expect(alex.get_by_role("img", name="QR code")).to_be_visible()
        yield alex

    await check(states())


@long
async def test_the_ways_in_and_the_pages_that_say_no(street: Street, browser: Browser, tmp_path: Path) -> None:
    people = street.home.server.people
    ana, alex = await people.accounts.identify("ana"), await people.accounts.identify("alex")

    async def states() -> States:
        login = await street.visit("/login")
        yield login
        await login.get_by_label("Email").fill("ana@example.org")
        await login.get_by_label("Password").fill("wrong")
        await login.get_by_role("button", name="Sign in").click()
        await expect(login.get_by_role("alert")).to_be_visible()
        yield login
        new = await people.accounts.add("new@example.org", first_name="Nora")
        invitation = f"/link/{await people.links.for_invitation(ana)}"
        await login.context.add_init_script(WAITS)
        for link in (
            f"/link/{await people.links.for_reset(ana, by=alex)}",
            f"/link/{await people.links.for_reset(new, by=alex)}",
            invitation,
            f"/link/{await people.links.for_sign_in(ana)}",
            "/link/none",
        ):
            await login.goto(street.home.url + link)
            yield login
        for who, path in (("ana", invitation), *(("mallory", path) for path in (invitation, "/nowhere", "/admin"))):
            yield await street.go_on(login, who, path)
        street.excuse("status of 4")

    await check(states())
    new = tmp_path / "new"
    new.mkdir()
    async with open_street(new, browser, empty=True) as other:

        async def set_up() -> States:
            assert other.home.server.set_up_link is not None
            yield await other.visit(other.home.server.set_up_link.removeprefix(other.home.url))

        await check(set_up())


@long
async def test_german_fits_as_well(street: Street) -> None:
    _ana, past = await an_evening(street)
    await street.home.server.people.guardianships.invite(
        await street.home.server.people.accounts.identify("ben"), "alex@example.org"
    )

    pages = {
        "ben": ("/", "/people", "/history", f"/history/{past}", "/ward"),
        "ana": ("/ward", "/people", "/account"),
        "alex": ("/people", "/admin"),
    }
    page = await street.visit("/healthz", locale="de-DE")
    for who, paths in pages.items():
        for path in paths:
            await street.go_on(page, who, path)
            for width in WIDTHS:
                await page.set_viewport_size({"width": width, "height": 800})
                too_wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
                assert too_wide <= 0, (who, path, width)


@long
async def test_what_is_written_from_right_to_left_is_read_so(street: Street) -> None:
    ana = await street.home.ward("ana")
    await ana.answer("start-live-session", {"note": "אני בדרך הביתה."})
    await ana.answer("send-message", {"text": "אני כאן!"})
    ben = await street.sign_in("ben")
    for text in (ben.locator(".note q"), ben.locator(".messages .text")):
        assert await text.evaluate("(e) => getComputedStyle(e).direction") == "rtl"
    await ben.get_by_role("link", name="Ana Winter").click()
    await expect(ben.locator(".timeline .text")).to_have_css("direction", "rtl")


@long
async def test_the_start_is_in_reach_however_many_guardians_there_are(street: Street) -> None:
    people = street.home.server.people
    for number in range(30):
        await people.accounts.add(f"{number}@example.org", first_name="Guardian", user_id=f"guardian{number}")
        await people.guardianships.put("ana", f"guardian{number}", "accepted")
    ana = await street.sign_in("ana", "/ward", viewport={"width": 390, "height": 780})
    await expect(ana.locator("#start")).to_be_in_viewport(ratio=1)
    note = ana.get_by_label("A note for them")
    await note.focus()
    await expect(note).to_be_in_viewport(ratio=1)
    assert await note.evaluate("(e) => e.getBoundingClientRect().bottom <= start.getBoundingClientRect().top")


@long
@pytest.mark.parametrize("size", [(375, 553), (667, 331), (740, 360)])
async def test_the_buttons_are_in_sight_on_a_small_and_on_a_turned_phone(street: Street, size: tuple[int, int]) -> None:
    ana = await street.sign_in("ana", "/ward", locale="de-DE", viewport={"width": size[0], "height": size[1]})
    start, stop, bar = ana.locator("#start"), ana.locator("#stop"), ana.get_by_role("navigation")
    await expect(start).to_be_in_viewport(ratio=1)
    assert await start.evaluate("(e) => e.getBoundingClientRect().bottom") <= (await bar.bounding_box() or {})["y"]
    await start.click()
    await expect(stop).to_be_in_viewport(ratio=1)
    for text in ("On my way", "Just crossed the bridge, and nobody is here", "Nearly there"):
        await ana.locator("#text").fill(text)
        await ana.keyboard.press("Enter")
        await expect(ana.locator("#messages li").last).to_contain_text(text)
    await expect(stop).to_be_in_viewport(ratio=1)
    assert await ana.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


@long
async def test_a_card_is_the_same_on_a_small_and_on_a_turned_phone(street: Street) -> None:
    ana = await street.home.ward("ana")
    await ana.answer("start-live-session", {"note": "Walking home"})
    for text in ("On my way", "Just crossed the bridge", "Somebody is behind me"):
        await ana.answer("send-message", {"text": text})
    ben = await street.sign_in("ben")
    card = ben.locator(".card")
    for width, height in ((375, 553), (740, 360)):
        await ben.set_viewport_size({"width": width, "height": height})
        await card.scroll_into_view_if_needed()
        parts = await card.evaluate("(e) => [...e.children].map((one) => one.getBoundingClientRect().toJSON())")
        assert all(above["bottom"] <= below["top"] for above, below in pairwise(parts)), (width, parts)
        # All that is written there so far fits.
        assert await card.locator(".messages").evaluate("(e) => e.scrollHeight <= e.clientHeight"), width


@long
async def test_where_little_fits_the_navigation_goes_with_the_page(street: Street) -> None:
    ben = await street.sign_in("ben", "/history", viewport={"width": 320, "height": 256})
    await expect(ben.get_by_role("navigation")).to_be_in_viewport(ratio=1)
    assert await ben.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    await ben.evaluate("scrollTo(0, document.body.scrollHeight)")
    await expect(ben.get_by_role("navigation")).not_to_be_in_viewport()


NOTES_WHAT_IS_UNDER = """(warning) => {
    window.under = [];
    addEventListener("keyup", () => {
      const [upper, lower] = [warning, document.activeElement].map((one) => one.getBoundingClientRect());
      if (upper.top <= lower.top && lower.bottom <= upper.bottom) under.push(document.activeElement.outerHTML);
    });
}"""


@long
async def test_what_has_the_focus_does_not_lie_under_a_warning(street: Street) -> None:
    await an_evening(street)
    ben = await street.sign_in("ben", locale="de-DE")
    for path in ("/", await ben.locator(".card.live h2 a").get_attribute("href") or ""):
        await ben.goto(street.home.url + path)
        await street.connected(ben)
        await ben.context.set_offline(True)
        away = ben.locator("#away")
        await expect(away).to_be_visible()
        await away.evaluate(NOTES_WHAT_IS_UNDER)
        for width, height in ((320, 256), (390, 844), (740, 360)):
            await ben.set_viewport_size({"width": width, "height": height})
            await ben.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
            for key in ("Tab", "Shift+Tab"):
                for _ in range(20):
                    await ben.keyboard.press(key)
            assert await ben.evaluate("under") == [], (width, path)
        await ben.context.set_offline(False)
    street.excuse(*NO_NETWORK)


@long
async def test_on_paper_there_is_nothing_to_press(street: Street) -> None:
    _ana, past = await an_evening(street)
    ben = await street.sign_in("ben")
    await expect(ben.locator(".card")).to_have_count(2)
    await ben.emulate_media(media="print")
    await expect(ben.locator(".card.lost .lost-line")).to_be_visible()
    await expect(ben.get_by_role("navigation")).to_be_hidden()
    for button in await ben.get_by_role("button").all():
        await expect(button).to_be_hidden()
    # What is old does not pass for live on paper either.
    await ben.context.set_offline(True)
    await expect(ben.locator("#away")).to_be_visible()
    await ben.context.set_offline(False)
    # Nor is there anybody else on the page of one session.
    await ben.goto(f"{street.home.url}/history/{past}")
    await expect(ben.get_by_text("Tom Berger")).to_be_hidden()
    street.excuse(*NO_NETWORK)


@long
async def test_no_word_breaks_on_the_narrowest_phone(street: Street) -> None:
    await an_evening(street)
    for locale, lost in (("en-GB", "Connection lost"), ("de-DE", "Verbindung verloren")):
        ben = await street.sign_in("ben", locale=locale, viewport={"width": 320, "height": 700})
        await expect(ben.locator(".card.lost .state")).to_contain_text(lost)
        for words in (ben.locator(".card.lost .state"), ben.locator("nav a span").filter(has_not_text=" ")):
            for word in await words.all():
                line = await word.evaluate("(e) => parseFloat(getComputedStyle(e).lineHeight)")
                assert await word.evaluate("(e) => e.offsetHeight") < 1.5 * line


@long
async def test_the_buttons_that_stop_say_in_german_that_somebody_is_safe_and_fit(street: Street) -> None:
    ana = await street.sign_in("ana", "/ward", locale="de-DE", viewport={"width": 320, "height": 568})
    await ana.locator("#start").click()
    stop = ana.get_by_role("button", name="Ich bin in Sicherheit: beenden")
    await expect(stop).to_be_in_viewport(ratio=1)
    lines = await stop.locator(".label").evaluate("(e) => e.offsetHeight / parseFloat(getComputedStyle(e).lineHeight)")
    assert lines < 2.5  # of three, it would lie over the message that somebody writes
    yes = ana.get_by_role("button", name="Ja, ich bin in Sicherheit")
    await stop.dispatch_event("click")
    await expect(yes).to_be_in_viewport(ratio=1)
    for button in (stop, yes):
        assert await button.evaluate("(e) => e.scrollWidth <= e.clientWidth && e.scrollHeight <= e.clientHeight")


async def enlarge(page: Page) -> None:
    """The browser's letters are twice as large, as somebody has chosen in its settings."""
    devtools = await page.context.new_cdp_session(page)
    await devtools.send("Page.setFontSizes", {"fontSizes": {"standard": 32, "fixed": 26}})


@long
async def test_letters_twice_as_large_fit_on_a_phone(street: Street) -> None:
    _ana, past = await an_evening(street)
    phone = {"locale": "de-DE", "viewport": {"width": 390, "height": 844}}
    page = await street.visit("/healthz", **phone)
    for who, paths in (("ben", ("/", "/people", "/history", f"/history/{past}", "/account")), ("alex", ("/admin",))):
        for path in paths:
            await street.go_on(page, who, path)
            await enlarge(page)
            assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path
            for text in await page.locator(".timeline p, .card h2, .rows .name, .rows .what").all():
                assert await text.evaluate("(e) => e.offsetWidth > 4 * parseFloat(getComputedStyle(e).fontSize)"), path
    ana = await street.go_on(page, "ana", "/ward")
    await enlarge(ana)
    for place in ("watching", "share", "text", "stop"):
        # What is in sight, nothing lies upon.
        seen = await ana.locator(f"#{place}").evaluate(
            "(e) => { e.scrollIntoView({ block: 'center' }); const box = e.getBoundingClientRect();"
            " return e.contains(document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2)); }"
        )
        assert seen, place
    assert await ana.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


@long
async def test_where_a_ward_writes_nothing_lies_upon_it(street: Street) -> None:
    ana, phone = await street.sign_in("ana", "/ward", locale="de-DE"), await street.home.ward("ana")
    field, line = ana.locator("#text"), ana.locator("#line")
    for size in ((390, 844), (360, 640), (375, 553), (390, 440), (844, 390)):
        await ana.set_viewport_size({"width": size[0], "height": size[1]})
        await ana.locator("#start").click()
        for text in ("On my way", "Just crossed the bridge", "Nearly there"):
            await field.fill(text)
            await ana.keyboard.press("Enter")
            await expect(ana.locator("#messages li").last).to_contain_text(text)
            assert not await field.evaluate(COVERED), size
        await ana.evaluate("scrollTo(0, 0)")
        await field.evaluate("(e) => { e.blur(); e.focus(); }")
        await expect(field, f"{size}").to_be_in_viewport(ratio=1)
        assert not await field.evaluate(COVERED), size
        await ana.context.set_offline(True)
        await expect(line).to_contain_text("Keine Verbindung")
        await expect(field, f"{size}").to_be_in_viewport(ratio=1)
        assert not await field.evaluate(COVERED), size
        if size[1] > 600:
            await ana.evaluate("scrollTo(0, document.body.scrollHeight)")
            await expect(line, f"{size}").to_be_in_viewport(ratio=1)
            await line.evaluate("(line) => line.classList.replace('away', 'problem')")
            await expect(line, f"{size}").to_be_in_viewport(ratio=1)
            await line.evaluate("(line) => line.classList.replace('problem', 'away')")
        await ana.context.set_offline(False)
        await expect(line).to_contain_text("Wieder verbunden")
        await phone.answer("stop-live-session")
        await expect(ana.locator("#idle")).to_be_visible()
    street.excuse(*NO_NETWORK)


@long
async def test_where_a_ward_writes_is_in_sight_when_the_page_is_loaded_however_much_was_written(street: Street) -> None:
    phone = await street.home.ward("ana")
    await phone.answer("start-live-session")
    for number in range(5):
        await phone.answer("send-message", {"text": f"{number}: what people write on their way is about as long"})
    ana = await street.sign_in("ana", "/ward", locale="de-DE")
    for width, height in ((390, 844), (360, 740), (1280, 720)):
        await ana.set_viewport_size({"width": width, "height": height})
        for gone in (True, False):
            ben = None if gone else await street.home.guardian("ben")
            await ana.reload()
            await expect(ana.locator("#told-line")).to_be_visible(visible=gone)
            assert await ana.evaluate("scrollY") == 0
            await expect(ana.locator("#messages li").last).to_be_in_viewport()
            assert not await ana.locator("#text").evaluate(COVERED), (width, gone)
            if ben:
                await ben.leave()


@long
async def test_a_ward_sees_in_german_as_well_where_to_write(street: Street) -> None:
    ana = await street.sign_in("ana", "/ward", locale="de-DE", is_mobile=True, has_touch=True)
    phone = await street.home.ward("ana")
    field, line = ana.locator("#text"), ana.locator("#line")
    for width, height in ((390, 844), (375, 667), (360, 640), (375, 553), (320, 568)):
        await ana.set_viewport_size({"width": width, "height": height})
        await ana.locator("#start").click()
        await expect(ana.locator("#told-line")).to_be_visible()
        await expect(field, f"at {width}").to_be_in_viewport(ratio=1)
        assert not await field.evaluate(COVERED), width
        fits = await field.evaluate("(e) => { e.value = e.placeholder; return e.scrollWidth <= e.clientWidth; }")
        assert fits, width
        await field.fill("")
        await field.blur()
        # Also while there is no connection.
        await ana.evaluate("scrollTo(0, 0)")
        await ana.context.set_offline(True)
        await expect(line).to_contain_text("Keine Verbindung")
        assert not await field.evaluate(COVERED), width
        await ana.context.set_offline(False)
        await expect(line).to_contain_text("Wieder verbunden")
        await phone.answer("stop-live-session")
        await expect(ana.locator("#idle")).to_be_visible()
    street.excuse(*NO_NETWORK)


@long
async def test_in_a_low_window_a_warning_comes_into_sight(street: Street) -> None:
    ana = await street.sign_in("ana", "/ward", locale="de-DE")
    line, stop = ana.locator("#line"), ana.locator("#stop")
    await ana.locator("#start").click()
    await expect(stop).to_be_visible()
    for width, height in ((667, 375), (320, 400), (195, 422)):
        await ana.set_viewport_size({"width": width, "height": height})
        await ana.evaluate("scrollTo(0, document.body.scrollHeight)")
        await ana.context.set_offline(True)
        await expect(line).to_contain_text("Keine Verbindung")
        await expect(line).to_be_in_viewport(ratio=1)
        # And what became of a button that is pressed below it.
        await ana.evaluate("scrollTo(0, document.body.scrollHeight)")
        await stop.focus()
        await ana.keyboard.press("Enter", delay=1100)
        await expect(line).to_contain_text("Nicht beendet")
        await expect(line).to_be_in_viewport(ratio=1)
        await stop.blur()
        await ana.context.set_offline(False)
        await expect(line).to_contain_text("wurde nicht beendet")
        await expect(line).to_be_in_viewport(ratio=1)
    street.excuse(*NO_NETWORK)


@long
async def test_the_cards_stay_in_sight_however_much_is_said(tmp_path: Path, browser: Browser) -> None:
    async with open_street(tmp_path, browser, reconnect_grace=0) as street:
        ben = await street.sign_in("ben", viewport={"width": 390, "height": 844})
        people = street.home.server.people
        for number in range(9):
            await people.accounts.add(f"{number}@example.org", first_name="Walker", user_id=f"walker{number}")
            await people.guardianships.put(f"walker{number}", "ben", "accepted")
            walker = await street.home.ward(f"walker{number}")
            await walker.answer("start-live-session")
            walker.lose()
            if number == 4:
                # What some say is there to read at once,
                await expect(ben.locator("#worrying a")).to_have_count(5)
                assert await ben.locator("#worrying").evaluate("(list) => list.scrollHeight <= list.clientHeight")
        # and of many who they are.
        await expect(ben.locator("#worrying a")).to_have_count(9)
        await expect(ben.locator("#worrying a").nth(3)).to_be_in_viewport(ratio=1)
        ana = await street.home.ward("ana")
        await ana.answer("start-live-session")
        await expect(ben.locator(".card")).to_be_visible()
        await ana.answer("send-message", {"text": "I am scared. " * 150})
        await expect(ben.locator("#said")).to_contain_text("scared")
        await expect(ben.locator(".card h2")).to_be_in_viewport(ratio=1)
        oldest = ben.locator("#worrying a").last
        await oldest.focus()
        await expect(oldest).to_be_in_viewport(ratio=1)


@long
async def test_what_is_on_and_what_is_held_is_told_without_colours_of_ours(street: Street) -> None:
    ben = await street.sign_in("ben", forced_colors="active", reduced_motion="reduce")
    sound = ben.get_by_role("button", name="Sound")
    await sound.click()
    await expect(sound).to_have_attribute("aria-pressed", "true")
    assert await sound.evaluate(GROUND) != await ben.locator("html").evaluate(GROUND)
    assert "✓" in await sound.evaluate("(e) => getComputedStyle(e, '::after').content")
    await expect(sound).to_have_accessible_name("Sound")  # and nobody hears of the mark
    await (await street.home.ward("ana")).answer("start-live-session")
    for name, look in (("Watching", "underline"), ("History", "none")):
        page = ben.get_by_role("navigation").get_by_role("link", name=name)
        await expect(page).to_have_css("text-decoration-line", look)
    tom = await street.home.ward("tom")
    await tom.answer("start-live-session")
    tom.lose()
    await expect(ben.locator(".card.lost .lost-line")).to_have_css("border-top-style", "solid")
    edges = [await ben.locator(f".card.{state}").evaluate("(e) => e.clientLeft") for state in ("live", "lost")]
    assert edges[0] < edges[1]
    ana = await street.go_on(ben, "ana", "/ward")
    stop = ana.locator("#stop")
    assert await stop.evaluate(GROUND) != await stop.locator(".fill").evaluate(GROUND)
    # What scrolls by behind it and its hint is not to be read through them.
    assert await ana.locator(".stop").evaluate(GROUND) == await ana.locator("html").evaluate(GROUND)


@long
async def test_the_rows_of_a_list_are_told_apart_without_colours_of_ours(street: Street) -> None:
    await an_evening(street)
    await (await street.home.ward("tom")).answer("stop-live-session")
    ben = await street.sign_in("ben", forced_colors="active")
    rows = ben.locator("#ended .rows > li")
    await expect(rows).to_have_count(2)
    await expect(rows.last).to_have_css("border-top-style", "solid")
