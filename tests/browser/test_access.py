"""Everybody can use it: axe-core finds nothing, on any page, light or dark, wide or narrow; nothing jumps."""

from pathlib import Path

import pytest
from playwright.async_api import Page, expect
from visitors import Street, faults_of, street

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.node]
long = pytest.mark.gen_test(timeout=120)

WIDTHS = (320, 390, 820, 1440)


async def check(page: Page) -> None:
    """Neither scheme has faults, and no width makes the page scroll sideways."""
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert await faults_of(page) == [], (page.url, scheme)
    for width in WIDTHS:
        await page.set_viewport_size({"width": width, "height": 800})
        too_wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert too_wide <= 0, (page.url, width)


async def busy(one: Street) -> str:
    """Ana is on her way and has shared a place, Tom is lost, Ida has arrived. Returns Ana's session."""
    ana, tom, ida = [await one.home.ward(name) for name in ("ana", "tom", "ida")]
    for ward in (ana, tom, ida):
        await ward.answer("start-live-session", {"note": "Walking home", "company": "alone"})
    await ana.answer("update-location", {"latitude": 48.2, "longitude": 16.37, "accuracy": 20, "battery": 12})
    await ana.answer("update-location", {"latitude": 48.201, "longitude": 16.372, "accuracy": 20})
    await ana.answer("send-message", {"text": "Just crossed the bridge"})
    await ida.answer("stop-live-session")
    tom.lose()
    return one.home.server.live.sessions.of_ward("ana").id  # type: ignore[union-attr]


@long
async def test_axe_finds_nothing_on_a_guardians_pages(tmp_path: Path) -> None:
    async with street(tmp_path) as one:
        await check(await one.visit("/login"))
        session = await busy(one)
        ben = await one.sign_in("ben")
        await expect(ben.locator(".card.lost")).to_be_visible()
        await check(ben)
        for path in ("/people", "/history", f"/history/{session}", "/account"):
            await ben.goto(one.home.url + path)
            await check(ben)
        await ben.goto(one.home.url + "/people")
        await ben.click("form[action='/people/link'] button")
        await check(ben)


@long
async def test_axe_finds_nothing_on_a_wards_and_an_admins_pages(tmp_path: Path) -> None:
    async with street(tmp_path) as one:
        await busy(one)
        ana = await one.sign_in("ana", "/ward")
        await expect(ana.locator("#running")).to_be_visible()
        await check(ana)
        mallory = await one.sign_in("mallory", "/ward")
        await check(mallory)
        for path in ("/", "/ward/offline"):
            await mallory.goto(one.home.url + path)
            await check(mallory)
        alex = await one.sign_in("alex", "/admin")
        await check(alex)


@long
async def test_nothing_jumps_when_cards_come_and_go(tmp_path: Path) -> None:
    async with street(tmp_path) as one:
        ben = await one.sign_in("ben")
        await ben.evaluate(
            "() => { window.shift = 0; new PerformanceObserver((list) => { for (const one of list.getEntries())"
            " if (!one.hadRecentInput) window.shift += one.value; }).observe({ type: 'layout-shift' }); }"
        )
        for name, count in (("ana", 1), ("tom", 2), ("ida", 3)):
            ward = await one.home.ward(name)
            await ward.answer("start-live-session")
            await expect(ben.locator(".card")).to_have_count(count)
        await ward.answer("stop-live-session")
        await expect(ben.locator(".card")).to_have_count(2)
        assert await ben.evaluate("window.shift") < 0.1


@long
async def test_german_is_complete_and_chosen_by_the_browser_or_the_account(tmp_path: Path) -> None:
    async with street(tmp_path) as one:
        ben = await one.sign_in("ben", locale="de-AT")
        assert await ben.get_attribute("html", "lang") == "de-AT"
        await expect(ben.locator("#calm")).to_contain_text("Gerade ist niemand unterwegs")
        await ben.goto(one.home.url + "/account")
        await ben.select_option("#language", "en")
        await ben.click("form[action='/account/preferences'] button")
        await expect(ben.locator(".done")).to_contain_text("Saved.")


@long
async def test_two_hundred_sessions_that_move_are_all_shown_where_they_are(tmp_path: Path) -> None:
    async with street(tmp_path) as one:
        people, names = one.home.server.people, [f"ward{number}" for number in range(200)]
        for name in names:
            await people.accounts.add(f"{name}@example.org", first_name=name.title(), user_id=name)
            await people.guardianships.put(name, "ben", "accepted")
        wards = [await one.home.ward(name) for name in names]
        for ward in wards:
            ward.say("start-live-session", {"note": "Walking home"})
        ben = await one.sign_in("ben")
        await expect(ben.locator(".card")).to_have_count(200)
        for step in range(5):
            place = {"latitude": 48.2 + step / 1000, "longitude": 16.37, "battery": 50}
            for ward in wards:
                ward.say("update-location", place)
                await ward.expect("location-acknowledged")
        shown = ben.locator(".card code", has_text=f"{place['latitude']:.5f}, 16.37000")
        await expect(shown).to_have_count(200, timeout=30_000)


@long
async def test_the_wards_page_is_read_in_the_dark_and_in_the_sun(tmp_path: Path) -> None:
    async with street(tmp_path) as one:
        await busy(one)
        for name in ("ana", "mallory"):
            page = await one.sign_in(name, "/ward")
            for scheme in ("light", "dark"):
                await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                assert await faults_of(page, "color-contrast-enhanced") == [], (name, scheme)


@long
async def test_the_shell_opens_without_network_and_says_so(tmp_path: Path) -> None:
    async with street(tmp_path) as one:
        ana = await one.sign_in("ana", "/ward")
        await ana.evaluate("navigator.serviceWorker.ready")
        await ana.wait_for_function("navigator.serviceWorker.controller !== null")
        await ana.context.set_offline(True)
        await ana.reload()
        await expect(ana.locator("h1")).to_have_text("No connection")
        one.complaints.clear()  # that there was no network is right
        await ana.context.set_offline(False)
        await expect(ana.locator("#start")).to_be_enabled(timeout=10_000)
        one.complaints.clear()
