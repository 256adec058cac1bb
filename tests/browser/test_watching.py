"""The guardian's dashboard through an evening: it makes itself heard, never shows what is old as live, never jumps."""

import asyncio
import re

import pytest
from playwright.async_api import Page, WebSocket, WebSocketRoute, expect
from server import Peer
from visitors import IS_HEARD, IS_NOTIFIED, MOVES, NO_NETWORK, WORKER, Street, said_last

pytestmark = [pytest.mark.browser, pytest.mark.slow]

REFUSES_TO_NOTIFY = """
    window.Notification = class {
      static permission = "denied";
      static async requestPermission() { return "denied"; }
    };
"""

SEES_JUMPS = """
    window.shift = 0;
    new PerformanceObserver((list) => {
      for (const one of list.getEntries()) if (!one.hadRecentInput) window.shift += one.value;
    }).observe({ type: "layout-shift", buffered: true });
"""

IS_SETTLED = "() => document.getAnimations().every((one) => one instanceof CSSAnimation || one.playState !== 'running')"

IS_BELOW_THE_NEWS = """() => {
    const news = document.querySelector(".news");
    const [line, box] = [news, document.activeElement].map((element) => element.getBoundingClientRect());
    return news.contains(document.activeElement) || box.top >= line.bottom || box.bottom <= line.top;
}"""

TIME_IS_UP = """
    for (const one of document.getAnimations()) if (["standstill", "faded"].includes(one.animationName)) one.finish();
"""

NOTES_WHAT_WAS_COPIED = """
    new MutationObserver(() => {
      window.copied ??= document.querySelector("button.copied")?.innerText;
      const lines = [...document.querySelectorAll("[role=status]")].filter((line) => line.innerText === "Copied");
      window.read ??= lines.length || undefined;
    }).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
"""

LEFT_TO_SCROLL = """((list) => list.scrollHeight - list.scrollTop - list.clientHeight)(
    document.querySelector(".messages li").parentNode)"""

BEGINS_IN_SIGHT = """() => {
    const newest = document.querySelector(".messages li:last-child");
    const [list, box] = [newest.parentNode, newest].map((element) => element.getBoundingClientRect());
    return box.top >= list.top - 1 && box.top < list.bottom - 20;
}"""

# A glide takes minutes, so that whatever is further away in the next frame has leapt there.
SEES_LEAPS = """
    window.leap = 0;
    const tops = new Map();
    requestAnimationFrame(function look() {
      for (const one of document.getAnimations()) one.playbackRate = 1 / 500;
      for (const card of document.querySelectorAll(".card")) {
        const { top } = card.getBoundingClientRect();
        window.leap = Math.max(window.leap, Math.abs(top - (tops.get(card) ?? top)));
        tops.set(card, top);
      }
      requestAnimationFrame(look);
    });
"""


async def live_through_it(street: Street, page: Page) -> Peer:
    """Tom starts, is lost, comes back and ends; the page has told all of it, one after the other."""
    tom = await street.home.ward("tom")
    await tom.answer("start-live-session")
    await said_last(page, "Tom Berger has started a session.")
    tom.lose()
    await said_last(page, "The connection to Tom Berger is lost.")
    tom = await street.home.ward("tom")
    await said_last(page, "Tom Berger is back.")
    await tom.answer("stop-live-session")
    await said_last(page, "Tom Berger is safe and has stopped the session.")
    return tom


@pytest.mark.gen_test
async def test_who_is_alerted_by_nothing_is_told_so_while_somebody_is_live(street: Street) -> None:
    ben = await street.sign_in("ben", device=IS_HEARD + IS_NOTIFIED)
    await street.connected(ben)
    silent = ben.locator("#silent")
    await expect(silent).to_be_hidden()
    await (await street.home.ward("ana")).answer("start-live-session")
    await expect(silent).to_have_text("Silent: only this page tells you anything.")
    await expect(silent).to_be_visible()
    for name in ("Sound", "Notifications"):
        button = ben.get_by_role("button", name=name)
        await button.click()
        await expect(silent).to_be_hidden()
        await button.click()
        await expect(silent).to_be_visible()


@pytest.mark.gen_test
async def test_each_change_is_heard_once_sound_was_allowed(street: Street) -> None:
    ben = await street.sign_in("ben", device=IS_HEARD)
    await live_through_it(street, ben)
    assert await ben.evaluate("window.tones") == []

    button = ben.get_by_role("button", name="Sound")
    # What is off is crossed out: nobody takes the drawing of a sound for one that is on.
    await expect(button.locator(".off")).to_be_visible()
    await expect(button.locator(".on")).to_be_hidden()
    await button.click()
    await expect(button).to_have_attribute("aria-pressed", "true")
    await expect(button.locator(".on")).to_be_visible()
    await expect(button.locator(".off")).to_be_hidden()
    # Allowed once is allowed for good; the browser alone asks for a touch of the page after each loading.
    mute = ben.get_by_text("No sound yet")
    await expect(mute).to_be_hidden()
    await ben.reload()
    await expect(button).to_have_attribute("aria-pressed", "true")
    await expect(mute).to_be_visible()
    await ben.locator("h1").click()
    await expect(mute).to_be_hidden()
    heard: list[int] = []
    tom = await street.home.ward("tom")
    for step in ("start", "lose", "return", "stop"):
        match step:
            case "start":
                await tom.answer("start-live-session")
            case "lose":
                tom.lose()
            case "return":
                tom = await street.home.ward("tom")
            case "stop":
                await tom.answer("stop-live-session")
        await ben.wait_for_function("(before) => window.tones.length > before", arg=sum(heard))
        heard.append(await ben.evaluate("window.tones.length") - sum(heard))
    assert len(heard) == 4
    assert heard[1] > max(heard[0], heard[2], heard[3])  # a loss sounds like nothing else

    await button.click()
    quiet = await ben.evaluate("window.tones.length")
    await live_through_it(street, ben)
    assert await ben.evaluate("window.tones.length") == quiet


@pytest.mark.gen_test
async def test_a_hidden_page_notifies_where_that_is_permitted(street: Street) -> None:
    ben = await street.sign_in("ben", device=IS_NOTIFIED)
    button = ben.get_by_role("button", name="Notifications")
    await ben.evaluate("window.away = true")
    await live_through_it(street, ben)
    assert await ben.evaluate("window.notices") == []

    await button.click()
    await expect(button).to_have_attribute("aria-pressed", "true")
    await ben.evaluate("window.away = false")
    tom = await live_through_it(street, ben)
    assert await ben.evaluate("window.notices") == []  # whoever looks, sees it

    await ben.evaluate("window.away = true")
    await live_through_it(street, ben)
    assert await ben.evaluate("window.notices") == [
        "Tom Berger has started a session.", "The connection to Tom Berger is lost.",
        "Tom Berger is back.", "Tom Berger is safe and has stopped the session.",
    ]  # fmt: skip
    await tom.leave()


@pytest.mark.gen_test
async def test_where_the_browser_allows_no_notifications_the_page_says_so(street: Street) -> None:
    ben = await street.sign_in("ben", device=REFUSES_TO_NOTIFY)
    button = ben.get_by_role("button", name="Notifications")
    await button.click()
    await expect(
        ben.get_by_role("status").get_by_text("This browser allows no notifications from here.")
    ).to_be_visible()
    await expect(button).to_have_attribute("aria-pressed", "false")


@pytest.mark.gen_test
async def test_a_notification_leads_to_its_session(street: Street) -> None:
    ben = await street.sign_in("ben", device=IS_NOTIFIED, viewport={"width": 390, "height": 500})
    await ben.get_by_role("button", name="Notifications").click()
    await ben.evaluate("window.away = true")
    ana = await street.home.ward("ana")
    await ana.answer("start-live-session")
    tom = await street.home.ward("tom")
    await tom.answer("start-live-session")
    await ben.wait_for_function("() => window.notices.length === 2")
    toms = ben.locator(".card", has_text="Tom Berger")
    await expect(toms).to_be_visible()
    await ben.evaluate("scrollTo(0, 0); window.notice.onclick()")
    await expect(toms.get_by_role("link", name="Tom Berger")).to_be_focused()
    await expect(toms.get_by_role("link", name="Tom Berger")).to_be_in_viewport()
    # Where he has no card any more, it is what the page knows of him, whoever was heard of since.
    await tom.answer("stop-live-session")
    await ben.wait_for_function("() => window.notices.length === 3")
    await ben.evaluate("window.toms = window.notice")
    await ana.answer("send-message", {"text": "Nearly there"})
    await ben.wait_for_function("() => window.notices.length === 4")
    await expect(ben.locator("#ended")).to_contain_text("Tom Berger")
    await ben.evaluate("window.toms.onclick()")
    await expect(ben.locator("#ended").get_by_role("link", name="Tom Berger")).to_be_focused()


# Touches a notification, where no page is asked to come to the front and none is opened: both are noted.
TOUCHED = """async (about) => {
    const led = [];
    clients.openWindow = async (path) => led.push(`opens ${path}`);
    WindowClient.prototype.focus = async function () { led.push(`shows ${new URL(this.url).pathname}`); };
    const event = new Event("notificationclick");
    event.notification = { data: about, close() {} };
    let over = null;
    event.waitUntil = (work) => (over = work);
    dispatchEvent(event);
    await over;
    return led;
}"""


@pytest.mark.gen_test
async def test_a_workers_notification_leads_to_its_session_or_to_what_is_open(street: Street) -> None:
    ana = await street.home.ward("ana")
    about = (await ana.answer("start-live-session"))["data"]["sessionId"]
    ben = await street.sign_in("ben", **WORKER)
    await ben.evaluate("navigator.serviceWorker.ready")
    (worker,) = ben.context.service_workers
    await ben.goto(street.home.url)
    await expect(ben.locator(".card")).to_be_visible()
    await ben.evaluate("scrollTo(0, document.body.scrollHeight)")
    assert await worker.evaluate(TOUCHED, about) == ["shows /"]
    await expect(ben.get_by_role("link", name="Ana Winter")).to_be_focused()
    await ben.goto(f"{street.home.url}/history/{about}")
    await ben.evaluate("scrollTo(0, document.body.scrollHeight)")
    assert await worker.evaluate(TOUCHED, about) == [f"shows /history/{about}"]
    await expect(ben.get_by_role("heading", level=1)).to_be_in_viewport()
    await ben.goto(f"{street.home.url}/people")
    assert await worker.evaluate(TOUCHED, about) == [f"opens /history/{about}"]
    assert await worker.evaluate(TOUCHED, "") == ["opens /"]


@pytest.mark.gen_test
async def test_the_tab_shows_how_many_run_and_whether_one_is_lost(street: Street) -> None:
    ben = await street.sign_in("ben")
    # To an admin nobody tells it, whether the tab is in sight or not.
    alex = await street.sign_in("alex", device=IS_NOTIFIED)
    icon = ben.locator("#favicon")
    quiet = await icon.get_attribute("href")
    assert "(" not in await ben.title()
    ana, tom = await street.home.ward("ana"), await street.home.ward("tom")
    await ana.answer("start-live-session")
    await ben.wait_for_function("() => document.title.startsWith('(1) ')")
    live = await icon.get_attribute("href")
    await tom.answer("start-live-session")
    await ben.wait_for_function("() => document.title.startsWith('(2) ')")
    await alex.wait_for_function("() => document.title.startsWith('(2) ')")
    await alex.evaluate("window.away = true")
    tom.lose()
    await ben.wait_for_function("() => document.title.startsWith('⚠ (2) ')")
    await alex.wait_for_function("() => document.title.startsWith('⚠ (2) ')")
    lost = await icon.get_attribute("href")
    assert len({quiet, live, lost}) == 3
    await (await street.home.ward("tom")).answer("stop-live-session")
    await ana.answer("stop-live-session")
    await ben.wait_for_function("() => !document.title.includes('(')")
    await expect(icon).to_have_attribute("href", str(quiet))


@pytest.mark.gen_test
async def test_a_page_without_connection_says_so_soon_and_catches_up(street: Street) -> None:
    ana = await street.home.ward("ana")
    await ana.answer("start-live-session")
    ben = await street.sign_in("ben")
    await expect(ben.locator("#live:not(.stale) .card.live")).to_be_visible()
    await ben.evaluate(
        "addEventListener('offline', () => { const began = performance.now();"
        " new MutationObserver(() => { window.noticed ??= performance.now() - began; })"
        ".observe(document.getElementById('away'), { attributes: true }); }, true)"
    )
    await ben.context.set_offline(True)
    await expect(ben.locator("#away")).to_contain_text(re.compile("Not connected since .* tries again by itself"))
    await expect(ben.locator("#live")).to_have_class("stale")
    assert await ben.evaluate("window.noticed ?? 0") < 3000
    assert (await ben.title()).startswith("⚠")
    tom = await street.home.ward("tom")
    await tom.answer("start-live-session")
    await ana.answer("stop-live-session")

    await ben.context.set_offline(False)
    await expect(ben.locator("#away")).to_be_hidden()
    await expect(ben.locator(".card")).to_have_count(1)
    await expect(ben.locator(".card")).to_contain_text("Tom Berger")
    await expect(ben.locator("#live")).not_to_have_class("stale")
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_the_tab_has_its_icons_before_the_server_is_gone(street: Street) -> None:
    ben = await street.sign_in("ben")
    await expect(ben.locator("#live:not(.stale)")).to_be_visible()
    await ben.wait_for_load_state("networkidle")
    await ben.context.set_offline(True)
    await expect(ben.locator("#away")).to_be_visible()
    icon = ben.locator("#favicon")
    await expect(icon).to_have_attribute("href", re.compile("icon-lost"))
    assert await icon.evaluate("async ({ href }) => (await fetch(href)).ok")
    street.excuse(*NO_NETWORK)


@pytest.mark.parametrize(("language", "day"), [("en-GB", r"since \d+ \w+, \d"), ("de-DE", r"seit \d+\. \w+\.?, \d")])
@pytest.mark.gen_test
async def test_a_page_without_connection_since_another_day_says_which(street: Street, language: str, day: str) -> None:
    ben = await street.sign_in("ben", locale=language)
    await expect(ben.locator("#live:not(.stale)")).to_be_visible()
    await ben.clock.install()
    await ben.context.set_offline(True)
    away = ben.locator("#away span")
    await expect(away).to_be_visible()
    assert not re.search(day, await away.inner_text())
    await ben.clock.fast_forward(24 * 3600_000)
    await expect(away).to_contain_text(re.compile(day))
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_a_connection_is_not_given_up_because_the_browser_slowed_the_page_down(street: Street) -> None:
    ben = await street.sign_in("ben", "/healthz", device=f"{IS_NOTIFIED} window.away = true;")
    await ben.clock.install()
    sockets: list[WebSocket] = []
    ben.on("websocket", lambda one: sockets.append(one))
    await ben.goto(street.home.url)
    await street.connected(ben)
    for _ in range(2):
        async with sockets[0].expect_event("framereceived", lambda text: '"pong"' in text):
            await ben.clock.fast_forward(60_000)
    await expect(ben.locator("#away")).to_be_hidden()
    assert len(sockets) == 1


@pytest.mark.gen_test
async def test_a_server_that_goes_away_is_noticed_as_well(street: Street) -> None:
    ben = await street.sign_in("ben")
    await street.connected(ben)
    await ben.evaluate("window.began = performance.now()")
    street.home.server.connections.close(1012)
    await expect(ben.locator("#live.stale")).to_be_visible()
    assert await ben.evaluate("performance.now() - window.began") < 3000
    await expect(ben.locator("#live:not(.stale)")).to_be_visible()
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_what_a_ward_writes_at_length_is_read_from_its_beginning(street: Street) -> None:
    ana = await street.home.ward("ana")
    await ana.answer("start-live-session")
    ben = await street.sign_in("ben")
    newest = ben.locator(".messages li").last
    for number in range(4):  # enough to scroll
        await ana.answer("send-message", {"text": f"At number {number}"})

    async def is_seen_from_its_beginning(text: str) -> None:
        await expect(newest).to_contain_text(text)
        await ben.wait_for_function(BEGINS_IN_SIGHT)

    for _ in range(2):
        await ana.answer("send-message", {"text": "A man in a grey coat" + "\n" * 30 + "follows me"})
        await is_seen_from_its_beginning("grey coat")
        # Whoever reads there, sees what comes next as well.
        await ana.answer("send-message", {"text": "On the bridge"})
        await is_seen_from_its_beginning("On the bridge")
        assert await ben.evaluate(LEFT_TO_SCROLL) < 2
    await ana.answer("send-message", {"text": "It is\n" * 30})
    await is_seen_from_its_beginning("It is")
    await ben.reload()
    await is_seen_from_its_beginning("It is")
    # Who reads further up, stays there.
    await ben.locator(".messages").evaluate("(list) => { list.scrollTop = 0; }")
    await ana.answer("send-message", {"text": "Safe"})
    await expect(newest).to_contain_text("Safe")
    assert await ben.locator(".messages").evaluate("(list) => list.scrollTop") == 0


@pytest.mark.gen_test
async def test_what_is_typed_stays_while_the_page_changes_under_it(street: Street) -> None:
    ana, tom = await street.home.ward("ana"), await street.home.ward("tom")
    await ana.answer("start-live-session")
    ben = await street.sign_in("ben")
    await ben.get_by_label("Message to Ana").press_sequentially("Where are y")

    await tom.answer("start-live-session")  # a card comes and takes the first place
    await expect(ben.locator(".card").first).to_contain_text("Tom Berger")
    await ana.answer("update-location", {"latitude": 48.2, "longitude": 16.37, "accuracy": 20})
    await ana.answer("send-message", {"text": "On my way" + "\n" * 30 + "and somebody is behind me"})
    await ana.answer("send-message", {"text": "On the bridge"})
    await expect(ben.locator(".messages li").last).to_contain_text("On the bridge")
    await ben.wait_for_function(f"() => {LEFT_TO_SCROLL} < 2")
    ana.lose()
    await expect(ben.locator(".card").first).to_contain_text("Connection lost")
    assert await ben.evaluate(LEFT_TO_SCROLL) < 2  # it stays at the end, in its new place
    tom.lose()
    await expect(ben.locator(".card.lost")).to_have_count(2)
    await street.home.ward("ana")
    await expect(ben.locator(".card.lost")).to_have_count(1)

    await ben.keyboard.type("ou?")
    await expect(ben.get_by_label("Message to Ana")).to_have_value("Where are you?")
    await expect(ben.get_by_label("Message to Ana")).to_be_focused()
    await ben.context.set_offline(True)
    await expect(ben.locator("#away")).to_be_visible()
    await ben.wait_for_function("() => !navigator.onLine")
    await ben.keyboard.press("Enter")
    await expect(ben.get_by_label("Message to Ana")).to_have_value("Where are you?")
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_what_was_being_written_to_a_ward_stays_when_their_card_goes(street: Street) -> None:
    ana, tom = await street.home.ward("ana"), await street.home.ward("tom")
    for ward in (ana, tom):
        await ward.answer("start-live-session")
    ben = await street.sign_in("ben")
    await ben.get_by_label("Message to Ana").fill("  ")
    field = ben.get_by_label("Message to Tom")
    await field.press_sequentially("Where are y")
    await ana.answer("stop-live-session")
    await tom.answer("stop-live-session")
    await expect(ben.locator(".card")).to_have_count(0)
    kept = ben.locator("#kept .unsent")
    await expect(kept).to_have_count(1)
    await expect(kept).to_contain_text("Tom Berger: This was not sent")
    await expect(field).to_have_value("Where are y")
    await expect(field).to_be_focused()
    await expect(field).not_to_be_editable()
    await expect(kept.get_by_role("button", name="Send")).to_have_count(0)
    await field.press("Enter")
    await expect(field).to_have_value("Where are y")
    await kept.get_by_role("button", name="Remove").click()
    await expect(kept).to_have_count(0)


@pytest.mark.gen_test
async def test_what_arrived_just_before_the_end_is_not_called_unsent(street: Street) -> None:
    tom = await street.home.ward("tom")
    await tom.answer("start-live-session")
    held: list[str | bytes] = []
    sockets: list[WebSocketRoute] = []
    is_open = asyncio.Event()

    def hold_the_answer(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def from_server(text: str | bytes) -> None:
            if "replyTo" in str(text):
                held.append(text)
            else:
                socket.send(text)
                is_open.set()

        server.on_message(from_server)
        sockets.append(socket)

    ben = await street.sign_in("ben", "/healthz")
    await ben.route_web_socket("**/ws/*", hold_the_answer)
    await ben.goto(street.home.url)
    await is_open.wait()
    await ben.get_by_label("Message to Tom").fill("Are you there?")
    await ben.get_by_role("button", name="Send").click()
    await tom.expect("message")
    await tom.answer("stop-live-session")
    await expect(ben.locator("#kept .unsent")).to_be_visible()
    (answer,) = held
    sockets[-1].send(answer)
    await expect(ben.locator("#kept .unsent")).to_have_count(0)


@pytest.mark.gen_test
async def test_what_a_ward_types_stays_while_the_page_changes_under_it(street: Street) -> None:
    first = await street.home.guardian("ben")
    ana = await street.sign_in("ana", "/ward")
    await ana.get_by_role("button", name="Start").click()
    await expect(ana.locator("#watching-line")).to_contain_text("Ben Keller")
    await ana.get_by_label("Message to your guardians").press_sequentially("I am at ")
    await street.home.guardian("chloe")
    await expect(ana.locator("#watching-line")).to_contain_text("Chloe Martin")
    await first.answer("send-message", {"wardId": "ana", "text": "Where?"})
    await expect(ana.locator("#messages")).to_contain_text("Where?")
    await ana.keyboard.type("the bridge")
    await ana.keyboard.press("Enter")
    await expect(ana.locator("#messages")).to_contain_text("I am at the bridge")
    await expect(ana.get_by_label("Message to your guardians")).to_have_value("")


@pytest.mark.gen_test
async def test_what_was_being_written_is_still_there_when_the_page_is_loaded_anew(street: Street) -> None:
    ana = await street.sign_in("ana", "/ward")
    note, text = ana.get_by_label("A note for them"), ana.get_by_label("Message to your guardians")
    await note.fill("walking ho")
    await ana.reload()
    await expect(note).to_have_value("walking ho")
    await ana.get_by_role("button", name="Start").click()
    await text.fill("I am at ")
    await ana.goto(street.home.url + "/people")
    await ana.goto(street.home.url + "/ward")
    await expect(text).to_have_value("I am at ")
    assert await note.input_value() == ""  # it has gone with the start

    running = street.home.server.live.sessions.of_ward("ana")
    assert running is not None
    ben = await street.sign_in("ben")
    for path in ("/", f"/history/{running.id}"):
        await ben.goto(street.home.url + path)
        await ben.get_by_label("Message to Ana").fill("Whe")
        street.heard[ben].clear()
        await ben.reload()
        await expect(ben.get_by_label("Message to Ana")).to_have_value("Whe")
    await street.connected(ben)
    await ben.get_by_label("Message to Ana").press("Enter")
    await expect(ben.get_by_label("Message to Ana")).to_have_value("")
    await ben.reload()
    assert await ben.get_by_label("Message to Ana").input_value() == ""
    # What somebody wrote is for nobody else who signs in there.
    await street.go_on(ben, "chloe", "/")
    assert await ben.get_by_label("Message to Ana").input_value() == ""

    # Of a session that is over, it is not said in the next one.
    await ana.goto(street.home.url + "/people")
    device = await street.home.ward("ana")
    await device.answer("stop-live-session")
    await device.answer("start-live-session")
    await ana.goto(street.home.url + "/ward")
    await expect(ana.locator("#kept input")).to_have_value("I am at ")
    await expect(ana.locator("#text")).to_have_value("")


@pytest.mark.gen_test
@pytest.mark.parametrize("who", ["ana", "ben"])
async def test_a_message_stays_in_its_field_until_the_server_has_it(street: Street, who: str) -> None:
    device = await street.home.ward("ana")
    await device.answer("start-live-session")
    other = await street.home.guardian("ben")
    page = await street.sign_in(who, "/healthz")
    sockets: list[WebSocketRoute] = []
    is_open, swallowed = asyncio.Event(), asyncio.Event()

    def swallow(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def from_server(text: str | bytes) -> None:
            socket.send(text)
            is_open.set()

        server.on_message(from_server)
        socket.on_message(lambda text: swallowed.set() if "send-message" in text else server.send(text))
        sockets.append(socket)

    await page.route_web_socket("**/ws/*", swallow)
    await page.goto(street.home.url + ("/ward" if who == "ana" else "/"))
    field = page.get_by_role("textbox", name="Message to")
    await is_open.wait()
    await other.expect("guardian:session-started")
    await field.fill("I am at the bridge")
    await field.press("Enter")
    await swallowed.wait()
    await expect(field).to_have_value("I am at the bridge")
    await page.unroute_all()
    await sockets[-1].close(code=1001)
    unknown = page.get_by_text("Look whether your message has arrived")
    await expect(unknown).to_be_visible()
    # The connection is back a moment later, and nobody has said that it was not sent: it may have been.
    await page.wait_for_function("() => !document.querySelector('.stale, #line.away')")
    await expect(unknown).to_be_visible()
    await expect(page.get_by_text("Not sent")).to_have_count(0)
    await expect(field).to_have_value("I am at the bridge")
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
@pytest.mark.parametrize("who", ["ana", "ben"])
async def test_what_has_arrived_after_all_is_not_called_unsent_any_more(street: Street, who: str) -> None:
    device, other = await street.home.ward("ana"), await street.home.guardian("ben")
    await device.answer("start-live-session")
    page = await street.sign_in(who, "/ward" if who == "ana" else "/")
    field, line = page.get_by_role("textbox", name="Message to"), page.locator("#line" if who == "ana" else "#said")
    await street.connected(page)
    await page.context.set_offline(True)
    await expect(page.locator("#line.away, #away:not([hidden])")).to_be_visible()
    await field.fill("I am at the bridge")
    await field.press("Enter")
    await expect(line).to_contain_text("Not sent")
    await page.context.set_offline(False)
    await expect(line).to_contain_text("please try again")
    await field.press("Enter")
    await (other if who == "ana" else device).expect("message", text="I am at the bridge")
    await expect(field).to_have_value("")
    await expect(line).not_to_contain_text("Not sent")
    await expect(line).to_contain_text("Connected again.")
    if who == "ana":
        await expect(line).to_have_class("line")

    # What was said of something else stays.
    await page.context.set_offline(True)
    await expect(page.locator("#line.away, #away:not([hidden])")).to_be_visible()
    if who == "ana":
        await page.locator("#stop").dispatch_event("click")
        await page.get_by_role("dialog").get_by_role("button", name="Yes").click()
        await expect(line).to_contain_text("Not stopped")
    await field.fill("I am at the river")
    await field.press("Enter")
    await expect(line).to_contain_text("Not sent")
    await page.context.set_offline(False)
    await expect(line).to_contain_text("please try again")
    await field.press("Enter")
    await expect(field).to_have_value("")
    await expect(line).not_to_contain_text("Not sent")
    if who == "ana":
        await expect(line).to_have_text("Your session was not stopped: it is still running. Please stop it again.")
        await expect(line).to_have_class("line problem")
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_a_page_of_which_a_part_does_not_load_says_so(street: Street) -> None:
    ana = await street.home.ward("ana")
    session_id = (await ana.answer("start-live-session"))["data"]["sessionId"]
    pages = [("ben", "/", "morph"), ("ben", f"/history/{session_id}", "news"), ("ana", "/ward", "place")]
    page = await street.visit("/healthz")
    for name, path, module in pages:
        await street.go_on(page, name, "/healthz")
        await page.context.route(f"**/static/*/{module}.js", lambda route: route.abort())
        await page.goto(f"{street.home.url}{path}")
        line = page.get_by_text("Part of this page did not load")
        await expect(line).to_be_hidden()
        await page.evaluate(TIME_IS_UP)
        await expect(line).to_be_visible()
        for card in await page.locator(".card").all():
            await expect(card).to_have_css("filter", "grayscale(1)")
        await page.context.unroute_all()
        await page.get_by_role("link", name="Load it again").click()
        await page.wait_for_function("() => 'runs' in document.documentElement.dataset")
        await page.evaluate(TIME_IS_UP)
        await expect(line).to_be_hidden()
    street.excuse("net::ERR_FAILED")


@pytest.mark.gen_test
async def test_nothing_jumps_when_cards_come_and_go(street: Street) -> None:
    windows = [
        await street.sign_in("ben", device=SEES_JUMPS, viewport={"width": width, "height": 800}, **MOVES)
        for width in (390, 1440)
    ]
    for name, count in (("ana", 1), ("tom", 2), ("ida", 3)):
        ward = await street.home.ward(name)
        await ward.answer("start-live-session", {"note": "Walking home"})
        for ben in windows:
            await expect(ben.locator(".card")).to_have_count(count)
            await ben.wait_for_function(IS_SETTLED)
    await ward.answer("update-location", {"latitude": 48.2, "longitude": 16.37})
    for ben in windows:
        await expect(ben.locator(".card code")).to_be_visible()
        await ben.wait_for_function(IS_SETTLED)
    await ward.answer("stop-live-session")
    for ben in windows:
        await expect(ben.locator(".card")).to_have_count(2)
        await expect(ben.locator("#ended .rows li")).to_have_count(1)
        # The next frame has seen it all.
        await ben.evaluate("new Promise((seen) => requestAnimationFrame(() => requestAnimationFrame(seen)))")
        assert await ben.evaluate("window.shift") < 0.1


@pytest.mark.gen_test
async def test_what_happens_is_said_in_sight_of_whoever_reads_or_writes_further_down(street: Street) -> None:
    ana, tom = await street.home.ward("ana"), await street.home.ward("tom")
    for ward in (tom, ana):
        await ward.answer("start-live-session", {"note": "Walking home"})
        await ward.answer("update-location", {"latitude": 48.2, "longitude": 16.37})
    ben = await street.sign_in("ben", viewport={"width": 390, "height": 640})
    await street.connected(ben)
    field = ben.get_by_label("Message to Tom")
    await field.click()
    ana.lose()
    said = ben.locator("#said")
    await expect(said).to_have_text("The connection to Ana Winter is lost.")
    await expect(said).to_be_in_viewport(ratio=1)
    await expect(field).to_be_focused()
    # And nothing that is reached lies behind it.
    await ben.locator(".card.lost h2 a").focus()
    top = "(element) => element.getBoundingClientRect().top"
    bottom = "(element) => element.getBoundingClientRect().bottom"
    assert await ben.locator(".card.lost h2 a").evaluate(top) >= await said.evaluate(bottom)


@pytest.mark.gen_test
async def test_where_nothing_is_said_the_page_below_is_seen_and_touched(street: Street) -> None:
    ana = await street.home.ward("ana")
    await ana.answer("start-live-session", {"note": "Walking home"})
    await ana.answer("update-location", {"latitude": 48.2, "longitude": 16.37})
    ben = await street.sign_in("ben", viewport={"width": 390, "height": 400}, forced_colors="active")
    field = ben.get_by_label("Message to Ana")
    await field.evaluate("(e) => scrollBy(0, e.getBoundingClientRect().top - 20)")
    box = await field.bounding_box()
    assert box is not None
    assert box["y"] < 60
    await ben.mouse.click(box["x"] + 40, box["y"] + 20)
    await expect(field).to_be_focused()
    await expect(ben.locator("#said")).to_have_css("border-top-style", "none")
    ground = await ben.locator("#refused").evaluate("(e) => getComputedStyle(e).backgroundColor")
    assert ground.endswith(", 0)")  # and so is the strip of a hint that says nothing
    await ana.leave()


@pytest.mark.gen_test
@pytest.mark.parametrize("size", [(844, 390), (360, 640)])
async def test_however_much_is_said_nothing_that_is_written_or_reached_lies_behind_it(
    street: Street, size: tuple[int, int]
) -> None:
    ana, tom = await street.home.ward("ana"), await street.home.ward("tom")
    for ward in (tom, ana):
        await ward.answer("start-live-session", {"note": "Walking home"})
        await ward.answer("update-location", {"latitude": 48.2, "longitude": 16.37})
    ben = await street.sign_in("ben", viewport={"width": size[0], "height": size[1]})
    await street.connected(ben)
    field = ben.get_by_label("Message to Tom")
    await field.click()
    await field.evaluate("(e) => scrollBy(0, e.getBoundingClientRect().top - 95)")
    await ana.answer("send-message", {"text": "Somebody follows me, and I do not know who. " * 12})
    await expect(ben.locator("#said")).to_contain_text("Somebody follows me")
    await ben.wait_for_function(IS_BELOW_THE_NEWS)
    await expect(field).to_be_in_viewport(ratio=1)
    await expect(field).to_be_focused()
    await expect(ben.locator(".messages li")).to_contain_text("Somebody follows me")
    for _ in range(12):
        await ben.keyboard.press("Shift+Tab")
        await ben.wait_for_function(IS_BELOW_THE_NEWS)
    await ana.leave()
    await tom.leave()


@pytest.mark.gen_test
async def test_what_is_on_its_way_goes_on_from_there_when_more_changes(street: Street) -> None:
    ben = await street.sign_in("ben", device=SEES_LEAPS, viewport={"width": 390, "height": 800}, **MOVES)
    ana = await street.home.ward("ana")
    await ana.answer("start-live-session", {"note": "Walking home"})
    await expect(ben.locator(".card")).to_have_count(1)
    await ben.wait_for_function("() => !document.querySelector('.stale, #line.away')")
    await ben.evaluate("window.leap = 0")
    tom = await street.home.ward("tom")
    await tom.answer("start-live-session", {"note": "Walking home"})
    await expect(ben.locator(".card")).to_have_count(2)
    # Ana's card is still making room for Tom's when both change.
    for ward in (ana, tom):
        await ward.answer("update-location", {"latitude": 48.2, "longitude": 16.37})
    await expect(ben.locator(".card code")).to_have_count(2)
    await ben.evaluate("new Promise((seen) => requestAnimationFrame(() => requestAnimationFrame(seen)))")
    assert not await ben.evaluate(IS_SETTLED)
    assert await ben.evaluate("window.leap") < 20


@pytest.mark.gen_test
async def test_nothing_moves_for_those_who_asked_for_it(street: Street) -> None:
    moving = "document.getAnimations().filter((one) => one.playState === 'running').length"
    ana = await street.home.ward("ana")
    await ana.answer("start-live-session")
    ben = await street.sign_in("ben", **MOVES)
    await expect(ben.locator(".card")).to_be_visible()
    assert await ben.evaluate(moving) > 0
    await ben.emulate_media(reduced_motion="reduce")
    await ben.wait_for_function(f"() => !{moving}")
    await ben.evaluate(
        f"() => {{ const look = () => {{ window.most = Math.max(window.most ?? 0, {moving});"
        " requestAnimationFrame(look); }; look(); }"
    )
    await live_through_it(street, ben)
    await expect(ben.locator("#ended .rows li")).to_have_count(1)
    assert await ben.evaluate("window.most") == 0


@pytest.mark.gen_test
async def test_of_two_who_have_one_name_their_guardian_knows_which_is_which(street: Street) -> None:
    ana, tom = "ana@example.org", "tom@example.org"
    await street.home.server.people.accounts.change("tom", first_name="Ana", last_name="Winter")
    lost = await street.home.ward("ana")
    await lost.answer("start-live-session")
    ben = await street.sign_in("ben")
    await street.connected(ben)
    of_ana, of_tom = (ben.locator(f".card[data-ward={ward}]") for ward in ("ana", "tom"))
    await expect(of_ana).to_be_visible()
    await expect(ben.get_by_text(ana)).to_have_count(0)  # nobody else is called so

    await (other := await street.home.ward("tom")).answer("start-live-session")
    await expect(of_tom.get_by_role("heading")).to_have_text(f"Ana Winter {tom}")
    await expect(of_ana.get_by_role("heading")).to_have_text(f"Ana Winter {ana}")
    lost.lose()
    await said_last(ben, f"The connection to Ana Winter ({ana}) is lost.")
    await of_tom.get_by_role("link", name=tom).click()
    await expect(ben.locator("#others")).to_contain_text(f"Ana Winter ({ana})")
    await expect(ben.locator("#page dl")).to_contain_text(tom)
    await ben.goto(street.home.url + "/history")
    await ben.get_by_label("Who").select_option(f"Ana Winter ({tom})")

    await ben.goto(street.home.url)
    await expect(of_ana.get_by_role("heading")).to_have_text(f"Ana Winter {ana}")
    await other.answer("stop-live-session")
    await expect(of_tom).to_have_count(0)
    await expect(of_ana.get_by_role("heading")).to_have_text("Ana Winter")

    alex = await street.go_on(ben, "alex", "/admin")
    await expect(alex.locator("[aria-labelledby=sessions] li")).to_contain_text(ana)


@pytest.mark.gen_test
async def test_german_is_chosen_by_the_browser_or_the_account(street: Street) -> None:
    ben = await street.sign_in("ben", locale="de-AT")
    assert await ben.get_attribute("html", "lang") == "de-AT"
    await expect(ben.locator("#calm")).to_contain_text("Gerade ist niemand unterwegs")
    await ben.goto(street.home.url + "/account")
    await ben.select_option("#language", "en")
    await ben.select_option("#hours", "12")
    zone, save = ben.locator("#zone"), ben.locator("form[action='/account/preferences'] button")
    await zone.fill("Europe/Wein")
    await save.click()
    # What was refused is there to be mended, with all that was chosen beside it.
    await expect(zone).to_have_accessible_description("Diese Zeitzone ist nicht bekannt.")
    await expect(zone).to_have_attribute("aria-invalid", "true")
    await expect(zone).to_have_value("Europe/Wein")
    await expect(ben.locator("#hours")).to_have_value("12")
    await expect(ben.locator("#language")).to_have_value("en")
    await zone.fill("Europe/Vienna")
    await save.click()
    await expect(ben.locator(".done")).to_contain_text("Saved.")
    await ben.locator("#first").evaluate("(first) => (first.required = false)")
    await ben.locator("#first").fill("")
    await ben.locator("#last").fill("Kessler")
    await ben.locator("form[action='/account/name'] button").click()
    await expect(ben.locator("#first")).to_have_accessible_description("Please give a first name.")
    await expect(ben.locator("#first")).to_have_value("")
    await expect(ben.locator("#last")).to_have_value("Kessler")
    street.excuse("status of 400")


async def the_page_of_anas_session(street: Street) -> tuple[Page, Peer]:
    ana = await street.home.ward("ana")
    started = await ana.answer("start-live-session")
    ben = await street.sign_in("ben", f"/history/{started['data']['sessionId']}")
    await expect(ben.get_by_role("heading", level=1)).to_have_text("Ana Winter")
    return ben, ana


@pytest.mark.gen_test
async def test_whoever_looks_at_the_page_of_a_session_watches_it_and_can_write(street: Street) -> None:
    ben, ana = await the_page_of_anas_session(street)
    assert (await ana.expect("guardians-changed", connectedGuardians=1))["guardianIds"] == ["ben"]
    await ben.get_by_label("Message to Ana").fill("I see you")
    await ben.keyboard.press("Enter")
    await ana.expect("message", text="I see you")
    await expect(ben.locator(".timeline")).to_contain_text("I see you")
    await expect(ben.get_by_label("Message to Ana")).to_have_value("")

    ana.lose()
    await expect(ben.locator(".session-head .state.lost")).to_have_text(" Connection lost")
    await expect(ben.locator(".lost-line")).to_contain_text("If Ana does not come back, the session ends in 0:")
    ana = await street.home.ward("ana")
    await expect(ben.locator(".lost-line")).to_have_count(0)
    await ana.answer("stop-live-session")
    await expect(ben.locator(".session-head .state")).to_contain_text("Safe, stopped it")
    await expect(ben.get_by_label("Message to Ana")).to_have_count(0)


@pytest.mark.gen_test
async def test_the_page_of_a_session_says_that_it_has_no_connection_and_catches_up(street: Street) -> None:
    ben, ana = await the_page_of_anas_session(street)
    await expect(ben.locator("#live:not(.stale)")).to_be_visible()
    await ben.get_by_label("Message to Ana").fill("Where are you?")
    await ben.context.set_offline(True)
    await expect(ben.get_by_role("alert")).to_contain_text("Not connected since")
    await expect(ben.locator("#live")).to_have_class("stale")
    await ben.get_by_label("Message to Ana").press("Enter")
    await expect(ben.get_by_text("Not sent, because the connection is gone")).to_be_visible()
    await ana.answer("send-message", {"text": "Just crossed the bridge"})

    await ben.context.set_offline(False)
    await expect(ben.locator(".timeline")).to_contain_text("Just crossed the bridge")
    await expect(ben.locator("#away")).to_be_hidden()
    await expect(ben.locator("#live")).not_to_have_class("stale")
    await expect(ben.get_by_label("Message to Ana")).to_have_value("Where are you?")
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_the_page_of_a_session_goes_with_the_right_to_see_it(street: Street) -> None:
    ben, ana = await the_page_of_anas_session(street)
    people = street.home.server.people
    (pair,) = [
        one
        for one in await people.guardianships.of_ward(await people.accounts.identify("ana"))
        if one.guardian.id == "ben"
    ]
    await people.guardianships.revoke(await people.accounts.identify("ana"), pair.id)
    await expect(ben.get_by_role("heading", level=1)).to_have_text("Nothing is here")
    await ana.answer("stop-live-session")
    street.excuse("status of 404")


@pytest.mark.gen_test
async def test_what_was_copied_is_said_in_words_and_what_is_written_is_told_as_it_is(street: Street) -> None:
    accounts = street.home.server.people.accounts
    await accounts.change("ana", first_name="A$& {text}", last_name="")
    ana = await street.home.ward("ana")
    ben = await street.sign_in("ben", permissions=["clipboard-read", "clipboard-write"])
    await ana.answer("start-live-session")
    await said_last(ben, "A$& {text} has started a session.")
    await ana.answer("send-message", {"text": "$' {name}"})
    await said_last(ben, "A$& {text} writes: $' {name}")

    await ana.answer("update-location", {"latitude": 48.2, "longitude": 16.37})
    # It stands there for a moment only.
    await ben.evaluate(NOTES_WHAT_WAS_COPIED)
    await ben.get_by_role("button", name="Copy").click()
    await ben.wait_for_function("() => window.copied === 'Copied' && window.read === 1")
    assert await ben.evaluate("navigator.clipboard.readText()") == "48.20000, 16.37000"
    await expect(ben.get_by_role("button", name="Copy", exact=True)).to_be_visible()
