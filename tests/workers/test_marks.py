"""What of a prompt is worth a state: laws over any prompts, without a model."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workers.marks import MOST_STRIDES, Asked, Beginning, roundness, strides, worth_keeping

STRIDE = 4


def beginnings(*ends: int) -> list[Beginning]:
    return [Beginning(end, f"state:{end}", roundness(end, STRIDE)) for end in ends]


@given(tokens=st.integers(0, 5000), more=st.integers(0, 5000))
def test_two_prompts_have_strides_in_common(tokens: int, more: int) -> None:
    """Those of the longer one within the shorter one; neither has too many, nor an end after its own."""
    short, long = strides(tokens, STRIDE), strides(tokens + more, STRIDE)
    assert {end for end in long if end <= tokens} <= set(short)
    assert len(long) <= MOST_STRIDES
    assert all(end % STRIDE == 0 and 0 < end <= tokens + more for end in long)
    assert len(short) >= min(tokens // STRIDE, MOST_STRIDES // 2)


@given(count=st.integers(1, 1000))
def test_roundness_counts_halvings(count: int) -> None:
    """Up to five; where no stride ends, there is none."""
    halved = roundness(count * STRIDE, STRIDE)
    assert halved is not None
    assert count % 2**halved == 0
    assert halved == 5 or count % 2 ** (halved + 1)
    assert roundness(count * STRIDE + 1, STRIDE) is None


def test_what_is_certain_to_be_wanted_is_not_spare() -> None:
    """The last mark, and where an earlier prompt parted from this one; the rest by roundness, the last stride above."""
    ends = beginnings(4, 8, 10, 12, 14, 16, 20)
    kept = worth_keeping(ends, found=4, marked=14, again=ends[3])
    assert {mark.tokens: mark.name for mark in kept} == {
        8: "1:state:8",
        12: "state:12",
        14: "state:14",
        16: "2:state:16",
        20: "6:state:20",
    }
    assert [mark.tokens for mark in kept if mark.is_spare] == [8, 16, 20]


def test_what_is_known_is_not_kept_again() -> None:
    """Nor is what comes before it."""
    ends = beginnings(4, 8)
    assert worth_keeping(ends, found=8, marked=8, again=ends[1]) == []


def test_every_name_that_is_given_is_looked_for() -> None:
    """Under its key, or one of its spare names."""
    ends = beginnings(*range(STRIDE, 40 * STRIDE, STRIDE))
    for mark, end in zip(worth_keeping(ends, found=0, marked=None, again=None), ends, strict=True):
        assert mark.name in {end.key, *end.spare_names}


@given(asked=st.lists(st.integers(1, 12), max_size=60), room=st.integers(1, 20))
def test_only_what_was_asked_for_is_asked_for_again(asked: list[int], room: int) -> None:
    """The longest of it; and what there is no room for is forgotten, the oldest first."""
    memory, order = Asked(room), list[str]()
    for count in asked:
        ends = beginnings(*range(STRIDE, STRIDE * count + 1, STRIDE))
        known = [end for end in ends if end.key in order[-room:]]
        assert memory.again(ends) == (known[-1] if known else None)
        keys = [end.key for end in ends]
        order = [key for key in order if key not in keys] + keys
