"""L3: files on this machine, which outlive its processes. Several of them may share a folder."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import diskcache
from diskcache.core import MODE_BINARY, MODE_RAW, UNKNOWN

from cache import frames
from cache.policies import PolicyName
from cache.tier import MISS, DamagedEntry, Entry, Miss, Size, Tier, TierFault, key_bytes

_PATIENCE_S = 1.0
"""How long a process waits for another one that writes."""

_POLICIES: dict[PolicyName, str] = {
    "lru": "least-recently-used",
    "lfu": "least-frequently-used",
    "fifo": "least-recently-stored",
    "wtinylfu": "least-frequently-used",
}
"""What diskcache has that comes nearest. All but `fifo` make every read a write."""

_FAULTS = (sqlite3.Error, OSError, diskcache.Timeout)

P = ParamSpec("P")
T = TypeVar("T")


def _here(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    return call(*args, **kwargs)


class RawDisk(diskcache.Disk):  # type: ignore[misc]
    """Bytes under bytes, and nothing else: diskcache would pickle the rest, and unpickle whatever lies on the disk.

    See CVE-2025-69872. Raises TypeError for what it will not write, DamagedFrame for what it will not read.
    """

    def put(self, key: object) -> Any:
        if type(key) is not bytes:
            raise TypeError(f"a key is bytes, not {type(key).__name__}")
        return super().put(key)

    def get(self, key: object, raw: bool) -> Any:
        if not raw or type(key) is not bytes:
            raise frames.DamagedFrame("a key that is not bytes")
        return key

    def store(self, value: object, read: bool, key: object = UNKNOWN) -> Any:
        if type(value) is not bytes or read:
            raise TypeError(f"a value is bytes, not {type(value).__name__}")
        return super().store(value, read, key=key)

    def fetch(self, mode: int, filename: str, value: object, read: bool) -> Any:
        if mode == MODE_RAW and type(value) is bytes:
            return value
        if mode == MODE_BINARY and not read:
            return super().fetch(mode, filename, value, read)
        raise frames.DamagedFrame(f"a value of kind {mode}, which is not bytes")


class DiskTier(Tier):
    """diskcache, bounded in bytes: a value's head lies in the database, its body too or, from 32 KiB on, in a file.

    `run` runs the calls that wait for the disk; a process of greenlets gives those to threads of the system, of which
    each has one connection.
    """

    name = "l3"

    def __init__(
        self,
        folder: Path,
        limit_bytes: int,
        policy: PolicyName = "lru",
        *,
        run: Callable[..., Any] = _here,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._settings = {"size_limit": limit_bytes, "eviction_policy": _POLICIES[policy]}
        self._limit_bytes = limit_bytes
        self._run = run
        self._clock = clock
        self._lock = threading.Lock()
        self._opened: diskcache.Cache | None = None
        self._evictions = 0

    def get(self, key: str) -> Entry | Miss:
        try:  # not by `_faults`, which would cost a sixth of a hit
            body, head = self._run(self._cache().get, key_bytes(key), None, tag=True)
            if body is None:
                return MISS
            entry = frames.unpack(head if type(head) is bytes else b"", body)
        except frames.DamagedFrame as error:
            self.delete(key)
            raise DamagedEntry(str(error)) from error
        except _FAULTS as error:
            raise self._fault(error) from error
        return entry if entry.expires_at > self._clock() else MISS

    def set(self, key: str, entry: Entry) -> None:
        left_s = entry.expires_at - self._clock()
        if left_s > 0:
            with self._faults():
                self._run(self._write, self._cache(), key_bytes(key), entry, left_s)

    def add(self, key: str, entry: Entry) -> None:
        with self._faults():
            held = self._run(self._cache().__contains__, key_bytes(key))
        if not held:
            self.set(key, entry)

    def delete(self, key: str) -> bool:
        with self._faults():
            return bool(self._run(self._cache().delete, key_bytes(key)))

    def clear(self) -> int:
        with self._faults():
            return int(self._run(self._cache().clear))

    def sweep(self) -> int:
        with self._faults():
            return int(self._run(self._cache().expire))

    def size(self) -> Size:
        with self._faults():
            return Size(self._run(len, self._cache()), self._run(self._cache().volume), self._evictions)

    def close(self) -> None:
        """Close the calling thread's connection."""
        if self._opened is not None:
            self._run(self._opened.close)

    def _write(self, cache: diskcache.Cache, key: bytes, entry: Entry, left_s: float) -> None:
        """Keep it, and bring the whole below its bound at once: diskcache itself drops ten entries a write."""
        head, body = frames.pack(entry, compress=False)
        if len(body) > self._limit_bytes:
            return
        before = len(cache) + (key not in cache)
        cache.set(key, body, expire=left_s, tag=head)
        if cache.volume() > self._limit_bytes:
            cache.cull()
        self._evictions += max(0, before - len(cache))

    def _cache(self) -> diskcache.Cache:
        """The folder's cache, opened on first use."""
        with self._lock:
            if self._opened is None:
                self._opened = self._run(self._open)
            return self._opened

    def _fault(self, error: Exception) -> TierFault:
        """What the error means; a database that cannot be read is begun anew, it is but a cache."""
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            shutil.rmtree(self._folder, ignore_errors=True)
            self._opened = None
        return TierFault(str(error) or repr(error))

    def _open(self) -> diskcache.Cache:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        return diskcache.Cache(str(self._folder), timeout=_PATIENCE_S, disk=RawDisk, **self._settings)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except _FAULTS as error:
            raise self._fault(error) from error
