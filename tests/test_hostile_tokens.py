"""Every hostile token at every door: none gets in, and each is told the same."""

import json
import re
import socket
import time
from pathlib import Path

import jwt
import pytest
import test_auth
from lines import Client
from server import House, house
from socketio_lines import WebSocketClient
from tornado.httpclient import AsyncHTTPClient

REFUSED = ("invalid_token", "Invalid token")


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The tokens of today; "good" is the one among them that must get in, or the others would prove nothing."""
    now = int(time.time())
    monkeypatch.setattr(test_auth, "NOW", now)
    monkeypatch.setattr(test_auth, "GOOD", {"sub": "ana", "exp": now + 600})
    return {"good": test_auth.forged(test_auth.HS256, test_auth.GOOD), **dict(test_auth.hostile())}


def secret() -> str:
    return test_auth.SECRET.decode()


def of_letters(token: object, letters: str = r"[!-~]+( [!-~]+)*") -> bool:
    """Whether a token can be said at all where only these letters can."""
    return isinstance(token, str) and len(token) < 30_000 and re.fullmatch(letters, token) is not None


async def native(home: House, path: str, **offer: object) -> tuple[str, str] | None:
    client = await Client.open(home.port, path, **offer)
    await client.answer()
    client.say("ping")
    _, text = await client.message()
    said = json.loads(text)
    if said["event"] != "session-error":
        client.hang_up()
        return None
    assert await client.closed() == 4401
    client.hang_up()
    return said["data"]["code"], said["data"]["message"]


async def socketio(home: House, token: object) -> tuple[str, str] | None:
    client = await WebSocketClient.open(home.port, "")
    await Client.answer(client)
    assert (await Client.message(client))[1].startswith(b"0{")
    client.packet(f"40{json.dumps({'token': token})}")
    _, packet = await Client.message(client)
    client.hang_up()
    if not packet.startswith(b"44"):
        return None
    refusal = json.loads(packet.removeprefix(b"44"))
    return refusal["data"]["code"], refusal["message"]


async def api(home: House, token: str) -> tuple[str, str] | None:
    answer = await AsyncHTTPClient().fetch(
        f"{home.url}/api/me", headers={"Authorization": f"Bearer {token}"}, raise_error=False
    )
    if answer.code == 200:
        return None
    assert answer.code == 401
    error = json.loads(answer.body)["error"]
    return error["code"], error["message"]


def check(found: dict[str, tuple[str, str] | None], at_least: int) -> None:
    assert found.pop("good") is None, "the good one must get in"
    assert len(found) >= at_least
    assert {kind: refusal for kind, refusal in found.items() if refusal != REFUSED} == {}


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/ws/ward", "/ws/guardian"])
async def test_none_gets_in_by_the_header_of_an_upgrade(tmp_path: Path, hostile: dict[str, object], path: str) -> None:
    async with house(tmp_path, jwt_secret=secret()) as home:
        said = {kind: token for kind, token in hostile.items() if of_letters(token)}
        check({kind: await native(home, path, token=token) for kind, token in said.items()}, 70)


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/ws/ward", "/ws/guardian"])
async def test_none_gets_in_by_the_subprotocol(tmp_path: Path, hostile: dict[str, object], path: str) -> None:
    async with house(tmp_path, jwt_secret=secret()) as home:
        said = {kind: token for kind, token in hostile.items() if of_letters(token, r"[\w.-]+")}
        offers = {kind: {"Sec-WebSocket-Protocol": f"liveguard.v1, bearer.{token}"} for kind, token in said.items()}
        check({kind: await native(home, path, headers=offer) for kind, offer in offers.items()}, 70)


@pytest.mark.slow
@pytest.mark.gen_test
async def test_none_gets_in_by_the_handshake_of_socketio(tmp_path: Path, hostile: dict[str, object]) -> None:
    async with house(tmp_path, jwt_secret=secret()) as home:
        # A lone surrogate is no JSON, and what is too large for a frame never gets as far as this.
        said = {
            kind: token
            for kind, token in hostile.items()
            if not isinstance(token, bytes) and "\\ud" not in json.dumps(token) and len(str(token)) < 30_000
        }
        check({kind: await socketio(home, token) for kind, token in said.items()}, 80)


@pytest.mark.gen_test
async def test_where_the_keys_cannot_be_had_the_client_may_try_again(tmp_path: Path) -> None:
    nobody = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{nobody.getsockname()[1]}/keys"
    nobody.close()
    token = jwt.encode({"sub": "ana", "exp": int(time.time()) + 600}, test_auth.RSA, "RS256")
    async with house(tmp_path, jwt_algorithm="RS256", jwt_jwks_url=address) as home:
        for path in ("/ws/ward", "/ws/guardian"):
            peer = await home.connect(path, token=token)
            assert (await peer.expect("session-error"))["message"] == "The identity provider cannot be reached"
            assert await peer.closed() == 1013
        client = await WebSocketClient.open(home.port, "")
        await Client.answer(client)
        await Client.message(client)
        client.packet(f"40{json.dumps({'token': token})}")
        assert await Client.closed(client) == 1013
        client.hang_up()


@pytest.mark.slow
@pytest.mark.gen_test
async def test_none_gets_in_by_http(tmp_path: Path, hostile: dict[str, object]) -> None:
    async with house(tmp_path, jwt_secret=secret()) as home:
        said = {kind: str(token) for kind, token in hostile.items() if of_letters(token)}
        check({kind: await api(home, token) for kind, token in said.items()}, 70)
