"""People with real browsers: Chromium, driven over its own protocol, in front of the real server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright
from server import CAST, PASSWORD, House, house

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
AXE = Path(__file__).parent.parent / "node" / "node_modules" / "axe-core" / "axe.min.js"
VIENNA = {"latitude": 48.2082, "longitude": 16.3738, "accuracy": 10}


@dataclass
class Street:
    """The server and a browser in which everybody has a window of their own."""

    home: House
    browser: Browser
    complaints: list[str] = field(default_factory=list)  # what browsers complained of: errors, policy, strangers

    async def visit(self, path: str = "/", **how: Any) -> Page:
        """A window in which nobody is signed in."""
        context = await self.browser.new_context(**{"locale": "en-GB", "timezone_id": "Europe/Vienna", **how})
        page = await context.new_page()
        page.set_default_timeout(8000)
        page.on("console", lambda message: self._complain(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(f"{error}"))
        page.on("request", lambda request: self._check(request.url))
        await page.goto(self.home.url + path)
        return page

    async def sign_in(self, name: str, path: str = "/", **how: Any) -> Page:
        """A window in which somebody has signed in and gone to a page."""
        page = await self.visit(f"/login?next={path}", **how)
        await page.fill("#email", f"{name}@example.org")
        await page.fill("#password", PASSWORD)
        await page.click("main button[type=submit]")
        await page.wait_for_url(self.home.url + path)
        return page

    def _complain(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    def _check(self, url: str) -> None:
        if not url.startswith((self.home.url, self.home.url.replace("http", "ws"), "data:", "blob:")):
            self.complaints.append(f"asked somebody else: {url}")


@asynccontextmanager
async def street(folder: Path, **settings: Any) -> AsyncIterator[Street]:
    """Everybody at home, and nobody complains."""
    async with house(folder, with_password=tuple(CAST), **settings) as home, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            one = Street(home, browser)
            yield one
            assert one.complaints == []
        finally:
            await browser.close()


async def faults_of(page: Page, *more: str) -> list[str]:
    """What axe-core finds, by its usual rules and some more.

    It comes in by the browser's own protocol, so the page's policy stays as it is.
    """
    await page.evaluate(AXE.read_text())
    rules = {rule: {"enabled": True} for rule in more}
    found = await page.evaluate("(rules) => axe.run({ rules })", rules)
    return [
        f"{one['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
        for one in found["violations"]
        for node in one["nodes"]
    ]
