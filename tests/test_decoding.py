"""The door of the wire contract, and messages made to take long: how deep they nest, how much is read."""

import json
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveguard.errors import InvalidMessage, InvalidPayload
from liveguard.events import (
    MAX_METADATA,
    MAX_NESTING,
    StartLiveSession,
    decode_array,
    decode_event,
    decode_frame,
    decode_token,
)


def depth_of(value: Any) -> int:
    """How many arrays and objects lie in one another."""
    if not isinstance(value, (dict, list)):
        return 0
    return 1 + max(map(depth_of, value.values() if isinstance(value, dict) else value), default=0)


def is_too_deep(value: Any) -> bool:
    """What the door says of an event with this data, in both forms; they lie equally deep."""
    said = []
    for decode, message in ((decode_frame, {"event": "ping", "data": value}), (decode_array, ["ping", value])):
        try:
            decode(json.dumps(message).encode())
            said.append(False)
        except InvalidMessage as refusal:
            assert refusal.message == f"A message is nested at most {MAX_NESTING} deep"
            said.append(True)
    assert said[0] is said[1]
    return said[0]


def nested(levels: int, core: Any, kind: str = "[") -> Any:
    for _ in range(levels):
        core = [core] if kind == "[" else {"]": core}
    return core


VALUES = st.recursive(
    st.one_of(st.text('[]{}"\\,:a', max_size=8), st.integers(0, 9), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text('[]{}"\\', max_size=3), inner, max_size=3),
        st.builds(nested, st.integers(0, 9), inner, st.sampled_from("[{")),
    ),
)


@given(VALUES)
@pytest.mark.slow
def test_it_is_too_deep_if_and_only_if_more_lie_in_one_another(value: Any) -> None:
    assert is_too_deep(value) is (depth_of(value) + 1 > MAX_NESTING)


@pytest.mark.parametrize("kind", "[{")
@pytest.mark.parametrize("core", [0, "[" * 40, '\\"' * 20 + "[{" * 20])
def test_sixteen_are_not_too_deep_and_seventeen_are(kind: str, core: Any) -> None:
    assert not is_too_deep(nested(MAX_NESTING - 1, core, kind))
    assert is_too_deep(nested(MAX_NESTING, core, kind))


def test_many_beside_one_another_are_not_deep() -> None:
    assert not is_too_deep([[[]] * 10_000, [{}] * 10_000])


# -- what takes long -----------------------------------------------------------------------------------------------

# Of these msgspec makes a number each in 10 µs or more.
SLOW_NUMBERS = b'{"token":"a.b.c","a":[%s]}' % b",".join([b"1e308"] * 10_000)


def work_of(deed: Callable[[], None]) -> float:
    """The least CPU time of some runs, in seconds: only ever compared with that of another deed."""
    least = float("inf")
    for _ in range(3):
        began = time.thread_time()
        deed()
        least = min(least, time.thread_time() - began)
    return least


def test_what_says_too_much_at_the_start_is_refused_unread() -> None:
    def refuse() -> None:
        with pytest.raises(InvalidPayload):
            decode_event(StartLiveSession.name, SLOW_NUMBERS)

    assert work_of(refuse) < work_of(lambda: msgspec.json.decode(SLOW_NUMBERS)) / 5


@pytest.mark.parametrize("endless", [b'\\"', b'"\\', b'\\\\"', b'"\\"', b"\\"])
def test_a_string_that_never_ends_is_looked_at_once(endless: bytes) -> None:
    def refuse(length: int) -> None:
        text = b"[" * (MAX_NESTING + 1) + b'"' + endless * (length // len(endless))
        for decode in (decode_frame, decode_array):
            with pytest.raises(InvalidMessage):
                decode(text)

    # Where each quote is a beginning, ten times as much takes a hundred times as long.
    assert work_of(lambda: refuse(60_000)) < 30 * work_of(lambda: refuse(6_000))


def test_of_what_socketio_shows_only_the_token_is_read() -> None:
    def read() -> None:
        assert decode_token(SLOW_NUMBERS) == "a.b.c"

    assert work_of(read) < work_of(lambda: msgspec.json.decode(SLOW_NUMBERS)) / 5


def test_what_is_escaped_and_set_out_in_lines_may_say_as_much_as_anything_else() -> None:
    metadata = {"note": "Ü" * (MAX_METADATA // 2 - 10)}
    event = decode_event(StartLiveSession.name, json.dumps(metadata, ensure_ascii=True, indent=4).encode())
    assert event == StartLiveSession(metadata)
    assert decode_event(StartLiveSession.name, b"null") == StartLiveSession(None)
