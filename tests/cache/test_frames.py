"""Frames: what was packed comes back, compressed only where that pays, and damage is noticed."""

from __future__ import annotations

import random

import lz4.frame
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cache.frames import DamagedFrame, pack, unpack

HEADER_BYTES = 5
TEXT = b"the same words again and again, " * 40
NOISE = random.Random(1).randbytes(1000)

VALUES = st.binary(max_size=600) | st.builds(
    lambda part, times: part * times, st.binary(max_size=40), st.integers(0, 60)
)


def flipped(frame: bytes, bit: int) -> bytes:
    """The frame with one bit the other way."""
    damaged = bytearray(frame)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


@given(value=VALUES, compress=st.booleans())
@example(value=b"", compress=True)
@example(value=TEXT, compress=True)
@example(value=bytes(range(256)) * 2, compress=False)
def test_a_value_comes_back(value: bytes, compress: bool) -> None:
    """Unpacking what was packed gives the value."""
    assert unpack(pack(value, compress=compress)) == value


@given(value=VALUES)
@example(value=NOISE)
@example(value=TEXT)
def test_a_frame_is_never_longer_than_value_and_header(value: bytes) -> None:
    """Compression that does not pay is not used."""
    assert len(pack(value)) <= len(value) + HEADER_BYTES


def test_text_is_compressed() -> None:
    """A long text of few words takes far less room."""
    assert len(pack(TEXT)) < len(TEXT) / 5


def test_noise_is_kept_as_it_is() -> None:
    """What does not compress is stored raw."""
    assert pack(NOISE).endswith(NOISE)


def test_less_than_a_tenth_saved_does_not_pay() -> None:
    """Compression that saves less than a tenth is not worth its time: the value is stored raw."""
    value = NOISE + bytes(80)
    assert 0.9 * len(value) < len(lz4.frame.compress(value)) < len(value)
    assert pack(value).endswith(value)


def test_short_values_are_kept_as_they_are() -> None:
    """Under 256 bytes compression is not tried."""
    assert len(pack(bytes(255))) == 255 + HEADER_BYTES
    assert len(pack(bytes(256))) < 256


def test_compression_can_be_turned_off() -> None:
    """Without compression the value is stored raw, and still comes back."""
    assert pack(TEXT, compress=False).endswith(TEXT)


@pytest.mark.parametrize("value", [b"", b"short", TEXT, NOISE], ids=["empty", "short", "compressed", "raw"])
def test_each_flipped_bit_is_noticed(value: bytes) -> None:
    """No single bit of checksum or payload can turn without DamagedFrame, nor those of the codec past its last."""
    frame = pack(value)
    for bit in range(1, 8 * len(frame)):
        with pytest.raises(DamagedFrame):
            unpack(flipped(frame, bit))


@pytest.mark.parametrize("value", [b"", b"short", TEXT], ids=["empty", "short", "compressed"])
def test_a_flipped_codec_is_noticed(value: bytes) -> None:
    """The bit that tells raw from compressed cannot turn without DamagedFrame either."""
    with pytest.raises(DamagedFrame):
        unpack(flipped(pack(value), 0))


@given(value=VALUES)
@example(value=b"")
@example(value=TEXT)
def test_a_truncated_frame_is_noticed(value: bytes) -> None:
    """A frame that lost its end, wherever it broke off, raises DamagedFrame."""
    frame = pack(value)
    for kept in range(len(frame)):
        with pytest.raises(DamagedFrame):
            unpack(frame[:kept])


@pytest.mark.parametrize("more", [b"\x00", b"more"])
def test_a_frame_that_goes_on_is_noticed(more: bytes) -> None:
    """Bytes after the frame's end raise DamagedFrame."""
    with pytest.raises(DamagedFrame):
        unpack(pack(TEXT) + more)


@given(junk=st.binary(max_size=64))
@example(junk=b"")
@example(junk=b"\xffjunk of more than five bytes")
def test_junk_is_no_frame(junk: bytes) -> None:
    """Bytes that nobody packed raise DamagedFrame."""
    with pytest.raises(DamagedFrame):
        unpack(b"\x07" + junk)
