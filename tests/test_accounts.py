"""Accounts, the brake on guessing, and logins, on a real database: who gets in, and for how long."""

import contextlib
import time
from pathlib import Path

import pytest
from family import DAY, PASSWORD, family, refused

from liveguard.auth import OneKey, Passwords, Tokens, digest
from liveguard.errors import (
    AccountInactive,
    AuthenticationRequired,
    InvalidPayload,
    NotAllowed,
    NotFound,
    StorageUnavailable,
    TokenExpired,
    TooManySignIns,
    UserNotFound,
    WrongCredentials,
)
from liveguard.people.brake import FREE_TRIES, FREE_TRIES_OF_ADDRESS, MOST_KEYS, WINDOW, Brake

# -- who gets in ------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_the_right_password_signs_in_however_the_email_is_spelled(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        await f.people.accounts.set_password("ana", PASSWORD)
        assert (await f.people.accounts.sign_in(" ANA@Example.org ", PASSWORD)).user.id == "ana"


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_wrong_password_and_an_unknown_person_are_refused_in_the_same_words_and_time(tmp_path: Path) -> None:
    async with family(tmp_path, Passwords()) as f:
        accounts = f.people.accounts
        await accounts.set_password("ana", PASSWORD)

        async def try_as(email: str) -> tuple[float, str]:
            took = []
            for attempt in range(3):
                # The work, which is what a client can tell apart; what else the machine does is not asked for.
                start = time.process_time()
                said = await refused(WrongCredentials, accounts.sign_in(email, "guess", f"192.0.2.{attempt}"))
                took.append(time.process_time() - start)
            return min(took), said.message

        tries = {email: await try_as(email) for email in ("ana@example.org", "ben@example.org", "x@example.org")}
        assert {said for _, said in tries.values()} == {"Wrong email or password"}
        times = [took for took, _ in tries.values()]
        print("known, without a password, unknown:", *(f"{1000 * took:.1f} ms" for took in times))
        assert max(times) < 1.5 * min(times)


@pytest.mark.gen_test
@pytest.mark.parametrize("password", ["", "\0", "\ud800", "x" * 100_000])
async def test_impossible_passwords_are_simply_wrong(tmp_path: Path, password: str) -> None:
    async with family(tmp_path) as f:
        await refused(WrongCredentials, f.people.accounts.sign_in("ana@example.org", password))
        await refused(WrongCredentials, f.people.accounts.sign_in("nobody", password))


@pytest.mark.gen_test
async def test_only_who_knows_the_password_learns_that_an_account_is_disabled(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        await f.people.accounts.set_password("ana", PASSWORD)
        await f.people.accounts.disable("ana")
        await refused(WrongCredentials, f.people.accounts.sign_in("ana@example.org", "guess"))
        await refused(AccountInactive, f.people.accounts.sign_in("ana@example.org", PASSWORD))


@pytest.mark.gen_test
async def test_a_token_lets_in_whom_the_database_knows_and_nobody_else(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        tokens = Tokens("HS256", OneKey(b"s" * 32), clock=lambda: f.clock.wall / 1000)
        doorkeeper = f.people.doorkeeper(tokens)
        visitor = await doorkeeper.sign_in(tokens.issue("ana", 60)[0])
        assert (visitor.person.email, visitor.expires_at) == ("ana@example.org", f.clock.wall + 60_000)
        await refused(UserNotFound, doorkeeper.sign_in(tokens.issue("nobody", 60)[0]))
        await f.people.accounts.disable("ana")
        await refused(AccountInactive, doorkeeper.sign_in(tokens.issue("ana", 60)[0]))
        late, _ = tokens.issue("nobody", 60)
        f.clock.wall += 60_000
        await refused(TokenExpired, doorkeeper.sign_in(late))
        await refused(AuthenticationRequired, doorkeeper.sign_in(None))


# -- the brake on guessing --------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_after_five_failures_the_next_try_has_to_wait_and_then_longer(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        accounts = f.people.accounts
        await accounts.set_password("ana", PASSWORD)
        for _ in range(5):
            await refused(WrongCredentials, accounts.sign_in("ana@example.org", "guess", "192.0.2.7"))
        wait = await refused(TooManySignIns, accounts.sign_in("ana@example.org", PASSWORD, "192.0.2.7"))
        assert isinstance(wait, TooManySignIns) and 0 < wait.retry_after <= 31
        f.clock.wall += wait.retry_after * 1000
        await refused(WrongCredentials, accounts.sign_in("ana@example.org", "guess", "192.0.2.7"))
        longer = await refused(TooManySignIns, accounts.sign_in("ANA@example.org", "guess", "192.0.2.7"))
        assert isinstance(longer, TooManySignIns) and longer.retry_after > wait.retry_after


@pytest.mark.gen_test
async def test_a_stranger_does_not_lock_the_account_out(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        accounts = f.people.accounts
        await accounts.set_password("ana", PASSWORD)
        for _ in range(5):
            await refused(WrongCredentials, accounts.sign_in("ana@example.org", "guess", "203.0.113.66"))
        await refused(TooManySignIns, accounts.sign_in("ana@example.org", "guess", "203.0.113.66"))
        assert await accounts.sign_in("ana@example.org", PASSWORD, "192.0.2.7")


@pytest.mark.gen_test
async def test_unknown_people_are_slowed_down_just_the_same(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        for _ in range(5):
            await refused(WrongCredentials, f.people.accounts.sign_in("x@example.org", "guess", "192.0.2.7"))
        await refused(TooManySignIns, f.people.accounts.sign_in("x@example.org", "guess", "192.0.2.7"))


@pytest.mark.gen_test
async def test_a_right_password_forgets_the_failures_before_it(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        accounts = f.people.accounts
        await accounts.set_password("ana", PASSWORD)
        for _ in range(3):
            for _ in range(4):
                await refused(WrongCredentials, accounts.sign_in("ana@example.org", "guess", "192.0.2.7"))
            await accounts.sign_in("ana@example.org", PASSWORD, "192.0.2.7")


@pytest.mark.gen_test
async def test_tries_that_the_database_could_not_answer_do_not_count(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        await f.storage.close()
        for _ in range(FREE_TRIES + 2):
            with pytest.raises(StorageUnavailable):
                await f.people.accounts.sign_in("ana@example.org", PASSWORD, "192.0.2.7")


def test_many_tries_at_once_gain_nothing() -> None:
    brake, allowed = Brake(), 0
    for _ in range(50):
        try:
            brake.begin("ana", "192.0.2.7", now=0)
            allowed += 1
        except TooManySignIns:
            pass
    assert allowed == FREE_TRIES


def test_guessing_for_an_hour_at_one_account_gets_few_tries() -> None:
    brake, allowed = Brake(), 0
    for second in range(3600):
        try:
            brake.begin("ana", "192.0.2.7", now=second)
            allowed += 1
        except TooManySignIns:
            pass
    assert 5 < allowed < 40


def test_after_a_quiet_quarter_of_an_hour_all_is_forgotten() -> None:
    brake = Brake()
    for _ in range(FREE_TRIES):
        brake.begin("ana", "192.0.2.7", now=0)
    for _ in range(FREE_TRIES):
        brake.begin("ana", "192.0.2.7", now=WINDOW)
    with pytest.raises(TooManySignIns):
        brake.begin("ana", "192.0.2.7", now=WINDOW)


def test_trying_one_password_on_many_accounts_is_slowed_down_by_address() -> None:
    brake = Brake()
    for number in range(FREE_TRIES_OF_ADDRESS):
        brake.begin(f"person {number}", "192.0.2.7", now=0)
    with pytest.raises(TooManySignIns):
        brake.begin("ana", "192.0.2.7", now=0)
    brake.begin("ana", "192.0.2.8", now=0)


def test_who_has_one_ipv6_address_has_them_all() -> None:
    brake = Brake()
    for number in range(FREE_TRIES):
        brake.begin("ana", f"2001:db8::{number}", now=0)
    with pytest.raises(TooManySignIns):
        brake.begin("ana", "2001:db8::ffff", now=0)
    brake.begin("ana", "2001:db8:0:1::1", now=0)


def test_the_brake_does_not_grow_without_bound() -> None:
    brake = Brake()
    for number in range(MOST_KEYS + 1000):
        brake.begin("ana", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", now=0)
    assert len(brake._tries) == MOST_KEYS


@pytest.mark.slow
def test_a_flood_from_another_address_makes_nobodys_failures_forgotten() -> None:
    brake = Brake()
    for _ in range(FREE_TRIES):
        brake.begin("ana", "192.0.2.7", now=0)
    for number in range(MOST_KEYS):
        with contextlib.suppress(TooManySignIns):
            brake.begin(f"person {number}", "192.0.2.8", now=0)
    with pytest.raises(TooManySignIns):
        brake.begin("ana", "192.0.2.7", now=0)


# -- accounts ---------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_an_account_is_found_by_email_or_id(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        assert await f.people.accounts.find("ANA@example.org") == f.ana
        assert await f.people.accounts.find("ana") == f.ana
        await refused(NotFound, f.people.accounts.find("nobody"))


@pytest.mark.gen_test
async def test_disabling_somebody_tells_whom_it_concerns(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        await f.people.accounts.disable("ben")
        assert f.changes == [({"ana"}, {"ben"})]
        await f.people.accounts.enable("ben")
        assert f.changes[1:] == [({"ana"}, {"ben"})]
        assert await f.people.accounts.identify("ben")


@pytest.mark.gen_test
async def test_only_admins_disable_and_nobody_themselves(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        await refused(NotAllowed, f.people.accounts.disable("ben", by=f.mallory))
        await refused(NotAllowed, f.people.accounts.enable("ben", by=f.mallory))
        await refused(NotAllowed, f.people.accounts.disable("alex", by=f.alex))
        assert not (await f.people.accounts.disable("ben", by=f.alex)).is_active
        await refused(NotFound, f.people.accounts.disable("nobody", by=f.alex))


@pytest.mark.gen_test
async def test_changing_a_password_needs_the_old_one_and_ends_the_logins(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        await f.people.accounts.set_password("ana", PASSWORD)
        there = await f.people.logins.begin(f.ana)
        change = f.people.accounts.change_password
        await refused(WrongCredentials, change(f.ana, "guess", "another password"))
        await refused(InvalidPayload, change(f.ana, PASSWORD, "short"))
        await change(f.ana, PASSWORD, "another password")
        assert await f.people.logins.find(there) is None
        assert await f.people.accounts.sign_in("ana@example.org", "another password")
        assert f.changes[-1] == (set(), {"ana"})


@pytest.mark.gen_test
async def test_whoever_knew_a_password_can_do_nothing_with_it_once_it_is_another(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        await f.people.accounts.set_password("ana", PASSWORD)
        here = await f.people.logins.begin(f.ana)
        # Both knew it a moment ago, and were being let in and changing it, when Ana chose another one.
        known = await f.people.accounts.sign_in("ana@example.org", PASSWORD)
        hers = await f.people.accounts.change_password(f.ana, PASSWORD, "another password")
        await refused(WrongCredentials, f.people.logins.begin(f.ana, known=known))
        await refused(WrongCredentials, f.people.logins.begin_for_token("x", known, f.clock.wall + DAY))
        await refused(WrongCredentials, f.people.accounts.set_password("ana", PASSWORD, known=known))
        assert await f.people.accounts.sign_in("ana@example.org", "another password")
        await refused(AuthenticationRequired, f.people.logins.end_others(f.ana, digest(here)))
        assert await f.people.logins.of(f.ana) == []
        assert await f.people.logins.find(await f.people.logins.begin(f.ana, known=hers))


@pytest.mark.gen_test
async def test_names_can_be_changed(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        assert (await f.people.accounts.change("ana", first_name="Ána", last_name="Winter")).last_name == "Winter"
        await refused(InvalidPayload, f.people.accounts.change("ana", first_name="a\nb"))


@pytest.mark.gen_test
async def test_a_name_can_be_seen_and_turns_nothing_around(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        # Whoever watches is told of by their name: without one, a ward would not see them.
        blank = ("\u200b", "\u2060\u200d", "\u3164", "\uffa0\u115f", "\u2800", "\ufffc", "\u0301", "\U000e0041")
        for unseen in (*blank, "\u202enA", "A\u2066"):
            await refused(InvalidPayload, f.people.accounts.change("ben", first_name=unseen))
            await refused(InvalidPayload, f.people.accounts.change("ben", last_name=unseen))
        for seen in ("می\u200cخواهم", "क्\u200dष", "\u200fأنا", "★", "O’Neil", "王", "\U00031350", "\U0001fae8"):
            assert (await f.people.accounts.change("ben", first_name=seen)).first_name == seen


# -- logins -----------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_login_is_recognised_until_it_ends(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        doorkeeper = f.people.doorkeeper(Tokens("HS256", OneKey(b"s" * 32)))
        token = await f.people.logins.begin(f.ana, "Firefox")
        visitor = await doorkeeper.recognise(token)
        assert (visitor.user, visitor.login_id) == (f.ana, digest(token))
        login = await f.people.logins.find(token)
        assert login is not None
        await f.people.logins.end_one(f.ana, login.id)
        for cookie in (token, "", None, "rubbish", digest(token)):
            await refused(AuthenticationRequired, doorkeeper.recognise(cookie))
        assert f.changes == [(set(), {"ana"})]


@pytest.mark.gen_test
async def test_each_sign_in_has_a_token_of_its_own_which_is_not_in_the_database(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        tokens = {await f.people.logins.begin(f.ana) for _ in range(20)}
        assert len(tokens) == 20
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert not any(token.encode() in content for token in tokens)


@pytest.mark.gen_test
async def test_a_login_that_is_used_lasts_and_one_that_is_not_expires(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        used, forgotten = await f.people.logins.begin(f.ana), await f.people.logins.begin(f.ana)
        for _ in range(40):
            f.clock.wall += DAY
            assert await f.people.logins.find(used)
        assert await f.people.logins.find(forgotten) is None
        await f.people.logins.purge()
        assert [login.id for login in await f.people.logins.of(f.ana)] == [digest(used)]


@pytest.mark.gen_test
async def test_logins_end_when_the_user_is_disabled_or_the_password_changes(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        token = await f.people.logins.begin(f.ana)
        await f.people.accounts.disable("ana")
        assert await f.people.logins.find(token) is None
        ana = await f.people.accounts.enable("ana")
        assert await f.people.logins.find(token) is None
        token = await f.people.logins.begin(ana)
        await f.people.accounts.set_password("ana", PASSWORD)
        assert await f.people.logins.find(token) is None


@pytest.mark.gen_test
async def test_somebody_signs_out_elsewhere_but_only_in_their_own_places(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        here, there = await f.people.logins.begin(f.ana, "here"), await f.people.logins.begin(f.ana, "there")
        await refused(NotFound, f.people.logins.end_one(f.mallory, digest(there)))
        await f.people.logins.end_one(f.ana, digest(there))
        assert [login.user_agent for login in await f.people.logins.of(f.ana)] == ["here"]
        assert await f.people.logins.ended([digest(here), digest(there)]) == {digest(there)}
        await f.people.logins.begin(f.ana, "there")
        new = await f.people.logins.end_others(f.ana, digest(here))
        assert [(login.id, login.user_agent) for login in await f.people.logins.of(f.ana)] == [(digest(new), "here")]
        await f.people.logins.end_all(f.ana)
        assert await f.people.logins.of(f.ana) == []


@pytest.mark.gen_test
async def test_a_disabled_user_cannot_begin_a_login(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        await f.people.accounts.disable("ana")
        await refused(NotFound, f.people.logins.begin(f.ana))
