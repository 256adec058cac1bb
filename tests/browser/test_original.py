"""A page as it was written for the original: socket.io-client from a site of its own, and nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect
from server import house, token_of
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler, StaticFileHandler
from visitors import VIENNA

pytestmark = [pytest.mark.browser, pytest.mark.node, pytest.mark.slow]

LIBRARY = Path(__file__).parent.parent / "node" / "node_modules" / "socket.io-client" / "dist"
PAGE = """<!doctype html>
<title>Original</title>
<p id="state">offline</p><button id="start">Start</button><button id="stop">Stop</button><ul id="log"></ul>
<script src="/library/socket.io.js"></script>
<script>
  const query = new URLSearchParams(location.search);
  const transports = query.getAll("transport");
  const socket = io(query.get("server"), {
    auth: { token: query.get("token") }, withCredentials: true, ...(transports.length && { transports }),
  });
  const state = document.querySelector("#state");
  const log = (text) => document.querySelector("#log").appendChild(document.createElement("li")).append(text);
  socket.on("connect", () => { state.textContent = "online"; });
  socket.on("connect_error", (error) => { state.textContent = error.message; });
  socket.on("disconnect", () => { state.textContent = "offline"; });
  socket.on("session-started", ({ guardians }) => {
    log(`started, ${guardians.length} guardians`);
    navigator.geolocation.watchPosition(({ coords: { latitude, longitude, accuracy } }) =>
      socket.emit("update-location", { latitude, longitude, accuracy }));
  });
  socket.on("location-acknowledged", ({ status }) => log(status));
  socket.on("session-ended", ({ reason }) => log(`ended: ${reason}`));
  socket.on("session-error", ({ message }) => log(`error: ${message}`));
  document.querySelector("#start").onclick = () => socket.emit("start-live-session", { from: "the original" });
  document.querySelector("#stop").onclick = () => socket.emit("stop-live-session");
  window.transport = () => socket.io.engine.transport.name;
</script>
"""


class Original(RequestHandler):
    def get(self) -> None:
        self.finish(PAGE)


@asynccontextmanager
async def elsewhere() -> AsyncIterator[str]:
    """A site that has nothing to do with liveguard; its origin."""
    served = HTTPServer(
        Application(
            [("/", Original), ("/library/(.*)", StaticFileHandler, {"path": str(LIBRARY)})], log_function=lambda _: None
        )
    )
    sock, port = bind_unused_port()
    served.add_socket(sock)
    yield f"http://127.0.0.1:{port}"
    served.stop()
    await served.close_all_connections()


async def opened(browser: Browser, address: str) -> Page:
    window = await browser.new_context(geolocation=VIENNA, permissions=["geolocation"])
    page = await window.new_page()
    await page.goto(address)
    return page


@pytest.mark.gen_test
@pytest.mark.parametrize("transports", [[], ["websocket"], ["polling"]], ids=["as it comes", "websocket", "polling"])
async def test_it_connects_starts_sends_where_it_is_and_stops(
    browser: Browser, tmp_path: Path, transports: list[str]
) -> None:
    async with elsewhere() as origin, house(tmp_path, allowed_origins=(origin,)) as home:
        ben = await home.guardian("ben")
        wanted = "".join(f"&transport={name}" for name in transports)
        page = await opened(browser, f"{origin}/?server={home.url}&token={token_of('ana')}{wanted}")
        await expect(page.locator("#state")).to_have_text("online")
        await page.click("#stop")
        await expect(page.locator("#log")).to_contain_text("error: No active session found")
        await page.click("#start")
        await expect(page.locator("#log")).to_contain_text("started, 2 guardians")
        await expect(page.locator("#log")).to_contain_text("broadcasted")
        assert (await ben.expect("guardian:session-started"))["metadata"] == {"from": "the original"}
        where = (await ben.expect("location-updated"))["location"]
        assert (where["latitude"], where["longitude"]) == (VIENNA["latitude"], VIENNA["longitude"])
        if transports != ["polling"]:
            await page.wait_for_function("transport() === 'websocket'")
        await page.click("#stop")
        await expect(page.locator("#log")).to_contain_text("ended: manual_stop")
        await page.click("#start")
        await ben.expect("guardian:session-started")
        await page.context.close()
        # Between two polls nobody sees it go: then the keep-alive does.
        await ben.expect("session-interrupted", patience=12)


@pytest.mark.gen_test
async def test_from_a_site_that_is_not_allowed_it_hears_nothing(browser: Browser, tmp_path: Path) -> None:
    async with elsewhere() as origin, house(tmp_path) as home:
        for transport in ("polling", "websocket"):
            page = await opened(browser, f"{origin}/?server={home.url}&token={token_of('ana')}&transport={transport}")
            await expect(page.locator("#state")).to_have_text(
                "xhr poll error" if transport == "polling" else "websocket error"
            )
            await page.context.close()
        assert len(home.server.wires) == len(home.server.connections) == 0
