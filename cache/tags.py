"""Tags: many values made void at once, in constant time, by giving their tag another version.

A value carries the versions that its tags had before it was computed (its stamp), and is good while they are current:
an invalidation during a long computation wins. Versions are random, so that a lost row never brings an old one back: a
tag without a row has no valid values. Rows belong on a server that evicts nothing.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import redis
from redis.exceptions import RedisError

from cache.changes import Change, Changes
from cache.tier import Stamp, TierFault, key_bytes

LONGEST_TTL_S = 7 * 86400
"""How long a value may be kept: rows of tags outlive all values that carry them."""

_ROW_S = LONGEST_TTL_S + 3600
_KNOWN_AT_MOST = 100_000
_PREFIX, _COUNTER_PREFIX = "echo:tag:", "echo:tagged:"
_FORM = re.compile(r"[A-Za-z0-9_.:-]{1,160}")


class Tags:
    """The versions of tags on one server, as this process knows them. Threads may share it.

    Every method but `are_current` raises TierFault when the server does not answer, and ValueError for what is no tag.
    """

    def __init__(self, client: redis.Redis, changes: Changes) -> None:
        """`client` must decode responses."""
        self._redis = client
        self._changes = changes
        self._known: dict[str, str] = {}
        self._heard = 0  # how many changes, so that what was read before one is not taken for what is after it
        self._lock = threading.Lock()
        changes.listen(self._changed, self._forget)

    def stamp(self, tags: Sequence[str], key: str) -> Stamp:
        """The tags with their versions of now, for a value that is about to be computed for the key."""
        if not tags:
            return ()
        with self._pipeline(tags) as pipe:
            for tag in tags:
                pipe.set(_PREFIX + tag, _version(), nx=True).expire(_PREFIX + tag, _ROW_S)
                pipe.pfadd(_counter(tag), key_bytes(key))
                pipe.expire(_counter(tag), _ROW_S)
            pipe.mget([_PREFIX + tag for tag in tags])
            versions = self._execute(pipe)[-1]
        return tuple(zip(tags, versions, strict=True))

    def renew(self, tags: Sequence[str], row_s: float = _ROW_S) -> Stamp:
        """Make all values of the tags void, for all processes; the tags with their versions from now on."""
        fresh = {tag: _version() for tag in tags}
        with self._pipeline(tags) as pipe:
            for tag, version in fresh.items():
                pipe.set(_PREFIX + tag, version, px=round(1000 * row_s))
            self._changes.tell(Change(fresh), pipe)
            self._execute(pipe)
        self._changed(Change(fresh))
        return tuple(fresh.items())

    def invalidate(self, tags: Sequence[str]) -> int:
        """Make all values of the tags void, for all processes; about how many keys were stamped with them until now."""
        if not tags:
            return 0
        counters = [_counter(tag) for tag in tags]
        with self._pipeline(tags) as pipe:
            pipe.pfcount(*counters).delete(*counters)
            count = int(self._execute(pipe)[0])
        self.renew(tags)
        return count

    def are_current(self, stamp: Stamp) -> bool | None:
        """Whether none of its tags was made void since; None while that cannot be known."""
        if not self._changes.are_heard():
            self._forget()
        known = self._known
        if all(known.get(tag) == version for tag, version in stamp):
            return True
        if all(tag in known for tag, _ in stamp):
            return False
        try:
            now = self._read([tag for tag, _ in stamp])
        except TierFault:
            return None
        return all(now[tag] == version for tag, version in stamp)

    def _read(self, tags: Sequence[str]) -> Mapping[str, str | None]:
        """The tags' versions by the server's word, which are known from then on if every change is heard."""
        heard, are_heard = self._heard, self._changes.are_heard()
        with self._pipeline(tags) as pipe:
            pipe.mget([_PREFIX + tag for tag in tags])
            versions = self._execute(pipe)[0]
        found = dict(zip(tags, versions, strict=True))
        with self._lock:
            if are_heard and self._heard == heard:
                if len(self._known) > _KNOWN_AT_MOST:
                    self._known = {}
                self._known |= {tag: version for tag, version in found.items() if version is not None}
        return found

    def _changed(self, change: Change) -> None:
        with self._lock:
            self._heard += 1
            for tag in change.tags:  # the server is asked again: changes may be told in another order than made
                self._known.pop(tag, None)

    def _forget(self) -> None:
        with self._lock:
            self._heard += 1
            self._known = {}

    def _pipeline(self, tags: Sequence[str]) -> redis.client.Pipeline:
        if wrong := [tag for tag in tags if not _FORM.fullmatch(tag)]:
            raise ValueError(f"{wrong[0]!r} is no tag: 1 to 160 letters, digits and any of _.:-")
        return self._redis.pipeline(transaction=True)

    def _execute(self, pipe: redis.client.Pipeline) -> list[Any]:
        try:
            return pipe.execute()  # type: ignore[no-any-return]
        except RedisError as error:
            raise TierFault(str(error)) from error


def _version() -> str:
    return secrets.token_hex(8)


def _counter(tag: str) -> str:
    return _COUNTER_PREFIX + tag
