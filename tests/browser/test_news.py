"""What a guardian or a ward must not miss, or take for something else, however it comes to them."""

import asyncio
import re
from pathlib import Path
from time import monotonic, time

import pytest
from playwright.async_api import Browser, Page, Route, WebSocket, WebSocketRoute, expect
from server import PASSWORD, Peer, started, test_settings
from visitors import IS_HEARD, IS_NOTIFIED, IS_TOUCHED, NO_NETWORK, VIENNA, Street, hold, open_street, said_last

from liveguard.web.pages import dashboard, history

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ONLY_A_WORKER_MAY = """
    window.notices = [];
    window.Notification = class {
      static permission = "granted";
      static async requestPermission() { return "granted"; }
      constructor() { throw new TypeError("Illegal constructor"); }
    };
    const worker = {
      showNotification: async (text, { tag, renotify }) => window.notices.push({ text, tag, renotify }),
    };
    if (navigator.serviceWorker) Object.defineProperty(navigator.serviceWorker, "ready", { get: async () => worker });
    window.away = false;
    Object.defineProperty(Document.prototype, "hidden", { get: () => window.away });
"""


NOTES_WHAT_IS_SAID = """
    window.said = [];
    new MutationObserver(() => window.said.push(document.getElementById("said").textContent))
        .observe(document.getElementById("said"), { childList: true });
"""


async def listening_to_tom(street: Street) -> tuple[Page, Peer]:
    """Ben has heard that Tom started, and what is said from now on is noted."""
    ben = await street.sign_in("ben")
    await street.connected(ben)
    tom = await street.home.ward("tom")
    await tom.answer("start-live-session")
    await expect(ben.locator("#said")).to_have_text("Tom Berger has started a session.")
    await ben.evaluate(NOTES_WHAT_IS_SAID)
    return ben, tom


async def on_her_way(street: Street, name: str = "ana") -> tuple[Peer, str]:
    """A ward with a session, and the address of its page."""
    ward = await street.home.ward(name)
    started = await ward.answer("start-live-session")
    return ward, f"/history/{started['data']['sessionId']}"


async def swallow(page: Page, address: str, event: str) -> list[WebSocketRoute]:
    """Go to a page; the first event of this name that it sends never arrives. Its connections."""
    sockets: list[WebSocketRoute] = []
    swallowed: list[str | bytes] = []

    def between(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def pass_on(text: str | bytes) -> None:
            if event in str(text) and not swallowed:
                swallowed.append(text)
            else:
                server.send(text)

        socket.on_message(pass_on)
        sockets.append(socket)

    await page.route_web_socket("**/ws/*", between)
    await page.goto(address)
    return sockets


NOTES_THE_LINE = """(line) => {
    window.lines = [];
    new MutationObserver(() => window.lines.push(line.textContent.trim()))
        .observe(line, { childList: true, characterData: true, subtree: true });
}"""


async def nothing_is_said_again(page: Page) -> None:
    """After another outage, in which nothing happened."""
    await expect(page.locator("#live:not(.stale)")).to_be_visible()
    await page.context.set_offline(True)
    await expect(page.locator("#away")).to_be_visible()
    await page.context.set_offline(False)
    await expect(page.locator("#said")).to_have_text("Connected again. Everything is up to date.")


@pytest.mark.gen_test
async def test_a_ward_who_does_not_come_back_is_not_taken_for_one_who_is_safe(tmp_path: Path, browser: Browser) -> None:
    async with open_street(tmp_path, browser, reconnect_grace=1) as street:
        ben = await street.sign_in("ben")
        tom = await street.home.ward("tom")
        await tom.answer("start-live-session")
        await expect(ben.locator(".card")).to_be_visible()
        tom.lose()
        await expect(ben.locator("#said")).to_contain_text("Tom Berger did not come back")
        await expect(ben.locator("#summary")).to_have_text("Nobody is live")
        worrying = ben.locator("#worrying .lost-line")
        await expect(worrying).to_contain_text("Tom Berger has not stopped the last session")
        await expect(ben.locator("#ended .lost")).to_contain_text("Connection lost, did not come back")
        await expect(ben).to_have_title("⚠ Watching · liveguard")
        # It stays before everything else, whoever starts or stops meanwhile.
        ana = await street.home.ward("ana")
        await ana.answer("start-live-session")
        await expect(ben.locator(".card")).to_be_visible()
        await ben.reload()
        await expect(worrying).to_be_visible()
        await ana.answer("stop-live-session")
        await expect(ben.locator(".card")).to_have_count(0)
        await worrying.get_by_role("link").click()
        await expect(ben.locator(".session-head .state.lost")).to_have_text("Connection lost, did not come back")
        await expect(ben).to_have_title("⚠ Tom Berger · liveguard")
        # Tom himself is not told so, and once he has stopped a session all is quiet again.
        assert "has not stopped" not in await (await street.sign_in("tom")).locator("main").inner_text()
        tom = await street.home.ward("tom")
        await tom.answer("start-live-session")
        await tom.answer("stop-live-session")
        await ben.goto(street.home.url)
        await expect(ben.locator("#summary")).to_have_text("All is quiet")
        await expect(worrying).to_have_count(0)


@pytest.mark.gen_test
async def test_what_somebody_else_writes_does_not_take_a_loss_away(street: Street) -> None:
    ben, tom = await listening_to_tom(street)
    ana, _ = await on_her_way(street)
    said, loss = ben.locator("#said"), "The connection to Tom Berger is lost."
    await ben.clock.install()
    tom.lose()
    await said_last(ben, loss)
    for text in ("On the bridge", "At the corner"):
        await ben.clock.fast_forward(1000)
        await ana.answer("send-message", {"text": text})
        await said_last(ben, f"Ana Winter writes: {text}")
        await expect(said.locator("> *")).to_have_count(2)
        await expect(said.get_by_role("link", name=loss)).to_be_visible()
    await ben.clock.fast_forward(10_000)
    await ana.answer("send-message", {"text": "Nearly there"})
    await expect(said).to_have_text("Ana Winter writes: Nearly there")


@pytest.mark.gen_test
async def test_who_only_turns_a_page_alarms_nobody(street: Street) -> None:
    ben, tom = await listening_to_tom(street)
    tom.lose()
    await expect(ben.locator(".card.lost")).to_be_visible()
    tom = await street.home.ward("tom")
    await expect(ben.locator(".card.lost")).to_have_count(0)
    await tom.answer("stop-live-session")
    await expect(ben.locator("#said")).to_have_text("Tom Berger is safe and has stopped the session.")
    assert await ben.evaluate("window.said") == ["Tom Berger is safe and has stopped the session."]


@pytest.mark.gen_test
async def test_a_loss_that_was_over_while_a_guardian_was_away_alarms_nobody_either(street: Street) -> None:
    ben, tom = await listening_to_tom(street)
    await ben.clock.install()
    tom.lose()
    await expect(ben.locator(".card.lost")).to_be_visible()
    await ben.context.set_offline(True)
    await expect(ben.locator("#away")).to_be_visible()
    tom = await street.home.ward("tom")
    await tom.expect("session-started")
    await ben.clock.fast_forward(3000)
    await ben.context.set_offline(False)
    await expect(ben.locator("#said")).to_have_text("Connected again. Everything is up to date.")
    assert not any("is lost" in said for said in await ben.evaluate("window.said"))
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_a_server_that_restarts_alarms_nobody(street: Street) -> None:
    ben, tom = await listening_to_tom(street)
    home = street.home
    ana = await home.ward("ana")
    await ana.answer("start-live-session")
    await expect(ben.locator("#said")).to_contain_text("Ana Winter has started a session.")
    await ben.clock.install()
    await home.server.stop()
    home.server = await started(test_settings(home.database.parent, port=home.port))
    await expect(ben.locator(".card.lost")).to_have_count(2)
    await expect(ben.locator("#said")).to_have_text("Connected again. Everything is up to date.")
    await ben.clock.fast_forward(5000)
    tom = await home.ward("tom")
    await tom.expect("session-started")
    await tom.answer("stop-live-session")
    await expect(ben.locator("#said")).to_have_text("Tom Berger is safe and has stopped the session.")
    assert not any("is lost" in said for said in await ben.evaluate("window.said"))
    # Who is not back by then may be lost indeed.
    await ben.clock.fast_forward(5000)
    await expect(ben.locator("#said")).to_have_text("The connection to Ana Winter is lost.")
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_where_only_a_worker_may_notify_it_does_and_the_page_goes_on(street: Street) -> None:
    ben = await street.sign_in("ben", device=ONLY_A_WORKER_MAY)
    await street.connected(ben)
    await ben.get_by_role("button", name="Notifications").click()
    await ben.evaluate("window.away = true")
    ana, tom = await street.home.ward("ana"), await street.home.ward("tom")
    for ward in (ana, tom):
        await ward.answer("start-live-session")
        ward.lose()
    await ben.wait_for_function("() => window.notices.length === 4")
    notices = await ben.evaluate("window.notices")
    assert sorted(one["text"] for one in notices) == [
        "Ana Winter has started a session.", "The connection to Ana Winter is lost.",
        "The connection to Tom Berger is lost.", "Tom Berger has started a session.",
    ]  # fmt: skip
    assert len({one["tag"] for one in notices}) == 4
    assert all(one["renotify"] for one in notices)
    await expect(ben.locator(".card.lost")).to_have_count(2)


@pytest.mark.gen_test
async def test_what_happened_while_a_guardian_was_away_is_said_when_they_are_back(street: Street) -> None:
    ana, tom = await street.home.ward("ana"), await street.home.ward("tom")
    for ward in (ana, tom):
        await ward.answer("start-live-session")
    await ana.answer("send-message", {"text": "On the bridge"})
    ben = await street.sign_in("ben")
    await expect(ben.locator(".card")).to_have_count(2)
    await ben.context.set_offline(True)
    await expect(ben.locator("#away")).to_be_visible()
    for text in ("Somebody follows me", "It is a man", "Call me"):
        await ana.answer("send-message", {"text": text})
    ana.lose()
    await tom.answer("stop-live-session")
    await ben.context.set_offline(False)
    said = ben.locator("#said")
    await expect(said).to_contain_text("The connection to Ana Winter is lost.")
    for text in ("Somebody follows me", "It is a man", "Call me"):
        await expect(said).to_contain_text(f"Ana Winter writes: {text}")
    await expect(said).to_contain_text("Tom Berger is safe and has stopped the session.")
    await expect(said).not_to_contain_text("On the bridge")
    await nothing_is_said_again(ben)
    street.excuse(*NO_NETWORK)


LATE = """
    const { WebSocket } = window;
    window.WebSocket = class extends WebSocket {
      constructor(url) { super(window.go ? url : String(url).replace("/ws/", "/nowhere/")); }
    };
"""


@pytest.mark.parametrize("page", ["/", "/history/{ana}"])
@pytest.mark.gen_test
async def test_an_end_before_the_first_connection_is_told(street: Street, page: str) -> None:
    ana, tom = await street.home.ward("ana"), await street.home.ward("tom")
    for ward in (ana, tom):
        await ward.answer("start-live-session")
    session = street.home.server.live.sessions.of_ward("ana")
    assert session is not None
    for _ in range(2):  # what was written before the last time, was told a while ago
        await street.home.server.live.write_lazily()
    ben = await street.sign_in("ben", page.format(ana=session.id), device=LATE)
    await expect(ben.locator("[data-state]", has_text="Tom Berger")).to_be_visible()
    await expect(ben.locator("#away")).to_be_visible()
    await tom.answer("stop-live-session")
    await ben.evaluate("window.go = true")
    await expect(ben.locator("#said")).to_contain_text("Tom Berger is safe and has stopped the session.")
    await nothing_is_said_again(ben)
    street.excuse("/nowhere/")


@pytest.mark.gen_test
async def test_an_end_that_another_device_was_first_to_hear_is_told_here_as_well(street: Street) -> None:
    tom = await street.home.ward("tom")
    await tom.answer("start-live-session")
    ben = await street.sign_in("ben", device=LATE)  # whom nobody has ever told anything
    await expect(ben.locator("#away")).to_be_visible()
    await tom.answer("stop-live-session")
    other = await street.home.guardian("ben")
    await other.answer("ping")
    await ben.evaluate("window.go = true")
    await expect(ben.locator("#said")).to_contain_text("Tom Berger is safe and has stopped the session.")
    street.excuse("/nowhere/")


@pytest.mark.parametrize("page", ["/", "/history/{ana}"])
@pytest.mark.gen_test
async def test_the_last_words_of_a_session_that_has_ended_are_said(street: Street, page: str) -> None:
    ana = await street.home.ward("ana")
    await ana.answer("start-live-session")
    await ana.answer("send-message", {"text": "On the bridge"})
    session = street.home.server.live.sessions.of_ward("ana")
    assert session is not None
    ben = await street.sign_in("ben", page.format(ana=session.id))
    await expect(ben.locator("#live:not(.stale) [data-state]")).to_be_visible()
    await ana.expect("guardians-changed", connectedGuardians=1)
    await ben.context.set_offline(True)
    await expect(ben.locator("#away")).to_be_visible()
    await ana.answer("send-message", {"text": "Somebody follows me"})
    await ana.answer("stop-live-session")
    # And of one that nobody heard begin.
    tom = await street.home.ward("tom")
    await tom.answer("start-live-session")
    await tom.answer("send-message", {"text": "I fell"})
    await tom.answer("stop-live-session")
    await ben.evaluate(NOTES_WHAT_IS_SAID)
    await ben.context.set_offline(False)
    said = ben.locator("#said")
    for sentence in ("Ana Winter writes: Somebody follows me", "Tom Berger writes: I fell"):
        await expect(said).to_contain_text(sentence)
    await expect(said).to_contain_text("Ana Winter is safe and has stopped the session.")
    # What is said to a screen reader, it reads: once when it happens, once more with what comes to it.
    texts = await ben.evaluate("window.said.map((text) => text.trim())")
    assert len(texts) == len(set(texts)), texts
    await expect(said).not_to_contain_text("On the bridge")
    await nothing_is_said_again(ben)
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_what_is_heard_before_the_page_is_true_again_stays_said(street: Street) -> None:
    ben, tom = await listening_to_tom(street)
    asked, answered = asyncio.Event(), asyncio.Event()

    async def hold_back(route: Route) -> None:
        asked.set()
        await answered.wait()
        await route.continue_()

    await ben.context.set_offline(True)
    await expect(ben.locator("#away")).to_be_visible()
    await ben.route("**/live?*", hold_back, times=1)
    await ben.context.set_offline(False)
    await asked.wait()
    for guardians in (0, 1):
        await tom.expect("guardians-changed", connectedGuardians=guardians)
    await tom.answer("send-message", {"text": "I fell"})
    await expect(ben.locator("#said")).to_have_text("Tom Berger writes: I fell")
    answered.set()
    await expect(ben.locator("#live:not(.stale)")).to_be_visible()
    await expect(ben.locator("#said")).to_have_text("Tom Berger writes: I fell")
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_what_was_rendered_before_an_outage_does_not_hide_what_happened_during_it(street: Street) -> None:
    ana = await street.home.ward("ana")
    await ana.answer("start-live-session")
    ben = await street.sign_in("ben", "/healthz")
    wanted, asked, answered = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def hold_one_back(route: Route) -> None:
        if not wanted.is_set():
            await route.continue_()
            return
        wanted.clear()
        answer = await route.fetch()
        asked.set()
        await answered.wait()
        await route.fulfill(response=answer)

    await ben.route("**/live?*", hold_one_back)
    await ben.goto(street.home.url)
    await street.connected(ben)
    await ana.expect("guardians-changed", connectedGuardians=1)
    wanted.set()
    await asked.wait()
    # The same words, heard once before it.
    await ana.answer("send-message", {"text": "Somebody follows me"})
    await expect(ben.locator("#said")).to_contain_text("Ana Winter writes: Somebody follows me")
    await ben.evaluate("document.getElementById('said').textContent = ''; dispatchEvent(new Event('offline'))")
    await expect(ben.locator("#away")).to_be_visible()
    await ana.answer("send-message", {"text": "Somebody follows me"})
    await ana.expect("guardians-changed", connectedGuardians=0)
    await ben.evaluate("dispatchEvent(new Event('online'))")
    await ana.expect("guardians-changed", connectedGuardians=1)
    answered.set()
    await expect(ben.locator("#said")).to_contain_text("Ana Winter writes: Somebody follows me")


@pytest.mark.gen_test
@pytest.mark.parametrize("page", ["dashboard", "session"])
async def test_what_could_not_be_fetched_after_an_outage_is_fetched_later(street: Street, page: str) -> None:
    ana = await street.home.ward("ana")
    session_id = (await ana.answer("start-live-session"))["data"]["sessionId"]
    path, fetched = ("/", "**/live?*") if page == "dashboard" else (f"/history/{session_id}", "**/history/*")
    ben = await street.sign_in("ben", path, device=IS_NOTIFIED)
    await ben.get_by_role("button", name="Notifications").click()
    await expect(ben.locator("#live:not(.stale)")).to_be_visible()
    await ben.evaluate("window.away = true")
    await ben.context.set_offline(True)
    await expect(ben.locator("#away")).to_be_visible()
    await ana.answer("send-message", {"text": "Somebody follows me"})
    await ben.route(fetched, lambda route: route.fulfill(status=503), times=1)
    await ben.context.set_offline(False)
    await ben.wait_for_function("() => window.notices.some((text) => text.includes('Somebody follows me'))")
    street.excuse(*NO_NETWORK, "503")


@pytest.mark.gen_test
@pytest.mark.parametrize("page", ["dashboard", "session"])
async def test_a_page_is_true_soon_after_the_connection_is_back_however_often_it_asked_in_vain(
    street: Street, page: str
) -> None:
    ana = await street.home.ward("ana")
    session_id = (await ana.answer("start-live-session"))["data"]["sessionId"]
    path, fetched = ("/", "**/live?*") if page == "dashboard" else (f"/history/{session_id}", "**/history/*")
    ben = await street.sign_in("ben", path)
    await expect(ben.locator("#live:not(.stale)")).to_be_visible()
    await ben.route(fetched, lambda route: route.fulfill(status=503))
    await ben.context.set_offline(True)
    for _ in range(3):
        async with ben.expect_event("response", lambda response: response.status == 503, timeout=12000):
            pass
    await ben.unroute(fetched)
    await ben.context.set_offline(False)
    await expect(ben.locator("#away")).to_be_hidden(timeout=4000)
    street.excuse(*NO_NETWORK, "503")


@pytest.mark.gen_test
async def test_a_story_that_cannot_be_had_at_once_is_asked_for_again(street: Street) -> None:
    ana, path = await on_her_way(street)
    ben = await street.sign_in("ben")
    await street.connected(ben)
    await expect(ben.locator("#live:not(.stale) .card")).to_be_visible()
    await ben.context.set_offline(True)
    await expect(ben.locator("#away")).to_be_visible()
    await ana.answer("send-message", {"text": "Somebody follows me"})
    await ana.answer("stop-live-session")
    await ben.route(f"**{path}", lambda route: route.fulfill(status=503), times=1)
    await ben.context.set_offline(False)
    await expect(ben.locator("#said")).to_contain_text("Ana Winter is safe and has stopped the session.")
    await expect(ben.locator("#said")).to_contain_text("Ana Winter writes: Somebody follows me")
    await nothing_is_said_again(ben)
    street.excuse(*NO_NETWORK, "503")


@pytest.mark.gen_test
async def test_a_page_that_lacks_a_card_is_not_called_up_to_date(street: Street) -> None:
    people = street.home.server.people
    await people.guardianships.put("tom", "mallory", "accepted")
    await on_her_way(street)
    await on_her_way(street, "tom")
    mallory = await street.sign_in("mallory")
    await street.connected(mallory)
    await expect(mallory.locator(".card")).to_have_count(1)
    await mallory.evaluate("""
        window.cards = [];
        new MutationObserver(() => window.cards.push(document.querySelectorAll(".card").length))
            .observe(document.getElementById("said"), { childList: true });
    """)
    await mallory.context.set_offline(True)
    await expect(mallory.locator("#away")).to_be_visible()
    await people.accounts.change("mallory", is_admin=True)
    await mallory.context.set_offline(False)
    await expect(mallory.locator("#said")).to_have_text("Connected again. Everything is up to date.")
    assert await mallory.evaluate("window.cards") == [2]
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_a_page_that_is_connected_is_not_called_away_while_a_card_is_fetched(street: Street) -> None:
    people = street.home.server.people
    await people.guardianships.put("tom", "mallory", "accepted")
    await on_her_way(street)
    tom, _ = await on_her_way(street, "tom")
    mallory = await street.sign_in("mallory")
    await street.connected(mallory)
    await expect(mallory.locator("#live:not(.stale) .card")).to_have_count(1)
    await mallory.evaluate("""
        window.alarms = 0;
        new MutationObserver(() => window.alarms += 1).observe(document.getElementById("away"), { attributes: true });
    """)
    await people.accounts.change("mallory", is_admin=True)
    await tom.answer("send-message", {"text": "In the park"})
    await expect(mallory.locator(".card")).to_have_count(2)
    await expect(mallory.locator("#said")).to_have_text("Tom Berger writes: In the park")
    assert await mallory.evaluate("window.alarms") == 0


GOES_SILENT = """
    const Plain = WebSocket;
    window.WebSocket = class extends Plain {
      set onmessage(hears) {
        window.newest = this;
        super.onmessage = (message) => window.silent === this || hears(message);
      }
      send(text) {
        window.asked += 1;
        super.send(text);
      }
    };
"""


@pytest.mark.gen_test
async def test_what_happened_before_the_silence_was_noticed_is_told(tmp_path: Path, browser: Browser) -> None:
    async with open_street(tmp_path, browser, reconnect_grace=0) as street:
        ben = await street.sign_in("ben", device=GOES_SILENT)
        await expect(ben.locator("#live:not(.stale)")).to_be_visible()
        other = await street.home.guardian("ben")
        await ben.clock.install()
        await ben.evaluate("() => { window.silent = window.newest; window.asked = 0; }")
        tom = await street.home.ward("tom")
        await tom.answer("start-live-session")
        tom.lose()
        await other.expect("session-ended")
        await ben.clock.fast_forward(7000)
        await ben.wait_for_function("() => window.asked")
        await ben.clock.fast_forward(5000)  # and has no answer
        await ben.wait_for_function("() => window.newest !== window.silent")
        await expect(ben.locator("#said")).to_contain_text("did not come back")


@pytest.mark.gen_test
async def test_what_a_silent_connection_did_not_tell_is_told_though_it_is_shown(street: Street) -> None:
    ana, path = await on_her_way(street)
    ben = await street.sign_in("ben", path, device=GOES_SILENT)
    await street.connected(ben)
    await ana.answer("send-message", {"text": "In the park"})
    await expect(ben.locator("#said")).to_have_text("Ana Winter writes: In the park")
    await expect(ben.locator(".timeline")).to_contain_text("In the park")
    other = await street.home.guardian("ben")
    await ben.clock.install()
    await ben.evaluate("() => { window.silent = window.newest; window.asked = 0; }")
    await ana.answer("send-message", {"text": "Somebody follows me"})
    await ana.answer("stop-live-session")
    await other.expect("session-ended")
    await ben.clock.fast_forward(7000)
    await expect(ben.locator(".timeline")).to_contain_text("Somebody follows me")
    await expect(ben.locator("#said")).to_have_text("Ana Winter is safe and has stopped the session.")
    await ben.evaluate(NOTES_WHAT_IS_SAID)
    await ben.wait_for_function("() => window.asked")
    await ben.clock.fast_forward(5000)  # and has no answer
    said = ben.locator("#said")
    await expect(said).to_contain_text("Ana Winter writes: Somebody follows me")
    await expect(said).not_to_contain_text("In the park")
    # The page has told the end, and the socket tells it once more.
    assert sum("stopped" in text for text in await ben.evaluate("window.said")) == 0


@pytest.mark.gen_test
async def test_all_that_was_written_before_the_page_was_true_again_is_told(street: Street) -> None:
    ana, path = await on_her_way(street)
    ida, _ = await on_her_way(street, "ida")
    ben = await street.sign_in("ben", path)
    await street.connected(ben)
    # Of the page there is no news, of the socket there is again: both sides of an outage come together.
    await ben.route("**/history/*", lambda route: route.fulfill(status=503))
    tom, _ = await on_her_way(street, "tom")
    said = ben.locator("#said")
    await expect(said).to_have_text("Tom Berger has started a session.")
    await expect(ben.locator("#away")).to_be_visible()
    await ben.context.set_offline(True)
    await ana.expect("guardians-changed", connectedGuardians=0)
    await ida.answer("send-message", {"text": "I fell"})
    await tom.answer("send-message", {"text": "I am hurt"})
    await ben.context.set_offline(False)
    await ana.expect("guardians-changed", connectedGuardians=1)
    await ida.answer("send-message", {"text": "Nearly there"})
    await expect(said).to_contain_text("Ida Winter writes: Nearly there")
    await tom.answer("stop-live-session")
    await expect(said).to_contain_text("Tom Berger is safe and has stopped the session.")
    await ben.evaluate(NOTES_WHAT_IS_SAID)
    await ben.unroute("**/history/*")
    for sentence in ("Ida Winter writes: I fell", "Tom Berger writes: I am hurt"):
        await expect(said).to_contain_text(sentence)
    assert not any("up to date" in text for text in await ben.evaluate("window.said"))
    street.excuse(*NO_NETWORK, "503")


@pytest.mark.gen_test
async def test_nobody_is_told_what_they_wrote_themselves(street: Street) -> None:
    ben = await street.sign_in("ben")
    await street.connected(ben)
    ward, _ = await on_her_way(street, "ben")
    await expect(ben.locator(".card")).to_contain_text("Ben Keller")
    await ben.route("**/live?*", lambda route: route.fulfill(status=503))
    await expect(ben.locator("#away")).to_be_visible()
    await ward.answer("send-message", {"text": "I am at the bridge"})
    await ben.unroute("**/live?*")
    await expect(ben.locator("#said")).to_have_text("Connected again. Everything is up to date.")
    await expect(ben.locator(".messages")).to_contain_text("I am at the bridge")
    street.excuse("503")


@pytest.mark.gen_test
async def test_what_was_heard_just_before_an_outage_is_not_told_again(street: Street) -> None:
    ben, tom = await listening_to_tom(street)
    held = asyncio.Event()

    async def hold_back(route: Route) -> None:
        answer = await route.fetch()
        await tom.answer("send-message", {"text": "In the bus"})
        await expect(ben.locator("#said")).to_contain_text("In the bus")
        await route.fulfill(response=answer)
        held.set()

    await ben.route("**/live?*", hold_back, times=1)
    await held.wait()
    await ben.context.set_offline(True)
    await expect(ben.locator("#away")).to_be_visible()
    # Of whom nobody here heard, but earlier.
    await tom.answer("stop-live-session")
    await tom.answer("start-live-session")
    await tom.answer("stop-live-session")
    await ben.evaluate("window.said = []")
    await ben.context.set_offline(False)
    await expect(ben.locator("#away")).to_be_hidden()
    said = ben.locator("#said")
    await expect(said).to_have_text(" ".join(["Tom Berger is safe and has stopped the session."] * 2))
    await nothing_is_said_again(ben)
    assert not any("In the bus" in text for text in await ben.evaluate("window.said"))
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_a_page_that_fails_now_and_then_alarms_nobody_twice(street: Street) -> None:
    tom = await street.home.ward("tom")
    await tom.answer("start-live-session")
    ben = await street.sign_in("ben", device=IS_NOTIFIED)
    await ben.get_by_role("button", name="Notifications").click()
    await street.connected(ben)
    await ben.evaluate("window.away = true")
    await ben.route("**/live?*", lambda route: route.fulfill(status=502))
    await tom.answer("send-message", {"text": "In the bus"})
    await expect(ben.locator("#away")).to_be_visible()
    tom.lose()
    await ben.wait_for_function("() => window.notices.length === 2")
    await ben.unroute("**/live?*")
    await expect(ben.locator("#away")).to_be_hidden(timeout=15_000)
    await expect(ben.locator(".card")).to_contain_text("In the bus")
    assert await ben.evaluate("window.notices") == [
        "Tom Berger writes: In the bus", "The connection to Tom Berger is lost.",
    ]  # fmt: skip
    street.excuse("502")


@pytest.mark.gen_test
async def test_old_ends_are_no_news_even_where_the_first_connection_fails(street: Street) -> None:
    ben = await street.home.guardian("ben")  # who has stood somewhere
    await ben.answer("ping")
    await ben.leave()
    for name in ("ana", "tom"):
        ward = await street.home.ward(name)
        await ward.answer("start-live-session")
        await ward.answer("stop-live-session")
    tries: list[WebSocketRoute] = []

    async def fail_once(socket: WebSocketRoute) -> None:
        tries.append(socket)
        if len(tries) == 1:
            await socket.close(code=1011)
        else:
            socket.connect_to_server()

    page = await street.sign_in("ben", "/healthz")
    await page.route_web_socket("**/ws/*", fail_once)
    await page.add_init_script(f"document.addEventListener('DOMContentLoaded', () => {{ {NOTES_WHAT_IS_SAID} }})")
    await page.goto(street.home.url)
    await expect(page.locator("#said")).to_have_text("Connected again. Everything is up to date.")
    ida = await street.home.ward("ida")
    await ida.answer("start-live-session")
    await expect(page.locator("#said")).to_contain_text("Ida")
    assert not any("stopped" in said for said in await page.evaluate("window.said"))


@pytest.mark.gen_test
async def test_what_happens_to_several_at_once_is_read_together(street: Street) -> None:
    wards = [await street.home.ward(name) for name in ("ana", "tom", "ida")]
    for ward in wards:
        await ward.answer("start-live-session")
    ben = await street.sign_in("ben")
    await expect(ben.locator("#live:not(.stale) .card")).to_have_count(3)
    for ward in wards:
        ward.lose()
    for name in ("Ana Winter", "Tom Berger", "Ida Winter"):
        await expect(ben.locator("#said")).to_contain_text(f"The connection to {name} is lost.")
    # What is written may have no full stop: nothing that follows is to be read as a part of it.
    tops = await ben.locator("#said a").evaluate_all("(all) => all.map((one) => one.getBoundingClientRect().top)")
    assert len(set(tops)) == 3


@pytest.mark.gen_test
async def test_a_guardian_who_relies_on_the_sound_hears_that_nothing_is_heard_any_more(street: Street) -> None:
    ben = await street.sign_in("ben", device=IS_HEARD + IS_NOTIFIED)
    for name in ("Sound", "Notifications"):
        await ben.get_by_role("button", name=name).click()
    await expect(ben.locator("#live:not(.stale)")).to_be_visible()
    await ben.evaluate("window.away = true; window.tones = []")
    await ben.clock.install()
    await ben.context.set_offline(True)
    await expect(ben.locator("#away")).to_be_visible()
    assert await ben.evaluate("window.tones.length + window.notices.length") == 0  # it may be over in a moment
    await ben.clock.fast_forward(31_000)
    await ben.wait_for_function("() => window.tones.length && window.notices.at(-1)?.startsWith('Not connected since')")
    await ben.clock.fast_forward(60_000)
    assert await ben.evaluate("window.notices.length") == 1
    await ben.context.set_offline(False)
    await expect(ben.locator("#said")).to_contain_text("Connected again")
    # One that nobody was told of is over without a sound.
    await ben.evaluate("window.tones = []; window.notices = []")
    await nothing_is_said_again(ben)
    assert await ben.evaluate("window.tones.length + window.notices.length") == 0
    street.excuse(*NO_NETWORK)


async def alarmed(street: Street) -> Page:
    """Ben, who has heard that nothing is heard any more; what he is told from now on is noted."""
    ben = await street.sign_in("ben", device=IS_HEARD + IS_NOTIFIED)
    for name in ("Sound", "Notifications"):
        await ben.get_by_role("button", name=name).click()
    await expect(ben.locator("#live:not(.stale) .card")).to_be_visible()
    await ben.evaluate("window.away = true")
    await ben.clock.install()
    await ben.context.set_offline(True)
    await expect(ben.locator("#away")).to_be_visible()
    await ben.clock.fast_forward(31_000)
    await ben.wait_for_function("() => window.notices.length")
    await ben.evaluate("window.tones = []; window.notices = []")
    return ben


BACK = "Connected again. Everything is up to date."


@pytest.mark.gen_test
async def test_an_alarm_is_taken_back_beside_what_happened_meanwhile(street: Street) -> None:
    tom, _ = await on_her_way(street, "tom")
    ben = await alarmed(street)
    await tom.answer("stop-live-session")
    await ben.context.set_offline(False)
    await expect(ben.locator("#said")).to_have_text(f"Tom Berger is safe and has stopped the session. {BACK}")
    assert await ben.evaluate("window.notices") == ["Tom Berger is safe and has stopped the session.", BACK]
    assert await ben.evaluate("window.tones") == [659, 523, 523, 659]
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_an_alarm_is_taken_back_though_the_connection_goes_once_more_before_that(street: Street) -> None:
    tom, _ = await on_her_way(street, "tom")
    ben = await alarmed(street)
    await tom.answer("send-message", {"text": "Nearly there"})
    await tom.answer("stop-live-session")
    asked, away = asyncio.Event(), asyncio.Event()

    async def hold_back(route: Route) -> None:
        answer = await route.fetch()
        asked.set()
        await away.wait()
        await route.fulfill(response=answer)

    await ben.route("**/history/*", hold_back, times=1)
    await ben.context.set_offline(False)
    await asked.wait()
    await expect(ben.locator("#away")).to_be_hidden()
    await ben.context.set_offline(True)
    await expect(ben.locator("#away")).to_be_visible()
    away.set()
    await expect(ben.locator("#said")).to_contain_text("Tom Berger writes: Nearly there")
    assert BACK not in await ben.evaluate("window.notices")
    await ben.context.set_offline(False)
    await ben.wait_for_function("(back) => window.notices.at(-1) === back", arg=BACK)
    assert await ben.evaluate("window.tones.slice(-2)") == [523, 659]
    street.excuse(*NO_NETWORK)


# A sound that a call interrupts; it comes back when the page is touched.
IS_CALLED = """
    AudioContext.prototype.resume = async () => { window.called = false; };
    Object.defineProperty(AudioContext.prototype, "state", { get: () => (window.called ? "interrupted" : "running") });
"""


@pytest.mark.gen_test
async def test_a_sound_that_was_interrupted_comes_back_with_a_touch(street: Street) -> None:
    ben = await street.sign_in("ben", device=IS_HEARD + IS_CALLED)
    await ben.get_by_role("button", name="Sound").click()
    await ben.wait_for_function("() => window.tones.length")
    await ben.evaluate("window.called = true; window.tones = []")
    await ben.locator("h1").click()
    tom = await street.home.ward("tom")
    await tom.answer("start-live-session")
    await ben.wait_for_function("() => window.tones.length")


WAITS_FOR_A_TOUCH = IS_TOUCHED + """
    window.AudioContext = class extends AudioContext {
      constructor() {
        super();
        if (!window.touched) this.suspend();
      }
      resume() { return window.touched ? super.resume() : new Promise(() => {}); }
    };
"""


@pytest.mark.gen_test
async def test_a_finger_wakes_the_sound_as_well(street: Street) -> None:
    ben = await street.sign_in("ben", device=IS_HEARD + WAITS_FOR_A_TOUCH, has_touch=True)
    await ben.get_by_role("button", name="Sound").tap()
    await ben.wait_for_function("() => window.tones.length")
    await ben.reload()
    mute = ben.get_by_text("No sound yet")
    await expect(mute).to_be_visible()
    await ben.locator("h1").tap()
    await expect(mute).to_be_hidden()
    tom = await street.home.ward("tom")
    await tom.answer("start-live-session")
    await ben.wait_for_function("() => window.tones.length")


@pytest.mark.gen_test
async def test_no_sound_is_offered_where_the_browser_has_none(street: Street) -> None:
    ben = await street.sign_in("ben", device="delete window.AudioContext;")
    await ben.evaluate("localStorage.setItem('sound', 'on')")  # before its owner chose that
    await ben.reload()
    await street.connected(ben)
    await expect(ben.get_by_role("button", name="Sound")).to_be_hidden()
    await expect(ben.locator("#mute")).to_be_hidden()
    await expect(ben.locator("#calm .large")).to_be_visible()
    await expect(ben.locator(".needs-sound")).to_be_hidden()
    tom = await street.home.ward("tom")
    await tom.answer("start-live-session")
    await ben.locator("h1").click()
    await expect(ben.locator("#said")).to_contain_text("Tom Berger has started a session.")
    await expect(ben.get_by_text("Silent: only this page tells you anything.")).to_be_visible()


@pytest.mark.gen_test
async def test_what_one_device_has_heard_the_other_is_told_as_well(street: Street) -> None:
    tom = await street.home.ward("tom")
    await tom.answer("start-live-session")
    laptop, phone = await street.sign_in("ben", "/healthz"), await street.sign_in("ben")
    sockets: list[WebSocket] = []
    laptop.on("websocket", lambda one: sockets.append(one))
    await laptop.goto(street.home.url)
    for page in (laptop, phone):
        await expect(page.locator(".card")).to_be_visible()
        await expect(page.locator("#live:not(.stale)")).to_be_visible()
    await phone.context.set_offline(True)
    await expect(phone.locator("#away")).to_be_visible()
    await tom.answer("stop-live-session")
    await expect(laptop.locator("#said")).to_have_text("Tom Berger is safe and has stopped the session.")
    # With this ping the server knows that Ben has heard it.
    async with sockets[0].expect_event("framereceived", lambda text: '"pong"' in text):
        await laptop.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    ana = await street.home.ward("ana")
    await ana.answer("start-live-session")
    await ana.answer("stop-live-session")
    await phone.context.set_offline(False)
    said = phone.locator("#said")
    await expect(said).to_contain_text("Tom Berger is safe and has stopped the session.")
    await expect(said).to_contain_text("Ana Winter is safe and has stopped the session.")
    await nothing_is_said_again(phone)
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_where_a_connection_has_failed_there_is_no_other_before_the_server_can_be_had(street: Street) -> None:
    """Firefox lets whoever has failed often wait for up to a minute, also when the network is back."""
    ana = await street.sign_in("ana", "/ward")
    await expect(ana.locator("#start")).to_be_enabled()
    tries: list[WebSocket] = []
    ana.on("websocket", lambda socket: tries.append(socket))
    await ana.context.set_offline(True)
    async with ana.expect_event("requestfailed", lambda request: request.url.endswith("/healthz")):
        pass
    for _ in range(3):
        async with ana.expect_event("requestfailed", lambda request: request.url.endswith("/healthz")):
            await ana.evaluate("dispatchEvent(new Event('online'))")
    assert len(tries) == 1
    await ana.context.set_offline(False)
    await expect(ana.locator("#line")).to_contain_text("Connected again")
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_who_comes_out_of_a_tunnel_is_back_soon_though_the_first_try_is_too_early(street: Street) -> None:
    ana = await street.sign_in("ana", "/ward")
    await expect(ana.locator("#start")).to_be_enabled()
    await ana.clock.install()
    await ana.context.set_offline(True)
    for _ in range(5):
        async with ana.expect_event("requestfailed", lambda request: request.url.endswith("/healthz")):
            await ana.clock.fast_forward(10_000)
    await ana.route("**/healthz", lambda route: route.abort(), times=1)
    async with ana.expect_event("requestfailed", lambda request: request.url.endswith("/healthz")):
        await ana.context.set_offline(False)
    began = monotonic()
    await expect(ana.locator("#line")).to_contain_text("Connected again")
    assert monotonic() - began < 5
    street.excuse(*NO_NETWORK)


NOTES_WHAT_A_CLOSE_SAYS = """
    const Plain = WebSocket;
    window.WebSocket = class extends Plain {
      constructor(...how) {
        super(...how);
        const line = () => document.getElementById("line").lastElementChild.textContent;
        this.addEventListener("close", () => setTimeout(() => (window.ended = { line: line() })));
      }
    };
"""


@pytest.mark.gen_test
async def test_who_leaves_a_page_is_not_alarmed_though_its_connection_goes_first(street: Street) -> None:
    """Firefox ends it as soon as another page is asked for, however long that one takes."""
    ana = await street.sign_in("ana", "/ward", device=NOTES_WHAT_A_CLOSE_SAYS)
    await expect(ana.locator("#start")).to_be_enabled()
    street.home.server.connections.close(1001)
    assert await (await ana.wait_for_function("() => window.ended")).json_value() == {"line": ""}
    # Who stays on the page after all, is connected again.
    await expect(ana.locator("#line")).to_contain_text("Connected again")


ACTS_AFTER_A_CLOSE = """
    const Plain = WebSocket;
    window.act = () => {};
    window.WebSocket = class extends Plain {
      constructor(...how) {
        super(...how);
        this.addEventListener("close", () => setTimeout(() => window.act()));
      }
    };
"""


@pytest.mark.gen_test
async def test_who_starts_or_stops_while_a_page_may_be_left_is_told_what_became_of_it(street: Street) -> None:
    ana = await street.sign_in("ana", "/ward", device=ACTS_AFTER_A_CLOSE)
    line, connections = ana.locator("#line"), street.home.server.connections
    await expect(ana.locator("#start")).to_be_enabled()
    await ana.evaluate("() => { window.act = () => document.getElementById('start').click(); }")
    connections.close(1001)
    await expect(line).to_contain_text("No session of yours is running")
    await ana.evaluate("() => { window.act = () => document.querySelector('#sure [value=yes]').click(); }")
    await ana.locator("#start").click()
    await expect(line).to_contain_text("Your session has started")
    await ana.locator("#stop").dispatch_event("click")
    await line.evaluate(NOTES_THE_LINE)
    connections.close(1001)
    await expect(line).to_contain_text("it is still running")
    lines = await ana.evaluate("window.lines")
    assert [one for one in lines if "Not stopped" in one or "still running" in one] == lines[-2:]
    await hold(ana.locator("#stop"))


@pytest.mark.gen_test
async def test_a_proxy_that_keeps_the_address_of_health_to_itself_keeps_nobody_away(street: Street) -> None:
    ana = await street.sign_in("ana", "/ward")
    await expect(ana.locator("#start")).to_be_enabled()
    await ana.route("**/healthz", lambda route: route.fulfill(status=403))
    await ana.context.set_offline(True)
    for _ in range(2):
        async with ana.expect_websocket():
            pass
    await ana.context.set_offline(False)
    await expect(ana.locator("#line")).to_contain_text("Connected again")
    street.excuse(*NO_NETWORK, "403 (Forbidden)")


@pytest.mark.gen_test
async def test_who_has_an_iphone_with_ios_15_is_back_as_well_and_confirms_what_is_asked(street: Street) -> None:
    """Safari 15, beyond which some of them cannot go, has neither of these."""
    ana = await street.sign_in(
        "ana", "/ward", device="delete AbortSignal.timeout; delete HTMLFormElement.prototype.requestSubmit;"
    )
    await expect(ana.locator("#start")).to_be_enabled()
    await ana.context.set_offline(True)
    for _ in range(2):
        async with ana.expect_event("requestfailed", lambda request: request.url.endswith("/healthz")):
            pass
    await ana.context.set_offline(False)
    await expect(ana.locator("#line")).to_contain_text("Connected again")
    street.excuse(*NO_NETWORK)
    await ana.goto(street.home.url + "/people")
    await ana.get_by_role("button", name="Remove Ben Keller").click()
    await ana.get_by_role("dialog").get_by_role("button", name="Remove").click()
    await expect(ana.locator(".done")).to_contain_text("at once")


@pytest.mark.gen_test
async def test_a_stop_without_connection_is_said_not_to_be_one(street: Street) -> None:
    ana = await street.sign_in("ana", "/ward")
    await ana.get_by_role("button", name="Start").click()
    await expect(ana.locator("#running")).to_be_visible()
    await ana.context.set_offline(True)
    await expect(ana.locator("#line")).to_contain_text("No connection")
    stop = ana.locator("#stop")
    await stop.hover()
    await ana.mouse.down()
    await expect(ana.locator("#line")).to_contain_text("Not stopped")
    await expect(ana.locator("#line")).to_contain_text("does not see that you are safe")
    await ana.mouse.up()
    # The tries to come back go on and take nothing away.
    async with ana.expect_request("**/healthz"):
        await ana.evaluate("dispatchEvent(new Event('online'))")
    await expect(ana.locator("#line")).to_contain_text("Not stopped")
    await ana.context.set_offline(False)
    await expect(ana.locator("#line")).to_contain_text("it is still running")
    await hold(stop)
    await expect(ana.locator("#idle")).to_be_visible()
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_a_stop_that_has_no_answer_is_not_taken_for_one_nor_for_none(street: Street) -> None:
    ana = await street.sign_in("ana", "/healthz")
    sockets = await swallow(ana, f"{street.home.url}/ward", "stop-live-session")
    await ana.get_by_role("button", name="Start").click()
    await expect(ana.locator("#running")).to_be_visible()
    line = ana.locator("#line")
    await line.evaluate(NOTES_THE_LINE)
    await ana.locator("#stop").hover()
    await ana.mouse.down()
    await expect(ana.locator("#ward")).to_have_attribute("data-state", "stopping")
    await ana.mouse.up()
    await sockets[-1].close(code=1001)
    # The server did not get it, which shows as soon as the connection is back.
    await expect(line).to_contain_text("it is still running")
    lines = await ana.evaluate("window.lines")
    assert lines[0].startswith("The connection was lost before the server had answered")
    assert not any("Not stopped" in line for line in lines)
    await expect(ana.locator("#ward")).to_have_attribute("data-state", "running")
    await hold(ana.locator("#stop"))
    await expect(ana.locator("#idle")).to_be_visible()
    street.excuse(*NO_NETWORK)


@pytest.mark.gen_test
async def test_a_start_that_has_no_answer_is_not_taken_for_one_nor_for_none(street: Street) -> None:
    ana = await street.sign_in("ana", "/healthz")
    sockets = await swallow(ana, f"{street.home.url}/ward", "start-live-session")
    line = ana.locator("#line")
    await line.evaluate(NOTES_THE_LINE)
    await ana.get_by_label("note").fill("Walking home")
    await ana.get_by_role("button", name="Start").click()
    await expect(ana.locator("#ward")).to_have_attribute("data-state", "starting")
    await sockets[-1].close(code=1001)
    await expect(line).to_contain_text("No session of yours is running")
    lines = await ana.evaluate("window.lines")
    assert any("Whether your session has started" in line for line in lines)
    assert not any("cannot start" in line or "Connected again" in line for line in lines)
    await expect(ana.get_by_label("note")).to_have_value("Walking home")
    await ana.get_by_role("button", name="Start").click()
    await expect(line).to_contain_text("Your session has started")


@pytest.mark.gen_test
async def test_a_ward_on_another_page_knows_how_their_session_stands(street: Street) -> None:
    ana = await street.sign_in("ana", "/ward")
    await ana.get_by_role("button", name="Start").click()
    await expect(ana.locator("#running")).to_be_visible()
    live, line = street.home.server.live, ana.locator("#own-session")
    await ana.goto(f"{street.home.url}/account")
    await expect(line).to_have_text("Your own session is running. Back to it", use_inner_text=True)
    await ana.context.set_offline(True)
    await expect(line).to_contain_text("No connection")
    await ana.context.set_offline(False)
    await expect(line).to_contain_text("is running")
    # An end that it hears, and one that it does not.
    (session,) = live.sessions.get_active_sessions()
    await live.end_by_admin(session.id, "alex")
    await expect(line).to_have_text("Your session was ended by an admin.", use_inner_text=True)
    phone = await street.home.ward("ana")
    await phone.answer("start-live-session")
    await expect(line).to_contain_text("is running")
    await ana.context.set_offline(True)
    await expect(line).to_contain_text("No connection")
    await phone.answer("stop-live-session")
    await ana.route("**/ward", lambda route: route.fulfill(status=503), times=1)
    await ana.context.set_offline(False)
    await expect(line).to_contain_text("Your session is stopped. Whoever watches over you sees that you are safe.")
    # Nothing is left to ask about.
    await ana.get_by_role("button", name="Sign out").first.click()
    await expect(ana.get_by_role("button", name="Sign in")).to_be_visible()
    street.excuse(*NO_NETWORK, "503")


@pytest.mark.gen_test
async def test_a_page_that_cannot_carry_the_session_on_says_so(street: Street) -> None:
    ana = await street.sign_in("ana", "/ward")
    await ana.get_by_role("button", name="Start").click()
    await expect(ana.locator("#running")).to_be_visible()
    line = ana.get_by_text("so it does not carry your session on")
    for path in ("/people", "/"):
        await ana.context.route("**/own.js", lambda route: route.abort())
        await ana.goto(street.home.url + path)
        await expect(ana.get_by_text("Your own session is running")).to_be_visible()
        await expect(line).to_be_hidden()
        await ana.evaluate("document.getAnimations().forEach((one) => one.finish())")
        await expect(line).to_be_visible()
        await ana.context.unroute_all()
        await line.get_by_role("link", name="Load it again").click()
        await ana.wait_for_function("() => 'asks' in document.documentElement.dataset")
        await ana.evaluate("document.getAnimations().forEach((one) => one.finish())")
        await expect(line).to_be_hidden()
    street.excuse("net::ERR_FAILED")


@pytest.mark.gen_test
async def test_an_end_that_worried_is_shown_for_its_time(
    tmp_path: Path, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_street(tmp_path, browser, reconnect_grace=0) as street:
        tom = await street.home.ward("tom")
        await tom.answer("start-live-session")
        (session,) = street.home.server.live.sessions.get_active_sessions()
        ben, other = await street.sign_in("ben"), await street.sign_in("ben", f"/history/{session.id}")
        await expect(other.locator("#live:not(.stale)")).to_be_visible()
        tom.lose()
        lines = [ben.locator("#worrying a"), other.locator("article > .lost-line")]
        for line in lines:
            await expect(line).to_contain_text("has not stopped")
            assert float(await line.get_attribute("data-until") or 0) - time() * 1000 == pytest.approx(3600e3, abs=60e3)
        # An hour later, for the server and for the pages.
        for pages in (dashboard, history):
            monkeypatch.setattr(pages, "WORRIES_FOR", 0)
        for line in lines:
            await line.evaluate("(line) => { line.dataset.until = 0; }")
            await expect(line).to_have_count(0)
        await expect(ben.locator("#summary")).to_have_text("All is quiet")


@pytest.mark.gen_test
async def test_a_ward_is_not_promised_guardians_who_have_left(street: Street) -> None:
    ana = await street.sign_in("ana", "/ward")
    await expect(ana.locator("#promise")).to_contain_text("Ben Keller")
    guardianships = street.home.server.people.guardianships
    ben = await street.home.server.people.accounts.identify("ben")
    (pair,) = (pair for pair in await guardianships.of_guardian(ben) if pair.ward.id == "ana")
    await guardianships.revoke(ben, pair.id)
    await ana.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await expect(ana.locator("#promise")).not_to_contain_text("Ben Keller")


@pytest.mark.gen_test
async def test_who_signs_out_during_their_session_is_asked_first(street: Street) -> None:
    ana, phone = await street.sign_in("ana", "/account"), await street.home.ward("ana")
    await phone.answer("start-live-session")  # after the page was loaded
    await ana.get_by_role("button", name="Sign out").first.click()
    question = ana.get_by_role("dialog")
    await expect(question).to_contain_text("while your session is running")
    await question.get_by_role("button", name="Cancel").click()
    await expect(ana.get_by_role("heading", name="Account")).to_be_visible()

    # So are those who sign out the device that carries it on, or all of them by another password.
    people = street.home.server.people
    for device in ("Firefox", "Opera"):
        await people.logins.begin(await people.accounts.identify("ana"), device)
    await ana.reload()
    await ana.get_by_label("Current password").fill(PASSWORD)
    await ana.get_by_label("New password").fill("a better password")
    for button in ("Sign out there Firefox", "Sign out everywhere else", "Change the password"):
        await ana.get_by_role("button", name=button).click()
        await expect(question).to_contain_text("while your session is running")
        await question.get_by_role("button", name="Cancel").click()
    await ana.get_by_role("button", name="Sign out there Firefox").click()
    await question.get_by_role("button", name="Sign out").click()
    await expect(ana.locator(".done")).to_have_text("Signed out there.")

    # Where nothing runs any more, there is nothing to ask about.
    await phone.answer("stop-live-session")
    await expect(ana.locator("#own-session")).to_have_attribute("data-state", "over")
    await ana.get_by_role("button", name="Sign out there Opera").click()
    await expect(ana.locator(".done")).to_have_text("Signed out there.")
    await expect(ana.get_by_role("button", name="Sign out there Opera")).to_have_count(0)


@pytest.mark.gen_test
async def test_who_is_signed_out_already_is_not_asked_about_a_session(street: Street) -> None:
    ben = await street.sign_in("ben", "/account")
    people = street.home.server.people
    await people.logins.end_all(await people.accounts.identify("ben"))
    await ben.get_by_role("button", name="Sign out").first.click()
    await expect(ben).to_have_url(re.compile("/login"))


@pytest.mark.gen_test
async def test_whoever_hesitates_to_sign_out_is_asked_once(street: Street) -> None:
    ana = await street.sign_in("ana", "/account")
    await (await street.home.ward("ana")).answer("start-live-session")
    asked: asyncio.Queue[Route] = asyncio.Queue()
    question = ana.get_by_role("dialog")
    await ana.route("**/ward", asked.put)
    await ana.get_by_role("button", name="Sign out").first.dblclick()
    await (await asked.get()).continue_()
    await expect(question).to_be_visible()
    await ana.keyboard.press("Escape")
    await expect(question).to_be_hidden()
    assert asked.empty()  # of what is still asked for, the answer would ask once more


@pytest.mark.gen_test
@pytest.mark.parametrize("is_seen", [True, False])
async def test_who_signs_out_is_asked_though_the_server_says_nothing(street: Street, is_seen: bool) -> None:
    if is_seen:
        await (await street.home.ward("ana")).answer("start-live-session")
    ana = await street.sign_in("ana", "/account")
    asked = asyncio.Event()

    async def hold_back(route: Route) -> None:
        await asked.wait()
        await route.continue_()

    await ana.route("**/ward", hold_back)
    await ana.get_by_role("button", name="Sign out").first.click()
    await expect(ana.get_by_role("dialog")).to_contain_text("while your session is running", timeout=4000)
    asked.set()
    await ana.unroute_all(behavior="wait")


@pytest.mark.gen_test
async def test_a_ward_on_another_page_knows_that_their_location_is_not_shared(street: Street) -> None:
    ana = await street.sign_in("ana", "/ward", geolocation=VIENNA, permissions=["geolocation"])
    await ana.get_by_role("button", name="Start").click()
    await expect(ana.locator("#running")).to_be_visible()
    unshared = ana.get_by_text("This page does not share your location.")
    await ana.goto(f"{street.home.url}/people")
    await expect(unshared).to_be_hidden()
    await ana.goto(f"{street.home.url}/ward")
    await ana.get_by_role("button", name="location").click()
    await expect(ana.locator("#share-line")).to_contain_text("Location sent")
    await ana.goto(f"{street.home.url}/people")
    await expect(unshared).to_be_visible()


@pytest.mark.gen_test
async def test_what_was_heard_already_is_no_news_after_a_page_that_could_not_be_fetched(street: Street) -> None:
    ana = await street.home.ward("ana")
    await ana.answer("start-live-session")
    await ana.answer("send-message", {"text": "On the bridge"})
    ben = await street.sign_in("ben")
    await expect(ben.locator(".messages")).to_contain_text("On the bridge")
    await ben.route("**/live?*", lambda route: route.abort())
    await expect(ben.locator("#away")).to_be_visible()
    await ben.unroute("**/live?*")
    await expect(ben.locator("#said")).to_have_text("Connected again. Everything is up to date.")
    street.excuse(*NO_NETWORK)


FORGETS_ENDS_BY_ADMINS = """async () => {
    const script = document.querySelector("script[src*=dashboard]");
    const { words } = await import(script.src.replace("dashboard.js", "news.js"));
    delete words.ended_ended_by_admin;
}"""


@pytest.mark.gen_test
async def test_of_an_end_for_a_reason_that_it_does_not_know_a_page_says_no_more_than_that(street: Street) -> None:
    ben, ana = await street.sign_in("ben"), await street.home.ward("ana")
    await ana.answer("start-live-session")
    await said_last(ben, "Ana Winter has started a session.")
    await ben.evaluate(FORGETS_ENDS_BY_ADMINS)  # as a page from before there were any
    live = street.home.server.live
    (session,) = live.sessions.get_active_sessions()
    await live.end_by_admin(session.id, "alex")
    await said_last(ben, "The session of Ana Winter has ended.")
