"""Rubbish at every door, drawn at random from what is nearly right: messages, frames, requests, packets of Engine.IO.

Whatever comes, nothing is answered as a fault of ours, nothing is logged as one, whoever comes next is served, and
nothing is left behind. A seed is part of each failure; ``--torture`` draws anew each time.
"""

import asyncio
import json
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from lines import Client, client_frame, event_frame
from server import House, house, token_of
from socketio_lines import POLLING, WEBSOCKET, emptied, shake_hands
from test_who_may import addresses
from turns import in_short_turns

from liveguard.events import SERVER_EVENTS
from liveguard.web.websocket import TEXT

pytestmark = pytest.mark.slow

VALID: dict[str, Any] = {
    "start-live-session": {"note": "with the red umbrella"},
    "stop-live-session": {},
    "update-location": {"latitude": 48.2, "longitude": 16.4, "accuracy": 5, "recordedAt": "2026-01-31T09:30:00Z"},
    "send-message": {"text": "nearly there", "wardId": "ana"},
    "refresh-token": {"token": "a.b.c"},
    "ping": {},
}
STRANGE_TEXTS = (
    "", "\0", "\r\nERROR forged", "\u202e\u2066", "\ufeff", "\U0001f6a8" * 50, "<script>", "' OR 1=1 --", "../../etc",
    "%00", "x" * 5000, "constructor", "__proto__", "NaN", "ana",
)  # fmt: skip
STRANGE_JSON = (
    "null", "true", "[]", "{}", "-0", "1e999", "-1e-999", "9" * 400, "0.1", "NaN", "Infinity", '"\\ud800"', '"\\u0000"',
    "[" * 40 + "]" * 40, '{"a":' * 20 + "1" + "}" * 20, "[" * 3000, '{"a":1,"a":2}', '"\\x"', "01", "",
)  # fmt: skip
LONG_JSON = "[" + "[]," * 20_000 + "1]", '{"a":[' + "1e308," * 10_000 + "1]}"  # which may take long to read
CLOSINGS = {*range(1000, 1015), *range(3000, 5000)}  # what may be said, or is answered with the same (RFC 6455, 7.4)


@pytest.fixture
def chance(torture: bool) -> random.Random:
    """The seed is new in each run at full size, and always the same otherwise."""
    seed = time.time_ns() if torture else 20_260_131
    print("seed", seed)
    return random.Random(seed)


@pytest.fixture(autouse=True)
def no_long_turn() -> Iterator[None]:
    """Nothing keeps all others waiting. All that waits for the disk, or that takes long by design, is done in other
    threads."""
    with in_short_turns(5):
        yield


def message(chance: random.Random) -> str:
    """A message that is right, nearly right, or not at all."""
    event, data = chance.choice(list(VALID.items()))
    fields = {name: json.dumps(value) for name, value in data.items()}
    kind = chance.randrange(8)
    if kind < 3 and fields:
        fields[chance.choice(list(fields))] = strange(chance)
    elif kind == 3:
        fields[chance.choice(STRANGE_TEXTS)] = strange(chance) if chance.random() < 0.9 else chance.choice(LONG_JSON)
    told = ",".join(f"{json.dumps(name)}:{value}" for name, value in fields.items())
    parts = {"event": json.dumps(event), "data": f"{{{told}}}", "id": json.dumps(str(chance.random()))}
    if kind == 4:
        parts[chance.choice(list(parts))] = strange(chance)
    elif kind == 5:
        del parts[chance.choice(list(parts))]
    text = "{" + ",".join(f'"{name}":{part}' for name, part in parts.items()) + "}"
    if kind >= 6:
        text = damaged(text, chance)
    return text


def strange(chance: random.Random) -> str:
    return json.dumps(chance.choice(STRANGE_TEXTS)) if chance.random() < 0.5 else chance.choice(STRANGE_JSON)


def damaged(text: str, chance: random.Random) -> str:
    """With something cut out, put in or doubled."""
    start, end = sorted(chance.randrange(len(text) + 1) for _ in range(2))
    middle = chance.choice(["", text[start:end] * 2, chance.choice(STRANGE_TEXTS), chr(chance.randrange(0xD800))])
    return text[:start] + middle + text[end:]


async def heard_until(client: Client, id: str) -> None:
    """Read on until this is answered; whatever comes is one of the protocol's events and no fault of ours."""
    while True:
        event = await client.event()
        assert event["event"] in SERVER_EVENTS
        assert event["data"].get("code") != "internal_error", event
        if event.get("replyTo") == id:
            return


async def somebody_is_served(home: House) -> None:
    """Ida starts and stops, and Ben hears of it."""
    ida, ben = await home.ward("ida"), await home.guardian("ben")
    assert (await ida.answer("start-live-session"))["event"] == "session-started"
    await ben.expect("guardian:session-started", wardId="ida")
    assert (await ida.answer("stop-live-session"))["event"] == "session-ended"
    await ben.expect("session-ended", wardId="ida")
    await ida.leave()
    await ben.leave()
    await emptied(home.server)


@pytest.mark.gen_test(timeout=3600)
async def test_no_message_is_a_fault_of_ours(tmp_path: Path, chance: random.Random, torture: bool) -> None:
    async with house(tmp_path, rate_limit=0) as home:
        doors = (("/ws/ward", "ana"), ("/ws/guardian", "ben"))
        clients = [await Client.open(home.port, path, token=token_of(name)) for path, name in doors]
        for client in clients:
            await client.answer()
        for turn in range((1_000_000 if torture else 3_000) // 100):
            for client in clients:
                for _ in range(50):
                    client.frame(TEXT, message(chance).encode())
                # A stop is answered after all that was asked before it.
                client.say("stop-live-session", id=f"alive {turn}")
                await heard_until(client, f"alive {turn}")
            assert home.server.live.sessions.get_active_session_count() <= 1
        for client in clients:
            client.close(1000)
            await client.closed()
            client.hang_up()
        await somebody_is_served(home)


def frames(chance: random.Random) -> Iterator[bytes]:
    """Some frames of which one or another is not as it should be."""
    for _ in range(chance.randint(1, 10)):
        payload = chance.choice([b"", b"\xff", message(chance).encode()[:300], chance.randbytes(chance.randrange(200))])
        opcode = chance.choice([0, 1, 1, 1, 2, 8, 9, 10, chance.randrange(16)])
        frame = client_frame(opcode, payload, final=chance.random() < 0.8, masked=chance.random() < 0.95)
        if chance.random() < 0.2:
            place = chance.randrange(len(frame))
            frame = frame[:place] + bytes([chance.randrange(256)]) + frame[place + 1 :]
        yield frame


@pytest.mark.gen_test(timeout=3600)
async def test_no_frame_is_a_fault_of_ours(tmp_path: Path, chance: random.Random, torture: bool) -> None:
    async with house(tmp_path, rate_limit=0) as home:
        sent, codes = 0, set()
        while sent < (100_000 if torture else 600):
            client = await Client.open(home.port, chance.choice(["/ws/ward", "/ws/guardian"]), token=token_of("ana"))
            await client.answer()
            for frame in frames(chance):
                sent += 1
                cut = chance.randrange(len(frame) + 1)
                client.raw(frame[:cut])
                if chance.random() < 0.1:
                    await asyncio.sleep(0)  # the halves come in two turns
                client.raw(frame[cut:])
            # Whether a frame is still open or not: this is the end of it, or a frame of its own.
            client.close(1000)
            client._writer.write_eof()
            codes.add(await client.closed())
            client.hang_up()
        assert codes <= CLOSINGS
        await somebody_is_served(home)


def request(chance: random.Random) -> bytes:
    """A request for one of our addresses, with something strange in it."""
    method, _, path = chance.choice(addresses()).partition(" ")
    path = re.sub(r"{\w+\*?}", lambda _: quote(chance.choice([*STRANGE_TEXTS, "a", "%ff"])[:300], safe="%/."), path)
    if chance.random() < 0.5:
        names = ("from", "to", "ward", "limit", "cursor", "next", "q", "since", "EIO", "transport", "sid", "after")
        values = (*STRANGE_TEXTS[:10], "-1", "9" * 30, "1e9", "2026-13-45", "null", "polling")
        path += "?" + "&".join(f"{chance.choice(names)}={quote(chance.choice(values))}" for _ in range(3))
    if chance.random() < 0.1:
        method = chance.choice(["PUT", "PATCH", "OPTIONS", "HEAD", "BREW", "get", "CONNECT"])
    headers = {"Host": "127.0.0.1:{port}", "Connection": "close", "Cookie": "liveguard_form=" + "00" * 16}
    who = chance.choice(["ana", "ben", "mallory", "alex", None])
    if who is not None:
        headers["Authorization"] = f"Bearer {token_of(who)}"
    body = b""
    if method in ("POST", "PUT", "PATCH"):
        kind = chance.choice(["application/json", "application/x-www-form-urlencoded", "multipart/form-data", "x", ""])
        json_body = "{" + ",".join(f'"{name}":{strange(chance)}' for name in ("email", "password", "ward")) + "}"
        form = (
            "_xsrf="
            + "00" * 16
            + "".join(
                f"&{name}={quote(chance.choice(STRANGE_TEXTS)[:500])}"
                for name in (
                    "email",
                    "password",
                    "name",
                    "ward",
                    "guardian",
                    "first_name",
                    "language",
                    "old",
                    "new",
                    "next",
                )
            )
        )
        body = chance.choice([json_body, form, message(chance), "%", "\0"]).encode()
        headers |= {"Content-Type": kind, "Content-Length": str(len(body))}
    if chance.random() < 0.15:
        name = chance.choice(
            ["Range", "If-None-Match", "Accept-Language", "Expect", "X-Forwarded-For", "Content-Encoding"]
        )
        headers[name] = chance.choice(["\t", "bytes=9-1", "de;q=x,,;", '"', "gzip", "x" * 900, "*", "1.2.3", "\u00fc"])
    head = "\r\n".join([f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""])
    return head.encode() + body


async def answer_to(home: House, request: bytes) -> bytes:
    """The first line of what comes back, if anything does."""
    reader, writer = await asyncio.open_connection("127.0.0.1", home.port)
    writer.write(request.replace(b"{port}", str(home.port).encode()))
    try:
        line = await asyncio.wait_for(reader.readline(), 15)
        await reader.read()
    except ConnectionError:
        line = b""
    writer.close()
    return line


@pytest.mark.gen_test(timeout=3600)
async def test_no_request_is_a_fault_of_ours(tmp_path: Path, chance: random.Random, torture: bool) -> None:
    async with house(tmp_path) as home:
        for _ in range(100_000 if torture else 600):
            asked = request(chance)
            line = await answer_to(home, asked)
            assert re.match(rb"HTTP/1\.1 [1234]\d\d ", line), (line, asked)
            rubbish = chance.randbytes(50) if chance.random() < 0.5 else asked.replace(b"\r\n", chance.randbytes(1), 2)
            line = await answer_to(home, rubbish + b"\r\n\r\n")
            assert line == b"" or re.match(rb"HTTP/1\.1 [1234]\d\d ", line), (line, rubbish)
        await somebody_is_served(home)


def packets(chance: random.Random) -> str:
    """What a client of Engine.IO might say, and might not."""
    event, data = chance.choice(list(VALID.items()))
    right = ["40" + json.dumps({"token": token_of("ana")}), "41", "1", "3", "2probe", "5", "6", "4", "42", ""]
    right += [
        f"42{json.dumps([event, data])}",
        f"42{chance.randrange(99)}{json.dumps([event])}",
        f"42[{strange(chance)}]",
    ]
    right += ['451-["stop-live-session",{"_placeholder":true,"num":0}]', "42/other,[]", "43[1]", "44{}", "bAAAA", "9"]
    text = "\x1e".join(chance.choice(right) for _ in range(chance.randint(1, 4)))
    return damaged(text, chance) if chance.random() < 0.4 else text


@pytest.mark.gen_test(timeout=3600)
async def test_no_packet_is_a_fault_of_ours(tmp_path: Path, chance: random.Random, torture: bool) -> None:
    async with house(tmp_path, rate_limit=0) as home:
        for _ in range((20_000 if torture else 400) // 8):
            address = f"{POLLING}&sid={await shake_hands(home)}"
            for _ in range(4):
                body = packets(chance).encode(errors="replace")
                answer = await home.fetch(address, "POST", body=body, headers={"Content-Type": "text/plain"})
                assert answer.status < 500, body
            client = await Client.open(home.port, WEBSOCKET)
            await client.answer()
            for _ in range(4):
                client.frame(TEXT, packets(chance).encode(errors="replace"))
            client.raw(event_frame("ping"))
            client.close(1000)
            assert await client.closed() in CLOSINGS
            client.hang_up()
            await home.fetch(address, "POST", body="1")
        await somebody_is_served(home)
