"""All tiers as one: read the fastest first, promote what is found, write to all, demote what memory lets go of."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, ParamSpec, TypeVar

from cache.changes import Change, Changes
from cache.memory import Held, MemoryTier
from cache.statistics import Counts, LevelStatistics, Statistics
from cache.tags import LONGEST_TTL_S, Tags
from cache.tier import MISS, DamagedEntry, Entry, Level, Miss, Size, Stamp, Tier, TierFault

REST_S = 2.0
"""How long a tier is left alone after a fault: a server that hangs must not cost every caller its timeout."""

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


class Found(NamedTuple):
    """A value, where it was found, and what is known of it. `value` None: it is known that there is none."""

    value: bytes | None
    level: Level
    age_s: float
    left_s: float
    is_stale: bool
    stamp: Stamp
    uses: int
    """How often this process has had it from its memory."""


class TieredCache:
    """Memory, and slower tiers behind it. A tier with a fault is a miss: its caller is never failed by a cache."""

    def __init__(
        self,
        memory: MemoryTier,
        slower: Sequence[Tier] = (),
        *,
        tags: Tags | None = None,
        changes: Changes | None = None,
        clock: Callable[[], float] = time.time,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`tags` tell which stamps are current: without them, stamped values are misses."""
        self._memory = memory
        self._find = memory.find
        self._slower = tuple(slower)
        self._tags = tags
        self._changes = changes
        self._clock = clock
        self._draw = draw
        self._lock = threading.Lock()
        self._tiers: dict[Level, Tier] = {tier.name: tier for tier in (memory, *slower)}
        self._counts = {level: Counts() for level in self._tiers}
        self._rests_until = dict.fromkeys(self._tiers, float("-inf"))
        if changes is not None:
            changes.listen(self._changed)

    @property
    def levels(self) -> tuple[Level, ...]:
        """The names of the tiers, the fastest first."""
        return tuple(self._tiers)

    def get(self, key: str) -> bytes | Miss:
        """The value under `key`; MISS where none is known, and where it is known that there is none."""
        held = self._find(key)
        if held is not None and (not held.entry.stamp or self._is_still_current(key, held)):
            value = held.entry.value
            return MISS if value is None else value
        found = self._look_deeper(key)
        return MISS if found is None or found.value is None else found.value

    def look_up(self, key: str, *, counted: bool = True, only_fresh: bool = False) -> Found | None:
        """The value with what is known of it. What a slower tier holds is promoted, with its time and its stamp.

        A stale one does for it, unless `only_fresh`: then it hides no fresh one in a slower tier.
        """
        held = self._find(key, counted)
        if held is not None and (not held.entry.stamp or self._is_still_current(key, held, counted)):
            found = self._found(held.entry, self._memory.name, held.uses)
            if not (only_fresh and found.is_stale):
                return found
        return self._look_deeper(key, counted=counted, only_fresh=only_fresh)

    def set(
        self,
        key: str,
        value: bytes | None,
        ttl_s: float,
        *,
        stamp: Stamp = (),
        stale_s: float = 0.0,
        jitter_ratio: float = 0.0,
        levels: Sequence[Level] | None = None,
    ) -> None:
        """Keep the value for `ttl_s` seconds, less up to a share of `jitter_ratio`, and `stale_s` more as a stale one.

        It is written through to all tiers, or to those of the `levels`. None is a negative result.
        """
        now = self._clock()
        stale_at = now + min(ttl_s, LONGEST_TTL_S) * (1 - jitter_ratio * self._draw())
        entry = Entry(value, now, stale_at, min(stale_at + stale_s, now + LONGEST_TTL_S), stamp)
        chosen = self.levels if levels is None else levels
        deeper = [tier for tier in self._slower if tier.name in chosen]
        written = [self._try(tier, False, _written, tier, key, entry) for tier in deeper]
        if self._memory.name in chosen:
            self._demote(self._memory.put(key, entry, is_deep=any(written) or not self._slower))

    def delete(self, key: str) -> bool:
        """Forget the key in every tier that this process reaches; whether one of them held it."""
        held = self._memory.delete(key)
        return any([held, *(self._try(tier, False, tier.delete, key) for tier in self._slower)])

    def stamp(self, tags: Sequence[str], key: str) -> Stamp | None:
        """What a value must carry that is to be void once one of the tags is; to be taken before it is computed.

        None when the tags' versions cannot be known: the value is not to be kept then. Raises ValueError for what is
        no tag.
        """
        if not tags:
            return ()
        try:
            return self._tags.stamp(tags, key) if self._tags else None
        except TierFault as fault:
            log.warning("a value with tags is not kept: %s", fault)
            return None

    def clear(self, level: Level) -> int:
        """Forget all of a level, in all processes as far as it is their own; how many entries this one had there.

        Raises TierFault, and forgets nothing, when the others cannot be told.
        """
        if self._changes is not None:
            self._changes.tell(Change(levels=[level]))
        return self._clear_here([level])

    def sweep(self) -> int:
        """Make room of what has expired; how many entries that were."""
        return self._memory.sweep() + sum(self._try(tier, 0, tier.sweep) for tier in self._slower)

    def statistics(self) -> Statistics:
        """By level, what this process has asked for and what the tier holds."""
        own = self._counts[self._memory.name]
        own.requests, own.hits = self._memory.requests, self._memory.hits
        return {
            level: LevelStatistics(counts.requests, counts.hits, counts.faults, self._size(self._tiers[level]))
            for level, counts in self._counts.items()
        }

    def _look_deeper(self, key: str, *, counted: bool = True, only_fresh: bool = False) -> Found | None:
        for depth, tier in enumerate(self._slower):
            entry = self._get_from(tier, key)
            if entry is not MISS and only_fresh and entry.stale_at <= self._clock():
                entry = MISS
            if counted:
                with self._lock:
                    self._counts[tier.name].add(is_hit=entry is not MISS)
            if entry is not MISS:
                for faster in self._slower[:depth]:
                    self._try(faster, None, faster.add, key, entry)
                self._demote(self._memory.promote(key, entry))
                return self._found(entry, tier.name, 0)
        return None

    def _get_from(self, tier: Tier, key: str) -> Entry | Miss:
        entry = self._try(tier, MISS, tier.get, key)
        return MISS if entry is not MISS and entry.stamp and not self._are_current(entry.stamp) else entry

    def _found(self, entry: Entry, level: Level, uses: int) -> Found:
        now = self._clock()
        left_s, is_stale = entry.expires_at - now, entry.stale_at <= now
        return Found(entry.value, level, now - entry.made_at, left_s, is_stale, entry.stamp, uses)

    def _demote(self, shed: Sequence[tuple[str, Entry]]) -> None:
        """Give what memory let go of, and is nowhere else, to the next tier."""
        for key, entry in shed:
            for tier in self._slower[:1]:
                self._try(tier, None, _bring, tier, key, entry)

    def _is_still_current(self, key: str, held: Held, counted: bool = True) -> bool:
        are_current = self._are_current(held.entry.stamp)
        if not are_current:
            self._memory.reject(key, held, counted, is_void=are_current is not None)
        return bool(are_current)

    def _are_current(self, stamp: Stamp) -> bool | None:
        return self._tags.are_current(stamp) if self._tags else None

    def _changed(self, change: Change) -> None:
        self._clear_here(
            [level for level, tier in self._tiers.items() if level in change.levels and not tier.is_everybodys]
        )

    def _clear_here(self, levels: Sequence[str]) -> int:
        chosen = [tier for tier in self._tiers.values() if tier.name in levels]
        return sum(self._try(tier, 0, tier.clear) for tier in chosen)

    def _size(self, tier: Tier) -> Size | None:
        return self._try(tier, None, tier.size)

    def _try(self, tier: Tier, otherwise: T, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the call answers; `otherwise` when the tier rests, or has a fault and rests from now on."""
        if self._clock() < self._rests_until[tier.name]:
            return otherwise
        try:
            return call(*args, **kwargs)
        except TierFault as fault:
            log.warning("cache tier %s: %s", tier.name, fault)
            with self._lock:
                self._counts[tier.name].faults += 1
            if not isinstance(fault, DamagedEntry):
                self._rests_until[tier.name] = self._clock() + REST_S
            return otherwise


def _bring(tier: Tier, key: str, entry: Entry) -> None:
    """Have the tier keep the entry, unless what it has is no older."""
    held = tier.get(key)
    if held is MISS or held.made_at < entry.made_at:
        tier.set(key, entry)


def _written(tier: Tier, key: str, entry: Entry) -> bool:
    tier.set(key, entry)
    return True
