"""The ward's page on a device that has a place, a battery and a screen, or says that it has none."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Locator, Route, WebSocketRoute, expect
from visitors import IS_TOUCHED, NO_NETWORK, VIENNA, WORKER, Street, hold, open_street, started

from liveguard.errors import StorageUnavailable
from liveguard.sessions import LiveSession, Moment
from liveguard.web.pages.dashboard import Dashboard

pytestmark = [pytest.mark.browser, pytest.mark.slow]

COUNTS_QUESTIONS = """
    window.questions = 0;
    for (const name of ["watchPosition", "getCurrentPosition"]) {
      const ask = Geolocation.prototype[name];
      Geolocation.prototype[name] = function (...all) { window.questions += 1; return ask.apply(this, all); };
    }
"""
CANNOT_TELL = """
    Geolocation.prototype.watchPosition = (_, failed) => { window.failed = failed; return 1; };
    window.fail = (code) => window.failed({ code, PERMISSION_DENIED: 1, POSITION_UNAVAILABLE: 2, TIMEOUT: 3 });
"""
LINES_OF = """(place) => {
    const range = document.createRange();
    range.selectNodeContents(document.querySelector(place));
    return [...new Set([...range.getClientRects()].map(({ top }) => top))];
}"""
NOTES_THE_CLOSE = """() => {
    window.dialogClosed = false;
    document.getElementById("sure").addEventListener("close", () => { window.dialogClosed = true; });
}"""
HALF_CHARGED = "navigator.getBattery = async () => Object.assign(new EventTarget(), { level: 0.42, charging: false });"
HAS_A_SCREEN = """
    window.awake = [];
    const lock = () => Object.assign(new EventTarget(), {
      release() { window.awake.push("released"); this.dispatchEvent(new Event("release")); return Promise.resolve(); },
    });
    window.granted = Promise.resolve();
    window.mayLock = () => true;
    const request = async (kind) => {
      if (!window.mayLock()) throw new DOMException("Permission was denied", "NotAllowedError");
      window.awake.push(kind);
      await window.granted;
      return lock();
    };
    Object.defineProperty(Navigator.prototype, "wakeLock", { get: () => ({ request }) });
"""


@pytest.mark.gen_test
async def test_a_location_is_asked_for_only_when_pressed_and_goes_with_the_battery(street: Street) -> None:
    ben = await street.home.guardian("ben")
    ana = await started(street, geolocation=VIENNA, permissions=["geolocation"], device=COUNTS_QUESTIONS + HALF_CHARGED)
    assert await ana.evaluate("window.questions") == 0
    await ana.clock.install()
    share = ana.get_by_role("button", name="location")
    await share.click()
    location = (await ben.expect("location-updated"))["location"]
    assert (location["latitude"], location["longitude"], location["battery"]) == (48.2082, 16.3738, 42)
    await expect(share).to_have_attribute("aria-pressed", "true")
    assert await ana.evaluate("window.questions") == 1

    # Whoever moves is followed; whoever wants no longer, is not.
    await ana.context.set_geolocation({**VIENNA, "latitude": 48.21})
    await ana.clock.fast_forward(5000)
    assert (await ben.expect("location-updated"))["location"]["latitude"] == 48.21
    await share.click()
    await expect(share).to_have_attribute("aria-pressed", "false")


@pytest.mark.gen_test
async def test_how_rough_a_location_is_stands_where_it_is_sent_and_where_it_is_read(street: Street) -> None:
    rough = {**VIENNA, "accuracy": 4000}
    ana = await started(street, locale="de-DE", geolocation=rough, permissions=["geolocation"])
    ben = await street.sign_in("ben")
    await ana.clock.install()
    await ana.locator("#share").click()
    line, aloud, read = ana.locator("#share-line"), ana.locator("#share-status"), ben.locator(".card .place")
    await expect(line).to_contain_text("Standort auf nur 4,0 km genau, gesendet vor")
    await expect(aloud).to_have_text("Dein Standort wird geteilt, aber nur ungefähr.")
    await expect(read).to_contain_text("accurate to 4.0 km only")
    await ana.context.set_geolocation(VIENNA)
    await ana.clock.fast_forward(5000)
    await expect(line).to_contain_text("Standort gesendet vor")
    await expect(aloud).to_have_text("Dein Standort wird geteilt.")
    await expect(read).not_to_contain_text("accurate")
    await ana.locator("#share").click()
    await expect(aloud).to_have_text("Diese Seite teilt deinen Standort nicht.")


@pytest.mark.gen_test
async def test_why_there_is_no_location_is_said(street: Street) -> None:
    ana = await started(street, device=CANNOT_TELL)
    share, line = ana.get_by_role("button", name="location"), ana.locator("#share-line")
    await share.click()
    reasons = []
    for code in (2, 3):
        await ana.evaluate("(code) => window.fail(code)", code)
        reasons.append(await line.inner_text())
        await expect(share).to_have_attribute("aria-pressed", "true")  # it keeps trying
    await ana.evaluate("window.fail(1)")
    await expect(share).to_have_attribute("aria-pressed", "false")
    reasons.append(await line.inner_text())
    assert "cannot tell where it is" in reasons[0]
    assert reasons[1]
    assert "not allowed to tell your location" in reasons[2]
    await expect(ana.locator("#running")).to_be_visible()


@pytest.mark.gen_test
async def test_what_is_said_of_the_location_is_in_sight_on_a_small_phone(street: Street) -> None:
    small = {"width": 320, "height": 500}
    ana = await started(street, locale="de-DE", viewport=small, device=CANNOT_TELL)
    share, line = ana.locator("#share"), ana.locator("#share-line")

    async def is_in_sight() -> bool:
        text, button = await line.bounding_box(), await ana.locator(".stop").bounding_box()
        assert text is not None and button is not None
        return text["y"] >= 0 and text["y"] + text["height"] <= button["y"] + 16  # where it begins, it is transparent

    await expect(ana.locator("#told-line")).to_be_visible()
    assert not await is_in_sight()
    await share.click()
    await expect(line).to_contain_text("Warte")
    assert await is_in_sight()
    await ana.evaluate("scrollTo(0, 0)")  # while the browser asks
    await ana.evaluate("window.fail(1)")
    await expect(line).to_contain_text("darf deinen Standort nicht")
    assert await is_in_sight()
    # Whoever reads further up is not moved by what was said already.
    await share.click()
    await ana.evaluate("window.fail(2)")
    await ana.evaluate("scrollTo(0, 0)")
    await ana.evaluate("window.fail(2)")
    assert not await is_in_sight()


@pytest.mark.parametrize("size", [(320, 568), (312, 675)])  # or 390x844 with letters a quarter larger
@pytest.mark.gen_test
async def test_the_note_is_in_sight_above_the_button_that_starts_on_a_small_phone(
    street: Street, size: tuple[int, int]
) -> None:
    ana = await street.sign_in("ana", "/ward", locale="de-DE", viewport={"width": size[0], "height": size[1]})
    note, start = await ana.locator("#note").bounding_box(), await ana.locator("#start").bounding_box()
    assert note is not None and start is not None
    assert note["y"] + note["height"] <= start["y"] - 12  # what keeps apart from the button is of the ground's colour


@pytest.mark.gen_test
async def test_how_long_it_takes_stands_in_one_line_also_after_ten_hours(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    ward, clock = await street.home.ward("ana"), street.home.server.clock
    began = Moment(clock.now().wall - 11 * 3600_000, clock.now().steady)
    with monkeypatch.context() as earlier:
        earlier.setattr(clock, "now", lambda: began)
        await ward.answer("start-live-session")
    ana = await street.sign_in("ana", "/ward", viewport={"width": 320, "height": 700})
    await expect(ana.locator("#duration")).to_contain_text("11:00:")
    assert len(await ana.evaluate(LINES_OF, "#duration")) == 1


IS_MOVED = """
    Geolocation.prototype.watchPosition = (...hears) => { [window.moved, window.failed] = hears; return 1; };
    Geolocation.prototype.getCurrentPosition = () => { window.asked = (window.asked ?? 0) + 1; };
    window.at = (latitude) => window.moved({ coords: { latitude, longitude: 16.37 }, timestamp: Date.now() });
    window.fail = () => window.failed({ code: 2, PERMISSION_DENIED: 1, POSITION_UNAVAILABLE: 2, TIMEOUT: 3 });
"""


@pytest.mark.gen_test
async def test_where_a_device_was_is_not_told_as_where_it_is(street: Street) -> None:
    ana = await started(street, device=IS_MOVED)
    ben = await street.home.guardian("ben")
    await ana.clock.install()
    share, line = ana.get_by_role("button", name="location"), ana.locator("#share-line")
    await share.click()
    await ana.evaluate("window.at(48.2)")
    await ben.expect("location-updated")
    await expect(line).to_contain_text("Location sent")
    # It rests: nothing is told again, but asked.
    await ana.clock.fast_forward(31_000)
    await ana.wait_for_function("() => window.asked === 1")
    await ana.evaluate("window.at(48.3)")
    assert (await ben.expect("location-updated"))["location"]["latitude"] == 48.3
    # It cannot tell: that is said for as long as it holds, and nothing is told.
    await ana.evaluate("window.at(48.4); window.fail()")
    await expect(line).to_contain_text("cannot tell where it is")
    await ana.clock.fast_forward(60_000)
    await expect(line).to_contain_text("cannot tell where it is")
    assert "location-updated" not in await ben.all_so_far()
    await ana.evaluate("window.at(48.5)")
    assert (await ben.expect("location-updated"))["location"]["latitude"] == 48.5
    await expect(line).to_contain_text("Location sent")
    # Nor is where it was when the connection went.
    await ana.context.set_offline(True)
    await expect(ana.locator("#line")).to_contain_text("No connection")
    await ana.evaluate("window.asked = 0; window.at(48.6)")
    await ana.clock.fast_forward(11_000)
    await ana.wait_for_function("() => window.asked === 1")
    await ana.context.set_offline(False)
    await expect(ana.locator("#line")).to_have_text("Connected again.")
    await ana.evaluate("window.at(48.7)")
    assert (await ben.expect("location-updated"))["location"]["latitude"] == 48.7
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_a_location_is_shared_in_the_session_for_which_that_was_asked(street: Street) -> None:
    ana = await started(street, geolocation=VIENNA, permissions=["geolocation"])
    share, line = ana.get_by_role("button", name="location"), ana.locator("#share-line")
    await share.click()
    await expect(line).to_contain_text("Location sent")
    await ana.reload()
    await expect(line).to_contain_text("Location sent")
    # A permission that was given for once.
    await ana.goto(f"{street.home.url}/static/none")
    await ana.context.clear_permissions()
    await ana.goto(f"{street.home.url}/ward")
    await expect(line).to_have_text("This page does not share your location.")
    await ana.context.grant_permissions(["geolocation"])
    await hold(ana.locator("#stop"))
    await ana.get_by_role("button", name="Start").click()
    await expect(ana.locator("#line")).to_contain_text("has started")
    await expect(share).to_have_attribute("aria-pressed", "false")
    street.excuse("404")


@pytest.mark.gen_test
async def test_who_opens_the_app_anew_knows_that_the_location_is_not_shared(street: Street) -> None:
    ben = await street.home.guardian("ben")
    ana = await started(street, geolocation=VIENNA, permissions=["geolocation"])
    await ana.get_by_role("button", name="location").click()
    await expect(ana.locator("#share-line")).to_contain_text("Location sent")
    new = await ana.context.new_page()
    share, line = new.get_by_role("button", name="location"), new.locator("#share-line")
    unshared = new.locator("#unshared")
    # As long as there is the other one, it shares.
    await new.goto(f"{street.home.url}/people")
    await expect(new.locator("#own-session")).to_be_visible()
    await expect(unshared).to_be_hidden()
    await new.goto("about:blank")
    await ana.close()
    await ben.expect("session-interrupted")
    await new.goto(f"{street.home.url}/ward")
    await expect(line).to_have_text("This page does not share your location.")
    await expect(new.locator("#share-status")).to_have_text("This page does not share your location.")
    # Nobody has asked for it in this window.
    await expect(share).to_have_attribute("aria-pressed", "false")
    await new.goto(f"{street.home.url}/people")
    await expect(unshared).to_be_visible()
    await new.goto(f"{street.home.url}/ward")
    await expect(line).to_have_text("This page does not share your location.")
    await share.click()
    await expect(line).to_contain_text("Location sent")
    await share.click()
    await expect(line).to_be_empty()
    await new.goto(f"{street.home.url}/people")
    await expect(new.locator("#own-session")).to_be_visible()
    await expect(unshared).to_be_hidden()


@pytest.mark.gen_test
async def test_a_page_that_shares_no_more_does_not_speak_for_another_one_that_does(street: Street) -> None:
    ben = await street.home.guardian("ben")
    ana = await started(street, geolocation=VIENNA, permissions=["geolocation"])
    other = await ana.context.new_page()
    await other.clock.install()
    await other.goto(f"{street.home.url}/ward")
    for page in (ana, other):
        await page.get_by_role("button", name="location").click()
        await expect(page.locator("#share-line")).to_contain_text("Location sent")
    await ana.get_by_role("button", name="location").click()
    await expect(ana.locator("#share-status")).to_have_text("This page does not share your location.")
    await ana.context.set_geolocation({**VIENNA, "latitude": 48.3})
    await other.clock.fast_forward(5000)
    while (await ben.expect("location-updated"))["location"]["latitude"] != 48.3:
        pass
    # Nor does a page that looks elsewhere, and whose switch was on when it left.
    await other.goto(f"{street.home.url}/people")
    await ana.get_by_role("button", name="location").click()
    await expect(ana.locator("#share-line")).to_contain_text("Location sent")
    await expect(other.locator("#unshared")).to_have_text("This page does not share your location.")
    await expect(other.locator("#unshared")).to_be_visible()


@pytest.mark.gen_test
async def test_who_looks_at_another_page_knows_when_the_one_that_shares_the_location_is_gone(street: Street) -> None:
    ana = await started(street, geolocation=VIENNA, permissions=["geolocation"])
    await ana.get_by_role("button", name="location").click()
    await expect(ana.locator("#share-line")).to_contain_text("Location sent")
    other = await ana.context.new_page()
    await other.clock.install()
    await other.goto(f"{street.home.url}/people")
    await expect(other.locator("#own-session")).to_be_visible()
    await other.clock.fast_forward(61_000)
    unshared = other.locator("#unshared")
    await expect(unshared).to_be_hidden()
    await ana.close()
    connections = street.home.server.live.wards.connections
    while len(connections("ana")) > 1:
        await asyncio.sleep(0.01)  # the server tells nobody that a connection is gone
    await other.clock.fast_forward(61_000)
    await expect(unshared).to_be_visible()
    again = await other.context.new_page()
    await again.goto(f"{street.home.url}/ward")
    await again.get_by_role("button", name="location").click()
    await expect(again.locator("#share-line")).to_contain_text("Location sent")
    await other.clock.fast_forward(61_000)
    await expect(unshared).to_be_hidden()


@pytest.mark.gen_test
async def test_of_another_session_that_began_meanwhile_nothing_is_shared_unasked(street: Street) -> None:
    ana = await started(street, geolocation=VIENNA, permissions=["geolocation"])
    share, line = ana.get_by_role("button", name="location"), ana.locator("#share-line")
    await share.click()
    await expect(line).to_contain_text("Location sent")
    await ana.context.set_offline(True)
    await expect(ana.locator("#line")).to_contain_text("No connection")
    phone = await street.home.ward("ana")
    await phone.answer("stop-live-session")
    await phone.answer("start-live-session")
    await ana.context.set_offline(False)
    await expect(ana.locator("#line")).to_contain_text("has started")
    await expect(share).to_have_attribute("aria-pressed", "false")
    # And not by the way over another page.
    await share.click()
    await expect(line).to_contain_text("Location sent")
    await ana.goto(f"{street.home.url}/people")
    await expect(ana.locator("#unshared")).to_be_visible()
    await phone.answer("stop-live-session")
    await expect(ana.locator("#own-session")).to_contain_text("is stopped")
    await phone.answer("start-live-session")
    await expect(ana.locator("#own-session")).to_contain_text("is running")
    await expect(ana.locator("#unshared")).to_be_hidden()
    await ana.goto(f"{street.home.url}/ward")
    await expect(ana.locator("#running")).to_be_visible()
    await expect(share).to_have_attribute("aria-pressed", "false")
    assert street.home.server.live.sessions.of_ward("ana").last_location is None
    street.excuse(*NO_NETWORK)


NOTES_WHAT_IS_SAID = """(element) => {
    window.said = [];
    new MutationObserver(() => window.said.push(element.textContent.trim().split(/\\s*\\n\\s*/)[0]))
      .observe(element, { childList: true, subtree: true, characterData: true });
}"""


@pytest.mark.gen_test
async def test_aloud_is_said_what_changes_and_not_each_second(street: Street) -> None:
    ana = await started(street, device=IS_MOVED)
    ben = await street.home.guardian("ben")
    share, line, said = ana.get_by_role("button", name="location"), ana.locator("#share-line"), "() => window.said"
    await ana.locator("#share-status").evaluate(NOTES_WHAT_IS_SAID)
    assert await line.get_attribute("role") is None
    await share.click()
    await ana.evaluate("window.at(48.2)")
    await ben.expect("location-updated")
    await expect(line).to_contain_text("Location sent 0 s ago")
    await expect(line).to_contain_text("Location sent 2 s ago")
    await ana.evaluate("window.fail()")
    await expect(line).to_contain_text("cannot tell where it is")
    await ana.evaluate("window.at(48.3)")
    await expect(line).to_contain_text("Location sent")
    await share.click()
    failed = "Your device cannot tell where it is just now. It keeps trying."
    begun, over = "Your location is shared.", "This page does not share your location."
    assert await ana.evaluate(said) == [begun, failed, begun, over]

    watching = ana.locator("#watching")
    await expect(watching).to_contain_text("Ben Keller")
    await watching.evaluate(NOTES_WHAT_IS_SAID)
    await ana.context.set_offline(True)
    await expect(watching).to_contain_text("is not known")
    await ana.wait_for_timeout(3000)  # tries to connect again, which fail
    assert await ana.evaluate(said) == ["Who is watching is not known just now."]
    await ana.context.close()
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_a_browser_that_refuses_a_location_does_not_keep_the_session_from_running(street: Street) -> None:
    ana = await started(street)
    await ana.get_by_role("button", name="location").click()
    await expect(ana.locator("#share-line")).to_contain_text("not allowed to tell your location")
    await expect(ana.locator("#running")).to_be_visible()


@pytest.mark.gen_test
async def test_the_screen_stays_on_while_a_session_runs(street: Street) -> None:
    ana = await started(street, device=HAS_A_SCREEN)
    await ana.wait_for_function("() => window.awake.join() === 'screen'")
    await hold(ana.locator("#stop"))
    await ana.wait_for_function("() => window.awake.join() === 'screen,released'")

    # However long it takes to be granted: one is asked for once, and given back when it comes too late.
    await ana.evaluate("window.awake = []; window.granted = new Promise((grant) => { window.grant = grant; }); null")
    await ana.get_by_role("button", name="Start").click()
    await expect(ana.locator("#running")).to_be_visible()
    await ana.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await hold(ana.locator("#stop"))
    await ana.evaluate("window.grant()")
    await ana.wait_for_function("() => window.awake.includes('released')")
    assert await ana.evaluate("window.awake.join()") == "screen,released"


WANTS_A_TOUCH = IS_TOUCHED + HAS_A_SCREEN + "window.mayLock = () => window.touched;"


@pytest.mark.gen_test
async def test_the_screen_stays_on_from_the_first_touch_where_a_browser_waits_for_one(street: Street) -> None:
    await (await street.home.ward("ana")).answer("start-live-session")
    ana = await street.sign_in("ana", "/ward", device=WANTS_A_TOUCH, has_touch=True)
    await expect(ana.locator("#watching-line")).to_contain_text("Nobody is connected")
    assert await ana.evaluate("window.awake.length") == 0
    await ana.locator("#duration").tap()
    await ana.wait_for_function("() => window.awake.join() === 'screen'")
    await ana.locator("#duration").tap()
    assert await ana.evaluate("window.awake.join()") == "screen"


@pytest.mark.gen_test
@pytest.mark.parametrize("elsewhere", [False, True])
async def test_what_was_rendered_before_the_start_ends_nothing(street: Street, elsewhere: bool) -> None:
    ana = await street.sign_in("ana", "/ward")
    await expect(ana.locator("#start")).to_be_enabled()
    asked, answered = asyncio.Event(), asyncio.Event()

    async def hold_back(route: Route) -> None:
        if not asked.is_set():
            answer = await route.fetch()
            asked.set()
            await answered.wait()
            await route.fulfill(response=answer)
        else:
            await route.continue_()

    await ana.route("**/ward", hold_back)
    await ana.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await asked.wait()
    if elsewhere:
        await (await street.home.ward("ana")).answer("start-live-session")
    else:
        await ana.get_by_role("button", name="Start").click()
    await expect(ana.locator("#running")).to_be_visible()
    answered.set()
    await street.home.guardian("ben")
    await expect(ana.locator("#watching-line")).to_contain_text("Ben Keller")
    await expect(ana.locator("#running")).to_be_visible()


@pytest.mark.gen_test
async def test_a_phone_is_not_told_of_a_keyboard(street: Street) -> None:
    ana = await started(street, is_mobile=True, has_touch=True)
    hint = ana.locator("#stop-hint")
    assert await hint.inner_text() == "Press and hold for one second."
    await ana.locator("#stop").tap()
    await expect(hint).to_contain_text("Keep pressing")
    assert await hint.inner_text() == "Keep pressing for one second."


@pytest.mark.gen_test
async def test_a_short_press_does_not_stop_a_click_is_asked_back_and_a_held_key_does(street: Street) -> None:
    ana = await started(street)
    stop, question = ana.locator("#stop"), ana.get_by_role("dialog")
    await stop.dispatch_event("click")  # as a screen reader does
    await question.get_by_role("button", name="No").click()
    await expect(ana.locator("#running")).to_be_visible()

    await stop.click()
    await expect(ana.locator("#stop-hint")).to_contain_text("Keep pressing")
    await expect(ana.locator("#running")).to_be_visible()

    await stop.focus()
    await ana.keyboard.down("Enter")
    await expect(ana.locator("#idle")).to_be_visible()
    await ana.keyboard.down("Enter")  # held on, it starts nothing
    await expect(ana.locator("#ward")).to_have_attribute("data-state", "idle")
    await ana.keyboard.up("Enter")

    await ana.get_by_role("button", name="Start").click()
    await expect(ana.locator("#running")).to_be_visible()
    await stop.dispatch_event("click")
    await question.get_by_role("button", name="Yes").click()
    await expect(ana.locator("#idle")).to_be_visible()
    # A yes of before is none to the next question.
    await ana.get_by_role("button", name="Start").click()
    await expect(ana.locator("#running")).to_be_visible()
    await stop.dispatch_event("click")
    await ana.evaluate(NOTES_THE_CLOSE)
    await ana.keyboard.press("Escape")
    await ana.wait_for_function("() => window.dialogClosed")
    await expect(ana.locator("#ward")).to_have_attribute("data-state", "running")


# As Chromium does what an assistive technology asks for: a pointer that presses on nothing, and a click by it.
TOUCHES_NOTHING = """(button) => {
    const pointer = { bubbles: true, pointerId: 1, pointerType: "mouse", isPrimary: true, button: 0 };
    button.dispatchEvent(new PointerEvent("pointerdown", { ...pointer, buttons: 1 }));
    button.dispatchEvent(new PointerEvent("pointerup", pointer));
    button.dispatchEvent(new PointerEvent("click", { ...pointer, detail: 1 }));
}"""
# And as Firefox does: a mouse without any pointer.
HAS_NO_POINTER = """(button) => {
    const kinds = ["mousedown", "mouseup"];
    kinds.forEach((kind) => button.dispatchEvent(new MouseEvent(kind, { bubbles: true, detail: 1 })));
    button.dispatchEvent(new PointerEvent("click", { bubbles: true, detail: 1 }));
}"""


@pytest.mark.gen_test
async def test_a_click_of_an_assistive_technology_is_asked_back(street: Street) -> None:
    ana = await street.sign_in("ana", "/ward")
    for press in (HAS_NO_POINTER, TOUCHES_NOTHING):  # the second one leaves a moment in which a click is a finger's
        await ana.get_by_role("button", name="Start").click()
        await ana.locator("#stop").evaluate(press)
        await ana.get_by_role("dialog").get_by_role("button", name="Yes").click()
        await expect(ana.locator("#idle"), press).to_be_visible()


PHONE = {"width": 390, "height": 664}
IS_ABOVE_THE_BUTTON = """(one) =>
    one.getBoundingClientRect().bottom <= document.getElementById("stop").getBoundingClientRect().top"""
HOLDS_A_START_BACK = """
    const send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (text) {
      if (window.go || !text.includes("start-live-session")) return send.call(this, text);
      window.go = () => send.call(this, text);
    };
"""


NOTES_PLACES = """() => {
    window.places = new Set();
    const note = () => {
      const { top, height } = document.getElementById("stop").getBoundingClientRect();
      if (height) places.add(top);
      requestAnimationFrame(note);
    };
    note();
}"""


@pytest.mark.gen_test
async def test_a_start_that_is_refused_takes_no_running_session_away(street: Street) -> None:
    ana = await street.sign_in("ana", "/ward", device=HOLDS_A_START_BACK)
    await ana.get_by_role("button", name="Start").click()
    await (await street.home.ward("ana")).answer("start-live-session")
    await expect(ana.locator("#running")).to_be_visible()
    await ana.evaluate("window.go()")
    await expect(ana.locator("#line")).to_contain_text("running already")
    await expect(ana.locator("#running")).to_be_visible()


@pytest.mark.gen_test
async def test_a_note_that_another_start_has_overtaken_can_be_sent(street: Street) -> None:
    ana, phone = await street.sign_in("ana", "/ward", device=HOLDS_A_START_BACK), await street.home.ward("ana")
    note, text = ana.get_by_label("A note for them"), ana.locator("#text")
    await note.fill("Taxi W-12345")
    await ana.get_by_role("button", name="Start").click()
    await phone.answer("start-live-session")
    await expect(ana.locator("#running")).to_be_visible()
    await ana.evaluate("window.go()")
    await expect(ana.locator("#line")).to_contain_text("running already")
    await expect(text).to_have_value("Taxi W-12345")
    await text.press("Enter")
    await phone.expect("message", text="Taxi W-12345")
    await phone.answer("stop-live-session")
    await expect(ana.locator("#idle")).to_be_visible()
    await expect(note).to_have_value("")


LOSES_A_START = """
    const send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (text) {
      return text.includes("start-live-session") ? this.close(4000) : send.call(this, text);
    };
"""


@pytest.mark.gen_test
async def test_a_note_that_was_lost_with_its_start_can_be_sent_in_the_session_of_another_device(street: Street) -> None:
    ana, phone = await street.sign_in("ana", "/ward", device=LOSES_A_START), await street.home.ward("ana")
    note, text = ana.get_by_label("A note for them"), ana.locator("#text")
    await note.fill("Taxi W-12345")
    await ana.get_by_role("button", name="Start").click()
    await expect(ana.locator("#line")).to_contain_text("Whether your session has started")
    await phone.answer("start-live-session")
    await expect(ana.locator("#running")).to_be_visible()
    await expect(text).to_have_value("Taxi W-12345")
    await expect(note).to_have_value("")
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_the_end_is_learnt_of_even_where_the_first_look_fails(street: Street) -> None:
    ana = await started(street)
    await ana.context.set_offline(True)
    await expect(ana.locator("#line")).to_contain_text("No connection")
    live = street.home.server.live
    (session,) = live.sessions.get_active_sessions()
    await live.end_by_admin(session.id, "alex")
    await ana.route("**/ward", lambda route: route.fulfill(status=503), times=1)
    await ana.context.set_offline(False)
    await expect(ana.locator("#line.problem")).to_have_text("Your session was ended by an admin.")
    await expect(ana.locator("#idle")).to_be_visible()
    street.excuse(*NO_NETWORK, "503")


@pytest.mark.gen_test
async def test_how_a_session_has_ended_stays_said_when_the_connection_is_back_after_that(street: Street) -> None:
    sockets: list[WebSocketRoute] = []
    standing = asyncio.Event()
    standing.set()

    async def between(socket: WebSocketRoute) -> None:
        sockets.append(socket)
        await standing.wait()
        socket.connect_to_server()

    ana = await street.sign_in("ana", "/healthz")
    await ana.route_web_socket("**/ws/*", between)
    await ana.goto(f"{street.home.url}/ward")
    await ana.get_by_role("button", name="Start").click()
    await expect(ana.locator("#running")).to_be_visible()
    standing.clear()
    await sockets[0].close(code=1012)
    await expect(ana.locator("#line")).to_contain_text("No connection")
    live = street.home.server.live
    (session,) = live.sessions.get_active_sessions()
    await live.end_by_admin(session.id, "alex")
    await ana.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await expect(ana.locator("#line.problem")).to_have_text("Your session was ended by an admin.")
    standing.set()
    await expect(ana.get_by_role("button", name="Start")).to_be_enabled()
    await expect(ana.locator("#line.problem")).to_have_text("Your session was ended by an admin.")


LOSES_WHAT_FOLLOWS_A_STOP = """
    const send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (text) {
      send.call(this, text);
      if (text.includes("stop-live-session")) queueMicrotask(() => dispatchEvent(new Event("offline")));
    };
"""


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.gen_test
async def test_a_ward_whose_stop_had_no_answer_reads_that_they_have_stopped(street: Street, is_known: bool) -> None:
    ana, ben = await started(street, device=LOSES_WHAT_FOLLOWS_A_STOP), await street.home.guardian("ben")
    line = ana.locator("#line")
    if not is_known:
        await ana.route("**/history/*", lambda route: route.fulfill(status=503))
    await ana.locator("#stop").focus()
    await ana.locator("#stop").press("Enter", delay=1100)
    assert (await ben.expect("session-ended"))["reason"] == "manual_stop"
    if is_known:
        await expect(line).to_have_text("Your session is stopped. Whoever watches over you sees that you are safe.")
        await expect(line).not_to_have_class("line problem")
    else:
        await expect(line).to_contain_text("has ended while this page had no connection. The history says how.")
    await expect(ana.locator("#idle")).to_be_visible()
    street.excuse("503")


@pytest.mark.gen_test
async def test_a_session_begins_without_the_guardians_of_the_last_one(street: Street) -> None:
    ben = await street.home.guardian("ben")
    ana = await started(street)
    watching = ana.locator("#watching-line")
    await expect(watching).to_contain_text("Ben Keller")
    await hold(ana.locator("#stop"))
    await expect(ana.locator("#idle")).to_be_visible()
    await ben.leave()
    answered = asyncio.Event()

    async def hold_back(route: Route) -> None:
        await answered.wait()
        await route.continue_()

    await ana.route("**/ward", hold_back)
    await ana.get_by_role("button", name="Start").click()
    await expect(ana.locator("#running")).to_be_visible()
    await expect(watching).not_to_contain_text("Ben Keller")
    answered.set()
    await expect(watching).to_have_text("Nobody is connected just now")


@pytest.mark.gen_test
async def test_nobody_is_said_to_watch_who_does_not(street: Street) -> None:
    ben = await street.home.guardian("ben")
    ana = await started(street)
    watching = ana.locator("#watching-line")
    await expect(watching).to_contain_text("Ben Keller")
    await ana.route("**/ward", lambda route: route.fulfill(status=503))
    await ben.leave()
    await expect(watching).to_have_text("Who is watching is not known just now.")
    await ana.unroute("**/ward")
    await expect(watching).to_have_text("Nobody is connected just now")
    street.excuse("503")


@pytest.mark.gen_test
async def test_what_a_guardian_writes_is_said_and_in_sight(street: Street) -> None:
    ana, ben = await started(street, viewport=PHONE), await street.home.guardian("ben")
    for number in range(12):
        await ben.answer("send-message", {"wardId": "ana", "text": f"Message {number}"})
    newest = ana.locator("#messages li", has_text="Message 11")
    await expect(ana.locator("#line")).to_contain_text("Ben Keller writes: Message 11")
    await expect(newest).to_be_in_viewport(ratio=1)
    for one in (newest, ana.locator("#text")):
        assert await one.evaluate(IS_ABOVE_THE_BUTTON)
    await ana.reload()
    await expect(newest).to_be_in_viewport()

    # What was written during an outage as well, and a warning stays.
    await ana.context.set_offline(True)
    await expect(ana.locator("#line")).to_contain_text("No connection")
    await ana.locator("#stop").dispatch_event("click")
    await ana.get_by_role("dialog").get_by_role("button", name="Yes").click()
    await expect(ana.locator("#line")).to_contain_text("Not stopped")
    await ben.answer("send-message", {"wardId": "ana", "text": "Wait for me"})
    await ana.context.set_offline(False)
    await expect(ana.locator("#line .written")).to_have_text("Ben Keller writes: Wait for me")
    await expect(ana.locator("#line.problem")).to_contain_text("is still running")
    # And what is written while she turns the page, or looks at another one.
    await ana.goto("about:blank")
    await ben.answer("send-message", {"wardId": "ana", "text": "Which bridge?"})
    await ana.goto(f"{street.home.url}/people")
    own = ana.locator("#own-session")
    await expect(own.get_by_role("status")).to_contain_text("Ben Keller writes: Which bridge?")
    await expect(own).to_contain_text("Your own session is running.")
    await ben.answer("send-message", {"wardId": "ana", "text": "The bridge is closed"})
    await expect(own.get_by_role("status")).to_contain_text("Ben Keller writes: The bridge is closed")
    # An answer that takes long brings nothing older in the place of what is newer; and of two, both are said.
    asked, answered = asyncio.Event(), asyncio.Event()

    async def hold_back(route: Route) -> None:
        answer = await route.fetch()
        asked.set()
        await answered.wait()
        await route.fulfill(response=answer)

    await ana.route("**/ward", hold_back, times=1)
    await ben.answer("send-message", {"wardId": "ana", "text": "Go left"})
    await asked.wait()
    await ben.answer("send-message", {"wardId": "ana", "text": "No, right"})
    await expect(own.get_by_role("status")).to_contain_text("Ben Keller writes: No, right")
    answered.set()
    both = "Ben Keller writes: Go left Ben Keller writes: No, right"
    await expect(own.get_by_role("status")).to_contain_text(both)
    # The same words once more are said once more, and after an outage nothing is that was heard before it.
    await own.evaluate(
        "(own) => new MutationObserver(() => { window.again = true; }).observe(own, { subtree: true, childList: true })"
    )
    for _ in range(2):
        await ana.evaluate("window.again = false")
        await ben.answer("send-message", {"wardId": "ana", "text": "Hurry"})
        await ana.wait_for_function("() => window.again")
    (session,) = street.home.server.live.sessions.get_active_sessions()
    newest = len(street.home.server.chronicle.of(session).messages) - 1
    await ana.wait_for_function("(end) => sessionStorage.getItem('heard').endsWith(end)", arg=f"-{newest}")
    await ana.context.set_offline(True)
    await expect(own).to_have_attribute("data-state", "away")
    await ana.context.set_offline(False)
    await expect(own).to_have_attribute("data-state", "running")
    await expect(own.get_by_role("status")).to_have_text("Your own session is running. Back to it")
    await ana.context.set_offline(True)
    await expect(own).to_have_attribute("data-state", "away")
    await ben.answer("send-message", {"wardId": "ana", "text": "Take the other one"})
    await ana.context.set_offline(False)
    await expect(own).to_contain_text("Ben Keller writes: Take the other one")
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_what_happens_to_a_session_is_in_sight_wherever_on_another_page_its_ward_reads(street: Street) -> None:
    ana, ben = await started(street, locale="de-DE", viewport=PHONE), await street.home.guardian("ben")
    await ana.goto(f"{street.home.url}/account")
    own = ana.locator("#own-session")
    await street.connected(ana)
    await ana.locator("main :is(a, button, input)").last.focus()
    await ana.evaluate("scrollTo(0, document.body.scrollHeight)")
    await expect(own).not_to_be_in_viewport()  # nothing has happened
    await ben.answer("send-message", {"wardId": "ana", "text": "Wait there"})
    await expect(own).to_contain_text("Wait there")
    await expect(own).to_be_in_viewport(ratio=1)
    await ana.context.set_offline(True)
    await expect(own).to_contain_text("Keine Verbindung")
    await expect(own).to_be_in_viewport(ratio=1)
    await expect_no_focus_below(own)
    # Nor where several have been missed.
    for text in ("Are you", "Please wait", "I come"):
        await ben.answer("send-message", {"wardId": "ana", "text": f"{text} at the old mill " * 9})
    await ana.context.set_offline(False)
    await expect(own.locator(".written")).to_have_count(3)
    await ana.locator("main :is(a, button, input)").last.focus()
    await ana.evaluate("scrollTo(0, document.body.scrollHeight)")
    await expect(own).to_be_in_viewport(ratio=1)
    await expect_no_focus_below(own)
    # On paper it is not there, and what is around it stays at the top.
    await ana.evaluate("scrollTo(0, document.body.scrollHeight)")
    await ana.emulate_media(media="print")
    assert await ana.locator("header").evaluate("(header) => header.getBoundingClientRect().top + scrollY") == 0
    street.excuse(*NO_NETWORK)


async def expect_no_focus_below(line: Locator) -> None:
    """What has the focus does not lie under a line that stays in sight, on the way up a page."""
    for _ in range(12):
        await line.page.keyboard.press("Shift+Tab")
        assert not await line.evaluate(
            "(line) => document.activeElement.closest('main')"
            " && document.activeElement.getBoundingClientRect().top < line.getBoundingClientRect().bottom"
        )


@pytest.mark.gen_test
async def test_what_a_guardian_writes_at_length_is_read_from_its_beginning(street: Street) -> None:
    ana, ben = await started(street, viewport=PHONE), await street.home.guardian("ben")
    begins = ana.locator("#messages li", has_text="the church").locator(".from")
    await ben.answer("send-message", {"wardId": "ana", "text": "Are you there?"})
    await ben.answer("send-message", {"wardId": "ana", "text": "Go left, past the church, and wait there. " * 12})
    await expect(begins).to_be_in_viewport(ratio=1)
    await ana.reload()
    await expect(begins).to_be_in_viewport(ratio=1)
    await ana.locator("#text").fill("On my way")
    await ana.keyboard.press("Enter")
    await expect(ana.locator("#messages li").last).to_contain_text("On my way")
    await expect(ana.locator("#messages li").last).to_be_in_viewport(ratio=1)


@pytest.mark.gen_test
async def test_what_a_guardian_wrote_stays_in_sight_when_they_have_left(street: Street) -> None:
    ana, ben = await started(street, viewport={"width": 390, "height": 844}), await street.home.guardian("ben")
    for text in ("Where are you?", "Can you hear me?", "Wait there", "I am coming"):
        await ben.answer("send-message", {"wardId": "ana", "text": text})
    newest = ana.locator("#messages li").last
    await expect(newest).to_contain_text("I am coming")
    await expect(newest).to_be_in_viewport(ratio=1)
    await ben.leave()
    await expect(ana.locator("#told-line")).to_be_visible()
    await expect(newest).to_be_in_viewport(ratio=1)


@pytest.mark.gen_test
async def test_what_a_guardian_writes_is_said_though_the_page_cannot_be_had_for_long(street: Street) -> None:
    """On a bad network that takes seconds, and a minute where old connections of the browser are dead."""
    ana, ben = await started(street), await street.home.guardian("ben")
    await expect(ana.locator("#watching-line")).to_contain_text("Ben Keller")
    line, passable = ana.locator("#line"), asyncio.Event()

    async def hang(route: Route) -> None:
        await passable.wait()
        await route.continue_()

    await ana.route("**/ward", hang)
    for text in ("Are you there?", "Go left", "Go left"):
        await ben.answer("send-message", {"wardId": "ana", "text": text})
    said = line.locator(".written")
    await expect(said).to_have_text([f"Ben Keller writes: {text}" for text in ("Are you there?", "Go left", "Go left")])
    # Where the page is there, nothing is said once more.
    await line.evaluate(
        "(line) => new MutationObserver(() => { window.again = 1; }).observe(line, { subtree: true, childList: true })"
    )
    passable.set()
    await expect(ana.locator("#messages li")).to_have_count(3)
    assert not await ana.evaluate("Boolean(window.again)")
    await ben.answer("send-message", {"wardId": "ana", "text": "Wait"})
    await expect(said.last).to_have_text("Ben Keller writes: Wait")


@pytest.mark.gen_test
async def test_the_keyboard_of_a_phone_does_not_hide_that_a_message_was_not_sent(street: Street) -> None:
    beside_a_keyboard = {"width": 390, "height": 440}
    ana = await started(street, viewport=beside_a_keyboard, is_mobile=True, has_touch=True)
    line, text = ana.locator("#line"), ana.locator("#text")
    await text.fill("Somebody is behind me")
    await ana.context.set_offline(True)
    await expect(line).to_contain_text("No connection")
    await expect(text).to_be_focused()  # whoever writes is not interrupted
    await text.press("Enter")
    await expect(line).to_contain_text("Not sent")
    await expect(text).not_to_be_focused()
    await expect(text).to_have_value("Somebody is behind me")
    await expect(line).to_be_in_viewport(ratio=1)
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_a_warning_shows_a_lost_connection_only_where_it_is_lost(street: Street) -> None:
    ana = await started(street)
    line, icon = ana.locator("#line"), ana.locator("#line .icon")
    await expect(line).to_contain_text("has started")
    await expect(icon).to_be_hidden()
    await ana.context.set_offline(True)
    await expect(line).to_contain_text("No connection")
    await expect(icon).to_be_visible()
    await ana.locator("#stop").dispatch_event("click")
    await ana.get_by_role("dialog").get_by_role("button", name="Yes").click()
    await expect(line).to_contain_text("Not stopped")
    await expect(icon).to_be_visible()
    await ana.context.set_offline(False)
    await expect(line).to_contain_text("is still running")
    await expect(line).to_have_class("line problem")
    await expect(icon).to_be_hidden()
    street.excuse(*NO_NETWORK)


@pytest.mark.parametrize("size", [PHONE, {"width": 1280, "height": 1200}])
@pytest.mark.gen_test
async def test_the_button_that_stops_stays_where_it_is(street: Street, size: dict[str, int]) -> None:
    ana = await street.sign_in("ana", "/ward", viewport=size)
    await expect(ana.locator("#start")).to_be_enabled()
    await ana.evaluate(NOTES_PLACES)
    await ana.get_by_role("button", name="Start").click()
    await expect(ana.locator("#told-line")).to_be_visible()
    ben = await street.home.guardian("ben")
    await expect(ana.locator("#watching-line")).to_contain_text("Ben Keller is watching")
    await ben.answer("send-message", {"wardId": "ana", "text": "I see you"})
    await expect(ana.locator("#messages")).to_contain_text("I see you")
    await ana.get_by_role("textbox").fill("Thank you")
    await ana.get_by_role("button", name="Send").click()
    await expect(ana.locator("#messages")).to_contain_text("Thank you")
    await hold(ana.locator("#stop"))
    places = await ana.evaluate("[...places]")
    assert max(places) - min(places) < 1, places


@pytest.mark.gen_test
async def test_what_was_said_and_typed_in_the_last_session_is_not_said_in_the_next(street: Street) -> None:
    ana, live = await started(street), street.home.server.live
    line, kept, note = ana.locator("#line"), ana.locator("#kept .unsent"), ana.get_by_label("A note for them")
    await ana.context.set_offline(True)
    await expect(line).to_contain_text("No connection")
    await ana.locator("#text").fill("I am at the old mill")
    await ana.locator("#text").press("Enter")
    await expect(line).to_contain_text("Not sent")
    await ana.context.set_offline(False)
    await expect(line).to_contain_text("please try again")
    await live.end_by_admin(live.sessions.get_active_sessions()[0].id, "alex")
    await expect(line).to_contain_text("was ended by an admin")
    # What was not sent stays to be copied, and is asked for no more.
    await expect(kept).to_contain_text("This was not sent, and cannot be any more")
    await expect(kept.get_by_role("textbox")).to_have_value("I am at the old mill")
    await expect(kept.get_by_role("textbox")).to_be_focused()
    await expect(kept.get_by_role("textbox")).not_to_be_editable()
    await note.fill("Walking home")
    await ana.evaluate("dispatchEvent(new Event('offline')); dispatchEvent(new Event('online'))")
    await expect(line).to_have_text("Connected again.")

    # Nor is what is typed into the one page sent by a start on another.
    phone = await street.home.ward("ana")
    await phone.answer("start-live-session")
    await expect(ana.locator("#running")).to_be_visible()
    await expect(line).to_contain_text("has started")
    await expect(ana.locator("#text")).to_have_value("")
    await kept.get_by_role("button", name="Remove").click()
    await expect(kept).to_have_count(0)
    await phone.answer("stop-live-session")
    await expect(note).to_have_value("Walking home")
    await ana.get_by_role("button", name="Start").click()
    await expect(ana.locator("#running")).to_be_visible()
    await expect(note).to_have_value("")
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_a_start_that_takes_long_is_not_said_to_be_none(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    ana = await street.sign_in("ana", "/ward")
    line, journaling = ana.locator("#line"), street.home.server.live._journaling
    await expect(ana.locator("#start")).to_be_enabled()
    asked, written, begin = asyncio.Event(), asyncio.Event(), journaling.begin

    async def begin_late(session: LiveSession) -> Any:
        asked.set()
        await written.wait()
        return await begin(session)

    monkeypatch.setattr(journaling, "begin", begin_late)
    await line.evaluate(
        "(line) => { window.lines = []; new MutationObserver(() => window.lines.push(line.textContent))"
        ".observe(line, { childList: true, subtree: true }); }"
    )
    await ana.get_by_label("A note for them").fill("Walking home")
    await ana.get_by_role("button", name="Start").click()
    await asked.wait()
    await ana.context.set_offline(True)
    await expect(line).to_contain_text("Whether your session has started")
    async with ana.expect_response("**/ward"):
        await ana.context.set_offline(False)
    async with ana.expect_response("**/ward"):  # it looks again
        pass
    written.set()
    await expect(line).to_contain_text("has started.")
    assert not any("was not started" in text for text in await ana.evaluate("window.lines"))
    # It is the note of this session, and of no other.
    assert street.home.server.live.sessions.get_active_sessions()[0].metadata == {"note": "Walking home"}
    await expect(ana.locator("#note")).to_have_value("")
    await expect(ana.locator("#text")).to_have_value("")
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_a_server_that_is_busy_for_a_moment_is_no_dead_end(street: Street) -> None:
    ana = await started(street, **WORKER)
    await ana.wait_for_function("() => navigator.serviceWorker.controller !== null")
    await ana.goto(f"{street.home.url}/people")
    recognise, doorkeeper = (
        street.home.server.connections.doorkeeper.recognise,
        street.home.server.connections.doorkeeper,
    )

    async def be_busy(cookie: str | None, **how: Any) -> None:
        raise StorageUnavailable

    doorkeeper.recognise = be_busy  # type: ignore[method-assign]
    await ana.goto(f"{street.home.url}/ward")
    await expect(ana.get_by_role("heading")).to_have_text("No connection")
    doorkeeper.recognise = recognise  # type: ignore[method-assign]
    await expect(ana.locator("#running")).to_be_visible()
    street.excuse("503", *NO_NETWORK)


@pytest.mark.gen_test
async def test_the_shell_opens_without_network_and_says_so(street: Street) -> None:
    ana = await street.sign_in("ana", "/ward", **WORKER)
    await ana.wait_for_function("() => navigator.serviceWorker.controller !== null")
    await ana.context.set_offline(True)
    await ana.reload()
    await expect(ana.get_by_role("heading")).to_have_text("No connection")
    await expect(ana.locator("main")).to_contain_text("it goes on; if not, it ends")
    assert await ana.locator("main").evaluate("(main) => getComputedStyle(main).maxWidth") != "none"  # with its style
    await ana.context.set_offline(False)
    await expect(ana.get_by_role("button", name="Start")).to_be_enabled()
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_a_dashboard_that_is_loaded_while_the_server_is_away_comes_back_by_itself(street: Street) -> None:
    ben = await street.sign_in("ben", **WORKER)
    await ben.wait_for_function("() => navigator.serviceWorker.controller !== null")
    await ben.context.set_offline(True)
    await ben.reload()
    await expect(ben.get_by_role("heading")).to_have_text("No connection")
    await expect(ben.locator("main")).to_contain_text("you hear of nobody here")
    await ben.context.set_offline(False)
    await expect(ben.locator("#live:not(.stale)")).to_be_visible()
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_a_page_that_is_slow_to_come_back_is_asked_for_once(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    ben = await street.sign_in("ben", **WORKER)
    await ben.wait_for_function("() => navigator.serviceWorker.controller !== null")
    await ben.context.set_offline(True)
    await ben.reload()
    await expect(ben.get_by_role("heading")).to_have_text("No connection")
    get, asked, ready = Dashboard.get, 0, asyncio.Event()

    async def slow(page: Dashboard) -> None:
        nonlocal asked
        asked += 1
        await ready.wait()
        await get(page)

    monkeypatch.setattr(Dashboard, "get", slow)
    found, third = [], asyncio.Event()  # that the server is there
    ben.on("response", lambda answer: answer.url.endswith("/healthz") and found.append(answer))
    ben.on("response", lambda _: len(found) > 2 and third.set())
    await ben.context.set_offline(False)
    await third.wait()
    ready.set()
    await expect(ben.locator("#live:not(.stale)")).to_be_visible()
    assert asked == 1
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_the_page_can_be_installed(street: Street) -> None:
    ana = await street.sign_in("ana", "/ward")
    devtools = await ana.context.new_cdp_session(ana)
    manifest = await devtools.send("Page.getAppManifest")
    assert manifest["errors"] == [] and manifest["url"]
    problems = await devtools.send("Page.getInstallabilityErrors")
    # A window of a test is private, in which nothing can be installed; else nothing is in the way.
    assert [one["errorId"] for one in problems["installabilityErrors"]] in ([], ["in-incognito"])


@pytest.mark.gen_test
async def test_a_ward_who_was_away_for_too_long_is_not_promised_that_the_session_goes_on(
    tmp_path: Path, browser: Browser
) -> None:
    async with open_street(tmp_path, browser, reconnect_grace=1) as street:
        ana = await started(street)
        elsewhere = await ana.context.new_page()
        await elsewhere.goto(f"{street.home.url}/people")
        await expect(elsewhere.locator("[data-state=running]")).to_be_visible()
        await ana.context.set_offline(True)
        for page in (ana, elsewhere):
            await expect(page.get_by_text("your session has probably ended, and not by you")).to_be_visible()
        await ana.context.set_offline(False)
        await expect(ana.locator("#promise .problem")).to_contain_text("Your last session ended by itself at")
        await ana.get_by_role("button", name="Start").click()
        await expect(ana.locator("#running")).to_be_visible()
        await expect(ana.locator("#promise .problem")).to_have_count(0)
        street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_a_location_that_is_shared_again_is_not_called_unshared(street: Street) -> None:
    place = {"latitude": 48.2, "longitude": 16.37}
    phone = await street.home.ward("ana")
    await phone.answer("start-live-session")
    await phone.answer("update-location", place)
    ben = await street.home.guardian("ben")
    phone.lose()
    await ben.expect("session-interrupted")
    ana = await street.sign_in("ana", "/people")
    await expect(ana.locator("#unshared")).to_be_visible()
    phone = await street.home.ward("ana")
    await phone.answer("update-location", place)
    await ana.goto(street.home.url + "/history")
    await street.connected(ana)
    await expect(ana.locator("#own-session")).to_be_visible()
    await expect(ana.locator("#unshared")).to_be_hidden()
    await ana.goto(street.home.url + "/ward")
    await expect(ana.locator("#watching-line")).to_contain_text("Ben Keller")
    await expect(ana.locator("#share-line")).to_be_empty()
