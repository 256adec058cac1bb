"""What is left with JavaScript switched off: everything but what needs a connection, and that is said."""

import pytest
from playwright.async_api import expect
from server import PASSWORD
from visitors import NO_NETWORK, Street

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.gen_test
async def test_the_dashboard_is_right_and_reloads_itself(street: Street) -> None:
    ana = await street.home.ward("ana")
    await ana.answer("start-live-session", {"note": "Night bus"})
    await ana.answer("send-message", {"text": "Crossing the bridge"})
    ben = await street.visit("/", java_script_enabled=False)
    await ben.get_by_label("Email").fill("ben@example.org")
    await ben.get_by_label("Password").fill("wrong")
    await ben.get_by_role("button", name="Sign in").click()
    await expect(ben.get_by_role("alert")).to_be_visible()
    await ben.get_by_label("Password").fill(PASSWORD)
    await ben.get_by_role("button", name="Sign in").click()
    await expect(ben.locator(".card.live")).to_contain_text(["Night bus"])
    await expect(ben.locator(".card")).to_contain_text("Crossing the bridge")
    # What would do nothing is not shown.
    await expect(ben.get_by_role("button", name="Sound")).to_be_hidden()
    await expect(ben.get_by_label("Message to Ana")).to_be_hidden()

    await ana.answer("stop-live-session")
    await expect(ben.locator(".card")).to_have_count(0)
    await expect(ben.locator("#ended")).to_contain_text("Ana Winter")
    street.excuse("status of 401")


@pytest.mark.gen_test
async def test_people_history_and_the_account_work_and_the_wards_page_says_what_it_needs(street: Street) -> None:
    tom = await street.home.ward("tom")
    await tom.answer("start-live-session", {"note": "Night bus"})
    await tom.answer("stop-live-session")
    ana = await street.sign_in("ana", "/people", java_script_enabled=False)
    await ana.get_by_label("Invite somebody who has an account").fill("mallory@example.org")
    await ana.get_by_role("button", name="Invite", exact=True).click()
    mallory = await street.go_on(ana, "mallory", "/people")
    await mallory.get_by_role("button", name="Accept Ana Winter").click()
    await expect(mallory.get_by_role("button", name="Stop watching Ana Winter")).to_be_visible()
    await street.go_on(ana, "ana", "/people")
    await ana.get_by_role("button", name="Remove Ben Keller").click()
    await expect(ana.get_by_role("button", name="Invite again Ben Keller")).to_be_visible()
    await ana.get_by_role("button", name="Make an invitation link").click()
    await expect(ana.get_by_role("img", name="QR code")).to_be_visible()
    await ana.goto(street.home.url + "/ward")
    await expect(ana.locator("noscript p")).to_contain_text("needs JavaScript")
    await expect(ana.get_by_role("button", name="Start")).to_be_disabled()
    device = await street.home.ward("ana")
    await device.answer("start-live-session")
    await ana.reload()
    await expect(ana.locator("#duration")).to_be_visible()
    await expect(ana.locator("noscript p")).to_contain_text("Stop it where you have started it.")
    await expect(ana.locator("meta[http-equiv=refresh]")).to_have_attribute("content", "5")
    for name in ("I am safe: stop", "Share my location", "Send"):
        await expect(ana.get_by_role("button", name=name, include_hidden=True)).to_be_hidden()

    ben = await street.go_on(ana, "ben", "/history")
    await ben.get_by_label("Who").select_option("Tom Berger")
    await ben.get_by_role("button", name="Show").click()
    await ben.get_by_text("The same as a table").click()
    await expect(ben.get_by_role("table")).to_be_visible()
    await ben.get_by_role("link", name="Tom Berger").click()
    await expect(ben.locator("main")).to_contain_text("Night bus")
    await ben.goto(street.home.url + "/account")
    await ben.get_by_label("Language", exact=True).select_option("Deutsch")
    await ben.locator("form[action='/account/preferences'] button").click()
    await expect(ben.locator("html")).to_have_attribute("lang", "de")
    await ben.locator("form[action='/logout'] button").click()
    await ben.wait_for_url(street.home.url + "/login")


@pytest.mark.gen_test
async def test_an_admin_ends_adds_and_disables(street: Street) -> None:
    tom = await street.home.ward("tom")
    await tom.answer("start-live-session")
    alex = await street.sign_in("alex", "/admin", java_script_enabled=False)
    await alex.get_by_role("button", name="End session Tom Berger").click()
    await tom.expect("session-ended", reason="ended_by_admin")
    await alex.get_by_role("button", name="Disable Tom Berger").click()
    assert await tom.closed() == 4401
    await expect(alex.get_by_role("button", name="Enable Tom Berger")).to_be_visible()
    await alex.get_by_label("First name").fill("Zoe")
    await alex.get_by_label("Email", exact=True).fill("zoe@example.org")
    await alex.get_by_role("button", name="Add").click()
    await expect(alex.get_by_role("heading", name="Zoe")).to_be_visible()


@pytest.mark.gen_test
async def test_a_page_that_gets_no_style_can_be_read(street: Street) -> None:
    page = await street.visit("/healthz")
    await page.route("**/app.css", lambda route: route.abort())
    await page.goto(f"{street.home.url}/login")
    mark = await page.locator(".brand-mark").bounding_box()
    assert mark is not None and mark["width"] <= 40  # or it would fill the window, and hide all else
    street.excuse(*NO_NETWORK)
