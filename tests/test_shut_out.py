"""Whoever is revoked, disabled or signed out learns nothing more: at no address, and not from what they are reading."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from lines import Client
from server import Answer, House, house
from shelf import NOW, be_unsure
from test_who_may import SECRETS, TABLE, World

from liveguard.errors import StorageUnavailable
from liveguard.storage.numbering import End, Start

pytestmark = pytest.mark.slow

WHERE_BEN_SEES = [address for address, row in TABLE.items() if "ben" in row.sees]
LONG = "x" * 3900


async def revoked(home: House) -> None:
    await home.server.people.guardianships.put("ana", "ben", "revoked")


async def disabled(home: House) -> None:
    await home.server.people.accounts.disable("ben")


async def signed_out(home: House) -> None:
    people = home.server.people
    await people.logins.end_all(await people.accounts.find("ben"))


@pytest.mark.parametrize("shut_out", [revoked, disabled])
@pytest.mark.gen_test
async def test_no_address_tells_anything_more(tmp_path: Path, shut_out: Callable[[House], Awaitable[None]]) -> None:
    async with house(tmp_path) as home:
        world = World(home)
        await world.make()

        async def seen() -> list[str]:
            found = []
            for address in WHERE_BEN_SEES:
                for kind in ("json", "csv") if "{kind}" in address else ("",):
                    world.parts["kind"] = kind
                    if tells(await world.ask(address, "ben")):
                        found.append(address + kind)
            return found

        assert len(await seen()) == len(WHERE_BEN_SEES) + 1 > 8
        await shut_out(home)
        assert await seen() == []


def tells(answer: Answer) -> bool:
    return any(secret in answer.body.decode(errors="replace") for secret in SECRETS)


async def revoked_on_the_page(home: House) -> None:
    people = home.server.people
    ana = await people.accounts.find("ana")
    (bens,) = [pair for pair in await people.guardianships.of_ward(ana) if pair.guardian.id == "ben"]
    await people.guardianships.revoke(ana, bens.id)


@pytest.mark.parametrize("shut_out", [revoked, revoked_on_the_page, disabled])
@pytest.mark.gen_test
async def test_whoever_is_shut_out_by_a_commit_that_is_called_a_failure_hears_nothing_more_after_a_second(
    tmp_path: Path, shut_out: Callable[[House], Awaitable[None]]
) -> None:
    async with house(tmp_path) as home:
        ana, ben = await home.ward("ana"), await home.guardian("ben")
        await ana.answer("start-live-session")
        await ben.expect("guardian:session-started")
        await home.server.storage.database.changed_elsewhere()  # the first time it says yes, whatever happened
        be_unsure(home.server.storage)
        with pytest.raises(StorageUnavailable):
            await shut_out(home)
        if shut_out is disabled:
            assert await ben.closed(patience=1) == 4401
            return
        await ben.expect("guardian:access-revoked", patience=1)
        await ana.answer("send-message", {"text": "Not for Ben"})
        assert await ben.all_so_far() == []


@pytest.mark.gen_test
async def test_whoever_is_revoked_while_nothing_can_be_read_hears_nothing_more_after_a_second(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        ana, ben = await home.ward("ana"), await home.guardian("ben")
        await ana.answer("start-live-session")
        await ben.expect("guardian:session-started")
        await home.server.storage.database.changed_elsewhere()  # the first time it says yes, whatever happened
        guardians: Any = home.server.storage.guardians

        def unreadable(*asked: object) -> None:
            del guardians.access  # the next time it can be read
            raise StorageUnavailable

        guardians.access = unreadable
        await revoked(home)
        await ben.expect("guardian:access-revoked", patience=1)


async def no_admin_any_more(home: House) -> None:
    await home.server.people.accounts.change("chloe", is_admin=True)
    await home.server.people.accounts.change("alex", is_admin=False)


async def many_walks(home: House) -> None:
    """More of them than the kernel takes for somebody who does not read."""
    entries: list[Start | End] = []
    for number in range(2000):
        entries.append(Start(f"past-{number}", "ana", NOW + number, f'{{"note":"{LONG}"}}'))
        entries.append(End(f"past-{number}", NOW + number, 0, "manual_stop", None))
    await home.server.storage.database.submit(
        partial(home.server.storage.database.entries.write, entries=entries), write=True
    )


@pytest.mark.parametrize("kind", ["json", "csv"])
@pytest.mark.parametrize(
    ("who", "shut_out"), [("ben", revoked), ("ben", disabled), ("ben", signed_out), ("alex", no_admin_any_more)]
)
@pytest.mark.gen_test
async def test_an_export_that_is_being_read_tells_nothing_more(
    tmp_path: Path, kind: str, who: str, shut_out: Callable[[House], Awaitable[None]]
) -> None:
    async with house(tmp_path) as home:
        await many_walks(home)
        login = await home.server.people.logins.begin(await home.server.people.accounts.find(who))
        headers = {"Upgrade": "", "Connection": "close", "Cookie": f"liveguard={login}"}
        reader = await Client.open(home.port, f"/history/export.{kind}", headers=headers, receive_buffer=4096)
        await reader.answer()
        assert reader.status == 200
        await shut_out(home)
        export = await reader.rest()
        reader.hang_up()
        assert 0 < export.count(b"manual_stop") < 1900
        # Who may see less has what is theirs, and whoever is shut out must not take a part for the whole.
        assert export.endswith(b"0\r\n\r\n") is (shut_out in (revoked, no_admin_any_more))
