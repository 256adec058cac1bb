"""Pages stay true: to whom they belong, to what runs, and to whether they are connected."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Route, WebSocketRoute, expect
from server import PASSWORD
from visitors import IS_HEARD, IS_NOTIFIED, NO_NETWORK, WORKER, Street, open_street, started

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LOOKS_AGAIN = "document.dispatchEvent(new Event('visibilitychange'))"
NOTES_WHAT_IS_SAID = """(element) => {
    window.said = [];
    new MutationObserver(() => window.said.push(element.textContent.trim().split(/\\s*\\n\\s*/)[0]))
      .observe(element, { childList: true, subtree: true, characterData: true });
}"""


class HeldBack:
    """The next answer of an address, made now and given when it is let go."""

    def __init__(self) -> None:
        self.asked, self.let_go = asyncio.Event(), asyncio.Event()

    async def __call__(self, route: Route) -> None:
        answer = await route.fetch(max_redirects=0)
        self.asked.set()
        await self.let_go.wait()
        await route.fulfill(response=answer)


async def is_of(page: Page, who: str) -> None:
    """The page was loaded anew, for somebody else than the one of whom it was."""
    await page.wait_for_function("(who) => !window.old && document.body?.dataset.viewer === who", arg=who)


@pytest.mark.gen_test
async def test_no_page_becomes_that_of_whoever_signs_in_in_the_same_browser(street: Street) -> None:
    people = street.home.server.people
    mallory, alex = [await people.accounts.identify(name) for name in ("mallory", "alex")]
    ana = await started(street)
    await ana.evaluate("window.old = true")
    other = await ana.context.new_page()
    await other.goto(f"{street.home.url}/link/{await people.links.for_reset(mallory, by=alex)}")
    await other.locator("#password").fill("a long password 1")
    await other.locator("main button[type=submit]").click()
    await is_of(ana, "mallory")
    await expect(ana.locator("#start")).to_be_enabled()
    await expect(ana.locator("#line")).to_have_text("")
    assert street.home.server.live.sessions.of_ward("ana") is not None

    # It asks while its own connection still stands.
    await ana.evaluate("window.old = true")
    await ana.context.add_cookies([await street._login("ida")])
    await ana.evaluate(LOOKS_AGAIN)
    await is_of(ana, "ida")

    # So do a guardian's pages, which show nothing of what the other one may see,
    ben = await street.sign_in("ben")
    await expect(ben.locator(".card")).to_be_visible()
    await ben.evaluate("window.old = true")
    await ben.context.add_cookies([await street._login("mallory")])
    await is_of(ben, "mallory")
    # and come back with the other's login.
    await ben.evaluate("window.old = true")
    await ben.context.set_offline(True)
    await expect(ben.locator("#away")).to_be_visible()
    await ben.context.add_cookies([await street._login("ben")])
    await ben.context.set_offline(False)
    await is_of(ben, "ben")
    # The page of a session as well.
    await ben.get_by_role("link", name="Ana Winter").click()
    await expect(ben.locator("#live:not(.stale) #page")).to_be_visible()
    await ben.evaluate("window.old = true")
    await ben.context.add_cookies([await street._login("mallory")])
    await is_of(ben, "mallory")
    street.excuse(*NO_NETWORK, "401", "404")


@pytest.mark.gen_test
async def test_who_left_while_the_page_was_on_its_way_is_not_said_to_watch(street: Street) -> None:
    ben = await street.home.guardian("ben")
    ana = await started(street)
    watching, late = ana.locator("#watching-line"), HeldBack()
    await expect(watching).to_contain_text("Ben Keller")
    await ana.route("**/ward", late, times=1)
    await ana.evaluate(LOOKS_AGAIN)
    await late.asked.wait()
    await ben.leave()
    await expect(watching).to_have_text("Who is watching is not known just now.")
    await watching.evaluate(NOTES_WHAT_IS_SAID)
    late.let_go.set()
    await expect(watching).to_have_text("Nobody is connected just now")
    assert set(await ana.evaluate("window.said")) == {"Nobody is connected just now"}

    # Nor who may have left during an outage.
    ben = await street.home.guardian("ben")
    await expect(watching).to_contain_text("Ben Keller")
    late = HeldBack()
    await ana.route("**/ward", late, times=1)
    await ana.evaluate(LOOKS_AGAIN)
    await late.asked.wait()
    await ana.context.set_offline(True)
    await expect(watching).to_have_text("Who is watching is not known just now.")
    await ben.leave()
    await watching.evaluate(NOTES_WHAT_IS_SAID)
    await ana.context.set_offline(False)
    await expect(ana.locator("#line")).to_have_text("Connected again.")
    late.let_go.set()
    await expect(watching).to_have_text("Nobody is connected just now")
    assert set(await ana.evaluate("window.said")) == {"Nobody is connected just now"}
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_a_hint_takes_no_warning_away(street: Street) -> None:
    ana = await started(street)
    line, hint = ana.locator("#line"), ana.locator("#stop-hint")
    await ana.context.set_offline(True)
    await expect(line).to_contain_text("No connection.")
    await hint.evaluate(NOTES_WHAT_IS_SAID)
    for presses in (1, 2):
        await ana.locator("#stop").click()
        await ana.wait_for_function("(presses) => window.said.length === presses", arg=presses)
    assert all(said.startswith("Keep pressing for one second") for said in await ana.evaluate("window.said"))
    await expect(hint).to_have_role("status")
    await expect(line).to_contain_text("No connection.")
    await expect(line).to_have_class("line away")
    await ana.context.close()
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_a_question_about_a_session_goes_with_it(street: Street) -> None:
    ana = await started(street)
    question, live = ana.locator("#sure"), street.home.server.live
    await ana.locator("#stop").focus()
    await ana.locator("#stop").dispatch_event("click")  # as a screen reader does
    await expect(question).to_be_visible()
    (session,) = live.sessions.get_active_sessions()
    await live.end_by_admin(session.id, "alex")
    await expect(ana.locator("#line")).to_contain_text("ended by an admin")
    await expect(question).to_be_hidden()
    await expect(ana.locator("#main")).to_be_focused()
    await (await street.home.ward("ana")).answer("start-live-session")
    await expect(ana.locator("#running")).to_be_visible()
    await expect(question).to_be_hidden()

    # Nor does its yes count for the next one.
    await ana.locator("#stop").dispatch_event("click")
    await question.evaluate("(question) => (question.returnValue = 'yes')")
    phone = await street.home.ward("ana")
    await phone.answer("stop-live-session")
    await expect(question).to_be_hidden()
    await expect(ana.locator("#line")).to_contain_text("sees that you are safe")

    # Nor does a button that is held, also where a press gives it no focus.
    await phone.answer("start-live-session")
    await expect(ana.locator("#running")).to_be_visible()
    await ana.clock.install()
    stop = ana.locator("#stop")
    await stop.evaluate("(stop) => stop.addEventListener('mousedown', (event) => event.preventDefault())")
    await stop.hover()
    await ana.mouse.down()
    await phone.answer("stop-live-session")
    await expect(ana.locator("#idle")).to_be_visible()
    await phone.answer("start-live-session")
    await expect(ana.locator("#running")).to_be_visible()
    await ana.clock.fast_forward(1000)
    await expect(ana.locator("#ward")).to_have_attribute("data-state", "running")
    await ana.mouse.up()
    assert street.home.server.live.sessions.of_ward("ana") is not None


NOTES_THE_START = """addEventListener("DOMContentLoaded", () => {
    window.lines = [];
    const [line, start] = ["line", "start"].map((id) => document.getElementById(id));
    const note = () => window.lines.push(`${line.textContent.trim()}${start.disabled ? "" : " Start"}`);
    for (const one of [line, start]) {
      new MutationObserver(note).observe(one, { attributes: true, childList: true, subtree: true });
    }
});"""
NOTES_THE_OUTAGES = """addEventListener("DOMContentLoaded", () => {
    window.outages = [];
    const [away, said] = ["away", "said"].map((id) => document.getElementById(id));
    if (!away) return;
    const note = () => window.outages.push(`${away.textContent.trim()} ${said.textContent}`.trim());
    for (const one of [away, said]) new MutationObserver(note).observe(one, { childList: true, subtree: true });
});"""
TOO_MANY = "Too many pages of yours are open"


@pytest.mark.gen_test
async def test_a_page_for_which_there_is_no_room_says_so_and_is_not_connected(tmp_path: Path, browser: Browser) -> None:
    async with open_street(tmp_path, browser, max_connections=2, reconnect_grace=1) as street:
        others = {name: [await street.home.ward(name) for _ in range(2)] for name in ("ana", "ben")}
        await others["ana"][0].answer("start-live-session")
        ana = await street.sign_in("ana", "/ward", device=NOTES_THE_START)
        ben = await street.sign_in("ben", device=NOTES_THE_OUTAGES)
        for page, line in ((ana, "#line"), (ben, "#away")):
            await expect(page.locator(line)).to_contain_text(TOO_MANY)
            async with page.expect_websocket() as coming:  # it tries again
                await page.evaluate("dispatchEvent(new Event('online'))")
            socket = await coming.value
            if not socket.is_closed():
                await socket.wait_for_event("close")
            await expect(page.locator(line)).to_contain_text(TOO_MANY)
        await expect(ana.locator("#line .icon")).to_be_visible()  # which shows that there is no connection
        await ana.locator("#duration").evaluate(NOTES_WHAT_IS_SAID)
        await ana.wait_for_function("() => window.said.length === 2")
        lines = await ana.evaluate("window.lines")
        assert not [line for line in lines if line.endswith(" Start") or "ended" in line]  # others carry it on
        assert not [line for line in await ben.evaluate("window.outages") if "Connected again" in line]
        people = await street.sign_in("ana", "/people")  # the line of her own session, there
        await expect(people.locator("#own-session")).to_contain_text(TOO_MANY)
        await people.context.set_offline(True)  # and from then on it is the network that is missing
        await expect(people.locator("#own-session")).to_contain_text("No connection")
        await people.close()
        for name, page, line in (("ana", ana, "#line"), ("ben", ben, "#said")):
            await others[name][1].leave(4000)
            await page.evaluate("dispatchEvent(new Event('online'))")
            await expect(page.locator(line)).to_contain_text("Connected again.")
        street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_what_has_never_been_connected_has_lost_nothing(street: Street) -> None:
    tom = await street.home.ward("tom")
    await tom.answer("start-live-session")
    standing = asyncio.Event()

    async def between(socket: WebSocketRoute) -> None:
        await standing.wait()
        socket.connect_to_server()

    ben = await street.sign_in("ben", "/healthz", device=NOTES_THE_OUTAGES)
    await ben.route_web_socket("**/ws/*", between)
    async with ben.expect_response("**/live?*"):  # before the connection stands
        await ben.goto(street.home.url)
    await ben.evaluate("new Promise((resume) => setTimeout(resume))")  # and what came of it
    await expect(ben.locator("#live:not(.stale)")).to_be_visible()
    await tom.answer("send-message", {"text": "In the park"})
    await expect(ben.locator(".messages")).to_contain_text("In the park")
    standing.set()
    await tom.expect("guardians-changed", connectedGuardians=1)
    # What it shows already was not said yet.
    await expect(ben.locator("#said")).to_have_text("Tom Berger writes: In the park")
    await tom.answer("send-message", {"text": "On the bridge"})
    await expect(ben.locator("#said")).to_contain_text("Tom Berger writes: On the bridge")
    await expect(ben.locator(".messages")).to_contain_text("On the bridge")
    said = [text.removeprefix("Tom Berger writes: In the park ") for text in await ben.evaluate("window.outages")]
    assert said == ["Tom Berger writes: In the park", "Tom Berger writes: On the bridge"]


KNOWS_NO_KYIV = """
    const { DateTimeFormat } = Intl;
    Intl.DateTimeFormat = function (language, how) {
      if (how?.timeZone === "Europe/Kyiv") throw new RangeError("Invalid time zone specified: Europe/Kyiv");
      return new DateTimeFormat(language, how);
    };
"""


@pytest.mark.gen_test
async def test_a_time_zone_that_the_browser_does_not_know_stops_no_page(street: Street) -> None:
    people = street.home.server.people
    ben = await people.accounts.identify("ben")
    await people.preferences.choose(ben, language="", time_zone="Europe/Kyiv", hours="")
    page = await street.sign_in("ben", device=KNOWS_NO_KYIV)
    await (await street.home.ward("ana")).answer("start-live-session")
    await expect(page.locator("#live:not(.stale) .card")).to_be_visible()
    await page.context.set_offline(True)
    await expect(page.locator("#away")).to_contain_text("Not connected since")
    await page.close()
    street.excuse(*NO_NETWORK)
    # Nor what the server took for one once, and does not know.
    await people.preferences.choose(ben, language="", time_zone="localtime", hours="")
    page = await street.sign_in("ben")
    await expect(page.locator("#live")).to_have_attribute("data-zone", "UTC")
    await expect(page.locator("[data-runs]")).to_be_attached()


@pytest.mark.gen_test
async def test_who_is_signed_out_elsewhere_hears_of_it(street: Street) -> None:
    people, notes = street.home.server.people, list[Any]()
    device = IS_HEARD.replace("window.tones.push", "window.note?.") + IS_NOTIFIED.replace("notices.push", "note")
    ben = await street.sign_in("ben", device=device)
    await ben.expose_function("note", lambda note: notes.append(note))
    for name in ("Sound", "Notifications"):
        await ben.get_by_role("button", name=name).click()
    await expect(ben.locator("#live:not(.stale)")).to_be_visible()
    await ben.evaluate("window.away = true")
    notes.clear()
    ana = await started(street)
    for name in ("ben", "ana"):
        await people.logins.end_all(await people.accounts.identify(name))
    for page in (ben, ana):
        await expect(page).to_have_title("⚠ Sign in · liveguard")
        await expect(page.get_by_role("alert")).to_contain_text("it is not carried on from here")
    assert 440 in notes
    assert [note for note in notes if str(note).startswith("This browser is signed out.")]
    # Who signs in as they please, is not warned.
    await ben.goto(f"{street.home.url}/login")
    await expect(ben).to_have_title("Sign in · liveguard")
    street.excuse("401")


TELLS_WHAT_IS_SAID = """addEventListener("DOMContentLoaded", () => {
    const line = document.querySelector("#line, #own-session");
    const note = new MutationObserver(() => window.noted?.(line.textContent));
    if (line) note.observe(line, { childList: true, subtree: true });
});"""


@pytest.mark.parametrize("path", ["/ward", "/account"])
@pytest.mark.parametrize("is_disabled", [False, True])
@pytest.mark.gen_test
async def test_a_ward_who_is_signed_out_is_not_promised_to_be_back(
    street: Street, path: str, *, is_disabled: bool
) -> None:
    people, said = street.home.server.people, list[str]()
    ana = await started(street, device=TELLS_WHAT_IS_SAID)
    await ana.expose_function("noted", lambda text: said.append(text))
    ben = await street.home.guardian("ben")
    await ana.goto(street.home.url + path)
    await ben.expect("session-resumed")
    user = await people.accounts.identify("ana")
    if is_disabled:
        await people.accounts.disable(user.id)
    else:
        await people.logins.end_all(user)
    await expect(ana).to_have_title("⚠ Sign in · liveguard")
    assert [one for one in said if "Whether you are still signed in here will show in a moment." in one]
    assert not [one for one in said if "If you are back soon" in one or "Something went wrong" in one]
    street.excuse("401")


@pytest.mark.gen_test
async def test_a_guardian_who_was_removed_while_away_is_told(street: Street) -> None:
    guardianships, accounts = street.home.server.people.guardianships, street.home.server.people.accounts
    ana = await street.home.ward("ana")
    await ana.answer("start-live-session")
    ben, alex = await street.sign_in("ben"), await street.sign_in("alex")
    for page in (ben, alex):
        await expect(page.locator("#live:not(.stale) .card")).to_be_visible()
        await page.context.set_offline(True)
        await expect(page.locator("#away")).to_be_visible()
    user = await accounts.identify("ana")
    (pair,) = [pair for pair in await guardianships.of_ward(user) if pair.guardian.id == "ben"]
    await guardianships.revoke(user, pair.id)
    for page in (ben, alex):
        await page.context.set_offline(False)
    await expect(ben.locator("#said")).to_contain_text("You no longer watch over Ana Winter.")
    await expect(ben.locator(".card")).to_have_count(0)
    # An admin has never watched over her, and still sees her.
    await expect(alex.locator("#said")).to_have_text("Connected again. Everything is up to date.")
    await expect(alex.locator("#live:not(.stale) .card")).to_be_visible()
    await ben.close()  # so that it asks for nothing any more
    street.excuse(*NO_NETWORK, "404")


@pytest.mark.gen_test
async def test_an_end_that_is_not_told_any_more_is_no_removal(street: Street) -> None:
    guardianships, accounts = street.home.server.people.guardianships, street.home.server.people.accounts
    ana = await street.home.ward("ana")
    await ana.answer("start-live-session")
    ben = await street.sign_in("ben")
    await expect(ben.locator("#live:not(.stale) .card")).to_be_visible()
    await ana.expect("guardians-changed", connectedGuardians=1)
    await ben.context.set_offline(True)
    await expect(ben.locator("#away")).to_be_visible()
    await ana.answer("stop-live-session")
    # What was before he was accepted, nobody tells him.
    user = await accounts.identify("ana")
    (pair,) = [pair for pair in await guardianships.of_ward(user) if pair.guardian.id == "ben"]
    await guardianships.revoke(user, pair.id)
    await guardianships.put("ana", "ben", "accepted")
    # A proxy says that there is nothing, for a moment.
    await ben.route("**/history/*", lambda route: route.fulfill(status=404, body="no such host"), times=1)
    await ben.locator("#said").evaluate(NOTES_WHAT_IS_SAID)
    await ben.context.set_offline(False)
    await expect(ben.locator("#said")).to_contain_text("Ana Winter is safe and has stopped the session.")
    assert not any("no longer watch" in said for said in await ben.evaluate("window.said"))
    street.excuse(*NO_NETWORK, "404")


@pytest.mark.parametrize("path", ["/", "/history/{ana}"])
@pytest.mark.gen_test
async def test_another_password_in_another_window_signs_nobody_out(street: Street, path: str) -> None:
    ana = await street.home.ward("ana")
    await ana.answer("start-live-session")
    session = street.home.server.live.sessions.of_ward("ana")
    assert session is not None
    ben = await street.sign_in("ben", path.format(ana=session.id))
    await expect(ben.locator("#live:not(.stale)")).to_be_visible()
    field = ben.get_by_label("Message to Ana")
    await field.fill("Where are you?")
    asked = asyncio.Event()

    async def as_a_stranger(route: Route) -> None:
        await route.fulfill(status=401)
        if "/api/me" in route.request.url:
            asked.set()

    for address in ("**/live?*", "**/history/*", "**/api/me"):
        await ben.route(address, as_a_stranger, times=1)
    await ana.answer("send-message", {"text": "On the bridge"})
    await asked.wait()
    await expect(ben.locator("#page, #cards")).to_contain_text("On the bridge")
    await expect(ben.locator("#live:not(.stale)")).to_be_visible()
    await expect(field).to_have_value("Where are you?")
    street.excuse("401")


@pytest.mark.gen_test
async def test_a_form_that_is_on_its_way_is_not_sent_twice(street: Street) -> None:
    people, sent, late = street.home.server.people, list[str](), HeldBack()

    async def hold_back(route: Route) -> None:
        sent.append(route.request.url)
        await late(route)

    ida = await street.sign_in("ida", "/account")
    await ida.route("**/account/password", hold_back)
    await ida.get_by_label("Current password").fill(PASSWORD)
    await ida.get_by_label("New password").fill("a better password")
    button = ida.get_by_role("button", name="Change the password")
    await button.scroll_into_view_if_needed()
    place = await button.bounding_box()
    assert place is not None
    await ida.mouse.click(place["x"] + 9, place["y"] + 9)
    await late.asked.wait()
    await ida.mouse.click(place["x"] + 9, place["y"] + 9)
    await ida.keyboard.press("Enter")
    late.let_go.set()
    await expect(ida.locator(".done")).to_contain_text("The password is changed")
    assert len(sent) == 1
    assert await people.accounts.sign_in("ida@example.org", "a better password", "127.0.0.1")
    # A page of its own each time.
    await ida.get_by_label("Current password").fill("a better password")
    await ida.get_by_label("New password").fill("an even better password")
    await button.click()
    await expect(ida.get_by_label("New password")).to_have_value("")
    assert len(sent) == 2


@pytest.mark.gen_test
async def test_nothing_is_done_unasked_while_the_script_that_asks_is_late(street: Street) -> None:
    ana, late = await street.sign_in("ana", "/healthz"), HeldBack()
    await ana.context.route("**/page.js", late)
    await ana.goto(f"{street.home.url}/people", wait_until="commit")
    remove = ana.get_by_role("button", name="Remove Ben Keller", include_hidden=True)
    place = await remove.bounding_box()
    assert place is not None
    await ana.mouse.click(place["x"] + 9, place["y"] + 9)
    await remove.evaluate("(button) => button.focus()")
    await ana.keyboard.press("Enter")
    await expect(remove).to_be_hidden()
    late.let_go.set()
    await remove.click()
    await expect(ana.get_by_role("dialog")).to_contain_text("Remove Ben Keller as your guardian?")

    # Where it never comes, all can be done as without one.
    await ana.context.unroute_all()
    await ana.context.route("**/page.js", lambda route: route.abort())
    await ana.goto(f"{street.home.url}/people")
    await expect(remove).to_be_hidden()
    await ana.evaluate("document.getAnimations().forEach((one) => one.finish())")
    await remove.click()
    await expect(ana.get_by_role("button", name="Invite again Ben Keller")).to_be_visible()
    street.excuse("net::ERR_FAILED")


@pytest.mark.gen_test
async def test_a_network_that_swallows_everything_leaves_no_page_blank(street: Street) -> None:
    ana = await street.sign_in("ana", "/ward", **WORKER)
    await ana.wait_for_function("() => navigator.serviceWorker.controller !== null")
    (worker,) = ana.context.service_workers
    await worker.evaluate("const later = setTimeout; self.setTimeout = (done, wait) => later(done, wait / 20)")
    doorkeeper = street.home.server.connections.doorkeeper
    recognise, passable = doorkeeper.recognise, asyncio.Event()

    async def wait(cookie: str | None, **how: Any) -> Any:
        await passable.wait()
        return await recognise(cookie, **how)

    doorkeeper.recognise = wait  # type: ignore[method-assign]
    await ana.goto(f"{street.home.url}/ward")
    await expect(ana.get_by_role("heading")).to_have_text("No connection")
    passable.set()
    await expect(ana.get_by_role("button", name="Start")).to_be_enabled()
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_the_sign_in_of_a_network_is_not_taken_for_the_wards_page(street: Street) -> None:
    ben = await street.home.guardian("ben")
    ana = await started(street)
    watching = ana.locator("#watching-line")
    await expect(watching).to_contain_text("Ben Keller")
    portal = "<h1>Welcome to our Wi-Fi. Please sign in.</h1>"
    await ana.route("**/ward", lambda route: route.fulfill(content_type="text/html", body=portal), times=1)
    await ben.leave()
    await expect(watching).to_have_text("Nobody is connected just now")


@pytest.mark.gen_test
async def test_the_page_that_a_network_gives_instead_sets_no_clock_to_nought(street: Street) -> None:
    tom = await street.home.ward("tom")
    await tom.answer("start-live-session")
    ben = await street.sign_in("ben")
    clock = ben.locator(".card .clock")
    await expect(clock).not_to_have_text("0:00")
    await ben.route("**/live?*", lambda route: route.fulfill(body="<h1>Welcome to our Wi-Fi</h1>"))
    await expect(ben.locator("#away")).to_be_visible()
    await clock.evaluate(NOTES_WHAT_IS_SAID)
    await ben.wait_for_function("() => window.said.length === 2")
    assert "0:00" not in await ben.evaluate("window.said")
    await ben.unroute("**/live?*")
    await expect(ben.locator("#live:not(.stale)")).to_be_visible()


@pytest.mark.gen_test
async def test_a_clock_that_is_set_ends_no_session_but_sleep_may(street: Street) -> None:
    ana = await started(street, device=IS_NOTIFIED)
    line = ana.locator("#line")
    await ana.context.set_offline(True)
    await expect(line).to_contain_text("No connection. Whoever")
    await ana.evaluate("const { now } = Date; Date.now = () => now() + (window.ahead ?? 0)")
    await ana.evaluate("window.ahead = 3600e3")
    await ana.locator("#duration").evaluate(NOTES_WHAT_IS_SAID)
    await ana.wait_for_function("() => window.said.length === 2")
    await expect(line).to_contain_text("No connection. Whoever")
    # It sleeps while nobody looks at it, at once.
    await ana.evaluate(f"window.away = true; {LOOKS_AGAIN}; window.ahead += 3600e3")
    await expect(line).to_contain_text("No connection for too long")
    await ana.context.close()
    street.excuse(*NO_NETWORK)


# A device's clock that a test sets ahead; what a page measures by does not go on with it: so it is after sleep as well.
IS_AHEAD = "const { now } = Date; Date.now = () => now() + (window.ahead ?? 0);"
AN_HOUR = "window.ahead = 3600e3;"


@pytest.mark.gen_test
async def test_what_ticks_counts_the_sleep_of_a_device_that_has_no_network_yet(street: Street) -> None:
    ana = await started(street, device=IS_NOTIFIED + IS_AHEAD)
    ben = await street.sign_in("ben", device=IS_NOTIFIED + IS_AHEAD)
    await expect(ben.locator(".card.live")).to_be_visible()
    for page, away in ((ana, ana.locator("#line.away")), (ben, ben.locator("#away"))):
        await page.context.set_offline(True)
        await expect(away).to_be_visible()
        await page.evaluate(f"window.away = true; {LOOKS_AGAIN}")
        await page.evaluate(f"{AN_HOUR} window.away = false; {LOOKS_AGAIN}")
    await expect(ana.locator("#duration")).to_contain_text("1:00:")
    await expect(ben.locator(".card .clock")).to_contain_text("1:00:")
    await expect(ben.locator(".card .heard")).to_have_text("1 h ago")
    street.excuse(*NO_NETWORK)


# From now on nothing that a page says arrives, and nobody tells it; and it notes how soon it says that it is away.
IS_SWALLOWED = """
    const { send } = WebSocket.prototype;
    WebSocket.prototype.send = function (text) { if (!window.woke) send.call(this, text); };
"""
NOTES_WHEN_AWAY = """
    new MutationObserver(() => {
      if (document.querySelector("#line.away, #away:not([hidden])")) window.noticed ??= performance.now() - window.woke;
    }).observe(document.body, { attributes: true, subtree: true });
    window.woke = performance.now();
"""


@pytest.mark.gen_test
async def test_after_sleep_nothing_passes_for_live_until_the_server_has_said_so(street: Street) -> None:
    ana = await started(street, device=IS_AHEAD + IS_SWALLOWED)
    ben = await street.sign_in("ben", device=IS_AHEAD + IS_SWALLOWED)
    await expect(ben.locator("#live:not(.stale) .card.live")).to_be_visible()
    await expect(ana.locator("#watching-line")).to_have_text("Ben Keller is watching over you")
    for page in (ana, ben):
        await page.route("**/*", lambda _: None)
        await page.evaluate(f"{NOTES_WHEN_AWAY} {AN_HOUR}")
    for page in (ana, ben):
        await page.wait_for_function("() => window.noticed !== undefined")
        assert await page.evaluate("window.noticed") < 3000
    await expect(ana.locator("#watching-line")).to_have_text("Who is watching is not known just now.")
