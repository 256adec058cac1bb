"""The descriptions for programs: what is there they name, what they name is there, and the server keeps to them.

Answers and events are compared with copies in which no object may have a field that is not named.
"""

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import test_who_hears
from jsonschema import Draft202012Validator
from lines import Client
from server import PASSWORD, Answer, House, Peer, house, token_of
from socketio_lines import WebSocketClient
from test_app import locked
from test_docs import PROTOCOL, first_words, rows
from test_who_hears import NATIVE, SOCKETIO, World
from test_who_may import addresses
from tornado.testing import ExpectLog

from liveguard.addresses import Site
from liveguard.events import CLIENT_EVENTS, SERVER_EVENTS
from liveguard.storage import transactions
from liveguard.web.websocket import TEXT

Json = dict[str, Any]

PLACE = {"latitude": 53.55, "longitude": 9.93, "battery": 64, "recordedAt": "2026-01-31T09:30:00Z"}


async def document(home: House, name: str) -> Json:
    """One of the two."""
    answer = await home.fetch(f"/api/{name}.json", who="mallory")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json; charset=UTF-8")
    read: Json = answer.json
    return read


def closed(described: Json) -> Json:
    """A copy in which no object may have a field that is not named."""
    copy = deepcopy(described)
    for schema in copy["components"]["schemas"].values():
        schema["additionalProperties"] = False
    return copy


def fits(described: Json, schema: Json, value: Any) -> bool:
    """Whether a value is as a schema of this document has it."""
    formats = Draft202012Validator.FORMAT_CHECKER
    assert "date-time" in formats.checkers
    whole = {**schema, "components": described["components"]}
    Draft202012Validator.check_schema(whole)
    return bool(Draft202012Validator(whole, format_checker=formats).is_valid(value))


def resolve(described: Json, reference: Json) -> Any:
    """What a reference leads to, however many others lie between."""
    found: Any = described
    for part in reference["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return resolve(described, found) if set(found) == {"$ref"} else found


def references(part: Any) -> list[Json]:
    """All references in a part of a document."""
    if isinstance(part, list):
        return [each for one in part for each in references(one)]
    if not isinstance(part, dict):
        return []
    own = [part] if isinstance(part.get("$ref"), str) else []
    return own + [each for one in part.values() for each in references(one)]


@pytest.mark.gen_test
@pytest.mark.parametrize("name", ["openapi", "asyncapi"])
async def test_each_reference_leads_somewhere_and_each_schema_is_referred_to(tmp_path: Path, name: str) -> None:
    async with house(tmp_path) as home:
        described = await document(home, name)
        named = {each["$ref"] for each in references(described) if resolve(described, each)}
        assert {ref.rpartition("/")[2] for ref in named if "/schemas/" in ref} == set(
            described["components"]["schemas"]
        )


@pytest.mark.gen_test
async def test_they_say_where_the_server_is_and_how_its_cookie_is_called(tmp_path: Path) -> None:
    async with house(tmp_path, public_url="https://live.example.org") as home:
        http, live = await document(home, "openapi"), await document(home, "asyncapi")
        assert http["servers"] == [{"url": "https://live.example.org"}]
        assert [(one["host"], one["protocol"]) for one in live["servers"].values()] == [
            ("live.example.org", "wss"), ("live.example.org", "socket.io"),
        ]  # fmt: skip
        for described in (http, live):
            cookie = described["components"]["securitySchemes"]["cookie"]
            assert (cookie["in"], cookie["name"]) == ("cookie", "__Host-liveguard")
    async with house(tmp_path) as home:
        assert (await document(home, "openapi"))["servers"] == [{"url": home.url}]
        assert (await document(home, "asyncapi"))["servers"]["native"]["protocol"] == "ws"


# -- HTTP ------------------------------------------------------------------------------------------------------------

LOGIN = {"email": "ana@example.org", "password": PASSWORD}
BEARER = {"bearer": []}
NOWHERE = {"session_id": "nothing", "pair_id": "nothing"}


def for_programs() -> set[str]:
    """What there is for programs, as the routing table has it."""
    paths = r"\S+ (/api/[^*]+|/healthz|/readyz|/metrics)"
    return {address for address in addresses() if re.fullmatch(paths, address)}


@dataclass
class Clerk:
    """Asks over HTTP, and compares all that is answered with the description."""

    home: House
    described: Json
    seen: dict[str, set[tuple[int, str]]] = field(default_factory=dict)  # status, and the code of a refusal

    @classmethod
    async def of(cls, home: House) -> "Clerk":
        return cls(home, closed(await document(home, "openapi")))

    @property
    def operations(self) -> dict[str, Json]:
        paths: dict[str, Json] = self.described["paths"]
        return {f"{method.upper()} {path}": one for path, known in paths.items() for method, one in known.items()}

    async def ask(self, address: str, query: str = "", *, body: Any = None, **how: Any) -> Answer:
        """``how`` has ``who``, ``headers``, and the parts of the path."""
        method, _, path = address.partition(" ")
        asker = {"who": how.pop("who", "ana"), "headers": how.pop("headers", None)}
        answer = await self.home.fetch(path.format(**how) + query, method, body=body, **asker)
        code = self.compare(self.operations[address]["responses"][str(answer.status)], answer)
        self.seen.setdefault(address, set()).add((answer.status, code))
        return answer

    def compare(self, response: Json, answer: Answer) -> str:
        """The answer, and others that it could have been and is not; the code, if it is a refusal."""
        ((content_type, content),) = response["content"].items()
        assert answer.headers["Content-Type"].lower().startswith(content_type.lower())
        assert all(name in answer.headers for name in response.get("headers", ()))
        value = answer.json if content_type == "application/json" else answer.text
        schema = content["schema"]
        assert fits(self.described, schema, value), value
        assert not fits(self.described, schema, [value])
        if references(schema):
            assert not fits(self.described, schema, {**value, "unknown": 1})
            for name in set(value) - {"metadata"}:
                assert not fits(self.described, schema, {**value, name: {"unknown": 1}}), name
        return answer.error if answer.status >= 400 and "error" in value else ""


@pytest.mark.gen_test
async def test_each_route_for_programs_is_described_and_no_other(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        clerk = await Clerk.of(home)
        assert set(clerk.operations) == for_programs()
        for address, operation in clerk.operations.items():
            in_path = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
            assert in_path == set(re.findall(r"{(\w+)}", address)), address
            assert operation["summary"], address
        names = [operation["operationId"] for operation in clerk.operations.values()]
        assert len(names) == len(set(names))


@pytest.mark.slow
@pytest.mark.gen_test
async def test_what_describes_http_is_openapi(tmp_path: Path) -> None:
    # Half a second of a core, which this test alone needs, and each process that collects the tests would take.
    import openapi_spec_validator
    from openapi_spec_validator.validation.exceptions import OpenAPIValidationError

    async with house(tmp_path) as home:
        described = await document(home, "openapi")
        openapi_spec_validator.validate(described)
        with pytest.raises(OpenAPIValidationError):
            openapi_spec_validator.validate({**described, "info": {}})


async def look(clerk: Clerk, session_id: str) -> None:
    """Somebody asks for a session, wherever it is to be found."""
    await clerk.ask("GET /api/sessions", who="ben")
    await clerk.ask("GET /api/sessions/{session_id}", who="ben", session_id=session_id)
    await clerk.ask("GET /api/history", who="ben")


async def walk(clerk: Clerk, metadata: Json | None) -> None:
    """Ana is on her way, is lost, comes back and is safe; all the while somebody asks."""
    ben, ana = await clerk.home.guardian("ben"), await clerk.home.ward("ana")
    session_id = (await ana.answer("start-live-session", metadata))["data"]["sessionId"]
    await look(clerk, session_id)
    await ana.answer("update-location", PLACE)
    await look(clerk, session_id)
    ana.lose()
    await ben.expect("session-interrupted")
    await look(clerk, session_id)
    again = await clerk.home.ward("ana")
    await again.answer("stop-live-session")
    await look(clerk, session_id)
    await ben.leave()
    await again.leave()


@pytest.mark.slow
@pytest.mark.gen_test
async def test_what_is_answered_is_as_described(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("ana",)) as home:
        clerk = await Clerk.of(home)
        await clerk.ask("POST /api/login", body=LOGIN, who=None)
        for path in ("/api/me", "/api/openapi.json", "/api/asyncapi.json", "/healthz", "/readyz", "/metrics"):
            await clerk.ask(f"GET {path}")
        for answer in ("decline", "accept"):
            invited = await clerk.ask("POST /api/guardians", body={"email": "mallory@example.org"})
            await clerk.ask(f"POST /api/invitations/{{pair_id}}/{answer}", who="mallory", pair_id=invited.json["id"])
            await clerk.ask("GET /api/guardians")
            await clerk.ask("GET /api/wards", who="mallory")
        await clerk.ask("DELETE /api/guardians/{pair_id}", pair_id=invited.json["id"])
        for metadata in ({"note": "home"}, None):
            await walk(clerk, metadata)
        page = await clerk.ask("GET /api/history", "?limit=1&ward=ana&from=2026-01-01&to=9999-12-31T00:00:00Z")
        await clerk.ask("GET /api/history", f"?cursor={page.json['nextCursor']}")
        assert clerk.seen == {
            address: {(int(status), "") for status in operation["responses"] if int(status) < 400}
            for address, operation in clerk.operations.items()
        }


def codes_of(response: Json) -> set[str]:
    """The codes that a response may have; none where it is no refusal."""
    (content,) = response["content"].values()
    named = content["schema"].get("properties")
    return set(named["error"]["properties"]["code"]["enum"]) if named else set()


@pytest.mark.slow
@pytest.mark.gen_test
async def test_what_is_refused_is_described_and_what_is_described_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "PATIENT", 0)
    async with house(tmp_path, with_password=("ana", "tom")) as home:
        clerk = await Clerk.of(home)
        await home.server.people.accounts.disable("tom")
        for address in clerk.operations:
            await ask_wrongly(clerk, address)
        await ask_for_what_is_not_possible(clerk)
        with locked(home.database):
            for address in clerk.operations:
                await clerk.ask(address, body={"email": "ida@example.org", "password": "x"}, **NOWHERE)
        assert (503, "") in clerk.seen["GET /readyz"]
        monkeypatch.setattr(Site, "allows_host", None)  # something breaks
        with ExpectLog("liveguard.faults", "A fault in"):
            for address in clerk.operations:
                await clerk.ask(address, **NOWHERE)
        for address, operation in clerk.operations.items():
            responses = operation["responses"].items()
            described = {(int(status), code) for status, response in responses for code in codes_of(response)}
            assert {(status, code) for status, code in clerk.seen[address] if code} == described, address


async def ask_wrongly(clerk: Clerk, address: str) -> None:
    """In each way that is wrong whatever the address is for, and from where nobody is signed in."""
    operation = clerk.operations[address]
    await clerk.ask(address, headers={"Origin": "https://evil.example"}, **NOWHERE)
    await clerk.ask(address, body="x" * 65_537, **NOWHERE)
    if "{" in address:
        await clerk.ask(address, **NOWHERE)
        await clerk.ask(address, session_id="%ff", pair_id="%ff")
    if "requestBody" in operation:
        await clerk.ask(address, body={})
    if BEARER not in operation["security"]:
        return
    for shown in ("", f"Bearer {token_of('ana', -10)}", "Bearer x", *(f"Bearer {token_of(n)}" for n in ("x", "tom"))):
        answer = await clerk.ask(address, who=None, headers={"Authorization": shown}, **NOWHERE)
        assert answer.status == 401


async def ask_for_what_is_not_possible(clerk: Clerk) -> None:
    for query in ("?limit=0", "?ward=%ff"):
        await clerk.ask("GET /api/history", query)
    await clerk.ask("POST /api/guardians", body={"email": "nobody@example.org"})
    invited = await clerk.ask("POST /api/guardians", body={"email": "mallory@example.org"})
    pair = {"who": "mallory", "pair_id": invited.json["id"]}
    for answer in ("accept", "decline", "accept"):
        await clerk.ask(f"POST /api/invitations/{{pair_id}}/{answer}", **pair)
        if answer == "decline":
            await clerk.ask("DELETE /api/guardians/{pair_id}", **pair)
    await clerk.ask("POST /api/login", body={**LOGIN, "email": "tom@example.org"}, who=None)
    for _ in range(6):
        await clerk.ask("POST /api/login", body={**LOGIN, "password": "wrong"}, who=None)


@pytest.mark.gen_test
async def test_a_body_is_refused_where_it_is_not_as_described(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("ana",)) as home:
        described = await document(home, "openapi")
        operation = described["paths"]["/api/login"]["post"]["requestBody"]["content"]["application/json"]
        for changed in ({}, {"email": ""}, {"password": "x" * 1025}, {"email": 1}, {"password": None}, {"more": 1}):
            body = {**LOGIN, **changed}
            answer = await home.fetch("/api/login", "POST", body=body)
            assert fits(described, operation["schema"], body) is (answer.status != 400), changed
        assert not fits(described, operation["schema"], {"email": "ana@example.org"})


@pytest.mark.gen_test
async def test_a_query_is_refused_where_it_is_not_as_described(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        described = await document(home, "openapi")
        schemas = {one["name"]: one["schema"] for one in described["paths"]["/api/history"]["get"]["parameters"]}
        assert set(schemas) == {"ward", "from", "to", "limit", "cursor"}
        for name, text in [
            ("limit", "1"), ("limit", "200"), ("limit", "0"), ("limit", "-1"), ("limit", "1.5"), ("limit", "x"),
            ("from", "2026-01-31"), ("from", "2026-01-31T09:30:00Z"), ("from", "2026-01-31T09:30:00"),
            ("from", "yesterday"), ("to", "2026-01-31T09:30:00.000Z"), ("to", ""), ("ward", "ana"), ("cursor", "1.1"),
        ]:  # fmt: skip
            said = json.loads(text) if re.fullmatch(r"-?\d+(\.5)?", text) and name == "limit" else text
            answer = await home.fetch(f"/api/history?{name}={text}", who="ana")
            assert fits(described, schemas[name], said) is (answer.status == 200), (name, text)
        # More than the most are taken as the most.
        assert (schemas["limit"]["minimum"], schemas["limit"]["default"]) == (1, 50)


# -- the live interface ----------------------------------------------------------------------------------------------


def spoken(described: Json, address: str, action: str) -> dict[str, Json]:
    """What can be said (``receive``) or heard (``send``) at an address: its operations by the names of the events."""
    found = {}
    for operation in described["operations"].values():
        channel = resolve(described, operation["channel"])
        if (channel["address"], operation["action"]) == (address, action):
            (message,) = operation["messages"]
            found[resolve(described, message)["name"]] = operation
    return found


def payload(described: Json, operation: Json) -> Json:
    """The schema of what is said or heard."""
    schema: Json = resolve(described, operation["messages"][0])["payload"]
    return schema


def answers(described: Json, operation: Json) -> dict[str, Json]:
    """The schemas of what may answer it, by the names of the events."""
    messages = [resolve(described, each) for each in operation["reply"]["messages"]]
    return {message["name"]: message["payload"] for message in messages}


@pytest.mark.gen_test
async def test_each_event_and_each_address_is_described_and_no_other(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        described = await document(home, "asyncapi")
        live = {address.partition(" ")[2] for address in addresses() if re.search(" /(ws|socket)", address)}
        assert {channel["address"] for channel in described["channels"].values()} == live
        said = {name for address in live for name in spoken(described, address, "receive")}
        heard = {name for address in live for name in spoken(described, address, "send")}
        assert (said, heard) == (set(CLIENT_EVENTS), set(SERVER_EVENTS))
        assert set(spoken(described, "/socket.io/", "receive")) == said
        assert set(spoken(described, "/socket.io/", "send")) == heard - {"guardian:snapshot"}
        for operation in described["operations"].values():
            channel = operation["channel"]["$ref"]
            for message in [*operation["messages"], *operation.get("reply", {}).get("messages", [])]:
                assert message["$ref"].startswith(f"{channel}/messages/")


@pytest.mark.gen_test
async def test_each_close_code_and_each_refusal_is_described(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        described = await document(home, "asyncapi")
        named = re.findall(r"^\| (\d+) \|", described["info"]["description"], re.MULTILINE)
        assert named == [code for row in rows(PROTOCOL, "Close codes") for code in row[0].split(", ")]
        codes = described["components"]["schemas"]["SessionError"]["properties"]["code"]["enum"]
        refusals = first_words(PROTOCOL, "Tokens") + first_words(PROTOCOL, "What can be refused")
        assert sorted(codes) == sorted(refusals)


class Recorder(WebSocketClient):
    """A client of Socket.IO that keeps the packets that came."""

    def __init__(self, *ends: Any) -> None:
        super().__init__(*ends)
        self.packets: list[str] = []

    def take(self, packet: str) -> None:
        self.packets.append(packet)
        super().take(packet)


# What is said, and whether it is as it should be.
SAID: dict[str, list[tuple[Any, bool]]] = {
    "ping": [(None, True), ({"a": 1}, True), ([7], True)],
    "start-live-session": [({"note": "home"}, True), (None, True), ([], False), ("home", False)],
    "update-location": [
        (PLACE, True), ({**PLACE, "more": 1}, True), ({**PLACE, "battery": None}, True), (None, False), ({}, False),
        ({**PLACE, "latitude": 91}, False), ({**PLACE, "longitude": "9"}, False), ({**PLACE, "battery": 101}, False),
        ({**PLACE, "speed": -1}, False), ({**PLACE, "recordedAt": "yesterday"}, False),
        ({**PLACE, "altitude": 1e10}, False),
    ],
    "send-message": [
        ({"text": "x", "wardId": "ana"}, True), ({"text": "x" * 2000, "wardId": "ana"}, True), ({"text": ""}, False),
        ({"text": "x" * 2001}, False), ({"text": "x", "wardId": 7}, False), (None, False),
    ],
    "refresh-token": [
        ({"token": token_of("ana")}, True), ({"token": token_of("ben")}, True), ({"token": ""}, False), ({}, False),
    ],
    "stop-live-session": [(None, True), ({"why": "safe"}, True), ("safe", True)],
}  # fmt: skip


@pytest.mark.gen_test
@pytest.mark.parametrize("address", ["/ws/ward", "/ws/guardian", "/socket.io/"])
@pytest.mark.slow
async def test_what_is_said_is_refused_where_it_is_not_as_described_and_answered_as_described(
    tmp_path: Path, address: str
) -> None:
    async with house(tmp_path, rate_limit=0) as home:
        described = await document(home, "asyncapi")
        ana = await connect(home, "ana", "/socket.io/" if address == "/socket.io/" else "/ws/ward")
        asking = await connect(home, "ben", address) if address == "/ws/guardian" else ana
        operations = spoken(described, address, "receive")
        answered: dict[str, set[str]] = {name: set() for name in operations}
        if asking is not ana:
            await ana.answer("start-live-session")
        for name in [name for name in SAID if name in operations]:
            operation = operations[name]
            for data, right in SAID[name]:
                said = data if address == "/socket.io/" else frame(name, data)
                assert fits(described, payload(described, operation), said) is right, (name, data)
                answer = await asking.answer(name, data)
                assert (answer["data"].get("code") != "invalid_payload") is right, (name, data)
                schema, heard = answers(described, operation)[answer["event"]], told(asking, answer)
                assert fits(closed(described), schema, heard), heard
                assert not fits(closed(described), schema, {**heard, "data": {}})
                answered[name].add(answer["event"])
            # A ping is refused for the rate alone.
            unseen = {"session-error"} if name == "ping" else set()
            assert answered[name] == set(answers(described, operation)) - unseen


async def connect(home: House, name: str, address: str) -> Peer:
    """Somebody, who has heard whatever is said to a newcomer."""
    kind = Recorder if address == "/socket.io/" else Client
    client = await kind.open(home.port, address, token=token_of(name))
    await client.answer()
    peer = Peer(client)
    home.peers.append(peer)
    await peer.all_so_far()
    return peer


def frame(name: str, data: Any) -> Json:
    """A frame as a native client sends it."""
    return {"event": name, "id": "1", **({} if data is None else {"data": data})}


def told(peer: Peer, answer: Json) -> Any:
    """An answer as it was on the wire: the native frame, or the acknowledgement."""
    if not isinstance(peer.client, Recorder):
        return answer
    acks = [packet for packet in peer.client.packets if packet.startswith("43")]
    (ack,) = json.loads(acks[-1][acks[-1].index("[") :])
    return ack


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"event": "ping", "id": ""}, "invalid_message"),
        ({"event": "ping", "id": "x" * 65}, "invalid_message"),
        ({"event": "ping", "id": 1}, "invalid_message"),
        ({"event": 7}, "invalid_message"),
        ({"id": "1"}, "invalid_message"),
        ({"event": "dance", "id": "1"}, "unknown_event"),
    ],
    ids=str,
)
async def test_a_frame_that_is_none_is_none_in_the_description(tmp_path: Path, said: Json, code: str) -> None:
    async with house(tmp_path) as home:
        described = await document(home, "asyncapi")
        ana = await connect(home, "ana", "/ws/ward")
        ana.client.frame(TEXT, json.dumps(said).encode())
        assert (await ana.expect("session-error"))["code"] == code
        operations = spoken(described, "/ws/ward", "receive").values()
        assert not any(fits(described, payload(described, operation), said) for operation in operations)


class Told(World):
    """The world in which each event is heard by whom it may be, and where it was heard."""

    def __init__(self, *how: Any) -> None:
        super().__init__(*how)
        self.ends: list[tuple[str, Peer]] = []

    async def connect(self, name: str) -> list[Peer]:
        peers = await super().connect(name)
        places = ("/ws/ward", "/ws/guardian") if self.transport == NATIVE else ("/socket.io/",)
        self.ends += zip(places, peers, strict=False)
        return peers

    def heard_at(self) -> Iterator[tuple[str, str, Any]]:
        """Where something was heard, the name of the event, and what there was on the wire."""
        for place, peer in self.ends:
            if isinstance(peer.client, Recorder):
                events = [json.loads(packet[2:]) for packet in peer.client.packets if packet.startswith("42")]
                yield from ((place, name, data) for name, data in events)
            else:
                yield from ((place, event["event"], event) for event in peer.past + peer.heard)


@pytest.mark.gen_test
@pytest.mark.parametrize("transport", [NATIVE, SOCKETIO])
@pytest.mark.slow
async def test_what_is_heard_is_described_there_and_what_is_described_there_is_heard(
    tmp_path: Path, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(test_who_hears, "WebSocketClient", Recorder)
    async with house(tmp_path) as home:
        described = closed(await document(home, "asyncapi"))
        world = Told(home, transport)
        await world.make()
        await world.put_out()
        await world.walk()
        await world.peers["ben"][-1].answer("refresh-token", {"token": token_of("ben", 7200)})
        await world.peers["ben"][-1].answer("update-location", PLACE)
        await world.heard()
        heard: dict[str, set[str]] = {}
        for place, name, value in world.heard_at():
            schema = payload(described, spoken(described, place, "send")[name])
            assert fits(described, schema, value), (name, value)
            assert not fits(described, schema, {**value, "unknown": 1})
            assert not fits(described, schema, {})
            heard.setdefault(place, set()).add(name)
        assert heard == {place: set(spoken(described, place, "send")) for place in heard}
        assert len(heard) == (2 if transport == NATIVE else 1)
