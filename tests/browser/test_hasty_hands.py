"""What a hand in a hurry does to the ward's page: it slips, presses twice, and does not wait for the page's script."""

import asyncio

import pytest
from playwright.async_api import Route, expect
from visitors import VIENNA, Street, hold, started

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PHONE = {"width": 320, "height": 568}


@pytest.mark.gen_test
async def test_a_finger_that_slides_off_the_button_stops_nothing(street: Street) -> None:
    ana = await started(street, viewport=PHONE, has_touch=True)
    stop, devtools = ana.locator("#stop"), await ana.context.new_cdp_session(ana)
    box = await stop.bounding_box()
    assert box is not None

    async def touch(kind: str, *, above: float) -> None:
        points = [] if kind == "touchEnd" else [{"x": box["x"] + 50, "y": box["y"] - above}]
        await devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    await ana.clock.install()
    await touch("touchStart", above=-20)
    await expect(stop).to_have_class("huge hold holding")
    await touch("touchMove", above=10)  # it trembles
    await expect(stop).to_have_class("huge hold holding")
    await touch("touchMove", above=60)
    await expect(stop).to_have_class("huge hold")
    await expect(ana.locator("#stop-hint")).to_contain_text("Keep pressing")
    # Nor does one that comes back by itself.
    await touch("touchMove", above=-20)
    await ana.clock.fast_forward(1500)
    await touch("touchEnd", above=-20)
    await expect(ana.locator("#ward")).to_have_attribute("data-state", "running")
    await expect(ana.get_by_role("dialog")).to_have_count(0)
    await hold(stop)
    await expect(ana.locator("#idle")).to_be_visible()


@pytest.mark.parametrize("place", ["/ward", "/", "/history/{session}"])
@pytest.mark.gen_test
async def test_what_is_pressed_before_the_script_runs_is_neither_lost_nor_in_an_address(
    street: Street, place: str
) -> None:
    device, guardian = await street.home.ward("ana"), await street.home.guardian("ben")
    session = (await device.answer("start-live-session"))["data"]["sessionId"]
    who = "ana" if place == "/ward" else "ben"
    page = await street.sign_in(who, "/healthz")
    asked, answered = asyncio.Event(), asyncio.Event()

    async def hold_back(route: Route) -> None:
        asked.set()
        await answered.wait()
        await route.continue_()

    await page.route("**/write.js", hold_back)
    address = street.home.url + place.format(session=session)
    await page.goto(address, wait_until="commit")
    await asked.wait()
    field = page.get_by_role("textbox", name="Message to")
    await field.fill("I am at the bridge")
    await field.press("Enter")
    await page.get_by_role("button", name="Send").click()
    await expect(field).to_have_value("I am at the bridge")
    assert page.url == address
    if who == "ana":
        await expect(page.locator("#stop")).to_be_disabled()
    answered.set()
    await street.connected(page)
    await field.press("Enter")
    await (guardian if who == "ana" else device).expect("message", text="I am at the bridge")
    await expect(field).to_have_value("")
    if who == "ana":
        await hold(page.locator("#stop"))


@pytest.mark.gen_test
async def test_a_second_press_on_the_button_that_stops_starts_nothing(street: Street) -> None:
    ana, ben = await started(street, viewport=PHONE, locale="de-DE"), await street.home.guardian("ben")
    start, stop = ana.locator("#start"), ana.locator("#stop")
    await ana.clock.install()
    box = await stop.bounding_box()
    assert box is not None
    place = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    await ana.mouse.move(*place)
    await ana.mouse.down()
    await ana.clock.fast_forward(1000)
    await expect(start).to_be_visible()
    await ana.mouse.up()
    assert await start.evaluate("(start, [x, y]) => document.elementFromPoint(x, y) === start", list(place))
    await ana.mouse.click(*place)
    await ana.clock.fast_forward(1500)
    await expect(start).to_be_enabled()
    await expect(ana.locator("#ward")).to_have_attribute("data-state", "idle")
    await ben.expect("session-ended")
    await start.click()
    await expect(ana.locator("#running")).to_be_visible()
    assert await ben.all_so_far() == ["guardian:session-started"]


@pytest.mark.gen_test
async def test_a_second_press_on_the_button_that_starts_shares_no_location(street: Street) -> None:
    device = {"viewport": {"width": 390, "height": 844}, "geolocation": VIENNA, "permissions": ["geolocation"]}
    ana = await street.sign_in("ana", "/ward", **device)
    start, share = ana.locator("#start"), ana.locator("#share")
    await expect(start).to_be_enabled()
    await ana.clock.install()
    box = await start.bounding_box()
    assert box is not None
    place = (box["x"] + box["width"] / 2, box["y"] + 10)
    await ana.mouse.click(*place)
    await expect(share).to_be_visible()
    assert await share.evaluate("(share, [x, y]) => share.contains(document.elementFromPoint(x, y))", list(place))
    await ana.mouse.click(*place)
    await expect(share).to_have_attribute("aria-pressed", "false")
    await ana.clock.fast_forward(1500)
    await share.click()
    await expect(share).to_have_attribute("aria-pressed", "true")


@pytest.mark.gen_test
async def test_whoever_only_closes_the_keyboard_starts_nothing(street: Street) -> None:
    ana = await street.sign_in("ana", "/ward")
    note, start = ana.get_by_label("A note for them"), ana.get_by_role("button", name="Start")
    await expect(start).to_be_enabled()
    await note.fill("Walking home")
    await note.press("Enter")
    await expect(note).not_to_be_focused()
    await expect(ana.locator("#ward")).to_have_attribute("data-state", "idle")
    # From there it goes on to the button.
    await ana.keyboard.press("Tab")
    await expect(start).to_be_focused()
    await ana.keyboard.press("Enter")
    await expect(ana.locator("#running")).to_be_visible()
    assert street.home.server.live.sessions.get_active_sessions()[0].metadata == {"note": "Walking home"}
