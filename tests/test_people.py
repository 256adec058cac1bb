"""Who guards whom and who may look up what was, on a real database."""

from pathlib import Path

import pytest
from family import family, refused

from liveguard.errors import (
    Conflict,
    InvalidPayload,
    NotAllowed,
    NotFound,
    UnknownEmail,
)
from liveguard.people import User
from liveguard.people.history import PAGE

# -- who guards whom --------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_an_invitation_is_accepted_by_the_invited_one_alone(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        guards = f.people.guardianships
        asked = await guards.invite(f.ana, "CHLOE@example.org")
        assert (asked.status, asked.ward.id, asked.guardian.id) == ("pending", "ana", "chloe")
        await refused(NotAllowed, guards.accept(f.ana, asked.id))
        await refused(NotAllowed, guards.decline(f.ana, asked.id))
        for stranger in (f.mallory, f.ben, f.alex):
            for act in (guards.accept, guards.decline, guards.revoke):
                await refused(NotFound, act(stranger, asked.id))
        assert (await guards.of_guardian(f.chloe))[0].status == "pending"
        assert (await guards.accept(f.chloe, asked.id)).status == "accepted"
        assert (await guards.accept(f.chloe, asked.id)).status == "accepted"
        await refused(Conflict, guards.decline(f.chloe, asked.id))
        assert f.changes == [({"ana"}, {"chloe"})] * 3


@pytest.mark.gen_test
async def test_after_a_no_only_a_new_invitation_helps(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        guards = f.people.guardianships
        asked = await guards.invite(f.ana, "chloe@example.org")
        await guards.decline(f.chloe, asked.id)
        await refused(Conflict, guards.accept(f.chloe, asked.id))
        again = await guards.invite(f.ana, "chloe@example.org")
        assert (again.id, again.status) == (asked.id, "pending")
        assert (await guards.accept(f.chloe, asked.id)).status == "accepted"


@pytest.mark.gen_test
@pytest.mark.parametrize("side", ["ana", "ben"])
async def test_either_side_may_end_it_and_be_asked_again(tmp_path: Path, side: str) -> None:
    async with family(tmp_path) as f:
        guards = f.people.guardianships
        (pair,) = await guards.of_ward(f.ana)
        assert (await guards.revoke(getattr(f, side), pair.id)).status == "revoked"
        assert await guards.wards_of(f.ben) == []
        await refused(Conflict, guards.accept(f.ben, pair.id))
        again = await guards.invite(f.ana, "ben@example.org")
        assert (again.id, again.status) == (pair.id, "pending")


@pytest.mark.gen_test
async def test_asking_again_who_is_asked_or_guards_already_changes_nothing(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        assert (await f.people.guardianships.invite(f.ana, "ben@example.org")).status == "accepted"
        first = await f.people.guardianships.invite(f.ana, "chloe@example.org")
        assert await f.people.guardianships.invite(f.ana, "chloe@example.org") == first


@pytest.mark.gen_test
async def test_nobody_invites_themselves_the_unknown_or_the_disabled(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        await f.people.accounts.disable("tom")
        invite = f.people.guardianships.invite
        own = await refused(InvalidPayload, invite(f.ana, "Ana@example.org"))
        unknown = await refused(UnknownEmail, invite(f.ana, "nobody@example.org"))
        disabled = await refused(UnknownEmail, invite(f.ana, "tom@example.org"))
        assert "their own guardian" in own.message
        assert unknown.message == disabled.message == "Nobody here has this email"
        await refused(NotAllowed, f.people.guardianships.put("ana", "ana", "accepted"))


@pytest.mark.gen_test
async def test_each_side_sees_its_own_pairs_and_an_admin_all(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        guards = f.people.guardianships
        await guards.put("tom", "chloe", "pending")
        assert [pair.guardian.id for pair in await guards.of_ward(f.ana)] == ["ben"]
        assert [pair.ward.id for pair in await guards.of_guardian(f.chloe)] == ["tom"]
        assert await guards.of_ward(f.mallory) == await guards.of_guardian(f.mallory) == []
        assert len(await guards.everything()) == 2


# -- history ----------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_the_history_shows_each_what_they_may_see_and_for_as_long(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        await f.walk(f.ana, "evening")
        await f.walk(f.tom, "night")
        history = f.people.history

        async def sees(user: User) -> list[str]:
            return [session.session_id for session in (await history.page(user)).sessions]

        assert await sees(f.ana) == await sees(f.ben) == ["evening"]
        assert await sees(f.tom) == ["night"]
        assert await sees(f.alex) == ["night", "evening"]
        assert await sees(f.chloe) == await sees(f.mallory) == []
        # To be asked takes nothing from whoever guards already.
        await f.people.guardianships.put("ana", "ben", "pending")
        assert await sees(f.ben) == ["evening"]
        for status in ("declined", "pending", "revoked"):
            await f.people.guardianships.put("ana", "ben", status)
            assert await sees(f.ben) == []
            await refused(NotFound, history.get(f.ben, "evening"))
        assert (await history.get(f.ana, "evening")).reason == "manual_stop"
        assert (await history.get(f.alex, "night")).ward_email == "tom@example.org"
        await refused(NotFound, history.get(f.mallory, "night"))
        await refused(NotFound, history.get(f.alex, "morning"))
        assert (await history.page(f.mallory, ward_id="ana")).sessions == []


@pytest.mark.slow
@pytest.mark.gen_test
async def test_the_history_is_paged_and_each_session_comes_once(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        for number in range(PAGE + 5):
            await f.walk(f.ana, f"session {number}")
        first = await f.people.history.page(f.ben, limit=3)
        assert [session.session_id for session in first.sessions] == [f"session {PAGE + n}" for n in (4, 3, 2)]
        second = await f.people.history.page(f.ben, limit=3, cursor=first.next_cursor)
        assert second.sessions[0].session_id == f"session {PAGE + 1}"
        everything = [session.session_id async for page in f.people.history.pages() for session in page]
        assert everything == [f"session {number}" for number in reversed(range(PAGE + 5))]
        await refused(InvalidPayload, f.people.history.page(f.ben, cursor="rubbish"))


@pytest.mark.gen_test
async def test_a_past_session_has_the_fields_of_its_end(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        await f.walk(f.ana, "evening")
        (session,) = (await f.people.history.page(f.ana)).sessions
        assert (session.start_time, session.end_time) == ("2027-01-15T08:00:00.000Z", "2027-01-15T08:01:00.000Z")
        assert (session.duration, session.ward_first_name, session.metadata) == (60, "Ana", {"note": "home"})


@pytest.mark.gen_test
async def test_what_runs_is_read_from_the_journal(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        await f.walk(f.ana, "evening")
        await f.storage.journal.start("night", "tom", f.clock.wall, None)
        (running,) = await f.people.history.running()
        assert (running.session_id, running.ward_email) == ("night", "tom@example.org")
