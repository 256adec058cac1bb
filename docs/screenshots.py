"""Takes the pictures of the documents: ``make screenshots``. A real server, real people, a real browser."""

import asyncio
import math
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "browser")]

from playwright.async_api import Page  # noqa: E402
from server import House, Peer  # noqa: E402
from visitors import VIENNA, Street, chromium, open_street  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
WIDE = {"width": 1180, "height": 860}
PHONE = {"width": 390, "height": 844}


async def take(page: Page, name: str, size: dict[str, int], scheme: str = "light") -> None:
    """One picture."""
    await page.set_viewport_size(size)  # type: ignore[arg-type]
    await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    await page.screenshot(path=PICTURES / f"{name}.png")


async def walk(home: House, ward: Peer, name: str, note: str, turn: float) -> None:
    """Somebody has been on their way for a while."""
    ward.say("start-live-session", {"note": note})
    await ward.expect("session-started")
    session = home.server.live.sessions.of_ward(name)
    assert session is not None
    trail = home.server.chronicle.of(session).trail
    for step in range(60):
        way = step / 60
        place = {
            "latitude": 48.2082 + 0.004 * way + 0.0006 * math.sin(way * turn),
            "longitude": 16.3738 + 0.006 * way * math.cos(turn),
            "accuracy": 12,
            "battery": 71,
        }
        trail._spacing = 0  # a picture needs no hour to be taken
        await ward.answer("update-location", place)
        await asyncio.sleep(0.04)  # slow enough for the limits on how much one ward may say


async def everything(one: Street) -> None:
    """All pictures, in the order of a story."""
    home = one.home
    for name in ("ana", "ben"):
        user = await home.server.people.accounts.identify(name)
        await home.server.people.preferences.suggest_time_zone(user, "Europe/Vienna")
    ben = await one.sign_in("ben")
    ana, tom, chloe = await home.ward("ana"), await home.ward("tom"), await home.guardian("chloe")
    await walk(home, ana, "ana", "Walking home from the station", 9)
    await walk(home, tom, "tom", "Night shift, taking the bus", 4)
    chloe.say("send-message", {"wardId": "ana", "text": "I see you! Write when you are in."})
    await ana.answer("send-message", {"text": "Just crossed the bridge, ten more minutes."})
    tom.lose()
    await ben.wait_for_selector(".card.lost")
    await take(ben, "dashboard", WIDE)
    await take(ben, "dashboard-phone", PHONE, "dark")
    phone = await one.sign_in("ana", "/ward", geolocation=VIENNA)
    await phone.wait_for_selector("#running:not([hidden])")
    await take(phone, "ward", PHONE, "dark")
    await ana.answer("stop-live-session")
    await phone.wait_for_selector("#idle:not([hidden])")
    await take(phone, "ward-start", PHONE)
    await ben.goto(home.url + "/people")
    await take(ben, "people", WIDE)
    await home.server.chronicle.write()
    await ben.goto(home.url + "/history")
    await ben.click(".ended .rows a")
    await take(ben, "session", WIDE)


async def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        async with chromium() as browser, open_street(Path(folder), browser) as one:
            await everything(one)


if __name__ == "__main__":
    asyncio.run(main())
