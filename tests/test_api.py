"""The JSON interface: what goes in, what comes out, and what is refused."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from server import PASSWORD, House, Peer, house, token_of
from shelf import change_elsewhere, held_elsewhere

RULE = "must be a text of 1 to 1,024 characters"
PLACE = {"latitude": 53.55, "longitude": 9.93, "battery": 64}


async def walk(home: House, name: str = "ana", metadata: Any = None) -> Peer:
    """Somebody has started a session."""
    ward = await home.ward(name)
    ward.say("start-live-session", metadata)
    await ward.expect("session-started")
    return ward


async def past_walk(home: House, name: str = "ana", metadata: Any = None) -> str:
    """Somebody has started a session and stopped it; its id."""
    ward = await walk(home, name, metadata)
    session_id = (await ward.answer("stop-live-session"))["data"]["sessionId"]
    await ward.leave()
    return str(session_id)


async def pair_of(home: House, ward: str, guardian: str) -> str:
    """The id of who guards whom."""
    listed = (await home.fetch("/api/guardians", who=ward)).json["guardians"]
    return next(str(entry["id"]) for entry in listed if entry["guardianId"] == guardian)


# -- signing in ----------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_who_signs_in_gets_a_token_that_opens_the_doors(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("ana",)) as home:
        answer = await home.fetch("/api/login", "POST", body={"email": "ANA@example.org", "password": PASSWORD})
        assert answer.status == 200
        assert set(answer.json) == {"token", "expiresAt", "user"}
        assert answer.json["user"] == {
            "id": "ana", "email": "ana@example.org", "firstName": "Ana", "lastName": "Winter", "isAdmin": False,
        }  # fmt: skip
        assert answer.json["expiresAt"].endswith("Z")
        me = await home.fetch("/api/me", headers={"Authorization": f"Bearer {answer.json['token']}"})
        assert me.json == answer.json["user"]
        ana = await home.connect("/ws/ward", token=answer.json["token"])
        assert (await ana.answer("ping"))["event"] == "pong"


@pytest.mark.gen_test
async def test_a_token_for_a_password_ends_with_it_and_others_do_not(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("ana", "ben")) as home:
        people, asked = home.server.people, {"email": "ana@example.org", "password": PASSWORD}
        program = {"User-Agent": "walker/2.1 (x86_64)"}
        first, second = [(await home.fetch("/api/login", "POST", body=asked, headers=program)).json for _ in range(2)]
        bearer = [{"Authorization": f"Bearer {one['token']}"} for one in (first, second)]
        page = (await home.fetch("/account", who="ana")).body.decode()
        assert page.count(">walker<") == 2
        # One place signs out, with all that it has open; the other, and what the operator gave out, stay.
        ana = await home.connect("/ws/guardian", token=first["token"])
        other = await home.guardian("ana")
        await people.logins.end_one(
            await people.accounts.identify("ana"), home.server.tokens.verify(first["token"]).login_id or ""
        )
        assert (await ana.expect("session-error"))["code"] == "authentication_required"
        assert (await ana.closed()) == 4401
        refused = await home.fetch("/api/me", headers=bearer[0])
        assert (refused.status, refused.error) == (401, "invalid_token")
        assert (await home.fetch("/api/me", headers=bearer[1])).status == 200
        # A connection that went on with a newer token ends with that one.
        assert (await other.answer("refresh-token", {"token": second["token"]}))["event"] == "token-refreshed"
        await people.accounts.set_password("ana", "another password")
        assert (await other.closed()) == 4401
        assert (await home.fetch("/api/me", headers=bearer[1])).error == "invalid_token"
        assert (await home.fetch("/api/me", who="ana")).status == 200
        # Nobody's token names somebody else's login, or none that there is.
        bens = (await home.fetch("/api/login", "POST", body={**asked, "email": "ben@example.org"})).json["token"]
        for login_id in (home.server.tokens.verify(bens).login_id, "none"):
            foreign, _ = home.server.tokens.issue("ana", 60, login_id)
            assert (await home.fetch("/api/me", headers={"Authorization": f"Bearer {foreign}"})).status == 401


@pytest.mark.gen_test
async def test_a_program_was_last_used_when_its_token_was(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("ana",)) as home:

        async def ends() -> list[int]:
            return [login.expires_at for login in await logins.of(await home.server.people.accounts.identify("ana"))]

        logins, asked = home.server.people.logins, {"email": "ana@example.org", "password": PASSWORD}
        token = (await home.fetch("/api/login", "POST", body=asked)).json["token"]
        change_elsewhere(home.database, "UPDATE logins SET last_used_at = last_used_at - 7200000")
        assert "2 h ago" in (await home.fetch("/account", who="ana")).text
        before = await ends()
        assert (await home.fetch("/api/me", headers={"Authorization": f"Bearer {token}"})).status == 200
        assert "2 h ago" not in (await home.fetch("/account", who="ana")).text
        assert await ends() == before  # unlike a browser, it lasts no longer by that


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_disk_that_takes_nothing_keeps_no_program_from_signing_in(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("ana",)) as home:
        with held_elsewhere(home.database, "IMMEDIATE"):
            asked = {"email": "ana@example.org", "password": PASSWORD}
            answer = (await home.fetch("/api/login", "POST", body=asked)).json
        lasts = datetime.fromisoformat(answer["expiresAt"]) - datetime.now(UTC)
        assert timedelta(minutes=58) < lasts <= timedelta(hours=1)
        assert (await home.fetch("/api/me", headers={"Authorization": f"Bearer {answer['token']}"})).status == 200


@pytest.mark.gen_test
async def test_a_wrong_password_and_an_unknown_person_are_answered_alike(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("ana",)) as home:
        wrong = await home.fetch("/api/login", "POST", body={"email": "ana@example.org", "password": "wrong"})
        unknown = await home.fetch("/api/login", "POST", body={"email": "nobody@example.org", "password": "wrong"})
        without = await home.fetch("/api/login", "POST", body={"email": "ben@example.org", "password": "wrong"})
        assert wrong.status == unknown.status == without.status == 401
        assert wrong.body == unknown.body == without.body
        assert wrong.error == "wrong_credentials"


@pytest.mark.gen_test
async def test_a_disabled_person_who_knows_the_password_hears_why(tmp_path: Path) -> None:
    async with house(tmp_path, with_password=("ana",)) as home:
        await home.server.people.accounts.disable("ana")
        answer = await home.fetch("/api/login", "POST", body={"email": "ana@example.org", "password": PASSWORD})
        assert (answer.status, answer.error) == (401, "account_inactive")


@pytest.mark.gen_test
async def test_whoever_guesses_has_to_wait(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        guess = {"email": "ben@example.org", "password": "guess"}
        for _ in range(5):
            assert (await home.fetch("/api/login", "POST", body=guess)).status == 401
        answer = await home.fetch("/api/login", "POST", body=guess)
        assert (answer.status, answer.error) == (429, "rate_limited")
        assert 1 <= int(answer.headers["Retry-After"]) <= 900


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "The body must be one JSON object"),
        ("{", "The body must be one JSON object"),
        ("[]", "The body must be one JSON object"),
        ("null", "The body must be one JSON object"),
        ('"ana"', "The body must be one JSON object"),
        ("\x00", "The body must be one JSON object"),
        ('{"email": "\\ud800", "password": "x"}', "The body must be one JSON object"),
        ("[" * 20_000, "The body must be one JSON object"),
        ('{"email": ' + "[" * 20_000, f"email {RULE}"),
        ("{}", "email is missing"),
        ('{"email": "ana@example.org"}', "password is missing"),
        ('{"email": 1, "password": "x"}', f"email {RULE}"),
        ('{"email": "ana@example.org", "password": null}', f"password {RULE}"),
        ('{"email": "", "password": "x"}', f"email {RULE}"),
        ('{"email": "ana@example.org", "password": "' + "x" * 1025 + '"}', f"password {RULE}"),
    ],
    ids=lambda text: text[:40],
)
@pytest.mark.gen_test
async def test_a_body_that_is_not_right_is_refused_by_name(tmp_path: Path, body: str, message: str) -> None:
    async with house(tmp_path) as home:
        answer = await home.fetch("/api/login", "POST", body=body)
        assert (answer.status, answer.error) == (400, "invalid_payload")
        assert answer.json["error"]["message"] == message


@pytest.mark.gen_test
async def test_a_body_that_is_too_large_is_refused_like_anything_else(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        for size in (64 * 1024 + 1, 3_000_000):
            answer = await home.fetch("/api/login", "POST", body="x" * size)
            assert (answer.status, answer.error) == (413, "too_large")


@pytest.mark.gen_test
async def test_who_sends_too_much_is_answered_once_all_is_sent(tmp_path: Path) -> None:
    # A proxy whose server is gone while it still sends, tells its client that the server is faulty.
    async with house(tmp_path) as home:
        reader, writer = await asyncio.open_connection("127.0.0.1", home.port)
        host = f"Host: 127.0.0.1:{home.port}\r\n"
        writer.write(f"POST /api/login HTTP/1.1\r\n{host}Content-Length: 3000000\r\n\r\n".encode())
        await writer.drain()
        assert (await home.fetch("/healthz")).status == 200  # the head has been read by then
        writer.write(b"x" * 3_000_000 + f"GET /healthz HTTP/1.1\r\n{host}\r\n".encode())
        assert (await reader.readline()).split()[1] == b"413"
        assert b"HTTP/1.1 200 OK" in await reader.readuntil(b'{"status": "ok"}')
        writer.close()


@pytest.mark.parametrize(
    ("authorization", "message"),
    [
        (None, "Authentication required"),
        ("Bearer ", "Authentication required"),
        ("Basic YW5hOmFuYQ==", "Authentication required"),
        (f"Bearer {token_of('ana', -10)}", "Token expired"),
        ("Bearer rubbish", "Invalid token"),
        (f"Bearer {token_of('nobody')}", "User not found"),
        (f"Bearer {token_of('tom')}", "Account inactive"),
    ],
)
@pytest.mark.gen_test
async def test_each_refusal_of_a_token_has_its_message(tmp_path: Path, authorization: str | None, message: str) -> None:
    async with house(tmp_path) as home:
        await home.server.people.accounts.disable("tom")
        answer = await home.fetch("/api/me", headers={"Authorization": authorization} if authorization else {})
        assert answer.status == 401
        assert answer.json["error"]["message"] == message
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.gen_test
async def test_the_cookie_signs_in_as_well_but_changes_nothing_without_the_forms_token(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        people = home.server.people
        login = await people.logins.begin(await people.accounts.find("ana"))
        browser = home.browser()
        browser.cookies["liveguard"] = login
        assert (await browser.get("/api/me")).json["id"] == "ana"
        body = {"email": "tom@example.org"}
        browser.cookies["liveguard_form"] = "00" * 16
        for form_token, status in (("", 403), ("11" * 16, 403), ("00" * 16, 201)):
            headers = {"Cookie": browser.cookie_header, "X-XSRFToken": form_token}
            answer = await home.fetch("/api/guardians", "POST", body=body, headers=headers)
            assert answer.status == status


# -- sessions ------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_running_session_is_listed_for_those_who_may_see_it(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        ben = await home.guardian("ben")
        ana = await walk(home, metadata={"note": "home"})
        await ana.answer("update-location", {**PLACE, "recordedAt": "2026-01-31T10:30:00.25+01:00"})
        place = {**PLACE, "recordedAt": "2026-01-31T09:30:00.250Z"}
        started = await ben.expect("guardian:session-started")
        assert {**(await ben.expect("location-updated"))["location"], "timestamp": ""} == {**place, "timestamp": ""}
        for who in ("ana", "ben", "chloe", "alex"):
            (listed,) = (await home.fetch("/api/sessions", who=who)).json["sessions"]
            alone = (await home.fetch(f"/api/sessions/{listed['sessionId']}", who=who)).json
            assert {**alone, "duration": 0} == {**listed, "duration": 0}
            location = listed.pop("lastLocation")
            assert {**location, "timestamp": ""} == {**place, "timestamp": ""}
            assert listed.pop("duration") in (0, 1)
            assert listed == {
                "sessionId": started["sessionId"], "wardId": "ana", "wardEmail": "ana@example.org",
                "wardFirstName": "Ana", "wardLastName": "Winter", "startTime": started["startTime"],
                "state": "active", "connectedGuardians": 1, "guardianIds": ["ben"], "metadata": {"note": "home"},
                "seq": started["seq"],
            }  # fmt: skip
        for who in ("tom", "mallory"):
            assert (await home.fetch("/api/sessions", who=who)).json == {"sessions": []}
            answer = await home.fetch(f"/api/sessions/{started['sessionId']}", who=who)
            assert (answer.status, answer.error) == (404, "not_found")


@pytest.mark.gen_test
async def test_an_interrupted_session_says_since_when_and_until_when(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        ben = await home.guardian("ben")
        ana = await walk(home)
        ana.lose()
        interrupted = await ben.expect("session-interrupted")
        (listed,) = (await home.fetch("/api/sessions", who="ben")).json["sessions"]
        assert listed["state"] == "interrupted"
        assert (listed["since"], listed["endsAt"]) == (interrupted["since"], interrupted["endsAt"])


@pytest.mark.gen_test
async def test_an_ended_session_is_no_longer_listed_but_found_by_its_id_and_in_the_history(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        session_id = await past_walk(home, metadata={"note": "home"})
        assert (await home.fetch("/api/sessions", who="ben")).json == {"sessions": []}
        ended = (await home.fetch(f"/api/sessions/{session_id}", who="ben")).json
        assert (ended["state"], ended["reason"], ended["metadata"]) == ("ended", "manual_stop", {"note": "home"})
        (listed,) = (await home.fetch("/api/history", who="ben")).json["sessions"]
        assert {**listed, "state": "ended"} == ended
        assert set(listed) >= {"sessionId", "wardId", "wardEmail", "startTime", "endTime", "duration", "reason", "seq"}
        for who in ("tom", "mallory"):
            assert (await home.fetch("/api/history", who=who)).json == {"sessions": []}
            assert (await home.fetch(f"/api/sessions/{session_id}", who=who)).status == 404


@pytest.mark.gen_test
async def test_the_history_is_read_page_by_page_the_newest_first(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        ids = [await past_walk(home) for _ in range(5)]
        read: list[str] = []
        cursor = ""
        while len(read) < 5:
            page = (await home.fetch(f"/api/history?limit=2{cursor}", who="ben")).json
            read += [session["sessionId"] for session in page["sessions"]]
            cursor = f"&cursor={page.get('nextCursor')}"
        assert read == ids[::-1]
        assert "nextCursor" not in page


@pytest.mark.gen_test
async def test_the_history_is_narrowed_by_ward_and_time(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        anas, toms = await past_walk(home, "ana"), await past_walk(home, "tom")

        async def found(who: str, query: str) -> set[str]:
            answer = await home.fetch(f"/api/history?{query}", who=who)
            assert answer.status == 200, answer.text
            return {session["sessionId"] for session in answer.json["sessions"]}

        start = (await home.fetch(f"/api/sessions/{toms}", who="tom")).json["startTime"]
        assert await found("ben", "ward=ana") == {anas}
        assert await found("ben", f"from={start}") == {toms}
        assert await found("ben", f"to={start}") == {anas}
        assert await found("ben", "from=2026-01-01&to=9999-12-31T00:00:00Z") == {anas, toms}
        assert await found("ben", "from=9999-01-01T00:00:00%2B01:00") == set()
        assert await found("ben", "from=0001-01-01T00:00:00%2B14:00") == {anas, toms}
        assert await found("chloe", "ward=tom") == set()
        assert await found("alex", "ward=tom&limit=1000000") == {toms}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"), ("limit=-1", "limit"), ("limit=x", "limit"), ("limit=", "limit"), ("limit=1.5", "limit"),
        ("limit=%D9%A3", "limit"), ("limit=99999999999999999999", "limit"),
        ("from=yesterday", "from"), ("to=2026-01-31T09:30:00", "to"),
        ("to=", "to"), ("cursor=x", "cursor"), ("cursor=", "cursor"), ("cursor=1.2.3", "cursor"),
        ("cursor=%D9%A3.%D9%A3", "cursor"), (f"cursor={'9' * 25}.1", "cursor"),
    ],
)  # fmt: skip
@pytest.mark.gen_test
async def test_a_senseless_question_to_the_history_is_refused_by_name(tmp_path: Path, query: str, field: str) -> None:
    async with house(tmp_path) as home:
        answer = await home.fetch(f"/api/history?{query}", who="ben")
        assert (answer.status, answer.error) == (400, "invalid_payload")
        assert answer.json["error"]["message"].startswith(f"{field} must be")


@pytest.mark.parametrize("path", ["/api/history?ward=%ff", "/api/sessions/%ff", "/api/sessions/%00"])
@pytest.mark.gen_test
async def test_an_address_that_is_no_text_is_refused_like_anything_else(tmp_path: Path, path: str) -> None:
    async with house(tmp_path) as home:
        answer = await home.fetch(path, who="ben")
        assert (answer.status, answer.error) in ((400, "invalid_request"), (404, "not_found"))


# -- who guards whom -----------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_an_invitation_is_accepted_by_the_invited_one_and_has_one_id_for_both_sides(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        invited = await home.fetch("/api/guardians", "POST", body={"email": "MALLORY@example.org"}, who="ana")
        assert invited.status == 201
        assert set(invited.json) == {"id", "status"}
        assert invited.json["status"] == "pending"
        pair_id = invited.json["id"]
        (asked,) = (await home.fetch("/api/wards", who="mallory")).json["wards"]
        assert asked["id"] == pair_id
        assert (asked["status"], asked["wardId"], asked["email"]) == ("pending", "ana", "ana@example.org")
        assert (await home.fetch("/api/sessions", who="mallory")).json == {"sessions": []}
        accepted = await home.fetch(f"/api/invitations/{pair_id}/accept", "POST", who="mallory")
        assert (accepted.status, accepted.json) == (200, {"id": pair_id, "status": "accepted"})
        assert await pair_of(home, "ana", "mallory") == pair_id
        again = await home.fetch(f"/api/invitations/{pair_id}/accept", "POST", who="mallory")
        assert (again.status, again.json) == (200, accepted.json)
        otherwise = await home.fetch(f"/api/invitations/{pair_id}/decline", "POST", who="mallory")
        assert (otherwise.status, otherwise.error) == (409, "conflict")
        invited = await home.fetch("/api/guardians", "POST", body={"email": "mallory@example.org"}, who="ana")
        assert (invited.status, invited.json) == (201, accepted.json)


@pytest.mark.gen_test
async def test_an_invitation_that_was_declined_or_ended_can_be_made_again(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        pair_id = await pair_of(home, "ana", "ben")
        ended = await home.fetch(f"/api/guardians/{pair_id}", "DELETE", who="ana")
        assert (ended.status, ended.json) == (200, {"id": pair_id, "status": "revoked"})
        again = await home.fetch("/api/guardians", "POST", body={"email": "ben@example.org"}, who="ana")
        assert again.json == {"id": pair_id, "status": "pending"}
        declined = await home.fetch(f"/api/invitations/{pair_id}/decline", "POST", who="ben")
        assert declined.json == {"id": pair_id, "status": "declined"}
        again = await home.fetch("/api/guardians", "POST", body={"email": "ben@example.org"}, who="ana")
        assert again.json == {"id": pair_id, "status": "pending"}
        back = await home.fetch(f"/api/guardians/{pair_id}", "DELETE", who="ben")
        assert back.json == {"id": pair_id, "status": "revoked"}


@pytest.mark.gen_test
async def test_what_is_accepted_or_ended_while_a_session_runs_takes_effect_at_once(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        mallory = await home.guardian("mallory")
        ana = await walk(home)
        invited = await home.fetch("/api/guardians", "POST", body={"email": "mallory@example.org"}, who="ana")
        assert "guardian:session-started" not in await mallory.all_so_far()
        await home.fetch(f"/api/invitations/{invited.json['id']}/accept", "POST", who="mallory")
        await mallory.expect("guardian:session-started")
        await home.fetch(f"/api/guardians/{invited.json['id']}", "DELETE", who="ana")
        await mallory.expect("guardian:access-revoked")
        await ana.answer("update-location", PLACE)
        assert await mallory.all_so_far() == []


@pytest.mark.gen_test
async def test_only_those_whom_it_concerns_can_answer_or_end_an_invitation(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        invited = (await home.fetch("/api/guardians", "POST", body={"email": "tom@example.org"}, who="ana")).json
        for answer in ("accept", "decline"):
            path = f"/api/invitations/{invited['id']}/{answer}"
            assert (await home.fetch(path, "POST", who="mallory")).status == 404
            assert (await home.fetch(path, "POST", who="alex")).status == 404
            assert (await home.fetch(path, "POST", who="ana")).status == 403
        assert (await home.fetch(f"/api/guardians/{invited['id']}", "DELETE", who="mallory")).status == 404
        assert (await home.fetch("/api/guardians/nothing", "DELETE", who="ana")).status == 404
        assert (await home.fetch(f"/api/invitations/{invited['id']}/maybe", "POST", who="tom")).status == 404
        await home.fetch(f"/api/invitations/{invited['id']}/accept", "POST", who="tom")
        again = await home.fetch(f"/api/invitations/{invited['id']}/decline", "POST", who="tom")
        assert (again.status, again.error) == (409, "conflict")


@pytest.mark.gen_test
async def test_nobody_invites_themselves_or_somebody_who_is_not_known(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        own = await home.fetch("/api/guardians", "POST", body={"email": "ana@example.org"}, who="ana")
        assert (own.status, own.error) == (400, "invalid_payload")
        for email in ("nobody@example.org", "no email", "\u0000"):
            unknown = await home.fetch("/api/guardians", "POST", body={"email": email}, who="ana")
            assert (unknown.status, unknown.error) == (404, "not_found")


# -- what is not there ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/nothing", "/sessions/", "/sessions/a/b", "/login/", "//me"])
@pytest.mark.gen_test
async def test_what_is_not_there_is_said_in_the_same_shape(tmp_path: Path, path: str) -> None:
    async with house(tmp_path) as home:
        for method in ("GET", "POST"):
            answer = await home.fetch(f"/api{path}", method, body="" if method == "POST" else None, who="ben")
            assert (answer.status, answer.error) == (404, "not_found")


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [
        ("/api/login", "GET", "POST"),
        ("/api/me", "POST", "GET, HEAD"),
        ("/api/guardians", "DELETE", "GET, HEAD, POST"),
        ("/api/guardians/x", "GET", "DELETE"),
        ("/api/sessions", "OPTIONS", "GET, HEAD"),
        ("/healthz", "PUT", "GET, HEAD"),
        ("/api/me", "BREW", "GET, HEAD"),
        ("/api/me", "TRACE", "GET, HEAD"),
    ],
)
@pytest.mark.gen_test
async def test_a_method_that_is_not_known_is_refused_with_those_that_are(
    tmp_path: Path, path: str, method: str, allowed: str
) -> None:
    async with house(tmp_path) as home:
        answer = await home.fetch(path, method)
        assert (answer.status, answer.error) == (405, "method_not_allowed")
        assert answer.headers["Allow"] == allowed


@pytest.mark.gen_test
async def test_head_is_answered_as_get_without_its_body(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        whole, head = await home.fetch("/api/me", who="ana"), await home.fetch("/api/me", "HEAD", who="ana")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["Content-Length"] == whole.headers["Content-Length"] == str(len(whole.body))


@pytest.mark.gen_test
async def test_a_hundred_questions_at_once_are_all_answered(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        answers = await asyncio.gather(*(home.fetch("/api/me", who=who) for who in ("ana", "ben") * 50))
        assert [answer.json["id"] for answer in answers] == ["ana", "ben"] * 50
