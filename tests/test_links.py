"""One-time links: they work once, for what they were made for, and not for long."""

import asyncio
from pathlib import Path

import pytest
from family import DAY, MovedClock, family, quick_passwords, refused

from liveguard.auth import Passwords, digest
from liveguard.errors import (
    AccountInactive,
    AuthenticationRequired,
    Conflict,
    InvalidPayload,
    NotAllowed,
    NotFound,
    StorageUnavailable,
)
from liveguard.people import People, User
from liveguard.people.links import MOST_INVITATIONS
from liveguard.storage import Storage

ADA = ("ada@example.org", "Ada", "Berg", "another password")


@pytest.mark.gen_test
async def test_the_first_admin_comes_in_through_the_set_up_link_once(tmp_path: Path) -> None:
    storage = await Storage.open(tmp_path / "liveguard.db")
    people = People(storage, quick_passwords(), clock=MovedClock())
    token, other = await people.links.for_set_up(), await people.links.for_set_up()
    assert token and other
    await refused(InvalidPayload, people.links.set_up(token, "no email", "Ada", "", "another password"))
    await refused(InvalidPayload, people.links.set_up(token, "ada@example.org", "Ada", "", "short"))
    ada = await people.links.set_up(token, *ADA)
    assert ada.is_admin
    assert (await people.accounts.sign_in("ada@example.org", "another password")).user == ada
    await refused(NotFound, people.links.set_up(token, *ADA))
    # There is an admin: what was to make the first one is over.
    await refused(NotFound, people.links.look(other))
    await refused(NotFound, people.links.set_up(other, "eve@example.org", *ADA[1:]))
    assert await people.links.for_set_up() is None
    await storage.close()


@pytest.mark.gen_test
async def test_of_two_who_follow_set_up_links_at_once_one_is_the_admin(tmp_path: Path) -> None:
    storage = await Storage.open(tmp_path / "liveguard.db")
    links = People(storage, quick_passwords(), clock=MovedClock()).links
    ways = [(await links.for_set_up() or "", email) for email in ("ada@example.org", "eve@example.org")]
    tries = (links.set_up(token, email, *ADA[1:]) for token, email in ways)
    both = await asyncio.gather(*tries, return_exceptions=True)
    assert {type(one) for one in both} == {NotFound, User}
    await storage.close()


@pytest.mark.gen_test
async def test_a_set_up_link_is_there_for_as_long_as_nobody_who_may_come_in_is_an_admin(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        assert await f.people.links.for_set_up() is None
        await f.people.accounts.disable("alex")
        token = await f.people.links.for_set_up()
        assert token
        await refused(Conflict, f.people.links.set_up(token, "ana@example.org", *ADA[1:]))
        assert (await f.people.links.set_up(token, *ADA)).is_admin
        assert await f.people.links.for_set_up() is None


@pytest.mark.gen_test
async def test_a_sign_in_link_works_once_for_its_person(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        token = await f.people.links.for_sign_in(f.ana)
        link, whom = await f.people.links.look(token)
        assert (link.purpose, whom) == ("sign-in", f.ana)
        assert await f.people.links.sign_in(token) == f.ana
        for used in (token, "rubbish", "", digest(token)):
            await refused(NotFound, f.people.links.sign_in(used))


@pytest.mark.gen_test
async def test_links_expire_and_do_not_serve_another_purpose(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        token = await f.people.links.for_sign_in(f.ana)
        await refused(NotFound, f.people.links.reset(token, "another password"))
        await refused(NotFound, f.people.links.set_up(token, *ADA))
        await refused(NotFound, f.people.links.join(token, *ADA))
        await refused(NotFound, f.people.links.accept(token, f.mallory))
        f.clock.wall += DAY
        await refused(NotFound, f.people.links.look(token))
        await refused(NotFound, f.people.links.sign_in(token))


@pytest.mark.gen_test
async def test_a_disabled_user_has_no_use_of_a_link(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        sign_in, reset = (
            await f.people.links.for_sign_in(f.ana),
            await f.people.links.for_reset(f.ana, by=f.alex),
        )
        await f.people.accounts.disable("ana")
        await refused(AccountInactive, f.people.links.sign_in(sign_in))
        await refused(AccountInactive, f.people.links.reset(reset, "another password"))


@pytest.mark.gen_test
async def test_an_admin_hands_out_a_link_for_a_forgotten_password(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        await refused(NotAllowed, f.people.links.for_reset(f.ana, by=f.mallory))
        before = await f.people.logins.begin(f.ana)
        token = await f.people.links.for_reset(f.ana, by=f.alex)
        await refused(InvalidPayload, f.people.links.reset(token, "short"))
        await f.people.links.reset(token, "another password")
        assert await f.people.accounts.sign_in("ana@example.org", "another password")
        assert await f.people.logins.find(before) is None
        await refused(NotFound, f.people.links.reset(token, "a third password"))


@pytest.mark.gen_test
async def test_what_an_admin_has_handed_out_is_good_for_as_long_as_they_are_one(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        people, links = f.people, f.people.links
        for ends in (
            lambda: people.accounts.disable("chloe"),
            lambda: people.accounts.change("chloe", is_admin=False),
            lambda: people.accounts.set_password("chloe", "another password"),
        ):
            await people.accounts.enable("chloe")
            chloe = await people.accounts.change("chloe", is_admin=True)
            token, of_alex = await links.for_reset(f.ana, by=chloe), await links.for_reset(f.ben, by=f.alex)
            await ends()
            await refused(NotFound, links.reset(token, "a thief's password"))
            assert await links.look(of_alex)
        await people.accounts.disable("chloe")
        # Who was an admin when the page was asked for, may be none when the link is made.
        await refused(NotAllowed, links.for_reset(f.ana, by=chloe))


@pytest.mark.gen_test
async def test_by_a_login_that_has_ended_nobody_hands_out_a_link(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        links, people = f.people.links, f.people
        login_id = digest(await people.logins.begin(f.alex))
        assert await links.for_reset(f.ana, by=f.alex, login_id=login_id)
        # They were let in, and while they ask there is another password.
        await people.accounts.set_password("alex", "another password")
        await refused(AuthenticationRequired, links.for_reset(f.ana, by=f.alex, login_id=login_id))
        await refused(AuthenticationRequired, links.for_invitation(f.alex, login_id=login_id))


@pytest.mark.gen_test
async def test_a_new_password_ends_the_links_that_would_let_their_holder_in(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        links = f.people.links
        lost, sign_in = await links.for_reset(f.ana, by=f.alex), await links.for_sign_in(f.ana)
        invitation, of_ben = await links.for_invitation(f.ana), await links.for_reset(f.ben, by=f.alex)
        await links.reset(await links.for_reset(f.ana, by=f.alex), "another password")
        await refused(NotFound, links.reset(lost, "a thief's password"))
        await refused(NotFound, links.sign_in(sign_in))
        # A thief may have made it.
        await refused(NotFound, links.accept(invitation, f.chloe))
        assert await links.reset(of_ben, "another password")


@pytest.mark.gen_test
async def test_somebody_new_joins_by_an_invitation_and_guards_the_ward(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        token = await f.people.links.for_invitation(f.ana)
        f.clock.wall += 6 * DAY
        taken = ("ben@example.org", *ADA[1:])
        await refused(Conflict, f.people.links.join(token, *taken))
        await refused(InvalidPayload, f.people.links.join(token, *ADA[:3], "1234567"))
        ada = await f.people.links.join(token, *ADA)
        assert not ada.is_admin
        assert [ward.id for ward in await f.people.guardianships.wards_of(ada)] == ["ana"]
        assert f.changes == [({"ana"}, {ada.id})]
        await refused(NotFound, f.people.links.join(token, "eve@example.org", *ADA[1:]))


@pytest.mark.gen_test
async def test_somebody_known_may_follow_an_invitation_too_but_not_the_ward(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        token = await f.people.links.for_invitation(f.ana)
        await refused(InvalidPayload, f.people.links.accept(token, f.ana))
        f.clock.wall += 1
        await f.people.guardianships.invite(f.ana, "chloe@example.org")  # asked in both ways
        pair = await f.people.links.accept(token, f.chloe)
        assert (pair.ward.id, pair.guardian.id, pair.status) == ("ana", "chloe", "accepted")
        await refused(NotFound, f.people.links.accept(token, f.mallory))


@pytest.mark.gen_test
async def test_who_guards_already_leaves_an_invitation_for_others(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        links, tokens = f.people.links, [await f.people.links.for_invitation(f.ana) for _ in range(2)]
        assert (await links.accept(tokens[0], f.tom)).status == "accepted"
        assert (await links.accept(tokens[1], f.tom)).status == "accepted"
        assert (await links.accept(tokens[1], f.chloe)).status == "accepted"
        await refused(NotFound, links.accept(tokens[1], f.ben))


@pytest.mark.gen_test
async def test_whom_a_ward_has_removed_does_not_come_back_by_an_older_link(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        older = await f.people.links.for_invitation(f.ana)
        f.clock.wall += 1
        pair = await f.people.links.accept(await f.people.links.for_invitation(f.ana), f.tom)
        f.clock.wall += 1
        await f.people.guardianships.revoke(f.ana, pair.id)
        await refused(NotFound, f.people.links.accept(older, f.tom))
        assert not await f.people.guardianships.wards_of(f.tom)
        f.clock.wall += 1
        assert (await f.people.links.accept(await f.people.links.for_invitation(f.ana), f.tom)).status == "accepted"


@pytest.mark.gen_test
async def test_nor_by_another_account_that_an_older_link_would_make(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        links, guards = f.people.links, f.people.guardianships
        for end in ("by the ward", "by an admin", "revoked", "declined"):
            older = await links.for_invitation(f.ana)
            pair = await guards.put("ana", "tom", "accepted")
            assert (await links.accept(older, f.tom)).status == "accepted"  # and it stays good
            if end == "by the ward":
                await guards.revoke(f.ana, pair.id)
            elif end == "by an admin":
                await guards.dissolve(pair.id)
            else:  # by the command line
                await guards.put("ana", "tom", end)
            await refused(NotFound, links.join(older, *ADA))
            assert not await links.invitations(f.ana)
        # Whom nobody has removed takes nothing away.
        newer, pair = await links.for_invitation(f.ana), await guards.invite(f.ana, "tom@example.org")
        await guards.revoke(f.ana, pair.id)
        # Nor does a guardian who leaves: for whom the link is meant, they would look in vain.
        pair = await guards.put("ana", "tom", "accepted")
        await guards.revoke(f.tom, pair.id)
        assert await links.join(newer, *ADA)


@pytest.mark.gen_test
async def test_so_many_invitations_are_open_at_once_and_no_more(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        made = await asyncio.gather(
            *(f.people.links.for_invitation(f.ana) for _ in range(MOST_INVITATIONS + 5)), return_exceptions=True
        )
        assert [type(one) for one in made].count(Conflict) == 5
        assert len(await f.people.links.invitations(f.ana)) == MOST_INVITATIONS
        await f.people.links.withdraw(f.ana, (await f.people.links.invitations(f.ana))[0].id)
        assert await f.people.links.for_invitation(f.ana)
        assert await f.people.links.for_invitation(f.ben)


@pytest.mark.gen_test
async def test_a_link_is_used_up_together_with_what_it_is_used_for_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody stops the server while a password is hashed, or takes the email meanwhile."""
    async with family(tmp_path) as f:
        links, hashed = f.people.links, Passwords.hash
        reset, invitation = await links.for_reset(f.ana, by=f.alex), await links.for_invitation(f.ana)

        async def interrupted(passwords: Passwords, password: str, network: str) -> str:
            raise StorageUnavailable("The database is closed")

        monkeypatch.setattr(Passwords, "hash", interrupted)
        for use in (links.reset(reset, "another password"), links.join(invitation, *ADA)):
            with pytest.raises(StorageUnavailable):
                await use

        async def slowly(passwords: Passwords, password: str, network: str) -> str:
            monkeypatch.setattr(Passwords, "hash", hashed)
            await f.people.accounts.add(ADA[0])
            return await passwords.hash(password)

        monkeypatch.setattr(Passwords, "hash", slowly)
        await refused(Conflict, links.join(invitation, *ADA))
        assert await links.join(invitation, "eve@example.org", *ADA[1:])
        assert await links.reset(reset, "another password")
        await refused(NotFound, links.look(invitation))
        await refused(NotFound, links.look(reset))


@pytest.mark.gen_test
async def test_an_invitation_by_link_is_good_for_seven_days(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        token = await f.people.links.for_invitation(f.ana)
        f.clock.wall += 7 * DAY
        await refused(NotFound, f.people.links.accept(token, f.chloe))


@pytest.mark.gen_test
async def test_a_ward_sees_the_invitations_that_are_open_and_withdraws_them(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        links = f.people.links
        lost, followed = await links.for_invitation(f.ana), await links.for_invitation(f.ana)
        await links.accept(followed, f.tom)
        f.clock.wall += DAY
        kept = await links.for_invitation(f.ana)
        await links.for_sign_in(f.ana)
        of_ben = await links.for_invitation(f.ben)
        open_ones = await links.invitations(f.ana)
        assert [link.id for link in open_ones] == [digest(kept), digest(lost)]
        assert [f.clock.wall - link.created_at for link in open_ones] == [0, DAY]
        await links.withdraw(f.ana, digest(lost))
        await refused(NotFound, links.accept(lost, f.mallory))
        for foreign_or_over in (digest(lost), digest(followed), digest(of_ben), lost, "rubbish", ""):
            await refused(NotFound, links.withdraw(f.ana, foreign_or_over))
        assert [link.id for link in await links.invitations(f.ana)] == [digest(kept)]
        assert await links.accept(of_ben, f.chloe)
        f.clock.wall += 7 * DAY
        assert not await links.invitations(f.ana)
        await refused(NotFound, links.withdraw(f.ana, digest(kept)))


@pytest.mark.gen_test
async def test_an_invitation_is_good_until_somebody_guards_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with family(tmp_path) as f:
        token = await f.people.links.for_invitation(f.ana)

        def full(*_: object) -> None:
            raise StorageUnavailable("The disk is full")

        with monkeypatch.context() as disk:
            disk.setattr("liveguard.storage.guardians._put", full)
            await refused(StorageUnavailable, f.people.links.accept(token, f.chloe))
            await refused(StorageUnavailable, f.people.links.join(token, *ADA))
        ada = await f.people.links.join(token, *ADA)
        assert ada.id in [pair.guardian.id for pair in await f.people.guardianships.of_ward(f.ana)]
        assert f.changes[-1] == ({"ana"}, {ada.id})


@pytest.mark.gen_test
async def test_an_invitation_withdrawn_while_it_is_followed_is_one_or_the_other(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        links = f.people.links
        for _ in range(20):
            token = await links.for_invitation(f.ana)
            outcomes = await asyncio.gather(
                links.withdraw(f.ana, digest(token)), links.accept(token, f.chloe), return_exceptions=True
            )
            assert sorted(isinstance(outcome, NotFound) for outcome in outcomes) == [False, True]
