"""People with real browsers: Chromium, driven over its own protocol, in front of the real server.

    async def test_something(street: Street) -> None:
        ben = await street.sign_in("ben")
        ana = await street.sign_in("ana", "/ward", permissions=["geolocation"], geolocation=VIENNA)

All tests share one browser; each has a server of its own, and everybody in it a window of their own.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, Error, Locator, Page, Playwright, async_playwright, expect
from server import CAST, NEVER_SAID, House, house

from liveguard.storage import Storage
from liveguard.web.cookies import Cookies

CHROMIUM = "/usr/bin/chromium"
# The same without windows, where it is installed: a page costs a third less.
SHELL = Path("/usr/bin/chromium-headless-shell")
PROGRAM = SHELL if SHELL.exists() else CHROMIUM
# The menus of the address bar, which nobody sees here: two more pages for each window, most of what a window costs.
MENUS = ["WebUIOmniboxPopup", "WebUIOmniboxAimPopup"]
# What Playwright switches off by itself: of two lists, Chromium reads the last alone.
OF_PLAYWRIGHT = [
    "AimEnabled", "AvoidCorsURLLoaderRestartOnRedirect", "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose", "HttpsFirstBalancedModeAutoEnable", "HttpsUpgrades", "LensOverlay", "MediaRouter",
    "NetworkTimeServiceQuerying", "OptimizationHints", "PaintHolding", "PreconnectToSearch",
    "ThirdPartyStoragePartitioning",
]  # fmt: skip
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--in-process-gpu", "--num-raster-threads=1",
    f"--disable-features={','.join(OF_PLAYWRIGHT + MENUS)}",
]  # fmt: skip
# A page that keeps away from whoever opens it (each answer is tested for saying so) leaves the process in which its
# window began for another one: a sixth of what a window costs. One test has a Chromium that does it.
IN_ONE_PROCESS = f"--disable-features={','.join([*OF_PLAYWRIGHT, *MENUS, 'CrossOriginOpenerPolicy'])}"
AXE = Path(__file__).parent.parent / "node" / "node_modules" / "axe-core" / "axe.min.js"
VIENNA = {"latitude": 48.2082, "longitude": 16.3738, "accuracy": 10}
# What moves is drawn sixty times a second, and a worker reads all that a page may need without a network: a fifth of
# what a window costs. A test of either asks for it.
USUAL = {"locale": "en-GB", "timezone_id": "Europe/Vienna", "reduced_motion": "reduce", "service_workers": "block"}
MOVES = {"reduced_motion": "no-preference"}
WORKER = {"service_workers": "allow"}
NO_WORKER = "Service Worker registration blocked by Playwright"
NO_NETWORK = ("net::ERR_", "WebSocket connection to", "when fetching the script")  # what Chromium says of it
PATIENCE = 20_000  # milliseconds

# Devices that note what they sound and notify of.
IS_HEARD = """
    window.tones = [];
    const start = OscillatorNode.prototype.start;
    OscillatorNode.prototype.start = function (...when) {
      window.tones.push(this.frequency.value);
      return start.apply(this, when);
    };
"""
IS_NOTIFIED = """
    window.notices = [];
    window.Notification = class {
      static permission = "default";
      static async requestPermission() { return (this.permission = "granted"); }
      constructor(text) { window.notices.push(text); window.notice = this; }
    };
    window.away = false;
    Object.defineProperty(Document.prototype, "hidden", { get: () => window.away });
"""
# As in Safari: a finger that comes down may be about to scroll, and allows something only where it leaves again. What a
# test asks a page itself, is a touch to Chromium.
IS_TOUCHED = """
    window.touched = false;
    const touch = () => { window.touched = true; setTimeout(() => { window.touched = false; }); };
    for (const gesture of ["touchend", "click", "keydown"]) addEventListener(gesture, touch, true);
"""

expect.set_options(timeout=PATIENCE)


@dataclass
class Street:
    """The server, and a browser in which everybody has a window of their own."""

    home: House
    browser: Browser
    complaints: list[str] = field(default_factory=list)  # what browsers complained of: errors, policy, strangers
    windows: list[BrowserContext] = field(default_factory=list)
    heard: dict[Page, asyncio.Event] = field(default_factory=dict)  # that the server said something over a connection

    async def visit(self, path: str = "/", *, who: str = "", device: str = "", **how: Any) -> Page:
        """A window in which somebody is signed in, or nobody. ``device`` is a script that alters what it runs on, and
        ``how`` what the browser is told of it in place of what is usual."""
        window = await self.browser.new_context(**USUAL | how)
        self.windows.append(window)
        window.set_default_timeout(PATIENCE)
        window.on("console", lambda message: self._complain(message.type, message.text))
        window.on("weberror", lambda problem: self.complaints.append(f"{problem.error}"))
        window.on("request", lambda request: self._check(request.url))
        if device:
            await window.add_init_script(device)
        if who:
            await window.add_cookies([await self._login(who)])
        page = await window.new_page()
        heard = self.heard[page] = asyncio.Event()
        page.on("websocket", lambda socket: socket.on("framereceived", lambda _: heard.set()))
        await page.goto(self.home.url + path)
        return page

    async def sign_in(self, who: str, path: str = "/", **how: Any) -> Page:
        """A window in which somebody is signed in and looks at a page."""
        return await self.visit(path, who=who, **how)

    async def go_on(self, page: Page, who: str, path: str) -> Page:
        """The same window, in which somebody else is signed in and looks at a page: half of what another one costs."""
        await page.goto("about:blank")  # or the page that is there may ask once more, and be told that it is not theirs
        await page.context.add_cookies([await self._login(who)])
        await page.goto(self.home.url + path)
        return page

    async def connected(self, page: Page) -> None:
        """The page's first connection stands: whatever happens from now on comes over it."""
        await self.heard[page].wait()

    def excuse(self, *texts: str) -> None:
        """These complaints were right so far."""
        self.complaints = [one for one in self.complaints if not any(text in one for text in texts)]

    async def _login(self, who: str) -> Any:
        people = self.home.server.people
        token = await people.logins.begin(await people.accounts.identify(who), "Chromium of the tests")
        return {"name": Cookies("http").login, "value": token, "url": self.home.url, "httpOnly": True}

    def _complain(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and text != NO_WORKER:
            self.complaints.append(text)

    def _check(self, url: str) -> None:
        if not url.startswith((self.home.url, self.home.url.replace("http", "ws"), "data:", "blob:", "chrome:")):
            self.complaints.append(f"asked somebody else: {url}")
        # A version of the page may look like a number.
        if NEVER_SAID.search(re.sub(r"\bsince=[^&]*", "", url)):
            self.complaints.append(f"a secret in an address: {url}")


async def _launch(playwright: Playwright) -> Browser:
    flags = [*FLAGS, IN_ONE_PROCESS]
    for _ in range(2):
        with contextlib.suppress(Error):
            return await playwright.chromium.launch(executable_path=PROGRAM, args=flags)
    # In some hundred starts one crashes by itself; all tests of this process would fail with it.
    return await playwright.chromium.launch(executable_path=PROGRAM, args=flags)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The browser."""
    async with async_playwright() as playwright:
        browser = await _launch(playwright)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def open_street(folder: Path, browser: Browser, *, empty: bool = False, **settings: Any) -> AsyncIterator[Street]:
    """A server with everybody in it, or nobody at all. At its end no browser has complained."""
    if empty:
        await (await Storage.open(folder / "liveguard.db")).close()
    async with house(folder, with_password=tuple(CAST), **settings) as home:
        street = Street(home, browser)
        try:
            yield street
            assert not street.complaints, "\n".join(street.complaints)
        finally:
            for window in street.windows:
                await window.close()


async def started(street: Street, **how: Any) -> Page:
    """Ana has started a session on her page."""
    ana = await street.sign_in("ana", "/ward", **how)
    await ana.get_by_role("button", name="Start").click()
    await expect(ana.locator("#running")).to_be_visible()
    return ana


async def said_last(page: Page, sentence: str) -> None:
    """The sentence is what the page has said last; what happened to others at the same moment stands before it."""
    await expect(page.locator("#said > :last-child")).to_have_text(sentence)


async def hold(button: Locator) -> None:
    """Keep a button pressed with the mouse until it says by itself that this was long enough."""
    page = button.page
    await button.hover()
    await page.mouse.down()
    try:
        await expect(button).to_be_hidden()
    except AssertionError as error:
        error.add_note(f"The page says: {await page.locator('#line').inner_text()}")
        raise
    await page.mouse.up()


async def faults_of(page: Page, *, only_colours: bool = False, enhanced: bool = False) -> list[str]:
    """What axe-core finds by its usual rules, or by those on colours alone; ``enhanced`` asks for a contrast of AAA.

    It comes in by the browser's own protocol, so the page's policy stays as it is.
    """
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE.read_text())
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if only_colours:
        options["runOnly"] = {"type": "tag", "values": ["cat.color"]}
    options["rules"] = {"color-contrast-enhanced": {"enabled": enhanced}}
    # The rules that nothing breaks, most of the answer, stay in the page.
    found = await page.evaluate("async (options) => (await axe.run(options)).violations", options)
    return [
        f"{one['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
        for one in found
        for node in one["nodes"]
    ]
