"""The doors of the native transport: who may open a WebSocket, as whom, and what the others are told."""

from pathlib import Path

import jwt
import pytest
from exchange import Exchange
from server import token_of
from tornado.ioloop import IOLoop


@pytest.fixture
def house(io_loop: IOLoop, tmp_path: Path) -> Exchange:
    return Exchange(tmp_path)


async def refusal_of(client):
    """Code and message of the refusal that this client reads, and with which code it is closed."""
    error = await client.event()
    assert error["event"] == "session-error"
    assert "replyTo" not in error
    return error["data"]["code"], error["data"]["message"], await client.closed()


# -- tokens --------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_token_in_the_header_opens_the_door(house):
    async with house:
        ana = await house.client("/ws/ward", token=token_of("ana"))
        assert ana.status == 101
        assert "sec-websocket-protocol" not in ana.headers
        ana.say("ping")
        assert (await ana.event())["event"] == "pong"


@pytest.mark.gen_test
async def test_a_token_among_the_subprotocols_opens_the_door(house):
    async with house:
        offer = f"liveguard.v1, bearer.{token_of('ana')}"
        ana = await house.client("/ws/ward", headers={"Sec-WebSocket-Protocol": offer})
        assert ana.headers["sec-websocket-protocol"] == "liveguard.v1"
        ana.say("ping")
        assert (await ana.event())["event"] == "pong"


@pytest.mark.gen_test
async def test_the_header_comes_before_the_subprotocols(house):
    async with house:
        offer = f"liveguard.v1, bearer.{token_of('ana')}"
        client = await house.client("/ws/ward", token="rubbish", headers={"Sec-WebSocket-Protocol": offer})
        assert client.headers["sec-websocket-protocol"] == "liveguard.v1"
        assert await refusal_of(client) == ("invalid_token", "Invalid token", 4401)


@pytest.mark.gen_test
@pytest.mark.parametrize("offer", ["", "liveguard.v1", "bearer.{token}", "chat, superchat", "liveguard.v1, bearer."])
async def test_an_offer_that_is_not_the_pair_is_no_sign_in(house, offer):
    async with house:
        client = await house.client("/ws/ward", headers={"Sec-WebSocket-Protocol": offer.format(token=token_of("ana"))})
        assert await refusal_of(client) == ("authentication_required", "Authentication required", 4401)


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/ws/ward", "/ws/guardian"])
@pytest.mark.parametrize(
    ("token", "code", "message"),
    [
        (None, "authentication_required", "Authentication required"),
        (token_of("ana", -1), "token_expired", "Token expired"),
        (token_of("ana") + "x", "invalid_token", "Invalid token"),
        (jwt.encode({"sub": "ana", "exp": 2e9}, "another secret, just as long as ours", "HS256"), "invalid_token",
         "Invalid token"),
        (token_of("nobody"), "user_not_found", "User not found"),
        (token_of("tom"), "account_inactive", "Account inactive"),
    ],
    ids=["no token", "expired", "damaged", "forged", "unknown", "inactive"],
)  # fmt: skip
async def test_each_refusal_is_read_and_then_the_door_is_closed(house, path, token, code, message):
    async with house:
        await house.people.accounts.disable("tom")
        client = await house.client(path, token=token)
        assert await refusal_of(client) == (code, message, 4401)
        client.close(4401)
        await client.ended()
        await house.wires.all_closed()
        assert len(house.connections) == len(house.wires) == 0


@pytest.mark.gen_test
async def test_a_refusal_is_read_even_by_those_who_have_already_said_much(house):
    async with house:
        client = await house.client("/ws/ward", token="rubbish", first=b"\x00" * 200_000)
        assert await refusal_of(client) == ("invalid_token", "Invalid token", 4401)


@pytest.mark.slow
@pytest.mark.gen_test
async def test_when_nobody_can_be_looked_up_the_client_may_try_again(house):
    async with house:
        with house.locked_database():
            client = await house.client("/ws/ward", token=token_of("ana"))
            code, _, close_code = await refusal_of(client)
        assert (code, close_code) == ("unavailable", 1013)


# -- the dashboard's cookie ----------------------------------------------------------------------------------------


async def cookie_of_ben(house):
    return f"liveguard={await house.people.logins.begin(await house.people.accounts.find('ben'))}"


@pytest.mark.gen_test
async def test_a_page_of_ours_is_let_in_by_its_cookie(house):
    async with house:
        headers = {"Cookie": await cookie_of_ben(house), "Origin": f"http://127.0.0.1:{house.port}"}
        for path in ("/ws/guardian", "/ws/guardian?viewer=ben"):
            ben = await house.client(path, headers=headers)
            assert (await ben.event())["event"] == "guardian:snapshot"
        # A page that is still open is Ana's, and somebody else has signed in in her browser since.
        for path in ("/ws/ward?viewer=ana", "/ws/guardian?viewer=ana"):
            client = await house.client(path, headers=headers)
            assert await refusal_of(client) == ("authentication_required", "Authentication required", 4401)


@pytest.mark.gen_test
async def test_a_cookie_without_an_origin_is_no_sign_in(house):
    async with house:
        client = await house.client("/ws/guardian", headers={"Cookie": await cookie_of_ben(house)})
        assert await refusal_of(client) == ("authentication_required", "Authentication required", 4401)


@pytest.mark.gen_test
async def test_whoever_signs_out_is_shut_out(house):
    async with house:
        headers = {"Cookie": await cookie_of_ben(house), "Origin": f"http://127.0.0.1:{house.port}"}
        page, device = await house.client("/ws/guardian", headers=headers), await house.guardian("ben")
        await page.hear("guardian:snapshot")
        await device.hear("guardian:snapshot")
        await house.people.logins.end_all(await house.people.accounts.find("ben"))
        assert (await page.hear("session-error"))["data"]["code"] == "authentication_required"
        assert await page.closed() == 4401
        device.say("ping")
        assert (await device.event())["event"] == "pong"


# -- Host and Origin -----------------------------------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/ws/ward", "/ws/guardian"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
        {"Host": "evil.example:{port}", "Origin": "http://evil.example:{port}"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "https://127.0.0.1:{port}"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:{port}.evil.example"},
        {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
    ],
)
async def test_a_foreign_host_or_origin_is_refused_before_the_token_is_looked_at(house, path, headers):
    async with house:
        headers = {name: value.format(port=house.port) for name, value in headers.items()}
        for token in (token_of("ana"), "rubbish", None):
            client = await house.client(path, token=token, headers=headers)
            if headers.get("Host") == "":
                assert client.status in (400, 403)
            else:
                assert client.status == 403
                assert (await client.body())["error"]["code"] == "not_allowed"
            client.hang_up()
            await client.ended()
        assert len(house.connections) == len(house.wires) == 0


@pytest.mark.gen_test
@pytest.mark.parametrize("site", ["same-origin", "same-site", "cross-site", "none"])
async def test_our_own_origin_is_welcome(house, site):
    async with house:
        headers = {"Origin": f"http://127.0.0.1:{house.port}", "Sec-Fetch-Site": site}
        ana = await house.client("/ws/ward", token=token_of("ana"), headers=headers)
        assert ana.status == 101


# -- the request ---------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "headers",
    [
        {"Upgrade": ""},
        {"Upgrade": "h2c"},
        {"Connection": "keep-alive"},
        {"Sec-WebSocket-Version": "8"},
        {"Sec-WebSocket-Version": ""},
        {"Sec-WebSocket-Key": ""},
        {"Sec-WebSocket-Key": "short"},
    ],
)
async def test_what_is_not_an_upgrade_is_refused_like_any_other_request(house, headers):
    async with house:
        client = await house.client("/ws/ward", token=token_of("ana"), headers=headers)
        assert client.status == 400
        assert (await client.body())["error"]["code"] == "invalid_message"


@pytest.mark.gen_test
@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE"])
async def test_other_methods_are_refused(house, method):
    async with house:
        client = await house.client("/ws/ward", method=method, token=token_of("ana"))
        assert client.status == 405
        assert client.headers["allow"] == "GET"


@pytest.mark.gen_test
@pytest.mark.parametrize("since", ["", "x", "-1", "1.5", "9" * 30, "%00", "1&since=2"])
async def test_a_standing_that_makes_no_sense_is_none(house, since):
    async with house:
        ben = await house.client(f"/ws/guardian?since={since}", token=token_of("ben"))
        assert (await ben.event())["event"] == "guardian:snapshot"


@pytest.mark.gen_test
async def test_a_guardian_is_told_what_it_has_missed_since_it_stood_there(house):
    async with house:
        ana = await house.ward("ana")
        for _ in range(3):
            ana.say("start-live-session")
            await ana.hear("session-started")
            ana.say("stop-live-session")
            last = await ana.hear("session-ended")
        first_seq = last["data"]["seq"] - 3
        ben = await house.guardian("ben", since=first_seq)
        snapshot = await ben.event()
        assert (snapshot["event"], snapshot["data"]["seq"]) == ("guardian:snapshot", first_seq)
        missed = [await ben.event() for _ in range(2)]
        assert [event["data"]["seq"] for event in missed] == [first_seq + 1, first_seq + 3]


@pytest.mark.gen_test
async def test_what_an_old_page_has_not_seen_is_not_told_to_other_devices_again(house):
    async with house:
        ben = await house.guardian("ben")
        snapshot = await ben.hear("guardian:snapshot")
        ana = await house.ward("ana")
        ana.say("start-live-session")
        await ana.hear("session-started")
        ana.say("stop-live-session")
        await ben.hear("session-ended")
        ben.close(1000)
        await ben.closed()
        await house.live.write_lazily()
        page = await house.guardian("ben", since=snapshot["data"]["seq"])
        await page.hear("session-ended")
        app = await house.guardian("ben")
        assert (await app.event())["data"]["seq"] == snapshot["data"]["seq"] + 2
        app.say("ping")
        assert (await app.event())["event"] == "pong"
