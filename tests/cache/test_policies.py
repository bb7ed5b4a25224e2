"""What each policy keeps: its bounds on any requests, and its hit ratio on known traces."""

from __future__ import annotations

import gzip
from collections import OrderedDict
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.policies import PolicyName, table

TRACES = Path(__file__).resolve().parents[2].parent / "shared" / "traces" / "cache"
POLICIES = get_args(PolicyName)
WEIGHT = 7
"""Of every entry of a trace: whole entries fit into a share of the limit, whatever that is."""

RATIOS = {
    ("lirs-gli", 1000): {"fifo": 11.14, "lru": 11.21, "lfu": 31.34},
    ("lirs-gli", 2000): {"fifo": 47.90, "lru": 57.41, "lfu": 57.41},
    ("lirs-multi1", 1000): {"fifo": 44.79, "lru": 48.23, "lfu": 49.74},
    ("lirs-sprite", 600): {"fifo": 78.50, "lru": 83.19, "lfu": 31.13},
    ("lirs-cs", 1000): {"fifo": 1.83, "lru": 1.83, "lfu": 1.83},
    ("lirs-loop", 500): {"fifo": 0.00, "lru": 0.00, "lfu": 0.00},
}
"""Percents of hits, by trace, entries and policy, as others have measured them."""


def hits(policy: PolicyName, trace: str, entries: int) -> float:
    """The percents of a trace's requests that find their key."""
    path = TRACES / f"{trace}.trace.gz"
    if not path.exists():
        pytest.skip(f"the trace {path} is not here")
    with gzip.open(path, "rt") as lines:
        keys = [line.strip() for line in lines if line.strip() and "*" not in line]
    kept = table(policy, entries * WEIGHT, lambda value: WEIGHT, lambda key, value: None)
    found = 0
    for key in keys:
        if kept.get(key) is not None:
            found += 1
        else:
            kept.put(key, True)
    return round(100 * found / len(keys), 2)


@pytest.mark.parametrize(("trace", "entries"), RATIOS)
@pytest.mark.parametrize("policy", ["fifo", "lru", "lfu"])
def test_a_known_policy_has_its_known_ratio(policy: PolicyName, trace: str, entries: int) -> None:
    """To the second place."""
    assert hits(policy, trace, entries) == RATIOS[trace, entries][policy]


@pytest.mark.parametrize(
    ("trace", "entries", "least"),
    [("lirs-gli", 1000, 50), ("lirs-multi1", 1000, 67), ("lirs-sprite", 600, 78), ("lirs-cs", 1000, 57)],
)
def test_wtinylfu_is_not_flushed_by_scans(trace: str, entries: int, least: float) -> None:
    """Far above least recently used where that fails, and near it where it shines."""
    assert hits("wtinylfu", trace, entries) >= least


Requests = list[tuple[str, int]]
requests = st.lists(st.tuples(st.sampled_from("abcdefghij"), st.integers(-2, 12)), max_size=120)


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=50)
@given(requests=requests, limit=st.integers(1, 40))
def test_a_table_keeps_to_its_limit_and_never_lies(policy: PolicyName, requests: Requests, limit: int) -> None:
    """Whatever is put, asked for (-1) and dropped (-2): a value is the latest of its key, and all weigh no more."""
    evictions: list[tuple[str, int]] = []
    kept = table(policy, limit, lambda value: value, lambda key, value: evictions.append((key, value)))
    latest: dict[str, int] = {}
    for key, action in requests:
        if action == -2:
            was_kept = key in dict(kept.items())
            assert kept.drop(key) == was_kept
            latest.pop(key, None)
        elif action == -1:
            assert kept.get(key) in {None, latest.get(key)}
        else:
            before, evictions[:] = dict(kept.items()) | {key: action}, []
            kept.put(key, action)
            latest[key] = action
            after = dict(kept.items())
            assert sorted(after.items()) == sorted(before.items() - set(evictions))  # told of each, and of no other
            assert len(before) == len(after) + len(evictions)
        count, weight = kept.size()
        assert weight <= limit
        held = [found for found in (kept.get(known) for known in latest) if found is not None]
        assert (len(held), sum(held)) == (count, weight)
    kept.clear()
    assert kept.size() == (0, 0)


@given(keys=st.lists(st.sampled_from("abcdefgh"), max_size=200), limit=st.integers(1, 6))
def test_lru_is_an_ordered_dictionary(keys: list[str], limit: int) -> None:
    """The oracle of the policy that everybody knows."""
    kept, oracle = table("lru", limit, lambda value: 1, lambda key, value: None), OrderedDict[str, bool]()
    for key in keys:
        found = kept.get(key) is not None
        assert found == (key in oracle)
        if found:
            oracle.move_to_end(key)
        else:
            kept.put(key, True)
            oracle[key] = True
            if len(oracle) > limit:
                oracle.popitem(last=False)


def test_wtinylfu_keeps_what_is_asked_for_through_a_scan() -> None:
    """A thousand keys that are asked for once displace nothing that is asked for again and again."""
    kept = table("wtinylfu", 100, lambda value: 1, lambda key, value: None)
    wanted = [f"wanted {number}" for number in range(50)]
    for _ in range(3):
        for key in wanted:
            if kept.get(key) is None:
                kept.put(key, 1)
    for number in range(1000):
        if kept.get(f"scan {number}") is None:
            kept.put(f"scan {number}", 1)
    assert sum(kept.get(key) is not None for key in wanted) >= 49
