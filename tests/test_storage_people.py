"""Users, who guards whom, logins and links, as the database keeps them."""

import asyncio
from pathlib import Path

import pytest
from shelf import CAST, NOW, read, shelf

from liveguard.errors import Conflict, InvalidPayload, NotAllowed, NotFound, Refusal
from liveguard.events import Person
from liveguard.storage.logins import MOST

MINUTE = 60_000


# -- users -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kept", "asked"),
    [
        ("Zoe@Example.ORG", "zoe@example.org"),
        ("jörg@example.org", "JÖRG@EXAMPLE.ORG"),
        ("jörg@example.org", "jo\u0308rg@example.org"),
        ("straße@example.org", "STRASSE@example.org"),
        ("Σίσυφος@example.org", "ΣΊΣΥΦΟΣ@example.org"),
        (" zoe@example.org ", "zoe@example.org"),
    ],
)
@pytest.mark.gen_test
async def test_one_address_is_one_person_however_it_is_spelled(tmp_path: Path, kept: str, asked: str) -> None:
    async with shelf(tmp_path) as storage:
        zoe = await storage.users.add(email=kept, now=NOW)
        assert zoe.email == kept.strip()
        assert await storage.users.by_email(asked) == zoe
        with pytest.raises(Conflict, match="email"):
            await storage.users.add(email=asked, now=NOW)


@pytest.mark.gen_test
async def test_an_id_belongs_to_one_person_and_two_who_want_it_do_not_both_get_it(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        both = await asyncio.gather(
            *(storage.users.add(email=f"zoe{n}@example.org", now=NOW, user_id="zoe") for n in range(2)),
            return_exceptions=True,
        )
        assert isinstance(both[1], Conflict)
        assert await storage.users.get("zoe") == both[0]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"email": ""}, "email"),
        ({"email": "zoe"}, "email"),
        ({"email": "@example.org"}, "email"),
        ({"email": "zoe@"}, "email"),
        ({"email": "zoe lind@example.org"}, "email"),
        ({"email": "zoe\n@example.org"}, "email"),
        ({"email": "zoe\ud800@example.org"}, "email"),
        ({"email": "z" * 250 + "@example.org"}, "email"),
        ({"first_name": "Zo\u0000e"}, "firstName"),
        ({"last_name": "L" * 101}, "lastName"),
        ({"user_id": "two\nlines"}, "id"),
        ({"user_id": "z" * 201}, "id"),
    ],
)
@pytest.mark.gen_test
async def test_what_cannot_be_a_person_is_refused_by_its_field(
    tmp_path: Path, fields: dict[str, str], named: str
) -> None:
    async with shelf(tmp_path) as storage:
        with pytest.raises(InvalidPayload, match=named):
            await storage.users.add(**{"email": "zoe@example.org", "now": NOW, **fields})
        assert len(await storage.users.list()) == len(CAST)


@pytest.mark.gen_test
async def test_everybody_who_asks_at_once_is_told_who_they_are(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        ids = ["ana", "nobody", "ben", "lone \ud800", "nul \u0000", "ana"]
        found = await asyncio.gather(*map(storage.users.get, ids))
        assert [user and user.id for user in found] == ["ana", None, "ben", None, None, "ana"]
        assert found[0].person == Person(id="ana", first_name="Ana", last_name="Lind", email="ana@example.org")


@pytest.mark.gen_test
async def test_users_are_listed_by_their_address_and_changed_one_at_a_time(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        assert [user.id for user in await storage.users.list()] == sorted(CAST)
        changed = await storage.users.update("ana", first_name=" Anna ", last_name="Berg")
        assert (changed.first_name, changed.last_name) == ("Anna", "Berg")
        assert not (await storage.users.set_active("tom", False)).is_active
        changes = (storage.users.update("x", first_name="", last_name=""), storage.users.set_active("x", False))
        for change in (*changes, storage.users.set_password("x", "hash", now=NOW)):
            with pytest.raises(NotFound):
                await change


@pytest.mark.gen_test
async def test_an_email_changes_and_whose_it_is_stays(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        await storage.guardians.put("ana", "ben", "accepted", NOW)
        await storage.users.set_password("ana", "the hash", now=NOW)
        anna = await storage.users.update("ana", email=" Anna@example.org ")
        assert (anna.id, anna.email, anna.first_name) == ("ana", "Anna@example.org", "Ana")
        assert await storage.users.by_email("anna@EXAMPLE.org") == anna
        assert await storage.users.by_email("ana@example.org") is None
        assert await storage.users.password_hash("anna@example.org") == (anna, "the hash")
        assert [pair.ward.email for pair in await storage.guardians.list_for_guardian("ben")] == ["Anna@example.org"]
        assert await storage.users.update("ana", email="ANNA@example.org")
        with pytest.raises(Conflict, match="email"):
            await storage.users.update("ana", email="BEN@example.org", first_name="Anna")
        with pytest.raises(InvalidPayload, match="email"):
            await storage.users.update("ana", email="anna")
        assert (await storage.users.list())[0].first_name == "Ana"


@pytest.mark.gen_test
async def test_the_last_admin_stays_one(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        assert not (await storage.users.update("ana", is_admin=False)).is_admin
        for name in ("ana", "ben"):
            assert (await storage.users.update(name, is_admin=True)).is_admin
        await storage.users.set_active("ben", False)
        with pytest.raises(NotAllowed, match="admin"):
            await storage.users.update("ana", first_name="Anna", is_admin=False)
        assert await storage.users.get("ana") == await storage.users.update("ana", is_admin=True)
        assert not (await storage.users.update("ben", is_admin=False)).is_admin
        await storage.users.update("tom", is_admin=True)
        assert not (await storage.users.update("ana", is_admin=False)).is_admin


@pytest.mark.gen_test
async def test_only_who_has_a_password_is_found_by_it(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        assert await storage.users.password_hash("ana@example.org") is None
        await storage.users.set_password("ana", "the hash", now=NOW)
        assert await storage.users.password_hash("ANA@example.org") == (await storage.users.get("ana"), "the hash")
        assert await storage.users.password_hash("nobody@example.org") is None


# -- who guards whom ---------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_pair_is_there_once_and_keeps_its_id(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        guardians = storage.guardians
        asked, again = await asyncio.gather(
            guardians.invite("ana", "ben", NOW), guardians.invite("ana", "ben", NOW + 1)
        )
        assert asked == again
        assert (asked.status, asked.ward.id, asked.guardian.id) == ("pending", "ana", "ben")
        accepted = await guardians.set_status(asked.id, "accepted", NOW + 2, only_from=("pending",))
        assert await guardians.invite("ana", "ben", NOW + 3) == accepted
        for status in ("declined", "revoked"):
            await guardians.set_status(asked.id, status, NOW + 4)
            assert (await guardians.invite("ana", "ben", NOW + 5)).status == "pending"
        assert [pair.id for pair in await guardians.all()] == [asked.id]
        assert (await guardians.invite("ben", "ana", NOW)).id != asked.id


@pytest.mark.gen_test
async def test_a_status_changes_only_from_where_it_is_thought_to_be(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        pair = await storage.guardians.invite("ana", "ben", NOW)
        await storage.guardians.set_status(pair.id, "revoked", NOW + 1)
        with pytest.raises(Conflict):
            await storage.guardians.set_status(pair.id, "accepted", NOW + 2, only_from=("pending",))
        with pytest.raises(NotFound):
            await storage.guardians.set_status("unknown", "accepted", NOW + 2)
        assert (await storage.guardians.get(pair.id)).status == "revoked"
        assert await storage.guardians.get("unknown") is None


@pytest.mark.gen_test
async def test_nobody_guards_themselves_or_somebody_unknown(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        for ward, guardian, refusal in (("ana", "ana", NotAllowed), ("ana", "x", NotFound), ("x", "ana", NotFound)):
            for attempt in (storage.guardians.invite, lambda w, g, now: storage.guardians.put(w, g, "accepted", now)):
                with pytest.raises(Refusal) as caught:
                    await attempt(ward, guardian, NOW)
                assert type(caught.value) is refusal
        assert await storage.guardians.all() == []


@pytest.mark.gen_test
async def test_only_accepted_and_active_guardians_are_reached(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        statuses = {"ben": "accepted", "chloe": "pending", "tom": "declined", "ida": "revoked", "mallory": "accepted"}
        for guardian, status in statuses.items():
            await storage.guardians.put("ana", guardian, status, NOW)
        await storage.guardians.put("tom", "ben", "accepted", NOW + 1)
        await storage.users.set_active("mallory", False)
        reached, nobody = await asyncio.gather(*map(storage.guardians.accepted_of, ("ana", "ida")))
        assert ([person.id for person in reached], nobody) == (["ben"], [])
        assert [ward.id for ward in await storage.guardians.wards_of("ben")] == ["ana", "tom"]
        assert {pair.guardian.id: pair.status for pair in await storage.guardians.list_for_ward("ana")} == statuses
        assert [pair.ward.id for pair in await storage.guardians.list_for_guardian("ben")] == ["ana", "tom"]
        access = await storage.guardians.access(["ana", "ida"], ["ben", "mallory", "nobody"])
        assert {ward: [person.id for person in guardians] for ward, guardians in access.guardians.items()} == {
            "ana": ["ben"],
            "ida": [],
        }
        assert access.gone == {"mallory", "nobody"}


# -- logins and links --------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_login_lasts_until_it_expires_or_is_ended(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        logins = storage.logins
        await logins.create("hash", "ana", now=NOW, expires_at=NOW + MINUTE, user_agent="Browser " * 100)
        login = await logins.get("hash", NOW)
        assert (login.user.id, login.created_at, login.last_used_at) == ("ana", NOW, NOW)
        assert len(login.user_agent) == 300
        await logins.touch("hash", NOW + 1, NOW + 2 * MINUTE)
        assert (await logins.get("hash", NOW + MINUTE)).last_used_at == NOW + 1
        assert await logins.get("hash", NOW + 2 * MINUTE) is None
        assert await logins.get("other", NOW) is None
        assert not await logins.delete("hash", "tom")
        assert await logins.delete("hash", "ana")
        assert await logins.get("hash", NOW) is None


@pytest.mark.gen_test
async def test_who_is_disabled_is_signed_out_and_cannot_sign_in(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        await storage.logins.create("hash", "ana", now=NOW, expires_at=NOW + MINUTE)
        await storage.users.set_active("ana", False)
        for user in ("ana", "nobody"):
            with pytest.raises(NotFound):
                await storage.logins.create("other", user, now=NOW, expires_at=NOW + MINUTE)
        await storage.users.set_active("ana", True)
        assert await storage.logins.get("hash", NOW) is None


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_program_that_signs_in_each_time_puts_no_browser_out(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        logins = storage.logins
        await logins.create("a browser", "ana", now=NOW, expires_at=NOW + 100 * MINUTE)
        for number in range(MOST + 5):
            await logins.create(f"{number}", "ana", now=NOW + number, expires_at=NOW + 10 * MINUTE + number)
        assert await logins.good(["a browser", "0", "5", "6", f"{MOST + 4}"], NOW) == {"a browser", "6", f"{MOST + 4}"}


@pytest.mark.gen_test
async def test_a_new_password_ends_all_logins(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        logins = storage.logins
        for number, user in enumerate(("ana", "ana", "ana", "tom")):
            await logins.create(str(number), user, now=NOW + number, expires_at=NOW + MINUTE + number)
        assert [login.id for login in await logins.list("ana", NOW)] == ["2", "1", "0"]
        assert [login.id for login in await logins.list("ana", NOW, first="0", most=2)] == ["0", "2"]
        assert await logins.good(["0", "1", "9"], NOW) == {"0", "1"}
        await storage.users.set_password("ana", "new", now=NOW)
        assert await logins.list("ana", NOW) == []
        await logins.create("4", "ana", now=NOW, expires_at=NOW + MINUTE)
        await logins.delete_all("ana")
        assert await logins.list("ana", NOW) == []
        assert [login.id for login in await logins.list("tom", NOW)] == ["3"]


@pytest.mark.gen_test
async def test_of_several_who_use_a_link_one_gets_it(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        links = storage.links
        await links.add("hash", "invite", now=NOW, expires_at=NOW + MINUTE, user_id="ana")
        seen = await links.peek("hash", NOW)
        assert (seen.purpose, seen.user_id, seen.expires_at) == ("invite", "ana", NOW + MINUTE)
        taken = await asyncio.gather(*(links.take("hash", NOW) for _ in range(5)), return_exceptions=True)
        assert [type(one) for one in taken] == [type(None), *[NotFound] * 4]
        assert await links.peek("hash", NOW) is None


@pytest.mark.gen_test
async def test_what_has_expired_is_no_good_and_is_forgotten(tmp_path: Path) -> None:
    async with shelf(tmp_path) as storage:
        logins, links = storage.logins, storage.links
        for number in (1, 2):
            await links.add(f"link {number}", "reset", now=NOW, expires_at=NOW + number)
            await logins.create(f"login {number}", "ana", now=NOW, expires_at=NOW + number)
        with pytest.raises(NotFound):
            await links.take("link 1", NOW + 1)
        await logins.purge(NOW + 1)
        await links.purge(NOW + 1)
        path = storage.database.path
        assert read(path, "SELECT id FROM logins UNION ALL SELECT id FROM one_time_links") == [
            ("login 2",),
            ("link 2",),
        ]
