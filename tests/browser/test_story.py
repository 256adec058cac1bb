"""Two browsers live through a session: Ana walks home, Ben watches."""

import asyncio
from pathlib import Path

import pytest
from playwright.async_api import Page, WebSocket, WebSocketRoute, async_playwright, expect
from server import PASSWORD, look_again
from visitors import CHROMIUM, FLAGS, NO_NETWORK, VIENNA, WORKER, Street, hold, open_street, started

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PLACE = "geo:48.20820,16.37380?q=48.20820,16.37380"  # the mark is asked for: a map is only centred by the first of them
FOLLOWS = "addEventListener('click', (event) => { event.preventDefault(); window.followed = event.target.href; })"


async def start(street: Street, note: str = "") -> tuple[Page, Page]:
    """Ben looks at the dashboard, Ana starts."""
    ben = await street.sign_in("ben")
    ana = await street.sign_in("ana", "/ward", geolocation=VIENNA, permissions=["geolocation"])
    await ana.fill("#note", note)
    await ana.click("#start")
    await expect(ana.locator("#running")).to_be_visible()
    await expect(ben.locator(".card.live")).to_contain_text("Ana Winter")
    return ana, ben


@pytest.mark.gen_test
async def test_ben_sees_ana_start_move_write_and_arrive(street: Street) -> None:
    ana, ben = await start(street, "Walking home")
    card = ben.locator(".card")
    await expect(card).to_contain_text("Walking home")
    await expect(ben.locator("#said")).to_have_text("Ana Winter has started a session.")
    await expect(ana.locator("#watching-line")).to_contain_text("Ben Keller is watching over you")

    await ana.click("#share")
    await expect(card.locator(".place code")).to_have_text("48.20820, 16.37380")
    await expect(card.locator("svg.trail")).to_be_visible()
    assert await card.get_by_role("link", name="map").get_attribute("href") == PLACE

    await ana.fill("#text", "Nearly there")
    await ana.press("#text", "Enter")
    await expect(card.locator(".messages")).to_contain_text("Nearly there")
    await card.locator("input").fill("I see you")
    await card.locator("input").press("Enter")
    await expect(ana.locator("#messages")).to_contain_text("I see you")

    await hold(ana.locator("#stop"))
    await expect(ana.locator("#idle")).to_be_visible()
    await expect(card).to_have_count(0)
    await expect(ben.locator("#ended")).to_contain_text("Safe, stopped it")
    await expect(ben.locator("#summary")).not_to_contain_text("live session")


@pytest.mark.gen_test
async def test_a_place_opens_in_the_map_that_a_device_has(street: Street) -> None:
    ana = await street.home.ward("ana")
    await ana.answer("start-live-session")
    await ana.answer("update-location", {"latitude": 48.2082, "longitude": 16.3738})
    for device, address in (("iPhone; CPU OS 18_0", "maps://?q=48.20820,16.37380"), ("Linux; Android 15", PLACE)):
        ben = await street.sign_in("ben", user_agent=f"Mozilla/5.0 ({device})")
        await street.connected(ben)
        await ben.evaluate(FOLLOWS)
        await ben.get_by_role("link", name="map").click()
        assert await ben.evaluate("window.followed") == address


@pytest.mark.gen_test
async def test_a_lost_network_is_told_and_the_session_goes_on(street: Street) -> None:
    ana, ben = await start(street)
    await ana.context.set_offline(True)
    await expect(ben.locator(".card.lost")).to_contain_text("Connection lost")
    await expect(ben.locator("#summary")).to_have_text("1 live session 1 connection lost")
    await expect(ben.locator("#said")).to_have_text("The connection to Ana Winter is lost.")
    await expect(ana.locator("#line")).to_contain_text("No connection")
    await expect(ana.locator("#running")).to_be_visible()
    await expect(ana.locator("#watching")).to_have_text("Who is watching is not known just now.", use_inner_text=True)
    await expect(ana.locator("#watching")).not_to_contain_class("somebody")

    await ana.context.set_offline(False)
    await expect(ana.locator("#watching.somebody")).to_contain_text("Ben Keller is watching over you")
    await expect(ben.locator(".card.live")).to_be_visible()
    await expect(ben.locator("#summary")).to_have_text("1 live session")
    await expect(ben.locator("#said")).to_have_text("Ana Winter is back.")
    await expect(ana.locator("#line")).not_to_contain_text("No connection")
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_a_reload_a_crash_and_another_page_carry_the_session_on(street: Street) -> None:
    ana, ben = await start(street, "Walking home")
    begun = street.home.server.live.sessions.of_ward("ana")
    await ana.reload()
    await expect(ana.locator("#running")).to_be_visible()

    await ana.goto(street.home.url + "/people")
    await expect(ana.locator(".own-session")).to_be_visible()
    await expect(ben.locator(".card.live")).to_be_visible()

    async with ana.expect_event("crash"):
        ana.once("requestfailed", lambda _: None)
        await (await ana.context.new_cdp_session(ana)).send("Page.navigate", {"url": "chrome://crash"})
    await expect(ben.locator(".card.lost")).to_be_visible()
    again = await ana.context.new_page()
    await again.goto(street.home.url + "/ward")
    await expect(again.locator("#running")).to_be_visible()
    await expect(ben.locator(".card.live")).to_contain_text("Walking home")
    assert street.home.server.live.sessions.of_ward("ana") is begun is not None


@pytest.mark.gen_test
async def test_a_page_that_the_browser_had_kept_carries_the_session_on_too(tmp_path: Path) -> None:
    # Playwright's Chromium keeps none, unless it is told to; and one without windows never does.
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=FLAGS, ignore_default_args=["--disable-back-forward-cache"]
        )
        async with open_street(tmp_path, browser) as street:
            noted = "addEventListener('pageshow', ({ persisted }) => { if (persisted) sessionStorage.kept = 'yes'; });"
            ana = await street.sign_in("ana", "/ward", device=noted, **WORKER)
            await ana.wait_for_function("() => navigator.serviceWorker.controller !== null")
            await ana.goto(f"{street.home.url}/people")
            await ana.get_by_role("link", name="On my way").click()
            await ana.get_by_role("button", name="Start").click()
            await expect(ana.locator("#running")).to_be_visible()
            await ana.evaluate("history.back()")
            await ana.wait_for_function("() => sessionStorage.kept === 'yes'")
            await expect(ana.locator("#own-session")).to_contain_text("is running")
        await browser.close()


@pytest.mark.gen_test
async def test_the_session_goes_on_in_another_tab_when_its_own_is_closed(street: Street) -> None:
    ben = await street.home.guardian("ben")
    ana = await started(street, geolocation=VIENNA, permissions=["geolocation"])
    other = await ana.context.new_page()
    await other.goto(street.home.url + "/people")
    await expect(other.locator("#own-session")).to_contain_text("is running")
    session = street.home.server.live.sessions.of_ward("ana")
    assert session is not None
    first = session.carrier
    # The first one is heard of later than the other was opened.
    asked = session.last_location
    await ana.get_by_role("button", name="location").click()
    await ben.expect("location-updated")
    assert session.last_location is not asked
    await ana.close()
    while session.carrier is first:
        await look_again()
    await ben.answer("send-message", {"wardId": "ana", "text": "Are you there?"})
    await expect(other.locator("#own-session")).to_contain_text("Ben Keller writes: Are you there?")
    await expect(other.locator("#own-session")).to_contain_text("is running")
    assert session.carrier is not None
    assert "session-interrupted" not in await ben.all_so_far()


@pytest.mark.gen_test
async def test_of_two_devices_the_one_in_use_is_back_first(street: Street) -> None:
    laptop = await street.sign_in("ana", "/ward")
    phone = await started(street)
    await expect(laptop.locator("#running")).to_be_visible()
    session = street.home.server.live.sessions.of_ward("ana")
    assert session is not None and session.carrier is not None
    browser, sockets = session.carrier.browser, list[WebSocket]()
    laptop.on("websocket", lambda one: sockets.append(one))
    await laptop.clock.install()
    street.home.server.connections.close(1012)
    await expect(phone.locator("#line")).to_contain_text("Connected again")
    await expect(laptop.locator("#line")).to_contain_text("No connection")
    assert session.carrier.browser == browser
    await laptop.clock.fast_forward(8_000)
    assert not sockets
    await laptop.clock.fast_forward(8_000)
    await expect(laptop.locator("#line")).to_contain_text("Connected again")
    assert session.carrier.browser == browser
    # Whoever uses it, is not kept waiting.
    await laptop.locator("h1").dispatch_event("pointerdown")
    street.home.server.connections.close(1012)
    await laptop.clock.fast_forward(1_000)
    await expect(laptop.locator("#line")).to_contain_text("Connected again")


@pytest.mark.gen_test
async def test_a_device_that_nobody_used_lets_others_go_before_it_once_in_each_outage(street: Street) -> None:
    await (await street.home.ward("ana")).answer("start-live-session")
    laptop = await street.sign_in("ana", "/healthz")
    doors, tries = asyncio.Event(), asyncio.Queue[bool]()
    doors.set()

    async def door(socket: WebSocketRoute) -> None:
        if doors.is_set():
            socket.connect_to_server()
        else:
            tries.put_nowait(True)
            await socket.close(code=1001)

    await laptop.route_web_socket("**/ws/ward*", door)
    await laptop.goto(street.home.url + "/ward")
    await expect(laptop.locator("#line")).to_be_empty()
    await laptop.clock.install()
    for _ in range(2):
        doors.clear()
        street.home.server.connections.close(1012)
        await expect(laptop.locator("#line")).to_contain_text("No connection")
        await laptop.clock.fast_forward(8_000)
        assert tries.empty()
        await laptop.clock.fast_forward(8_000)
        for _ in range(2):
            await asyncio.wait_for(tries.get(), 5)
        doors.set()
        await expect(laptop.locator("#line")).to_contain_text("Connected again")
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_a_new_password_in_another_tab_carries_the_session_on(street: Street) -> None:
    await street.home.guardian("ben")
    ana = await started(street)
    begun = street.home.server.live.sessions.of_ward("ana")
    other = await ana.context.new_page()
    await other.goto(street.home.url + "/account")
    await other.get_by_label("Current password").fill(PASSWORD)
    await other.get_by_label("New password").fill("a better password")
    await ana.get_by_label("Message to").fill("Nearly there")
    async with ana.expect_websocket():  # by itself, with the new login
        await other.get_by_role("button", name="Change the password").click()
    await expect(other.locator(".done")).to_contain_text("The password is changed")
    await expect(ana.locator("#line")).to_contain_text("Connected again")
    await expect(ana.get_by_label("Message to")).to_have_value("Nearly there")
    await expect(ana.locator("#watching.somebody")).to_be_visible()
    await other.get_by_role("button", name="Sign out everywhere else").wait_for(state="detached")
    assert street.home.server.live.sessions.of_ward("ana") is begun is not None


@pytest.mark.gen_test
async def test_whoever_is_removed_during_a_session_sees_nothing_from_then_on(street: Street) -> None:
    ana, ben = await start(street)
    other = await ana.context.new_page()
    await other.goto(street.home.url + "/people")
    await other.get_by_role("button", name="Remove Ben Keller").click()
    await expect(other.get_by_role("dialog")).to_contain_text("sees nothing of your sessions")
    await other.get_by_role("dialog").get_by_role("button", name="Remove").click()
    await expect(other.locator(".done")).to_contain_text("at once")
    await expect(ben.locator(".card")).to_have_count(0)
    await expect(ben.locator("#said")).to_have_text("You no longer watch over Ana Winter.")
    await expect(ana.locator("#watching-line")).to_contain_text("Nobody is connected")


@pytest.mark.gen_test
async def test_whoever_accepts_during_a_session_sees_it_at_once(street: Street) -> None:
    ana = await started(street)
    other = await ana.context.new_page()
    await other.goto(street.home.url + "/people")
    await other.get_by_label("Invite somebody who has an account").fill("mallory@example.org")
    await other.get_by_role("button", name="Invite", exact=True).click()
    await expect(other.locator("#guardians ~ ul")).to_contain_text("Mallory Moore")

    mallory = await street.sign_in("mallory")
    await expect(mallory.locator(".card")).to_have_count(0)
    asked = await mallory.context.new_page()
    await asked.goto(street.home.url + "/people")
    await asked.get_by_role("button", name="Accept Ana Winter").click()
    await expect(mallory.locator(".card")).to_contain_text("Ana Winter")
    await expect(ana.locator("#watching-line")).to_contain_text("Mallory Moore")


@pytest.mark.gen_test
async def test_an_invitation_by_link_makes_an_account_once(street: Street) -> None:
    ana = await street.sign_in("ana", "/people")
    await ana.get_by_role("button", name="Make an invitation link").click()
    await expect(ana.get_by_role("img", name="QR code")).to_be_visible()
    link = (await ana.locator("#link").inner_text()).removeprefix(street.home.url)

    zoe = await street.visit(link)
    await expect(zoe.locator("main")).to_contain_text("Ana Winter asks you to be a guardian")
    await zoe.get_by_label("First name").fill("Zoe")
    await zoe.get_by_label("Email").fill("zoe@example.org")
    await zoe.get_by_label("Password").fill(PASSWORD)
    await zoe.get_by_role("button", name="Make my account and accept").click()
    await expect(zoe.locator("#calm")).to_contain_text("Ana Winter")
    await ana.goto(street.home.url + "/people")
    await expect(ana.locator("#guardians ~ ul")).to_contain_text("Zoe")

    late = await street.visit(link)
    await expect(late.get_by_role("heading")).to_contain_text("does not work any more")
    await expect(late).to_have_title("This link does not work any more · liveguard")
    street.excuse("status of 410")
