"""The whole story without a mouse: whatever can be pressed, is reached by the Tab key and pressed by a key."""

import asyncio
from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, Page, Route, expect
from server import PASSWORD
from visitors import Street, open_street

pytestmark = [pytest.mark.browser, pytest.mark.slow]

MOST_STEPS = 60
# The sides of what shows the focus that something around it cuts off.
CUT = """(element) => {
    const { outlineOffset, outlineWidth } = getComputedStyle(element);
    const [ring, box] = [parseFloat(outlineOffset) + parseFloat(outlineWidth), element.getBoundingClientRect()];
    const sides = [];
    for (let around = element.parentElement; around !== document.body; around = around.parentElement) {
      if (getComputedStyle(around).overflowY === "visible") continue;
      const limits = around.getBoundingClientRect();
      for (const side of ["left", "top"]) if (box[side] - ring < limits[side]) sides.push(side);
      for (const side of ["right", "bottom"]) if (box[side] + ring > limits[side]) sides.push(side);
    }
    return sides;
}"""


async def reach(target: Locator) -> None:
    """Press Tab until it has the focus, and see that this shows."""
    keyboard = target.page.keyboard
    for _ in range(MOST_STEPS):
        if await target.evaluate("(element) => element === document.activeElement"):
            break
        await keyboard.press("Tab")
    await expect(target).to_be_focused()
    assert await target.evaluate("(element) => element.matches(':focus-visible')")
    assert await target.evaluate("(element) => getComputedStyle(element).outlineStyle") != "none"
    assert await target.evaluate(CUT) == []


async def press(target: Locator) -> None:
    """Reach it and press Enter."""
    await reach(target)
    await target.page.keyboard.press("Enter")


async def sign_in(street: Street, name: str, path: str) -> Page:
    """Fill in the page of the sign-in, which begins in its first field."""
    page = await street.visit(path)
    await expect(page.get_by_label("Email")).to_be_focused()
    await page.keyboard.type(f"{name}@example.org")
    await page.keyboard.press("Tab")
    await page.keyboard.type(PASSWORD)
    await page.keyboard.press("Enter")
    await page.wait_for_url(street.home.url + path)
    return page


@pytest.mark.gen_test
async def test_ana_starts_writes_and_stops_by_the_keyboard_alone(street: Street) -> None:
    ben = await sign_in(street, "ben", "/")
    ana = await sign_in(street, "ana", "/ward")
    await expect(ana.get_by_role("button", name="Start")).to_be_enabled()
    await reach(ana.get_by_label("A note for them"))
    await ana.keyboard.type("Walking home")
    await press(ana.get_by_role("button", name="Start"))
    await expect(ana.locator("#running")).to_be_visible()
    await expect(ben.locator(".card")).to_contain_text("Walking home")

    await reach(ana.get_by_label("Message to your guardians"))
    await ana.keyboard.type("Nearly there")
    await ana.keyboard.press("Enter")
    await expect(ben.locator(".messages")).to_contain_text("Nearly there")
    await reach(ben.get_by_label("Message to Ana"))
    await ben.keyboard.type("I see you")
    await press(ben.locator(".write").get_by_role("button", name="Send"))
    await expect(ana.locator("#messages")).to_contain_text("I see you")

    # A key that is pressed and let go is not enough; one that is held, is.
    await reach(ana.locator("#stop"))
    await ana.keyboard.press("Enter")
    await expect(ana.locator("#stop-hint")).to_contain_text("Keep pressing")
    await ana.keyboard.down(" ")
    await expect(ana.locator("#idle")).to_be_visible()
    await ana.keyboard.up(" ")
    await expect(ana.locator("main")).to_be_focused()
    await expect(ben.locator(".card")).to_have_count(0)
    await reach(ben.locator("#said a"))
    await press(ben.locator("#ended .rows a"))
    await expect(ben.get_by_role("heading", level=1)).to_have_text("Ana Winter")


@pytest.mark.gen_test
async def test_ana_invites_and_removes_and_mallory_accepts_by_the_keyboard_alone(street: Street) -> None:
    ana = await sign_in(street, "ana", "/people")
    await ana.keyboard.press("Tab")
    await expect(ana.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    await ana.keyboard.press("Enter")
    await expect(ana.locator("main")).to_be_focused()
    await reach(ana.get_by_label("Invite somebody who has an account"))
    await ana.keyboard.type("mallory@example.org")
    await ana.keyboard.press("Enter")
    await expect(ana.locator(".done")).to_be_visible()
    await press(ana.get_by_role("button", name="Withdraw Mallory Moore"))
    await expect(ana.get_by_role("dialog")).to_contain_text("Withdraw the invitation to Mallory Moore?")
    await expect(ana.get_by_role("dialog")).not_to_contain_text("sees nothing")
    await expect(ana.get_by_role("dialog").get_by_role("button", name="Withdraw")).to_be_visible()
    await ana.keyboard.press("Escape")

    mallory = await sign_in(street, "mallory", "/people")
    await press(mallory.get_by_role("button", name="Accept Ana Winter"))
    await expect(mallory.get_by_role("button", name="Stop watching Ana Winter")).to_be_visible()

    await ana.reload()
    remove, question = ana.get_by_role("button", name="Remove Mallory Moore"), ana.get_by_role("dialog")
    await press(remove)
    await expect(question).to_contain_text("Mallory Moore sees nothing")
    await ana.keyboard.press("Escape")  # no
    await expect(question).to_have_count(0)
    await expect(remove).to_be_focused()
    await press(remove)
    await press(question.get_by_role("button", name="Cancel"))
    await expect(question).to_have_count(0)
    await press(remove)
    # Broken off and asked again faster than the browser says that it was closed.
    await question.evaluate("(dialog) => { dialog.close(); document.activeElement.click(); }")
    await press(question.get_by_role("button", name="Remove"))
    await expect(ana.locator(".done")).to_contain_text("at once")
    await expect(remove).to_have_count(0)


@pytest.mark.parametrize(
    ("path", "place"), [("/", "#ended .rows a"), ("/", "#worrying a"), ("ida", "#others .lost-line a")]
)
@pytest.mark.gen_test
async def test_what_has_the_focus_stays_what_it_is_when_another_session_ends(
    tmp_path: Path, browser: Browser, path: str, place: str
) -> None:
    async with open_street(tmp_path, browser, reconnect_grace=0) as street:
        wards = {name: await street.home.ward(name) for name in ("ida", "tom", "ana")}
        begun = {name: (await ward.answer("start-live-session"))["data"]["sessionId"] for name, ward in wards.items()}
        ben = await street.sign_in("ben", f"/history/{begun['ida']}" if path == "ida" else path)
        await street.connected(ben)
        wards["tom"].lose()
        await reach(ben.locator(place).first)
        wards["ana"].lose()
        await expect(ben.locator(place)).to_have_count(2)
        await expect(ben.locator(place).first).to_contain_text("Ana Winter")
        await ben.keyboard.press("Enter")
        await ben.wait_for_url(f"{street.home.url}/history/{begun['tom']}")


# As a screen reader: it knows nothing of what happens before the page is there.
NOTES_WHAT_COMES_IN = """
    window.said = [];
    const note = (changes) => changes.forEach(({ target, addedNodes }) => {
      if (addedNodes.length && target.matches("[role=status], [role=alert]")) said.push(target.textContent.trim());
    });
    addEventListener("load", () => new MutationObserver(note).observe(document, { childList: true, subtree: true }));
"""


@pytest.mark.gen_test
async def test_what_was_done_and_what_went_wrong_is_said_when_the_page_is_there(street: Street) -> None:
    ana = await street.sign_in("ana", "/account", device=NOTES_WHAT_COMES_IN)
    await ana.get_by_label("First name").fill("Anna")
    await ana.keyboard.press("Enter")
    await expect(ana.locator(".done")).to_be_visible()
    await ana.wait_for_function("(line) => said.includes(line)", arg=await ana.locator(".done").inner_text())
    await ana.goto(f"{street.home.url}/people?problem=link_over")
    await ana.wait_for_function("() => said.some((text) => text.startsWith('This link was used'))")


@pytest.mark.gen_test
async def test_a_link_in_what_went_wrong_keeps_the_focus_when_the_scripts_come_late(street: Street) -> None:
    people = street.home.server.people
    token = await people.links.for_invitation(await people.accounts.identify("ana"))
    page = await street.visit(f"/link/{token}", device=NOTES_WHAT_COMES_IN)
    await page.get_by_label("First name").fill("Benno")
    await page.get_by_label("Email").fill("ben@example.org")
    await page.get_by_label("Password").fill(PASSWORD)
    late = asyncio.Event()

    async def hold_back(route: Route) -> None:
        await late.wait()
        await route.continue_()

    await page.route("**/page.js", hold_back)
    await page.get_by_role("button", name="Make my account").press("Enter", no_wait_after=True)
    sign_in = page.locator("#problem a")
    await sign_in.focus()
    late.set()
    await page.wait_for_load_state()
    await page.wait_for_timeout(1000)  # nothing tells when it would have been said
    await expect(sign_in).to_be_focused()
    street.excuse("status of 409")
