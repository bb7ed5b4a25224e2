"""What the detokenizer lets out: whole characters, as soon as they are certain, and nothing of a stop string."""

from __future__ import annotations

import codecs

from hypothesis import example, given
from hypothesis import strategies as st

from workers.detokenizer import Detokenizer

SMALL = st.lists(
    st.sampled_from([b"a", b"b", b"c", b"\n", b"\xe2", b"\x82", b"\xac", "€".encode(), "😀".encode()]), max_size=12
).map(b"".join)
"""Bytes of few values, so that stop strings match and nearly match, with whole and broken characters."""

PIECES = st.lists(SMALL | st.binary(max_size=4), max_size=12)
STOPS = st.lists(SMALL.filter(bool), max_size=4)


def run(pieces: list[bytes], stops: list[bytes]) -> tuple[str, bool]:
    """All that comes out, pushed as a sequence pushes it, and whether it stopped."""
    detokenizer, text = Detokenizer(stops), ""
    for piece in pieces:
        text += detokenizer.push(piece)
        if detokenizer.stopped:
            return text, True
    return text + detokenizer.flush(), False


def cut_at_the_first(data: bytes, stops: list[bytes]) -> tuple[str, bool]:
    """The oracle: find the stop string that is whole first, the longest of those, cut before it, decode."""
    found = [(data.index(stop) + len(stop), data.index(stop)) for stop in stops if stop in data]
    return (data[: min(found)[1]] if found else data).decode(errors="replace"), bool(found)


def certain(data: bytes, stops: list[bytes]) -> str:
    """All of `data` that no later bytes can change: up to a stop string's possible start, in whole characters."""
    starts = {stop[:length] for stop in stops for length in range(1, len(stop))}
    held = max((length for length in range(len(data) + 1) if data[len(data) - length :] in starts), default=0)
    return codecs.getincrementaldecoder("utf-8")(errors="replace").decode(data[: len(data) - held])


@given(pieces=PIECES, stops=STOPS)
@example(pieces=[b"a\n", b"\nUs", b"er: b"], stops=[b"\n\nUser:"])
@example(pieces=[b"aab", b"c"], stops=[b"abc", b"ab"])
@example(pieces=[b"ab", b"c"], stops=[b"bc", b"abc"])
@example(pieces=[b"aaab"], stops=[b"aab"])
@example(pieces=[b"abcd"], stops=[b"abcd", b"bc"])
@example(pieces=[b"abc", b"d"], stops=[b"abcd", b"bc"])
@example(pieces=[b"a\xe2\x82", b"\xac"], stops=[b"\xac"])
@example(pieces=[b"a\xe2", b"\x82b"], stops=[b"b"])
def test_the_output_is_cut_at_the_first_stop(pieces: list[bytes], stops: list[bytes]) -> None:
    """However the bytes are split, the output is the whole cut at the stop string that is whole first."""
    assert run(pieces, stops) == cut_at_the_first(b"".join(pieces), stops)


@given(pieces=PIECES, stops=STOPS)
def test_what_is_certain_comes_out_at_once(pieces: list[bytes], stops: list[bytes]) -> None:
    """After each piece all that can no longer change is out, and no more than that."""
    detokenizer, text, data = Detokenizer(stops), "", b""
    for piece in pieces:
        text += detokenizer.push(piece)
        data += piece
        if detokenizer.stopped:
            break
        assert text == certain(data, stops)


@given(text=st.text().map(lambda text: text.replace("\ufffd", "")), size=st.integers(1, 3))
def test_only_whole_characters_come_out(text: str, size: int) -> None:
    """Text that comes a few bytes at a time never shows half a character, and all of it comes."""
    data = text.encode()
    detokenizer = Detokenizer([b"never"])
    out = [detokenizer.push(data[at : at + size]) for at in range(0, len(data), size)]
    assert not any("\ufffd" in piece for piece in out)
    assert "".join(out) + detokenizer.flush() == text


def test_bytes_that_are_no_character_become_one_mark() -> None:
    """Half a character at the end, or before a stop string, comes out as U+FFFD."""
    assert run(["€".encode()[:2]], []) == ("\ufffd", False)
    assert run(["€".encode()[:2], b"END"], [b"END"]) == ("\ufffd", True)


def test_what_only_looked_like_a_stop_comes_out() -> None:
    """A stop string that goes on otherwise is text, and so is one that the end cuts short."""
    detokenizer = Detokenizer([b"\n\nUser:"])
    assert [detokenizer.push(b"a\n\nUse"), detokenizer.push(b" it\n\n"), detokenizer.flush()] == [
        "a",
        "\n\nUse it",
        "\n\n",
    ]
    assert not detokenizer.stopped


def test_nothing_follows_a_stop() -> None:
    """After the stop string nothing is held that a flush could let out."""
    detokenizer = Detokenizer([b"stop"])
    assert detokenizer.push(b"text stop more") == "text "
    assert detokenizer.stopped
    assert detokenizer.flush() == ""
