"""What connections are measured by, without any connection: the bucket, the pulse and the sweep."""

import asyncio
import math
import time
from dataclasses import replace
from itertools import pairwise
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.testing import ExpectLog

from liveguard.config import Settings
from liveguard.web.keepalive import GRAIN, PORTION, Pulse, Sweep
from liveguard.web.limits import Bucket, Limits

LIMITS = Limits.of(Settings())

# -- the bucket ----------------------------------------------------------------------------------------------------


def test_a_burst_of_forty_passes_and_then_twenty_a_second():
    bucket = Bucket(LIMITS)
    assert [bucket.take(100.0) for _ in range(41)] == [True] * 40 + [False]
    passed = sum(bucket.take(100.0 + tick / 1000) for tick in range(10_000))
    assert passed == 199


def test_a_bucket_is_full_again_after_a_while():
    bucket = Bucket(LIMITS)
    for _ in range(40):
        assert bucket.take(100.0)
    assert [bucket.take(102.0) for _ in range(41)] == [True] * 40 + [False]


def test_a_rate_of_zero_is_no_limit():
    bucket = Bucket(replace(LIMITS, rate=0))
    assert all(bucket.take(100.0) for _ in range(10_000))


@given(st.lists(st.floats(0, 2), max_size=200))
def test_no_more_passes_than_a_burst_and_the_rate(pauses):
    bucket, now, passed = Bucket(replace(LIMITS, rate=5, burst=10)), 0.0, 0
    for pause in pauses:
        now += pause
        passed += bucket.take(now)
    assert passed <= 10 + 5 * now + 1


def test_ten_seconds_of_refusals_are_too_many():
    bucket = Bucket(LIMITS)
    assert not any(bucket.overflows(100 + tick / 10) for tick in range(100))
    assert bucket.overflows(110)


def test_a_calm_second_makes_good_for_all_refusals_before():
    bucket = Bucket(LIMITS)
    assert not any(bucket.overflows(100 + tick / 10) for tick in range(100))
    assert not any(bucket.overflows(111 + tick / 10) for tick in range(100))
    assert bucket.overflows(121)


# -- the pulse -----------------------------------------------------------------------------------------------------


class Peer:
    """The other end: what it was asked, and when it was last heard; ``arrived`` of so many bytes have come there."""

    def __init__(self, heard: float, sent: int = 0) -> None:
        self.last_heard = heard
        self.pings = 0
        self.arrived = 0
        self.sent = sent

    def ping(self) -> None:
        self.pings += 1

    def all_arrived(self) -> bool:
        return self.arrived == self.sent

    def progress(self) -> tuple[int, int]:
        return self.arrived, self.sent


WARD = LIMITS.ward_rhythm
GUARDIAN = LIMITS.guardian_rhythm


LATENCY = 0.01


def next_turn(moment, now):
    """When the wheel comes to a moment, asked for now."""
    return max(math.ceil(moment / GRAIN), int(now / GRAIN) + 1) * GRAIN + LATENCY


@pytest.mark.parametrize(("rhythm", "latest"), [(WARD, 10.5), (GUARDIAN, 30.5)])
@given(heard=st.floats(0, 100), opened_before=st.floats(0, 30))
def test_the_dead_are_found_in_time_and_never_before_they_have_had_theirs(rhythm, latest, heard, opened_before):
    now = heard - opened_before
    peer, pulse, look = Peer(now), Pulse(rhythm), now
    while look is not None:
        now = next_turn(look, now)
        peer.last_heard = min(now, heard)  # until it fell silent it was lively
        look = pulse.feel(peer, now)
    assert heard + 0.95 * rhythm.interval + rhythm.patience <= now <= heard + latest


def test_who_answers_is_asked_every_five_seconds():
    peer, pulse, now = Peer(0.0), Pulse(WARD), 0.0
    for pings in range(1, 6):
        while peer.pings < pings:
            asked_at, now = now, pulse.feel(peer, now)
        peer.last_heard = asked_at + 0.01
    assert asked_at == 25.0


def test_who_came_one_by_one_is_asked_together():
    pulses = {GUARDIAN.interval * 7 + opened / 100: Pulse(GUARDIAN) for opened in range(100)}
    first = {pulse.feel(Peer(opened), opened + 0.01) for opened, pulse in pulses.items()}
    assert first == {GUARDIAN.interval * 8}


def test_a_late_look_does_not_condemn_before_a_second_one():
    peer, pulse = Peer(0.0), Pulse(WARD)
    assert pulse.feel(peer, 5.0) == 10.0
    assert pulse.feel(peer, 60.0) == 60.0  # the loop was held up: once more, after it has read
    peer.last_heard = 60.05
    assert pulse.feel(peer, 60.1) == 65.0
    assert pulse.feel(peer, 65.1) == 70.1
    assert pulse.feel(peer, 70.1) == 70.1
    assert pulse.feel(peer, 70.2) is None


def last_look(pulse, peer, arrivals):
    """When a peer is found dead who was heard at 0.0 and not again, and takes in so many bytes at these moments."""
    now = look = 0.0
    while look is not None:
        now = next_turn(look, now)
        peer.arrived = max([arrived for moment, arrived in arrivals.items() if moment <= now], default=0)
        look = pulse.feel(peer, now)
    return now


def test_who_takes_in_what_lies_before_the_question_lives_and_has_its_time_for_the_answer_behind_it():
    slow = {8.0: 100, 12.0: 600, 16.0: 1000}
    assert 21 <= last_look(Pulse(WARD), Peer(0.0, sent=1000), slow) <= 26
    behind_the_question = {20.0: 1500, 24.0: 2000}  # no sign of life
    assert 21 <= last_look(Pulse(WARD), Peer(0.0, sent=1000), slow | behind_the_question) <= 26


def test_who_takes_in_no_more_is_dead_whatever_lies_before_the_question():
    assert 9.75 <= last_look(Pulse(WARD), Peer(0.0, sent=1000), {1.0: 100}) <= 10.5


@pytest.mark.parametrize(("rhythm", "latest"), [(WARD, 10.5), (GUARDIAN, 30.5)])
def test_the_dead_are_found_in_time_also_behind_a_proxy_that_takes_what_is_on_its_way(rhythm, latest):
    at_once = {rhythm.interval + 0.06: 1000}
    assert last_look(Pulse(rhythm), Peer(0.0, sent=1000), at_once) <= latest


# -- the sweep -----------------------------------------------------------------------------------------------------


class Item:
    """Something that is looked after: it notes when, and says when again."""

    def __init__(self, *pauses: float) -> None:
        self.turn = 0
        self.looks: list[float] = []
        self.pauses = list(pauses)
        self.done = asyncio.Event()

    def due(self, now: float) -> float | None:
        self.looks.append(now)
        if not self.pauses:
            self.done.set()
            return None
        return now + self.pauses.pop(0)


@pytest.mark.slow
@pytest.mark.gen_test
async def test_everything_is_looked_after_when_its_moment_comes():
    loop = asyncio.get_running_loop()
    sweep, item, start = Sweep(loop), Item(0.25, 0.0, 0.1), monotonic()
    sweep.watch(item, start)
    await item.done.wait()
    between = [later - earlier for earlier, later in zip([start, *item.looks], item.looks, strict=False)]
    for waited, asked in zip(between, [0.0, 0.25, 0.0, 0.1], strict=True):
        assert asked <= waited <= asked + 2 * GRAIN
    assert len(sweep) == 0


@pytest.mark.slow
@pytest.mark.gen_test
async def test_nobody_is_looked_after_twice_in_a_turn_however_late_it_is():
    sweep, item = Sweep(asyncio.get_running_loop()), Item(-1.0, -1.0)
    sweep.watch(item, monotonic() - 1.0)
    await item.done.wait()
    assert len({int(look / GRAIN) for look in item.looks}) == 3


@pytest.mark.gen_test
async def test_a_crowd_is_looked_after_while_others_have_their_turn():
    loop = asyncio.get_running_loop()
    sweep, crowd, looked_after_by_then = Sweep(loop), [Item() for _ in range(10 * PORTION)], []

    def look_around() -> None:
        looked_after_by_then.append(sum(len(item.looks) for item in crowd))
        if looked_after_by_then[-1] < len(crowd):
            loop.call_soon(look_around)

    for item in crowd:
        sweep.watch(item, monotonic())
    look_around()
    await asyncio.gather(*(item.done.wait() for item in crowd))
    steps = [later - earlier for earlier, later in pairwise(looked_after_by_then)]
    assert max(steps) <= PORTION
    assert len(sweep) == 0


@pytest.mark.slow
@pytest.mark.gen_test
async def test_what_is_forgotten_while_a_crowd_is_looked_after_is_let_alone():
    class Forgetful(Item):
        def due(self, now: float) -> float | None:
            for item in crowd:
                sweep.forget(item)
            return super().due(now)

    sweep, crowd, other = Sweep(asyncio.get_running_loop()), [Forgetful() for _ in range(10)], Item()
    moment = monotonic()
    for item in crowd:
        sweep.watch(item, moment + GRAIN)
    sweep.watch(other, moment + 2 * GRAIN)
    await other.done.wait()
    assert sum(len(item.looks) for item in crowd) == 1
    assert len(sweep) == 0


@pytest.mark.slow
@pytest.mark.gen_test
async def test_whoever_asks_for_another_moment_of_others_while_the_loop_is_late_stops_nothing():
    class Meddlesome(Item):
        def due(self, now: float) -> float | None:
            sweep.watch(other, monotonic())
            return super().due(now)

    sweep, meddlesome, other = Sweep(asyncio.get_running_loop()), Meddlesome(), Item(0.0)
    moment = monotonic()
    sweep.watch(meddlesome, moment + GRAIN)
    sweep.watch(other, moment + 3 * GRAIN)
    time.sleep(5 * GRAIN)  # the loop is held up, so that both moments have come
    await other.done.wait()
    assert (len(meddlesome.looks), len(other.looks), len(sweep)) == (1, 2, 0)


@pytest.mark.gen_test
async def test_an_earlier_moment_does_not_wait_for_a_later_one():
    sweep, later, earlier = Sweep(asyncio.get_running_loop()), Item(), Item()
    sweep.watch(later, monotonic() + 3600)
    sweep.watch(earlier, monotonic())
    await earlier.done.wait()
    assert later.looks == []
    assert len(sweep) == 1


@pytest.mark.gen_test
async def test_a_new_moment_takes_the_place_of_the_old_one():
    sweep, item = Sweep(asyncio.get_running_loop()), Item()
    sweep.watch(item, monotonic() + 3600)
    sweep.watch(item, monotonic())
    assert len(sweep) == 1
    await item.done.wait()
    assert len(item.looks) == 1


@pytest.mark.slow
@pytest.mark.gen_test
async def test_what_is_forgotten_is_let_alone():
    sweep, forgotten, other = Sweep(asyncio.get_running_loop()), Item(), Item()
    sweep.watch(forgotten, monotonic())
    sweep.watch(other, monotonic() + GRAIN)
    sweep.forget(forgotten)
    sweep.forget(forgotten)
    await other.done.wait()
    assert forgotten.looks == []


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_fault_in_one_does_not_keep_the_sweep_from_the_others():
    class Broken(Item):
        def due(self, now: float) -> float | None:
            raise ValueError("secret")

    sweep, broken, other = Sweep(asyncio.get_running_loop()), Broken(), Item(0.1)
    with ExpectLog("liveguard.faults", "A fault in the sweep: ValueError"):
        sweep.watch(broken, monotonic())
        sweep.watch(other, monotonic())
        await other.done.wait()
    assert len(sweep) == 0
