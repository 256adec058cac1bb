"""What an admin does in a browser, and what those whom it concerns see of it in theirs."""

import pytest
from playwright.async_api import Locator, Page, expect
from visitors import Street

pytestmark = [pytest.mark.browser, pytest.mark.slow]

NEW_PASSWORD = "a bridge at night and a bus"


async def confirm(page: Page, button: str) -> None:
    """Press a button, and yes."""
    await page.get_by_role("button", name=button).click()
    question = page.get_by_role("dialog")
    await question.get_by_role("button", name="Cancel").click()
    await expect(question).to_have_count(0)
    await page.get_by_role("button", name=button).click()
    await question.get_by_role("button").last.click()


async def choose_password(street: Street, link_page: Page, page: Page) -> None:
    """Follow the one-time link that an admin's page shows, in the window of whom it is for."""
    await page.goto(await link_page.locator("#link").inner_text())
    await page.get_by_label("Password").fill(NEW_PASSWORD)
    await page.get_by_role("button", name="Save").click()
    await page.wait_for_url(street.home.url + "/")


@pytest.mark.gen_test
async def test_a_session_is_ended_in_an_emergency_and_it_is_written_down_who_did_it(street: Street) -> None:
    ben = await street.sign_in("ben")
    ana = await street.sign_in("ana", "/ward")
    await ana.get_by_role("button", name="Start").click()
    await expect(ben.locator(".card")).to_be_visible()
    alex = await street.sign_in("alex", "/admin")
    await confirm(alex, "End session Ana Winter")
    await expect(ana.locator("#line")).to_contain_text("ended by an admin")
    await expect(ana.locator("#line")).to_have_class("line problem")
    await expect(ben.locator(".card")).to_have_count(0)
    await expect(alex.get_by_role("button", name="End session")).to_have_count(0)
    await expect(alex.get_by_role("status").filter(has_text="The session has ended.")).to_be_visible()
    await ben.locator("#ended").get_by_role("link", name="Ana Winter").click()
    await expect(ben.locator(".session-head")).to_contain_text("Ended by an admin (Alex Admin)")


@pytest.mark.gen_test
async def test_people_are_added_disabled_enabled_and_get_a_new_password(street: Street) -> None:
    alex = await street.sign_in("alex", "/admin")
    row = alex.locator("tbody tr", has=alex.get_by_role("rowheader", name="Ana Winter"))
    for guardian in ("Ben Keller", "Chloe Martin"):
        await expect(row).to_contain_text(guardian)
    await alex.get_by_label("First name").fill("Zoe")
    await alex.get_by_label("Email", exact=True).fill("zoe@example.org")
    await alex.get_by_role("button", name="Add").click()
    zoe = await street.visit("/healthz")
    await choose_password(street, alex, zoe)
    await expect(zoe.locator("#calm")).to_contain_text("zoe@example.org")

    ben = await street.go_on(zoe, "ben", "/")
    await street.connected(ben)
    await alex.get_by_role("link", name="Done").click()
    await confirm(alex, "Disable Ben Keller")
    await ben.wait_for_url(street.home.url + "/login**")
    await expect(alex.locator("tbody tr", has=alex.get_by_role("rowheader", name="Ben Keller"))).to_contain_text(
        "disabled"
    )
    await alex.get_by_role("button", name="Enable Ben Keller").click()
    await alex.get_by_role("button", name="New password Ben Keller").click()
    await choose_password(street, alex, ben)
    await expect(ben.locator("#calm")).to_contain_text("Ana Winter")

    await alex.goto(street.home.url + "/admin")
    await alex.get_by_label("Find by name or email").fill("keller")
    await alex.keyboard.press("Enter")
    await expect(alex.locator("tbody tr")).to_have_count(1)
    street.excuse("status of 401")  # Ben's page may have asked once more before it heard that he is disabled


@pytest.mark.gen_test
async def test_whom_an_admin_looks_for_is_in_sight_also_below_many_sessions(street: Street) -> None:
    for ward in ("ana", "tom", "ida"):
        await (await street.home.ward(ward)).answer("start-live-session")
    alex = await street.sign_in("alex", "/admin", viewport={"width": 320, "height": 568})
    sought = alex.get_by_label("Find by name or email")
    await sought.fill("mallory")
    await sought.press("Enter")
    row = alex.get_by_role("rowheader", name="Mallory Moore")
    await expect(alex.locator("tbody tr")).to_have_count(1)
    await expect(row).to_be_in_viewport()
    # Whoever was disabled by mistake is enabled again without being looked for.
    for change in ("Disable", "Enable"):
        await alex.get_by_role("button", name=f"{change} Mallory Moore").click()
        if change == "Disable":
            await alex.get_by_role("dialog").get_by_role("button", name="Disable").click()
        await expect(alex.locator(".done")).to_contain_text(f"The account is {change.lower()}d.")
        await expect(alex.locator("tbody tr")).to_have_count(1)
        await expect(row).to_be_attached()


@pytest.mark.gen_test
async def test_nobody_else_gets_there(street: Street) -> None:
    ben = await street.sign_in("ben")
    await expect(ben.get_by_role("link", name="Admin")).to_have_count(0)
    answer = await ben.goto(street.home.url + "/admin")
    assert answer is not None and answer.status == 403
    street.excuse("status of 403")


@pytest.mark.gen_test
async def test_what_is_refused_is_said_beside_the_field_on_a_phone_as_well(street: Street) -> None:
    small = {"viewport": {"width": 320, "height": 568}}

    async def is_told(page: Page, field: Locator, sentence: str) -> None:
        await expect(field).to_be_focused()
        await expect(field).to_have_attribute("aria-invalid", "true")
        await expect(field).to_have_accessible_description(sentence)
        for part in (field, page.locator(".problem")):
            await expect(part).to_be_in_viewport(ratio=1)

    page = await street.sign_in("alex", "/admin", **small)
    email = page.get_by_label("Email", exact=True)
    await page.get_by_label("First name").fill("Benno")
    await email.fill("ben@example.org")
    await page.get_by_role("button", name="Add").click()
    await is_told(page, email, "There is an account with this email already.")
    await expect(email).to_have_value("ben@example.org")
    await expect(page.get_by_label("First name")).to_have_value("Benno")

    await street.go_on(page, "ana", "/people")
    email = page.get_by_label("Invite somebody who has an account")
    await email.fill("nobody@example.org")
    await page.get_by_role("button", name="Invite", exact=True).click()
    await is_told(page, email, "Nobody here has this email. You can invite them by a link instead.")
    await expect(email).to_have_value("nobody@example.org")

    await page.goto(street.home.url + "/account")
    old = page.get_by_label("Current password")
    await old.fill("not this one")
    await page.get_by_label("New password").fill(NEW_PASSWORD)
    await page.get_by_role("button", name="Change the password").click()
    await is_told(page, old, "The current password is not right.")

    people = street.home.server.people
    token = await people.links.for_invitation(await people.accounts.identify("ana"))
    await page.context.clear_cookies()
    await page.goto(f"{street.home.url}/link/{token}")
    await page.get_by_label("First name").fill("Benno")
    await page.get_by_label("Email").fill("ben@example.org")
    await page.get_by_label("Password").fill(NEW_PASSWORD)
    await page.get_by_role("button", name="Make my account").click()
    await is_told(page, page.get_by_label("Email"), "There is an account with this email already. Sign in first")
    street.excuse("status of 409", "status of 404", "status of 401")


@pytest.mark.gen_test
async def test_an_admin_decides_who_guards_whom(street: Street) -> None:
    await (await street.home.ward("ana")).answer("start-live-session")
    mallory = await street.sign_in("mallory")
    alex = await street.sign_in("alex", "/admin")
    await alex.get_by_label("Ward's email").fill("ana@example.org")
    guardian = alex.get_by_label("Guardian's email")
    await guardian.fill("malory@example.org")
    await alex.get_by_role("button", name="Let them guard").click()
    await expect(alex.get_by_role("alert")).to_contain_text("malory@example.org")
    await expect(alex.get_by_role("alert")).to_be_in_viewport(ratio=1)
    await expect(guardian).to_be_focused()
    street.excuse("status of 404")
    await guardian.fill("mallory@example.org")
    await alex.get_by_role("button", name="Let them guard").click()
    await expect(mallory.locator(".card")).to_contain_text("Ana Winter")
    await confirm(alex, "Remove Mallory Moore as a guardian of Ana Winter")
    await expect(mallory.locator(".card")).to_have_count(0)
    await expect(alex.get_by_role("button", name="Remove Mallory")).to_have_count(0)
