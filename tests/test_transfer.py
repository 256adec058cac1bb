"""People in and out as one document: all of them, or none."""

import codecs
import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from family import PASSWORD, family, quick_passwords, refused
from server import environment_of, run_cli

from liveguard.clock import SystemClock
from liveguard.errors import (
    InvalidPayload,
    Refusal,
)
from liveguard.people.transfer import export_people, import_people, is_export
from liveguard.storage import Storage

EVA = {"id": "eva", "email": "eva@example.org", "firstName": "Eva", "lastName": "Lind"}


def document(**changed: Any) -> bytes:
    whole = {
        "users": [
            {**EVA, "password": PASSWORD},
            {"id": "max", "email": "max@example.org", "firstName": "Max", "lastName": "", "isActive": False},
        ],
        "guardians": [
            {"wardId": "eva", "guardianId": "max", "status": "accepted"},
            {"wardId": "ana", "guardianId": "eva", "status": "pending"},
        ],
    }
    return json.dumps({**whole, **changed}).encode()


@pytest.mark.gen_test
async def test_people_move_in_together_and_out_without_their_passwords(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        await import_people(f.storage, f.passwords, f.clock, document())
        assert await f.people.accounts.sign_in("eva@example.org", PASSWORD)
        assert not (await f.people.accounts.find("max")).is_active
        exported = json.loads(await export_people(f.storage))
        assert {"eva", "max", "ana", "ben"} < {user["id"] for user in exported["users"]}
        assert {"wardId": "ana", "guardianId": "eva", "status": "pending"} in exported["guardians"]
        assert "password" not in json.dumps(exported)


@pytest.mark.gen_test
async def test_what_was_exported_can_be_imported_elsewhere(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        exported = await export_people(f.storage)
        elsewhere = await Storage.open(tmp_path / "elsewhere" / "liveguard.db")
        await import_people(elsewhere, f.passwords, f.clock, exported)
        assert json.loads(await export_people(elsewhere)) == json.loads(exported)
        await elsewhere.close()


@pytest.mark.gen_test
async def test_people_and_who_guards_whom_stay_in_the_order_of_their_document(tmp_path: Path) -> None:
    users = [{**EVA, "id": name, "email": f"{name}@example.org"} for name in ("zoe", "max", "eva", "uli", "bob")]
    pairs = [{"wardId": "zoe", "guardianId": name, "status": "accepted"} for name in ("max", "eva", "uli", "bob")]
    async with family(tmp_path) as f:
        await import_people(f.storage, f.passwords, f.clock, document(users=users, guardians=pairs))
        exported = json.loads(await export_people(f.storage))
        assert [user["id"] for user in exported["users"][-5:]] == [user["id"] for user in users]
        assert exported["guardians"][-4:] == pairs
        asked = [pair["guardianId"] for pair in pairs]
        assert [person.id for person in await f.storage.guardians.accepted_of("zoe")] == asked
        assert [pair.guardian.id for pair in await f.storage.guardians.list_for_ward("zoe")] == asked


@pytest.mark.gen_test
async def test_an_earlier_export_is_known_by_its_keys(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        assert is_export(await export_people(f.storage))
    for earlier in (document(), document(groups=[])):  # the latter of a newer liveguard
        assert is_export(earlier)
    for other in (b"my novel", b"\xff", b"{}", b'["users", "guardians"]', b'{"users": []}', document()[:-1]):
        assert not is_export(other)


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"users": [EVA, {**EVA, "email": "x@example.org"}]}, r"users\[1\]: a user with this id"),
        ({"users": [EVA, {**EVA, "id": "x", "email": "EVA@example.org"}]}, r"users\[1\]: a user with this email"),
        ({"users": [EVA, {**EVA, "id": "x", "email": "ana@EXAMPLE.org"}]}, r"users\[1\]: a user with this email"),
        ({"users": [EVA, {**EVA, "id": "x", "email": "no email"}]}, r"users\[1\]: email"),
        ({"users": [EVA, {**EVA, "id": ""}]}, r"users\[1\]: id"),
        ({"users": [EVA, {**EVA, "id": 7}]}, r"users\[1\]"),
        ({"users": [{**EVA, "isactive": False}]}, r"isactive"),
        ({"users": [{**EVA, "isActive": "no"}]}, r"users\[0\]"),
        ({"users": [{**EVA, "password": ""}]}, r"users\[0\]: password"),
        ({"users": [{**EVA, "firstName": "a\u0000b"}]}, r"users\[0\]: firstName"),
        ({"users": None}, "users"),
        ({"people": []}, "people"),
        ({"guardians": [{"wardId": "eva", "guardianId": "eva", "status": "accepted"}]}, r"guardians\[0\]: nobody"),
        ({"guardians": [{"wardId": "eva", "guardianId": "x", "status": "accepted"}]}, r"guardians\[0\]: guardianId"),
        ({"guardians": [{"wardId": "x", "guardianId": "eva", "status": "accepted"}]}, r"guardians\[0\]: wardId"),
        ({"guardians": [{"wardId": "ana", "guardianId": "ben", "status": "pending"}]}, r"guardians\[0\]: this pair"),
        ({"guardians": [{"wardId": "eva", "guardianId": "max", "status": "maybe"}]}, r"guardians\[0\]"),
        (
            {"guardians": [{"wardId": "ana", "guardianId": "eva", "status": "pending"}] * 2},
            r"guardians\[1\]: this pair",
        ),
    ],
)
async def test_one_wrong_entry_keeps_all_of_them_out(tmp_path: Path, changed: dict[str, Any], place: str) -> None:
    async with family(tmp_path) as f:
        before = await export_people(f.storage)
        with pytest.raises(Refusal, match=place):
            await import_people(f.storage, f.passwords, f.clock, document(**changed))
        assert await export_people(f.storage) == before


@pytest.mark.gen_test
async def test_the_mark_that_some_editors_begin_a_document_with_is_no_part_of_it(tmp_path: Path) -> None:
    async with family(tmp_path) as f:
        await import_people(f.storage, f.passwords, f.clock, codecs.BOM_UTF8 + document())
        assert await f.people.accounts.sign_in("eva@example.org", PASSWORD)


@pytest.mark.gen_test
@pytest.mark.parametrize("rubbish", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b'{"users": [NaN]}'])
async def test_rubbish_is_no_document(tmp_path: Path, rubbish: bytes) -> None:
    async with family(tmp_path) as f:
        await refused(InvalidPayload, import_people(f.storage, f.passwords, f.clock, rubbish))


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("broken", "line"),
    [(b"", 1), (b'{"users": [\n{"id": "x",}]}', 2), (b'{\n"users":\n', 3), (b'{\n"users": [{"id": "\xff"}]}', 2)],
)
async def test_where_a_document_is_broken_is_said(tmp_path: Path, broken: bytes, line: int) -> None:
    async with family(tmp_path) as f:
        refusal = await refused(InvalidPayload, import_people(f.storage, f.passwords, f.clock, broken))
        assert refusal.message.endswith(f", in line {line}")


@pytest.mark.slow
@pytest.mark.gen_test
async def test_an_import_that_is_refused_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "people.json"
    for content, complaint in (("{", "truncated, in line 1"), (json.dumps({"users": [{**EVA, "id": ""}]}), "users")):
        file.write_text(content)
        status, out, err = await run_cli(environment_of(tmp_path), "import", str(file))
        assert (status, out) == (1, "")
        assert re.fullmatch(rf"liveguard: {re.escape(str(file))}: [^\n]*{complaint}[^\n]*\n", err)


@pytest.mark.slow
@pytest.mark.gen_test
async def test_twenty_thousand_people_move_in_at_once(tmp_path: Path) -> None:
    users = [
        {"id": f"id-{n}", "email": f"person-{n}@example.org", "firstName": "Ida", "lastName": f"No {n}"}
        for n in range(20_000)
    ]
    pairs = [{"wardId": f"id-{n}", "guardianId": f"id-{n + 1}", "status": "accepted"} for n in range(19_999)]
    storage = await Storage.open(tmp_path / "liveguard.db")
    document = json.dumps({"users": users, "guardians": pairs}).encode()
    await import_people(storage, quick_passwords(), SystemClock(), document)
    await storage.close()
    with sqlite3.connect(tmp_path / "liveguard.db") as db:
        assert db.execute("SELECT count(*) FROM users").fetchone() == (20_000,)
    db.close()
