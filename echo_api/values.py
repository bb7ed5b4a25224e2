"""Values that clients put into the cache themselves: JSON under any key, apart from the farm's own."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from cache.tags import Tags
from cache.tier import Level
from cache.tiered import TieredCache

MOST_NESTED = 100
"""How deep a value may be nested: whoever reads it must not run out of stack."""

_ROW_AFTER_VALUE_S = 60.0

_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_BRACKETS = re.compile(rb"[][{}]")


@dataclass(frozen=True, slots=True)
class Value:
    """A value as it was found; `uses` counts from its coming into this process's memory."""

    content: Any
    level: Level
    age_s: float
    uses: int


class Values:
    """What clients keep in the cache. Raises TierFault while the tags' server is away.

    A key is a tag, too, which every write renews: a copy that any process or disk still holds is void at once.
    """

    def __init__(self, cache: TieredCache, tags: Tags) -> None:
        self._cache = cache
        self._tags = tags

    @property
    def levels(self) -> tuple[Level, ...]:
        """The tiers that there are."""
        return self._cache.levels

    def get(self, key: str) -> Value | None:
        """The value, or None."""
        found = self._cache.look_up(_named(key))
        if found is None or found.value is None:
            return None
        return Value(json.loads(found.value), found.level, found.age_s, max(1, found.uses))

    def set(self, key: str, content: bytes, ttl_s: float, level: Level, tags: Sequence[str]) -> None:
        """Keep a value, as JSON text, in the tier of that level and in those behind it."""
        stamp = self._tags.renew([_own_tag(key)], ttl_s + _ROW_AFTER_VALUE_S) + self._tags.stamp(tags, key)
        levels = self.levels[self.levels.index(level) :]
        self._cache.set(_named(key), content, ttl_s, stamp=stamp, levels=levels)

    def delete(self, key: str) -> bool:
        """Forget the key; whether there was a value."""
        held = self._cache.look_up(_named(key), counted=False) is not None
        self._tags.renew([_own_tag(key)], _ROW_AFTER_VALUE_S)
        self._cache.delete(_named(key))
        return held

    def invalidate(self, tags: Sequence[str]) -> int:
        """Make all void that was kept with one of the tags; about how many keys that were."""
        return self._tags.invalidate(tags)


def nesting(content: bytes) -> int:
    """How many brackets of JSON stand within one another at most; no more than all of them, where those are few."""
    most = content.count(b"[") + content.count(b"{")
    if most <= MOST_NESTED:
        return most
    brackets = _BRACKETS.findall(_STRINGS.sub(b"", content))
    return max(accumulate(1 if bracket in b"[{" else -1 for bracket in brackets), default=0)


def _named(key: str) -> str:
    return f"value:{key}"


def _own_tag(key: str) -> str:
    return f"key:{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}"
