"""Evenings left to chance: whatever befalls a guardian's page and its network, each message and each end is said once.
With ``--torture`` there are thirty evenings in front of each of the two pages.
"""

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Route, expect
from server import CAST, Peer, look_again
from visitors import MOVES, NO_NETWORK, WORKER, Street, open_street

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WARDS = ("ana", "tom", "ida")  # whom Ben guards
STOPPED, LOST = "is safe and has stopped the session.", "did not come back."
PAUSES = (0, 0, 0.05, 0.2, 0.5, 1.2)  # seconds

# Whatever is said is noted once, as a notification; and a connection can fall silent without being closed.
DEVICE = """
    window.Notification = class {
      static permission = "granted";
      static async requestPermission() { return "granted"; }
      constructor(text) { window.note(text); }
    };
    const tells = () => new Error().stack.includes("announce.js");
    Object.defineProperty(Document.prototype, "hidden", { get: tells });
    const Plain = WebSocket;
    window.WebSocket = class extends Plain {
      set onmessage(hears) {
        if (hears) window.newest = this;
        super.onmessage = hears && ((message) => window.silent === this || hears(message));
      }
    };
"""


class Evening:
    """What happens, by chance, and what is to be said of it."""

    def __init__(self, street: Street, seed: int) -> None:
        self.street = street
        self.home = street.home
        self.chance = random.Random(seed)
        self.story: list[str] = []  # for whoever reads why it failed
        self.said: Counter[str] = Counter()
        self.due: Counter[str] = Counter()
        self.peers: dict[str, Peer] = {}
        self.sessions: dict[str, str] = {}
        self.written = 0
        self.is_offline = self.is_failing = False

    def __str__(self) -> str:
        return "\n".join(self.story)

    # -- the guardian ----------------------------------------------------------------------------------------------

    async def look(self, path: str) -> None:
        """Ben opens a page and wants to be notified."""
        self.page: Page = await self.street.sign_in("ben", "/healthz", device=DEVICE, **MOVES, **WORKER)
        await self.page.context.expose_function("note", self._note)
        await self.page.goto(self.home.url)
        await self.page.get_by_role("button", name="Notifications").click()
        await self.page.goto(self.home.url + path)

    def _note(self, text: str) -> None:
        self.story.append(f"said: {text}")
        # Several are said at once.
        for sentence in {*self.due, *(f"{CAST[name]} {ended}" for name in WARDS for ended in (STOPPED, LOST))}:
            self.said[sentence] += text.count(sentence)

    async def turn_network(self) -> None:
        """The network of the guardian goes, or comes back."""
        self.is_offline = not self.is_offline
        await self.page.context.set_offline(self.is_offline)

    async def turn_pages(self) -> None:
        """The server, or what stands before it, begins to give no pages, or gives them again; connections stay."""
        self.is_failing = not self.is_failing

    async def hold_back(self, route: Route) -> None:
        """What the page asks for."""
        await (route.fulfill(status=503) if self.is_failing else route.continue_())

    async def fall_silent(self) -> None:
        """Nothing comes any more over the connection, which stays open."""
        await self.page.evaluate("() => { window.silent = window.newest; }")

    async def settle(self) -> None:
        """All is well again, and the page knows it."""
        self.is_failing = False
        if self.is_offline:
            await self.turn_network()
        # It need not wait until it notices that nothing comes.
        await self.page.evaluate("['offline', 'online'].forEach((name) => dispatchEvent(new Event(name)))")
        await expect(self.page.locator("#live:not(.stale)")).to_be_visible(timeout=20_000)

    # -- the wards -------------------------------------------------------------------------------------------------

    async def start(self, name: str) -> None:
        """A ward is on their way, or back."""
        if name not in self.peers:
            self.peers[name] = await self.home.ward(name)
        self._note_losses()
        if name not in self.sessions:
            self.sessions[name] = (await self.peers[name].answer("start-live-session"))["data"]["sessionId"]

    async def write(self, name: str) -> None:
        """A ward writes what nobody has written before."""
        if name in self.sessions and name in self.peers:
            self.written += 1
            self.due[f"writes: line {self.written}."] += 1
            await self.peers[name].answer("send-message", {"text": f"line {self.written}."})

    async def stop(self, name: str) -> None:
        """A ward has arrived."""
        if name in self.sessions and name in self.peers:
            self.due[f"{CAST[name]} {STOPPED}"] += 1
            del self.sessions[name]
            await self.peers[name].answer("stop-live-session")

    async def lose(self, name: str) -> None:
        """The connection of a ward is gone."""
        if name in self.peers:
            self.peers.pop(name).lose()

    def _note_losses(self) -> None:
        """Who was away for too long, has lost their session."""
        for name, session_id in list(self.sessions.items()):
            session = self.home.server.live.sessions.of_ward(name)
            if session is None or session.id != session_id:
                del self.sessions[name]
                self.due[f"{CAST[name]} {LOST}"] += 1

    async def all_are_back_or_lost(self) -> None:
        """Until then their ends are still to come."""
        while self.sessions.keys() - self.peers.keys():
            self._note_losses()
            await look_again()

    # -- what happens ----------------------------------------------------------------------------------------------

    async def go_by(self) -> None:
        """Some things happen, one after the other."""
        of_wards: list[Any] = [self.start, self.write, self.write, self.write, self.stop, self.lose]
        of_guardian: list[Any] = [self.turn_network, self.turn_network, self.turn_pages, self.fall_silent]
        for _ in range(self.chance.randrange(10, 30)):
            self._note_losses()
            name, what = self.chance.choice(WARDS), self.chance.choice(of_wards + of_guardian)
            self.story.append(f"{what.__name__} {name if what in of_wards else ''}")
            await (what(name) if what in of_wards else what())
            await asyncio.sleep(self.chance.choice(PAUSES))  # so that it happens now and then together


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("seed", range(30) if metafunc.config.getoption("--torture") else [11])


@pytest.mark.parametrize("is_dashboard", [True, False], ids=["dashboard", "session"])
@pytest.mark.gen_test
async def test_whatever_happens_is_said_once(
    tmp_path: Path, browser: Browser, seed: int, *, is_dashboard: bool
) -> None:
    async with open_street(tmp_path, browser, reconnect_grace=3) as street:
        evening = Evening(street, seed)
        try:
            await spend(evening, is_dashboard=is_dashboard)
        except (AssertionError, TimeoutError) as error:
            error.add_note(f"{evening}\nIt was due: {evening.due}")
            raise
        street.excuse(*NO_NETWORK, "503")


async def spend(evening: Evening, *, is_dashboard: bool) -> None:
    """From the opening of a page to when all is quiet again."""
    for name in WARDS[: evening.chance.randrange(1, 4)]:
        await evening.start(name)
    await evening.look("/" if is_dashboard else f"/history/{evening.sessions['ana']}")
    await evening.page.route("**/live?*", evening.hold_back)
    await evening.page.route("**/history/*", evening.hold_back)
    await evening.go_by()
    await evening.settle()
    await evening.all_are_back_or_lost()
    async with asyncio.timeout(30):
        while any(evening.said[sentence] < times for sentence, times in evening.due.items()):
            await look_again()
        # What would be said once more, would be so after another outage. At its end stands again what is still fresh.
        while await evening.page.locator("#said").inner_text() != "Connected again. Everything is up to date.":
            await evening.settle()
    assert evening.said == evening.due
    if is_dashboard:
        await expect(evening.page.locator(".card")).to_have_count(len(evening.sessions))
