"""What a network does to a server: the dead are found, the living stay, the slow cost little, and all may come back.

The figures of these tests are printed; ``-rP`` shows them.
"""

import asyncio
import contextlib
import signal
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
from lines import Client
from proxy import Link, Proxy
from server import Peer, Process, house, move_in, process, token_of
from shelf import held_elsewhere

from liveguard.web import strangers

pytestmark = pytest.mark.slow

TEXT = {"text": "x" * 2000}
HOUR = 3600


async def move_in_many(
    folder: Path, wards: list[str], guardians: list[str], guards: dict[str, tuple[str, ...]]
) -> None:
    """People by the dozen."""
    cast = {name: name.title() for name in wards + guardians}
    await move_in(folder / "liveguard.db", cast=cast, guarded_by=guards)


async def behind(proxy: Proxy, name: str) -> tuple[Peer, Link]:
    """A ward on the other side of the proxy, with a session; and the link to them."""
    host = {"Host": f"127.0.0.1:{proxy.server_port}"}
    client = await Client.open(proxy.port, "/ws/ward", token=token_of(name), headers=host)
    await client.answer()
    assert client.status == 101, client.status
    peer, link = Peer(client), proxy.links[-1]
    assert (await peer.answer("start-live-session"))["event"] == "session-started"
    return peer, link


async def interrupted(ben: Peer, since: dict[str, float], patience: float) -> dict[str, float]:
    """After how long the guardian hears of each of these wards that their connection is lost."""
    found = {}
    while len(found) < len(since):
        event = await ben.expect("session-interrupted", patience=patience)
        found[event["wardId"]] = time.monotonic() - since[event["wardId"]]
    return found


# -- the dead and the living ---------------------------------------------------------------------------------------


@pytest.mark.gen_test(timeout=120)
async def test_the_dead_are_found_in_time_and_whoever_is_only_far_away_stays(tmp_path: Path, torture: bool) -> None:
    size = 200 if torture else 12
    silent, broken = [f"silent-{n}" for n in range(size)], [f"broken-{n}" for n in range(size)]
    far = [f"far-{n}" for n in range(6)]
    wards = silent + broken + far
    await move_in_many(tmp_path, wards, ["ben"], dict.fromkeys(wards, ("ben",)))
    async with process(tmp_path) as home, Proxy.before(home.port) as proxy:
        ben = await home.guardian("ben")
        people = {name: await behind(proxy, name) for name in wards}
        for number, name in enumerate(far):
            people[name][1].delay = 0.5 + number / 10
            people[name][1].rate = 500 if number % 2 else 0

        resets: dict[str, float] = {}
        for name in broken:
            resets[name] = time.monotonic()
            people[name][1].reset()
            await asyncio.sleep(0)  # what is to be measured is told in its own turn
        reset_found = await interrupted(ben, resets, 5)

        async def fall_silent(name: str, number: int) -> float:
            await asyncio.sleep(number * (5 if torture else 2) / size)  # the silences begin one after the other
            last_sign = time.monotonic()
            assert (await people[name][0].answer("ping"))["event"] == "pong"
            people[name][1].swallow()
            return last_sign

        last_signs = dict(zip(silent, await asyncio.gather(*map(fall_silent, silent, range(size))), strict=True))
        found = await interrupted(ben, last_signs, 15)

        answers = await asyncio.gather(*(people[name][0].answer("ping", patience=12) for name in far))
        assert {answer["event"] for answer in answers} == {"pong"}
        assert "session-interrupted" not in await ben.all_so_far()
        for peer, _ in people.values():
            peer.lose()
    print(f"{size} silent wards: found after {min(found.values()):.2f} to {max(found.values()):.2f} s")
    print(f"{size} resets: told after {max(reset_found.values()) * 1000:.0f} ms at most")
    # They are asked up to a twentieth of the five seconds earlier, together with others.
    assert min(found.values()) >= 9.75
    # What is promised holds for a machine that has the time for it.
    assert max(found.values()) <= (10.5 if torture else 12)
    assert max(reset_found.values()) <= (0.25 if torture else 2)


@pytest.mark.gen_test(timeout=120)
async def test_neither_a_locked_database_nor_a_process_that_was_stopped_makes_anybody_dead(
    tmp_path: Path, torture: bool
) -> None:
    stall = 30 if torture else 3
    # On every run at a rhythm that is over sooner than either of the two.
    quick = {"ward_ping_interval": 0.6, "ward_ping_timeout": 0.6, "guardian_ping_interval": 0.6}
    rhythm: dict[str, Any] = {} if torture else {**quick, "guardian_ping_timeout": 0.6}
    async with process(tmp_path, **rhythm) as home:
        ana, ben = await home.ward("ana"), await home.guardian("ben")
        tom = await home.ward("tom")
        await ana.answer("start-live-session")
        with held_elsewhere(home.database, "EXCLUSIVE"):
            assert (await tom.answer("start-live-session"))["event"] == "session-started"
            await asyncio.sleep(stall)  # the stall is what is tested
            assert (await ana.answer("ping"))["event"] == "pong"
        home.child.send_signal(signal.SIGSTOP)
        await asyncio.sleep(3)  # so long it is stopped
        home.child.send_signal(signal.SIGCONT)
        for peer in (ana, tom, ben):
            assert (await peer.answer("ping"))["event"] == "pong"
        await asyncio.sleep(1.5)  # more than a whole rhythm
        assert (await ana.answer("update-location", {"latitude": 1, "longitude": 1}))["data"]["guardianCount"] == 1
        heard = await ben.all_so_far()
        assert "session-interrupted" not in heard and "session-ended" not in heard


@pytest.mark.gen_test
async def test_whoever_came_back_while_the_process_was_stopped_is_back_in_time_and_nobody_else(tmp_path: Path) -> None:
    async with process(tmp_path, reconnect_grace=2) as home:
        ben = await home.guardian("ben")
        for name in ("ana", "tom"):
            ward = await home.ward(name)
            await ward.answer("start-live-session")
            ward.lose()
            await ben.expect("session-interrupted", wardId=name)
        home.child.send_signal(signal.SIGSTOP)
        again = await Client.open(home.port, "/ws/ward", token=token_of("ana"))
        await asyncio.sleep(4)  # so long it is stopped, which is beyond the grace
        home.child.send_signal(signal.SIGCONT)
        await again.answer()
        assert (await Peer(again).answer("stop-live-session"))["event"] == "session-ended"
        assert await ben.all_so_far() == ["session-resumed", "session-ended"]
        assert (await ben.expect("session-ended", wardId="tom"))["reason"] == "ward_disconnected"


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["ahead", "back"])
@pytest.mark.gen_test
async def test_a_jump_of_the_wall_clock_makes_nobody_dead_and_no_session_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: int
) -> None:
    quick = {f"{role}_ping_{part}": 0.3 for role in ("ward", "guardian") for part in ("interval", "timeout")}
    async with house(tmp_path, reconnect_grace=2, **quick) as home:
        ana, ben = await home.ward("ana"), await home.guardian("ben")
        await ana.answer("start-live-session")
        seconds, nanoseconds = time.time, time.time_ns
        monkeypatch.setattr(time, "time", lambda: seconds() + jump)
        monkeypatch.setattr(time, "time_ns", lambda: nanoseconds() + jump * 1_000_000_000)
        await asyncio.sleep(1.2)  # two whole rhythms
        assert (await ben.answer("ping"))["event"] == "pong"
        ended = await ana.answer("stop-live-session")
        assert ended["event"] == "session-ended" and 0 <= ended["data"]["duration"] <= 5
        assert "session-interrupted" not in await ben.all_so_far()


# -- those who do not read -----------------------------------------------------------------------------------------


def memory(home: Process) -> int:
    """The bytes that the server's process has in memory."""
    return int(Path(f"/proc/{home.child.pid}/statm").read_text().split()[1]) * 4096


async def talk(ana: Peer, ben: Peer, times: int) -> list[float]:
    """How long each of so many messages takes to the guardian who reads."""
    took = []
    for _ in range(times):
        began = time.monotonic()
        ana.say("send-message", TEXT)
        await ben.expect("message")
        took.append(time.monotonic() - began)
    return took


def p99(times: list[float]) -> float:
    """All but the slowest hundredth take at most this long, in milliseconds."""
    return 1000 * sorted(times)[int(len(times) * 0.99)]


async def join(home: Process, name: str, **how: int) -> tuple[Client, int]:
    """A guardian who reads the snapshot and then nothing; and where they stand."""
    client = await Client.open(home.port, "/ws/guardian", token=token_of(name), **how)
    await client.answer()
    return client, (await client.hear("guardian:snapshot"))["data"]["seq"]


@pytest.mark.gen_test(timeout=300)
async def test_guardians_who_do_not_read_cost_little_are_closed_and_miss_nothing(tmp_path: Path, torture: bool) -> None:
    size = 100 if torture else 20
    deaf = [f"deaf-{n}" for n in range(size)]
    await move_in_many(tmp_path, ["ana"], [*deaf, "ben"], {"ana": ("ben", *deaf)})
    async with process(tmp_path, rate_limit=0) as home:
        ana, ben = await home.ward("ana"), await home.guardian("ben")
        await ana.answer("start-live-session")
        silent = [await join(home, name, receive_buffer=4096) for name in deaf]
        before, most = memory(home), 0
        while await connected(home) > 2:
            await talk(ana, ben, 20)
            most = max(most, memory(home))
        ended = (await ana.answer("stop-live-session"))["data"]
        started = (await ana.answer("start-live-session"))["data"]
        codes = await asyncio.gather(*(client.closed() for client, _ in silent))
        assert set(codes) <= {1013, 1006} and codes.count(1013) >= size * 0.9
        for name, (client, seq) in zip(deaf, silent, strict=True):
            client.hang_up()
            back = await home.guardian(name, since=seq)
            await back.expect("session-ended", sessionId=ended["sessionId"])
            await back.expect("guardian:session-started", sessionId=started["sessionId"])
            back.lose()
    each = (most - before) / size / 1024
    print(f"{size} who do not read: {each:.0f} KiB each; {codes.count(1013)} read 1013 afterwards")
    # What the allocator rounds up to, and what the server takes for itself meanwhile, more of it on a busy machine.
    assert each <= 256 + 64 + 16_384 / size


@pytest.mark.gen_test(timeout=300)
async def test_guardians_who_do_not_read_delay_the_others_no_more_than_those_who_do(
    tmp_path: Path, torture: bool
) -> None:
    size, rounds = (100, 6) if torture else (10, 1)
    crowd = [f"guardian-{n}" for n in range(size)]
    await move_in_many(tmp_path, ["ana"], [*crowd, "ben"], {"ana": ("ben", *crowd)})
    beside_deaf, beside_readers = list[float](), list[float]()
    async with process(tmp_path, rate_limit=0) as home:
        ana, ben = await home.ward("ana"), await home.guardian("ben")
        await ana.answer("start-live-session")
        await talk(ana, ben, 20)
        for _ in range(rounds):
            deaf, times = [(await join(home, name, receive_buffer=4096))[0] for name in crowd], 0
            while await connected(home) > 2:
                beside_deaf += await talk(ana, ben, 20)
                times += 20
            leave(deaf)
            # The same to as many who read, but only while nobody measures, for they share the cores with the server.
            readers = [(await join(home, name))[0] for name in crowd]
            for reader in readers:
                reader.leave_unread()
            for _ in range(0, times, 20):
                assert await connected(home) == 2 + size
                beside_readers += await talk(ana, ben, 20)
                await asyncio.gather(*(reader.read_up() for reader in readers))
            leave(readers)
            while await connected(home) > 2:
                pass
    deaf_p99, readers_p99 = p99(beside_deaf), p99(beside_readers)
    print(f"p99 of {len(beside_deaf)} messages to one who reads, beside {size} others, in {rounds} rounds of each:")
    print(f"{deaf_p99:.1f} ms where they do not read, {readers_p99:.1f} ms where they do: {deaf_p99 / readers_p99:.2f}")
    # On every run a hundredth is a few messages, which other tests on the same cores bend by some 10 ms: that finds
    # only who is waited for, which takes until they are closed.
    assert deaf_p99 < (readers_p99 * 1.2 if torture else readers_p99 * 10 + 50)


def leave(clients: list[Client]) -> None:
    for client in clients:
        client.hang_up()


async def connected(home: Process) -> int:
    """The open connections of people."""
    return int(float(await figure(home, "liveguard_connections")))


async def figure(home: Process, name: str) -> str:
    """One of the figures of /metrics."""
    lines = (await home.fetch("/metrics")).text.splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{name} "))


# -- everybody at once ---------------------------------------------------------------------------------------------


@pytest.mark.gen_test(timeout=180)
async def test_when_all_come_back_at_once_all_are_served(tmp_path: Path, torture: bool) -> None:
    size, within = (2500, 10.0) if torture else (250, 1.0)
    wards, guardians = [f"ward-{n}" for n in range(size)], [f"guardian-{n}" for n in range(size)]
    guards = {ward: (guardian,) for ward, guardian in zip(wards, guardians, strict=True)}
    await move_in_many(tmp_path, wards, guardians, guards)
    chance = Random(1)
    async with process(tmp_path, reconnect_grace=120, log_level="warning") as home:

        async def come(role: str, name: str) -> Client:
            client = await Client.open(home.port, f"/ws/{role}", token=token_of(name))
            await client.answer()
            assert client.status == 101
            return client

        async def begin(name: str) -> tuple[Client, str]:
            client = await come("ward", name)
            client.say("start-live-session")
            return client, (await client.hear("session-started"))["data"]["sessionId"]

        async def return_as(role: str, name: str, event: str) -> tuple[Client, str, float]:
            await asyncio.sleep(chance.uniform(0, within))  # the returns are spread
            began = time.monotonic()
            client = await come(role, name)
            session = (await client.hear(event))["data"]["sessionId"]
            return client, session, time.monotonic() - began

        first, sessions = [], {}
        for start in range(0, size, 100):
            some = wards[start : start + 100]
            for name, (client, session) in zip(some, await asyncio.gather(*map(begin, some)), strict=True):
                first.append(client)
                sessions[name] = session
        for client in first:
            client.reset()
        began = time.monotonic()
        found = await asyncio.gather(
            *(return_as("ward", name, "session-started") for name in wards),
            *(return_as("guardian", name, "guardian:session-started") for name in guardians),
        )
        took = time.monotonic() - began
        assert [session for _, session, _ in found] == [sessions[name] for name in wards] * 2
        for client, _, _ in found:
            client.hang_up()
    each = p99([seconds for *_, seconds in found])
    print(f"{2 * size} come back within {within:g} s: all served after {took:.1f} s, each within {each:.0f} ms at p99")
    assert took <= 30


# -- those who take their time -------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_many_who_never_finish_their_request_are_let_go_and_keep_nobody_waiting(
    tmp_path: Path, torture: bool
) -> None:
    async with process(tmp_path) as home:
        head = b"POST /api/login HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % home.port
        beginnings = (head + b"X-Slow: ", head + b"Content-Length: 1000\r\n\r\n{", b"GET /ws/ward HT", b"")

        async def dawdle(beginning: bytes) -> float:
            began = time.monotonic()
            reader, writer = await asyncio.open_connection("127.0.0.1", home.port)
            with contextlib.suppress(ConnectionError):
                while time.monotonic() - began < 20:
                    writer.write(beginning or b"G")
                    beginning = b"x"
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(reader.read(), 1)
                        break
            writer.close()
            return time.monotonic() - began

        slow = asyncio.gather(*(dawdle(each) for each in beginnings * (250 if torture else 25)))
        longest = 0.0
        while not slow.done():
            began = time.monotonic()
            assert (await home.fetch("/healthz")).status == 200
            longest = max(longest, time.monotonic() - began)
            await asyncio.sleep(0.25)  # asked a few times a second
        lasted = await slow
    print(f"{len(lasted)} slow requests: cut off after {min(lasted):.1f} to {max(lasted):.1f} s")
    print(f"The longest wait for an answer beside them: {longest * 1000:.0f} ms")
    assert all(9 < seconds < 13 for seconds in lasted)
    assert longest < 2


async def asked(port: int) -> bytes:
    """The answer to a request, or nothing where it was not let in."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /healthz HTTP/1.0\r\nHost: 127.0.0.1:%d\r\n\r\n" % port)
    try:
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.gen_test
async def test_one_address_has_so_many_connections_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers, "MOST_STRANGERS", 5)
    async with house(tmp_path) as home:
        # Whoever has come in as a person does not count any more.
        people = [await home.guardian("ben") for _ in range(6)]
        idle = [await asyncio.open_connection("127.0.0.1", home.port) for _ in range(6)]
        assert await idle[-1][0].read() == b""
        assert not any(reader.at_eof() for reader, _ in idle[:-1])
        for _, writer in idle:
            writer.close()
        async with asyncio.timeout(5):
            while not await asked(home.port):
                pass  # until the server has seen that they are gone
        ana = await home.ward("ana")
        for peer in (ana, *people):
            assert (await peer.answer("ping"))["event"] == "pong"
