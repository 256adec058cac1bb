"""Two browsers live through a session: Ana walks home, Ben watches."""

from pathlib import Path

import pytest
from playwright.async_api import Page, expect
from visitors import VIENNA, Street, street

pytestmark = [pytest.mark.browser, pytest.mark.slow]
story = pytest.mark.gen_test(timeout=60)


async def start(one: Street, note: str = "") -> tuple[Page, Page]:
    """Ben looks at the dashboard, Ana starts."""
    ben = await one.sign_in("ben")
    ana = await one.sign_in("ana", "/ward", geolocation=VIENNA, permissions=["geolocation"])
    await ana.fill("#note", note)
    await ana.click("#start")
    await expect(ana.locator("#running")).to_be_visible()
    await expect(ben.locator(".card.live")).to_contain_text("Ana Winter")
    return ana, ben


async def hold(page: Page) -> None:
    """Keep the button pressed until it says that this was long enough."""
    await page.hover("#stop .label")
    await page.mouse.down()
    await expect(page.locator("#idle")).to_be_visible()
    await page.mouse.up()


@story
async def test_ben_sees_ana_start_move_write_and_arrive(tmp_path: Path) -> None:
    async with street(tmp_path) as one:
        ana, ben = await start(one, "Walking home")
        card = ben.locator(".card")
        await expect(card).to_contain_text("Walking home")
        await expect(ben.locator("#said")).to_have_text("Ana Winter has started a session.")
        await expect(ana.locator("#watching")).to_contain_text("Ben Keller is watching over you")

        await ana.click("#share")
        await expect(card.locator(".place code")).to_have_text("48.20820, 16.37380")
        await expect(card.locator("svg.trail")).to_be_visible()

        await ana.fill("#text", "Nearly there")
        await ana.press("#text", "Enter")
        await expect(card.locator(".messages")).to_contain_text("Nearly there")
        await card.locator("input").fill("I see you")
        await card.locator("input").press("Enter")
        await expect(ana.locator("#messages")).to_contain_text("I see you")

        await hold(ana)
        await expect(card).to_have_count(0)
        await expect(ben.locator("#ended")).to_contain_text("Arrived, stopped it")
        assert "live session" not in await ben.inner_text("#summary")


@story
async def test_a_lost_network_is_told_and_the_session_goes_on(tmp_path: Path) -> None:
    async with street(tmp_path) as one:
        ana, ben = await start(one)
        await ana.context.set_offline(True)
        await expect(ben.locator(".card.lost")).to_contain_text("Connection lost")
        await expect(ben.locator("#said")).to_have_text("The connection to Ana Winter is lost.")
        await expect(ana.locator("#line")).to_contain_text("No connection")
        assert (await ben.title()).startswith("⚠ (1)")
        one.complaints.clear()  # that there was no network is right

        await ana.context.set_offline(False)
        await expect(ben.locator(".card.live")).to_be_visible()
        await expect(ben.locator("#said")).to_have_text("Ana Winter is back.")
        one.complaints.clear()


@story
async def test_a_reload_carries_the_session_on_and_so_does_another_page(tmp_path: Path) -> None:
    async with street(tmp_path) as one:
        ana, ben = await start(one)
        await ana.reload()
        await expect(ana.locator("#running")).to_be_visible()
        await expect(ben.locator(".card.live")).to_be_visible()
        await ana.goto(one.home.url + "/people")
        await expect(ana.locator(".own-session")).to_be_visible()
        await expect(ben.locator(".card.live")).to_be_visible()
        session = one.home.server.live.sessions.of_ward("ana")
        assert session is not None


@story
async def test_a_short_press_does_not_stop_and_a_held_key_does(tmp_path: Path) -> None:
    async with street(tmp_path) as one:
        ana, _ = await start(one)
        await ana.click("#stop")
        await expect(ana.locator("#line")).to_contain_text("Keep pressing")
        await expect(ana.locator("#running")).to_be_visible()
        await ana.focus("#stop")
        await ana.keyboard.down("Enter")
        await expect(ana.locator("#idle")).to_be_visible()
        await ana.keyboard.up("Enter")


@story
async def test_what_is_typed_stays_while_the_page_changes_under_it(tmp_path: Path) -> None:
    async with street(tmp_path) as one:
        ana, ben = await start(one)
        answer = ben.locator(".card .write input")
        await answer.type("Where are y")
        tom = await one.home.ward("tom")
        await tom.answer("start-live-session")
        await expect(ben.locator(".card")).to_have_count(2)
        await ana.fill("#text", "On the bridge")
        await ana.press("#text", "Enter")
        await expect(ben.locator(".messages")).to_contain_text(["On the bridge"])
        await ben.keyboard.type("ou?")
        await expect(ben.get_by_label("Message to Ana")).to_have_value("Where are you?")


@story
async def test_a_page_without_connection_says_so_and_catches_up(tmp_path: Path) -> None:
    async with street(tmp_path) as one:
        _, ben = await start(one)
        await ben.context.set_offline(True)
        await expect(ben.locator("#away")).to_contain_text("Not connected since")
        assert "stale" in (await ben.get_attribute("#live", "class") or "")
        tom = await one.home.ward("tom")
        await tom.answer("start-live-session")
        await ben.context.set_offline(False)
        await expect(ben.locator("#away")).to_be_hidden()
        await expect(ben.locator(".card")).to_have_count(2)
        one.complaints.clear()  # that there was no network is right


@story
async def test_whoever_is_removed_sees_nothing_from_then_on(tmp_path: Path) -> None:
    async with street(tmp_path) as one:
        ana, ben = await start(one)
        other = await ana.context.new_page()
        await other.goto(one.home.url + "/people")
        await other.click("text=Remove Ben Keller")
        await expect(other.locator("dialog[open]")).to_contain_text("sees nothing of your sessions")
        await other.click("dialog[open] button.danger")
        await expect(other.locator(".done")).to_contain_text("at once")
        await expect(ben.locator(".card")).to_have_count(0)
        await expect(ben.locator("#said")).to_have_text("You no longer watch over Ana Winter.")


@story
async def test_without_javascript_the_page_is_right_and_reloads_itself(tmp_path: Path) -> None:
    async with street(tmp_path) as one:
        ana = await one.home.ward("ana")
        await ana.answer("start-live-session", {"note": "Night bus"})
        ben = await one.sign_in("ben", java_script_enabled=False)
        await expect(ben.locator(".card")).to_contain_text("Night bus")
        assert 'http-equiv="refresh"' in await ben.content()
        await ana.answer("stop-live-session")
        await expect(ben.locator(".card")).to_have_count(0, timeout=15_000)
