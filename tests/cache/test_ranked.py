"""Ranks: the lowest goes first, and among equals the table is plain LRU."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cache.policies import table

LIMIT = 20
KEYS = st.tuples(st.sampled_from(["", "0:", "1:", "9:"]), st.sampled_from("abcdefgh")).map("".join)


def _rank(key: str) -> int:
    return int(key[0]) if ":" in key else 10


@given(requests=st.lists(st.tuples(KEYS, st.integers(1, 8)), max_size=80))
def test_nothing_goes_while_something_of_a_lower_rank_is_kept(requests: list[tuple[str, int]]) -> None:
    """What has gone ranks no higher than anything that is left."""
    kept = table("ranked", LIMIT, lambda weight: weight, lambda key, value: None)
    held: dict[str, int] = {}
    for key, weight in requests:
        kept.put(key, weight)
        held[key] = weight
        left = {one: held[one] for one in held if kept.get(one) is not None}
        gone = held.keys() - left.keys()
        assert max(map(_rank, gone), default=0) <= min(map(_rank, left), default=10)
        assert kept.size() == (len(left), sum(left.values()))
        held = left


@given(requests=st.lists(st.tuples(st.booleans(), st.sampled_from("abcdefgh")), max_size=80))
def test_equals_are_kept_by_last_use(requests: list[tuple[bool, str]]) -> None:
    """As `lru` does it."""
    for prefix in ("", "3:"):
        tables = [table(policy, LIMIT, lambda value: 4, lambda key, value: None) for policy in ("lru", "ranked")]
        for is_put, key in requests:
            if is_put:
                for one in tables:
                    one.put(prefix + key, 1)
            lru, ranked = (one.get(prefix + key) for one in tables)
            assert lru == ranked
