"""Who may what: every address, by every method it knows, for every kind of caller.

The rows are compared with the routing table, so that a new address without a row fails.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from server import Answer, House, Peer, house

from liveguard import resources
from liveguard.app import routes
from liveguard.auth import digest
from liveguard.web.assets import Assets

pytestmark = pytest.mark.slow

NOBODY = "anonymous"
OTHERS = ("mallory", "pia", "dan", "rita", "tom")  # a stranger; asked, declined, revoked; another ward
THOSE_WHO_MAY = ("ben", "ana", "alex")  # a guardian, the ward herself, an admin
DISABLED = "dora"
CALLERS = (NOBODY, DISABLED, *OTHERS, *THOSE_WHO_MAY)

STATUSES = {"ben": "accepted", "chloe": "accepted", "pia": "pending", "dan": "declined", "rita": "revoked"}
NOTE = "with the red umbrella"
PLACE = {"latitude": 53.551234, "longitude": 9.931234}
SECRETS = (NOTE, "53.551234")
FORM_TOKEN = "00" * 16

SIGN_IN = "sign-in"
Outcome = int | str


@dataclass(frozen=True)
class Row:
    """What becomes of a request, and for whom the answer holds what only Ana's people may know."""

    outcomes: dict[str, Outcome]
    sees: frozenset[str] = frozenset()
    fields: dict[str, Any] = field(default_factory=dict)


def everybody(outcome: Outcome) -> Row:
    """The same for all."""
    return Row(dict.fromkeys(CALLERS, outcome))


def known(outcome: Outcome, *, sees: str = "", fields: dict[str, Any] | None = None, **others: Outcome) -> Row:
    """For whoever is signed in, as far as ``others`` says nothing else."""
    outcomes = dict.fromkeys(CALLERS, outcome) | {NOBODY: 401, DISABLED: 401} | others
    return Row(outcomes, frozenset(sees.split()), fields or {})


def page(outcome: Outcome, *, sees: str = "", fields: dict[str, Any] | None = None, **others: Outcome) -> Row:
    """The same for a page: whoever is not signed in is asked to."""
    return known(outcome, sees=sees, fields=fields, **{NOBODY: SIGN_IN, DISABLED: SIGN_IN, **others})


def only(names: str, outcome: Outcome, refused: int, *, fields: dict[str, Any] | None = None) -> dict[str, Any]:
    """For these, and refused to all others."""
    return {"outcome": refused, "fields": fields, **dict.fromkeys(names.split(), outcome)}


ANAS = "ben ana alex"

TABLE: dict[str, Row] = {
    "GET /ws/ward": everybody(400),
    "GET /ws/guardian": everybody(400),
    "GET /socket.io/": everybody(400),
    "POST /socket.io/": everybody(400),
    "OPTIONS /socket.io/": everybody(204),
    "POST /api/login": everybody(401),
    "GET /api/me": known(200),
    "GET /api/sessions": known(200, sees=ANAS),
    "GET /api/sessions/{session_id}": known(**only(ANAS, 200, 404), sees=ANAS),
    "GET /api/history": known(200, sees=ANAS),
    "GET /api/guardians": known(200),
    "POST /api/guardians": known(201, fields={"email": "chloe@example.org"}),
    "DELETE /api/guardians/{pair_id}": known(**only("ana ben", 200, 404)),
    "GET /api/wards": known(200),
    "POST /api/invitations/{pair_id}/accept": known(**only("pia", 200, 404), ana=403),
    "POST /api/invitations/{pair_id}/decline": known(**only("pia", 200, 404), ana=403),
    "GET /api/openapi.json": known(200),
    "GET /api/asyncapi.json": known(200),
    "GET /healthz": everybody(200),
    "GET /readyz": everybody(200),
    "GET /metrics": everybody(200),
    "GET /api/{rest*}": everybody(404),
    "GET /": page(200, sees=ANAS),
    "GET /offline": everybody(200),
    "GET /live": known(200, sees=ANAS),
    "GET /ward": page(200, sees="ana"),
    "GET /ward/offline": everybody(200),
    "GET /people": page(200),
    "GET /people/invite": page(200),
    "POST /people/invite": page(303, fields={"email": "chloe@example.org"}),
    "POST /people/link": page(200),
    "POST /people/link/{link_id}/withdraw": page(303),
    "POST /people/{pair_id}/{answer}": page(**only("ana ben", 303, 404)),
    "GET /history": page(200),
    "GET /history/export.{kind}": page(200, sees=ANAS),
    "GET /history/{session_id}": page(**only(ANAS, 200, 404), sees=ANAS),
    "GET /history/{session_id}/trail.gpx": page(**only(ANAS, 200, 404), sees=ANAS),
    "GET /admin": page(**only("alex", 200, 403)),
    "GET /admin/people": page(**only("alex", 200, 403)),
    "POST /admin/people": page(**only("alex", 200, 403, fields={"first_name": "Zoe", "email": "zoe@example.org"})),
    "POST /admin/people/{user_id}/{change}": page(**only("alex", 303, 403)),
    "GET /admin/guardians": page(**only("alex", 200, 403)),
    "POST /admin/guardians": page(
        **only("alex", 303, 403, fields={"ward": "tom@example.org", "guardian": "ben@example.org"})
    ),
    "POST /admin/guardians/{pair_id}/remove": page(**only("alex", 303, 403)),
    "POST /admin/sessions/{session_id}/end": page(**only("alex", 303, 403)),
    "GET /account": page(200),
    "POST /account/name": page(303, fields={"first_name": "A", "last_name": "B"}),
    "POST /account/preferences": page(303, fields={"language": "de"}),
    "GET /account/name": page(200),
    "GET /account/preferences": page(200),
    "GET /account/password": page(200),
    "POST /account/password": page(401, fields={"old": "wrong", "new": "a new password", "again": "a new password"}),
    "GET /account/logins/end": page(200),
    "POST /account/logins/end": page(303),
    "POST /account/logins/{login_id}/end": page(**only("ana", 303, 404)),
    "GET /login": page(303, anonymous=200, dora=200),
    "POST /login": everybody(401),
    "POST /logout": page(SIGN_IN),
    "GET /link/{token}": everybody(410),
    "POST /link/{token}": everybody(410),
    "GET /manifest.webmanifest": everybody(200),
    "GET /sw.js": everybody(200),
    "GET /favicon.ico": everybody(200),
    "GET /static/{version}/{name*}": everybody(200),
}


def addresses() -> list[str]:
    """All of them, by all methods, as the routing table has them. What HEAD answers, GET does."""
    found = []
    for path, handler, *_ in routes(None, None, None):  # type: ignore[arg-type]
        if path == "/api/{rest*}":
            found.append(f"GET {path}")
            continue
        found += [f"{method} {path}" for method in handler.methods() if method != "HEAD"]
    return found


def test_each_address_has_a_row_and_each_row_an_address() -> None:
    assert sorted(TABLE) == sorted(addresses())


class World:
    """Ana is on her way, and was before; everybody stands to her as they do in the table."""

    def __init__(self, home: House) -> None:
        self.home = home
        self.people = home.server.people
        self.parts: dict[str, str] = {}
        self.ana: Peer

    async def make(self) -> None:
        for name in ("pia", "dan", "rita", "dora"):
            await self.people.accounts.add(f"{name}@example.org", first_name=name.title(), user_id=name)
        await self.people.guardianships.put("ana", "dora", "accepted")
        await self.people.accounts.disable("dora")
        login = await self.people.logins.begin(await self.people.accounts.find("ana"))
        pairs = {pair.guardian.id: pair.id for pair in await self._pairs()}
        self.ana = await self.home.ward("ana")
        past = await self._walk()
        await self.ana.answer("stop-live-session")
        self.parts = {
            "pair_id": pairs["ben"], "answer": "remove", "kind": "json", "user_id": "tom", "change": "disable",
            "login_id": digest(login), "token": "nothing", "rest*": "nothing", "name*": "app.css",
            "version": Assets(resources.static()).version, "past": past,
        }  # fmt: skip
        await self.restore()
        self.parts["asked"] = next(pair.id for pair in await self._pairs() if pair.guardian.id == "pia")

    async def restore(self) -> None:
        """Put back what a caller has changed."""
        for guardian, status in STATUSES.items():
            await self.people.guardianships.put("ana", guardian, status)  # type: ignore[arg-type]
        await self.people.accounts.enable("tom")
        if not self.home.server.live.sessions.has_active_session("ana"):
            self.parts["running"] = await self._walk()
        await self.home.server.chronicle.write()

    async def ask(self, address: str, who: str) -> Answer:
        """Do what the address says, with the token that a form has, so that nothing is refused for that alone."""
        method, _, path = address.partition(" ")
        parts = dict(self.parts)
        parts["session_id"] = parts["past" if path.startswith("/history") else "running"]
        if "invitations" in path:
            parts["pair_id"] = parts["asked"]
        for name, value in parts.items():
            path = path.replace(f"{{{name}}}", value)
        headers, body = {"Cookie": f"liveguard_form={FORM_TOKEN}"}, None
        fields = TABLE[address].fields
        if method == "POST" and path.startswith("/api/"):
            body = fields or {"email": f"{who}@nowhere.example", "password": "wrong"}
        elif method == "POST":
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urlencode({"_xsrf": FORM_TOKEN, "email": f"{who}@nowhere.example", **fields})
        return await self.home.fetch(path, method, body=body, headers=headers, who=None if who == NOBODY else who)

    async def _walk(self) -> str:
        session = await self.ana.answer("start-live-session", {"note": NOTE})
        await self.ana.answer("update-location", PLACE)
        return str(session["data"]["sessionId"])

    async def _pairs(self) -> Any:
        return await self.people.guardianships.of_ward(await self.people.accounts.find("ana"))


def outcome_of(answer: Answer) -> Outcome:
    to_sign_in = answer.status == 303 and answer.headers["Location"].startswith("/login")
    return SIGN_IN if to_sign_in else answer.status


@pytest.mark.parametrize("address", TABLE)
@pytest.mark.gen_test
async def test_each_caller_gets_what_the_table_says(tmp_path: Path, address: str) -> None:
    async with house(tmp_path) as home:
        world = World(home)
        await world.make()
        outcomes: dict[str, Outcome] = {}
        sees = set()
        for who in CALLERS:
            answer = await world.ask(address, who)
            outcomes[who] = outcome_of(answer)
            if any(secret in answer.body.decode(errors="replace") for secret in SECRETS):
                sees.add(who)
            await world.restore()
        assert outcomes == TABLE[address].outcomes
        assert sees == TABLE[address].sees
