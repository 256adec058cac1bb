"""The WebSocket protocol without I/O, section by section of RFC 6455."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveguard.events.close_codes import NO_CODE
from liveguard.web.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    UNDER_WAY,
    Message,
    MessageReader,
    ProtocolError,
    close_code,
    close_frame,
    ping_frame,
    pong_frame,
    text_frame,
)

LIMIT = 64 * 1024
FIN = 0x80


def client_frame(opcode: int, payload: bytes = b"", *, final: bool = True, mask: bytes = b"\x01\x80\x00\xff") -> bytes:
    """A frame as a client sends it, put together byte by byte."""
    length = len(payload)
    if length < 126:
        size = bytes([0x80 | length])
    elif length < 65536:
        size = bytes([0x80 | 126]) + length.to_bytes(2, "big")
    else:
        size = bytes([0x80 | 127]) + length.to_bytes(8, "big")
    masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    return bytes([(FIN if final else 0) | opcode]) + size + mask + masked


def read(*chunks: bytes, limit: int = LIMIT) -> list[Message]:
    reader = MessageReader(limit)
    return [message for chunk in chunks for message in reader.feed(chunk) if message is not UNDER_WAY]


def fault(*chunks: bytes, limit: int = LIMIT) -> int:
    """The close code with which these bytes are refused."""
    with pytest.raises(ProtocolError) as refused:
        read(*chunks, limit=limit)
    return refused.value.code


# -- 5.2, 5.3  Frames ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 3, 4, 125, 126, 127, 65535, 65536])
def test_a_text_of_any_length_is_unmasked(length):
    payload = bytes(byte % 128 for byte in range(length))
    assert read(client_frame(TEXT, payload)) == [(TEXT, payload)]


PIECES = (
    client_frame(TEXT, b"one"),
    client_frame(TEXT, "\u00e4".encode()),
    client_frame(TEXT, b"x" * 126),
    client_frame(TEXT, b"x" * 600)[:-1],
    bytes([FIN | TEXT, FIN | 126]) + b"\0\3mask" + b"\0\0\0",  # a length that could have been shorter
    bytes([FIN | TEXT, FIN | 126, 0, 2, 0, 0]),
    bytes([FIN | TEXT, FIN | 127]) + (119).to_bytes(8, "big") + b"mask" + b"\0" * 119,
    client_frame(TEXT, b"half", final=False),
    client_frame(CONTINUATION, b"whole"),
    client_frame(PING),
    client_frame(PONG),
    client_frame(PONG, b"more"),
    client_frame(CLOSE, b"\x03\xe8"),
    bytes([FIN | TEXT, 8]) + b"not masked..",
    client_frame(TEXT, b"\xff"),
    b"\x81",
    b"\x8a\x80\x01",
    b"",
)


@pytest.mark.parametrize("before", PIECES)
@pytest.mark.parametrize("data", [*PIECES, *(PIECES[0] + piece for piece in PIECES), PIECES[6] + PIECES[0]])
def test_what_is_seen_at_a_glance_is_what_is_read_the_long_way(before, data):
    reader = MessageReader(LIMIT)
    with contextlib.suppress(ProtocolError):
        list(reader.feed(before))
    texts = reader.glance(data)
    if texts is not None:
        seen = [(TEXT, text) for text in texts] if texts or not data else [(PONG, b"")]
        assert list(reader.feed(data)) == seen


def test_short_texts_and_one_empty_pong_are_seen_at_a_glance():
    reader = MessageReader(LIMIT)
    for length in (0, 3, 125, 126, 500):
        assert reader.glance(client_frame(TEXT, b"x" * length)) == [b"x" * length]
    assert reader.glance(client_frame(TEXT, b"one") + client_frame(TEXT, b"two" * 50)) == [b"one", b"two" * 50]
    assert reader.glance(client_frame(PONG)) == []
    assert reader.glance(client_frame(TEXT, b"one") + client_frame(PONG)) is None
    assert reader.glance(client_frame(TEXT, b"x" * 2000)) is None
    assert MessageReader(2).glance(client_frame(TEXT, b"one")) is None


def test_everything_that_has_arrived_is_read_in_order():
    arrived = client_frame(TEXT, b"one") + client_frame(PING, b"two") + client_frame(BINARY, b"\xff")
    assert read(arrived) == [(TEXT, b"one"), (PING, b"two"), (BINARY, b"\xff")]


MESSAGES = st.lists(
    st.one_of(
        st.tuples(st.just(TEXT), st.text(max_size=200).map(str.encode)),
        st.tuples(st.just(BINARY), st.binary(max_size=70_000)),
        st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125)),
    ),
    max_size=6,
)


@given(MESSAGES, st.data())
@pytest.mark.slow
def test_however_the_bytes_are_cut_the_messages_are_the_same(messages, data):
    stream = b"".join(_fragmented(opcode, payload, data) for opcode, payload in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    chunks = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read(*chunks, limit=100_000) == messages


def _fragmented(opcode, payload, data):
    """A message in one frame or several, with a ping in between that is not looked at here."""
    mask = data.draw(st.binary(min_size=4, max_size=4))
    if opcode in (PING, PONG) or not data.draw(st.booleans()):
        return client_frame(opcode, payload, mask=mask)
    middle = data.draw(st.integers(0, len(payload)))
    return client_frame(opcode, payload[:middle], final=False, mask=mask) + client_frame(
        CONTINUATION, payload[middle:], mask=mask
    )


def test_a_frame_that_comes_byte_by_byte_is_read_with_its_last_one():
    frame = client_frame(TEXT, b"x" * 300)
    reader = MessageReader(LIMIT)
    assert [list(reader.feed(frame[place : place + 1])) for place in range(len(frame) - 1)] == [[]] * (len(frame) - 1)
    assert list(reader.feed(frame[-1:])) == [(TEXT, b"x" * 300)]


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_rubbish_is_read_or_refused_but_nothing_else(chunks):
    try:
        read(*chunks)
    except ProtocolError as refused:
        assert refused.code in (1002, 1007, 1009)


def test_messages_before_a_fault_are_read():
    reader = MessageReader(LIMIT)
    messages = reader.feed(client_frame(TEXT, b"still good") + b"\x83\x80")
    assert next(messages) == (TEXT, b"still good")
    with pytest.raises(ProtocolError):
        next(messages)


@pytest.mark.parametrize("bit", [0x40, 0x20, 0x10])
def test_reserved_bits_are_refused(bit):
    assert fault(bytes([FIN | bit | TEXT, 0x80])) == 1002


@pytest.mark.parametrize("opcode", [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF])
def test_unknown_opcodes_are_refused(opcode):
    assert fault(bytes([FIN | opcode, 0x80])) == 1002


def test_an_unmasked_frame_is_refused():
    assert fault(text_frame(b"hello")) == 1002


def test_a_length_with_its_highest_bit_set_is_refused():
    assert fault(bytes([FIN | BINARY, 0x80 | 127]) + b"\xff" * 8) == 1002


# -- 5.4  Fragmentation ----------------------------------------------------------------------------------------------


def test_fragments_are_put_together_around_a_ping():
    arrived = [
        client_frame(TEXT, b"one, ", final=False),
        client_frame(CONTINUATION, b"two, ", final=False),
        client_frame(PING, b"still there?"),
        client_frame(CONTINUATION, b"three"),
        client_frame(TEXT, b"four"),
    ]
    assert read(*arrived) == [(PING, b"still there?"), (TEXT, b"one, two, three"), (TEXT, b"four")]


def test_each_frame_is_counted_and_those_that_are_empty_are_not_kept():
    reader = MessageReader(LIMIT)
    beginning = client_frame(TEXT, b"on", final=False) + client_frame(CONTINUATION, final=False) * 1000
    assert list(reader.feed(beginning)) == [UNDER_WAY] * 1001
    assert reader._fragments == [b"on"]
    assert list(reader.feed(client_frame(CONTINUATION, b"e"))) == [(TEXT, b"one")]


def test_a_continuation_of_nothing_is_refused():
    assert fault(client_frame(CONTINUATION, b"and")) == 1002


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_within_another_is_refused(opcode):
    assert fault(client_frame(TEXT, b"one", final=False), client_frame(opcode, b"two")) == 1002


# -- 5.5  Control frames ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_a_long_control_frame_is_refused(opcode):
    assert fault(client_frame(opcode, b"\x03\xe8" + b"x" * 124)) == 1002


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_a_fragmented_control_frame_is_refused(opcode):
    assert fault(client_frame(opcode, final=False)) == 1002


# -- 7.4  Status codes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 4999])
def test_a_close_frame_carries_its_code(code):
    (message,) = read(client_frame(CLOSE, code.to_bytes(2, "big") + "auf später".encode()))
    assert message[0] == CLOSE
    assert close_code(message[1]) == code


def test_a_close_frame_without_a_code_is_told_apart():
    assert read(client_frame(CLOSE)) == [(CLOSE, b"")]
    assert close_code(b"") == NO_CODE


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
def test_codes_that_may_not_be_sent_are_refused(code):
    assert fault(client_frame(CLOSE, code.to_bytes(2, "big"))) == 1002


def test_half_a_code_is_refused():
    assert fault(client_frame(CLOSE, b"\x03")) == 1002


def test_a_reason_that_is_not_text_is_refused():
    assert fault(client_frame(CLOSE, b"\x03\xe8\xff")) == 1007


# -- 8.1  UTF-8 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf"])
def test_text_that_is_not_utf8_is_refused(text):
    assert fault(client_frame(TEXT, text)) == 1007


def test_text_is_refused_with_the_fragment_that_breaks_it():
    assert fault(client_frame(TEXT, b"caf\xc3", final=False), client_frame(CONTINUATION, b"(", final=False)) == 1007


def test_a_character_may_be_cut_by_fragments_but_not_by_the_end():
    start = client_frame(TEXT, b"caf\xc3", final=False)
    assert read(start, client_frame(CONTINUATION, b"\xa9")) == [(TEXT, "café".encode())]
    assert fault(start, client_frame(CONTINUATION)) == 1007


# -- 10.4  Limits ----------------------------------------------------------------------------------------------------


def test_a_frame_over_the_limit_is_refused_by_its_header():
    assert fault(client_frame(TEXT, b"x" * (LIMIT + 1))[:10]) == 1009


def test_a_message_over_the_limit_is_refused():
    half = b"x" * (LIMIT // 2)
    fragments = [client_frame(BINARY, half, final=False), client_frame(CONTINUATION, half, final=False)]
    assert read(*fragments, client_frame(PING), client_frame(CONTINUATION)) == [(PING, b""), (BINARY, half + half)]
    assert fault(*fragments, client_frame(CONTINUATION, b"x")) == 1009


# -- 5.1  What a server sends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "header"),
    [
        (0, "8100"),
        (125, "817d"),
        (126, "817e007e"),
        (65535, "817effff"),
        (65536, "817f0000000000010000"),
    ],
)
def test_frames_of_the_server_are_not_masked_and_no_longer_than_they_must_be(length, header):
    assert text_frame(b"x" * length) == bytes.fromhex(header) + b"x" * length


def test_the_other_frames_of_the_server():
    assert ping_frame() == bytes.fromhex("8900")
    assert pong_frame(b"hi") == bytes.fromhex("8a026869")
    assert close_frame(4401) == bytes.fromhex("88021131")
    assert close_frame(NO_CODE) == bytes.fromhex("8800")
