"""Frames: what was packed comes back, compressed only where that pays, and damage is noticed."""

from __future__ import annotations

import random

import lz4.frame
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cache.frames import DamagedFrame, pack, split, unpack
from cache.tier import Entry

HEAD_BYTES = len(pack(Entry(b"", 0.0, 0.0, 0.0))[0])
TEXT = b"the same words again and again, " * 40
NOISE = random.Random(1).randbytes(1000)
STAMP = (("session:1", "0123456789abcdef"), ("model:a.b-c_d", "fedcba9876543210"))

values = (
    st.none()
    | st.binary(max_size=600)
    | st.builds(lambda part, times: part * times, st.binary(max_size=40), st.integers(0, 60))
)
times = st.floats(allow_nan=False)
tags = st.text("abcXYZ019_.:-", min_size=1, max_size=20)
entries = st.builds(Entry, values, times, times, times, st.lists(st.tuples(tags, tags), max_size=4).map(tuple))

KINDS = {
    "nothing": Entry(None, 1.0, 2.0, 3.0),
    "empty": Entry(b"", 1.0, 2.0, 3.0),
    "short": Entry(b"short", 1.0, 2.0, 3.0, STAMP),
    "compressed": Entry(TEXT, 1.0, 2.0, 3.0, STAMP),
    "raw": Entry(NOISE[:300], 1.0, 2.0, 3.0),
}
each_kind = pytest.mark.parametrize("entry", KINDS.values(), ids=KINDS)


def entry(value: bytes | None) -> Entry:
    """An entry of the value, of which nothing else matters."""
    return Entry(value, 1.0, 2.0, 3.0)


def frame(packed: tuple[bytes, bytes]) -> bytes:
    """Head and body in one piece."""
    head, body = packed
    return head + body


def flipped(data: bytes, bit: int) -> bytes:
    """The bytes with one bit the other way."""
    damaged = bytearray(data)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


@given(packed=entries, compress=st.booleans())
@example(packed=KINDS["nothing"], compress=True)
@example(packed=Entry(TEXT, 0.1, float("inf"), -0.0, STAMP), compress=True)
@example(packed=Entry(bytes(range(256)) * 2, 1.0, 2.0, 3.0, STAMP), compress=False)
def test_an_entry_comes_back(packed: Entry, compress: bool) -> None:
    """Value, times and stamp are those that were packed, whether head and body lay apart or in one piece."""
    head, body = pack(packed, compress=compress)
    assert split(head + body) == (head, body)
    assert unpack(head, body) == packed


def test_a_stamp_may_have_many_tags() -> None:
    """A thousand tags of the longest kind come back."""
    stamp = tuple((f"{number:0160}", "0123456789abcdef") for number in range(1000))
    head, body = split(frame(pack(Entry(b"value", 1.0, 2.0, 3.0, stamp))))
    assert unpack(head, body).stamp == stamp


@given(value=values)
@example(value=NOISE)
@example(value=TEXT)
def test_a_frame_is_never_longer_than_value_and_head(value: bytes | None) -> None:
    """Compression that does not pay is not used."""
    assert len(frame(pack(entry(value)))) <= len(value or b"") + HEAD_BYTES


def test_text_is_compressed() -> None:
    """A long text of few words takes far less room."""
    _, body = pack(entry(TEXT))
    assert len(body) < len(TEXT) / 5


@pytest.mark.parametrize("value", [NOISE, bytes(255)], ids=["noise", "short"])
def test_what_does_not_pay_is_kept_as_it_is(value: bytes) -> None:
    """Noise is stored raw, and under 256 bytes compression is not tried."""
    assert pack(entry(value))[1] == value


def test_less_than_a_tenth_saved_does_not_pay() -> None:
    """Compression that saves less than a tenth is not worth its time: the value is stored raw."""
    value = NOISE + bytes(80)
    assert 0.9 * len(value) < len(lz4.frame.compress(value)) < len(value)
    assert pack(entry(value))[1] == value


def test_compression_can_be_turned_off() -> None:
    """Without compression the value is stored raw, and is not even copied."""
    assert pack(entry(TEXT), compress=False)[1] is TEXT


@each_kind
def test_each_flipped_bit_is_noticed(entry: Entry) -> None:
    """No single bit of head or body can turn without DamagedFrame, in one piece or apart."""
    head, body = pack(entry)
    for bit in range(8 * len(head + body)):
        damaged = flipped(head + body, bit)
        with pytest.raises(DamagedFrame):
            unpack(*split(damaged))
        with pytest.raises(DamagedFrame):
            unpack(damaged[: len(head)], damaged[len(head) :])


@each_kind
def test_a_truncated_frame_is_noticed(entry: Entry) -> None:
    """A frame that lost its end, or its beginning, wherever it broke off, raises DamagedFrame."""
    whole = frame(pack(entry))
    for kept in range(len(whole)):
        with pytest.raises(DamagedFrame):
            unpack(*split(whole[:kept]))
        with pytest.raises(DamagedFrame):
            unpack(*split(whole[len(whole) - kept :]))


@each_kind
@pytest.mark.parametrize("more", [b"\x00", b"more"])
def test_a_frame_that_goes_on_is_noticed(entry: Entry, more: bytes) -> None:
    """Bytes after the frame's end raise DamagedFrame."""
    with pytest.raises(DamagedFrame):
        unpack(*split(frame(pack(entry)) + more))


def test_a_body_of_another_head_is_noticed() -> None:
    """Two frames whose bodies were exchanged are both damaged."""
    (one, _), (_, other) = pack(KINDS["short"]), pack(KINDS["raw"])
    with pytest.raises(DamagedFrame):
        unpack(one, other)


@given(head=st.binary(max_size=64), body=st.binary(max_size=64))
@example(head=b"", body=b"")
@example(head=bytes(HEAD_BYTES), body=b"")
def test_junk_is_no_frame(head: bytes, body: bytes) -> None:
    """Bytes that nobody packed raise DamagedFrame."""
    with pytest.raises(DamagedFrame):
        unpack(head, body)
    with pytest.raises(DamagedFrame):
        unpack(*split(head + body))


@given(
    bits=st.lists(st.integers(0, 8 * len(frame(pack(KINDS["compressed"]))) - 1), min_size=1, max_size=9, unique=True)
)
def test_several_flipped_bits_are_noticed(bits: list[int]) -> None:
    """Nor can several turn."""
    damaged = frame(pack(KINDS["compressed"]))
    for bit in bits:
        damaged = flipped(damaged, bit)
    with pytest.raises(DamagedFrame):
        unpack(*split(damaged))
