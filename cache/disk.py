"""L3: files on this machine, which outlive its processes. Several of them may share a folder."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import diskcache
from diskcache.core import DBNAME, EVICTION_POLICY, MODE_BINARY, MODE_RAW, UNKNOWN

from cache import frames
from cache.policies import PolicyName
from cache.tier import MISS, DamagedEntry, Entry, Miss, Size, Tier, TierFault, key_bytes

_PATIENCE_S = 1.0
"""How long a process waits for another one that writes."""

_LOOKED_AT_EVERY_S = 0.5
"""How long a process may not notice that another one has begun the folder anew: a look costs as much as a small hit."""

_FIRST = ("PRAGMA auto_vacuum = FULL", "PRAGMA journal_mode = WAL", "BEGIN IMMEDIATE", "ROLLBACK")
"""What shows within that time that a database can be opened: diskcache itself would try for a minute."""

_POLICIES: dict[PolicyName, str] = {
    "lru": "least-recently-used",
    "lfu": "least-frequently-used",
    "fifo": "least-recently-stored",
    "wtinylfu": "least-frequently-used",
    "ranked": "least-recently-used",
}
"""What diskcache has that comes nearest. All but `fifo` make every read a write."""

_FAULTS = (sqlite3.Error, OSError, diskcache.Timeout, ValueError, TypeError)
"""What diskcache raises: the last two for rows of its own that it cannot make sense of."""

_PASSING = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
}
"""What may be well again without anybody's doing; after anything else that sqlite says the database is beyond help."""

T = TypeVar("T")


def _here(call: Callable[[], T]) -> T:
    return call()


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
        if mode == MODE_BINARY and type(filename) is str and not read:
            return super().fetch(mode, filename, value, read)
        raise frames.DamagedFrame(f"a value of kind {mode}, which is not bytes")


class DiskTier(Tier):
    """diskcache, bounded in bytes: a value's head lies in the database, its body too or, from 32 KiB on, in a file.

    `run` runs the calls that wait for the disk, which take no arguments; a process of greenlets gives those to threads
    of the system, of which each has one connection.
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
        self._database = str(folder / DBNAME)
        self._limit_bytes = limit_bytes
        self._settings = {
            "eviction_policy": _POLICIES[policy],
            "size_limit": limit_bytes,
            "cull_limit": 0,  # it would drop ten at a time, whatever their size
            "sqlite_mmap_size": 0,  # a file that shrinks under its map kills the process
            "sqlite_synchronous": 0,  # what a power cut damages is begun anew
        }
        self._run = run
        self._clock = clock
        self._lock = threading.Lock()
        self._opened: diskcache.Cache | None = None
        self._inode: int | None = None
        self._looked_at = float("-inf")
        self._evictions = 0

    def get(self, key: str) -> Entry | Miss:
        body, head = self._on_disk(diskcache.Cache.get, key_bytes(key), None, tag=True)
        if body is None:
            return MISS
        try:
            entry = frames.unpack(head if type(head) is bytes else b"", body)
        except frames.DamagedFrame as error:
            self.delete(key)
            raise DamagedEntry(str(error)) from error
        return entry if entry.expires_at > self._clock() else MISS

    def set(self, key: str, entry: Entry) -> None:
        left_s = entry.expires_at - self._clock()
        if left_s > 0:
            evicted = self._on_disk(self._write, key_bytes(key), entry, left_s)
            with self._lock:
                self._evictions += evicted

    def add(self, key: str, entry: Entry) -> None:
        if self.get(key) is MISS:
            self.set(key, entry)

    def delete(self, key: str) -> bool:
        return bool(self._on_disk(diskcache.Cache.delete, key_bytes(key)))

    def clear(self) -> int:
        return int(self._on_disk(diskcache.Cache.clear))

    def sweep(self) -> int:
        return int(self._on_disk(diskcache.Cache.expire))

    def size(self) -> Size:
        return Size(self._on_disk(len), self._on_disk(diskcache.Cache.volume), self._evictions)

    def close(self) -> None:
        """Close the calling thread's connection."""
        if self._opened is not None:
            self._run(self._opened.close)

    def _write(self, cache: diskcache.Cache, key: bytes, entry: Entry, left_s: float) -> int:
        """Keep it, and bring the whole below its bound at once; how many entries had to go for that."""
        head, body = frames.pack(entry, compress=False)
        if len(body) > self._limit_bytes:
            cache.delete(key)
            return 0
        cache.set(key, body, expire=left_s, tag=head)
        return self._make_room(cache, key) if cache.volume() > self._limit_bytes else 0

    def _make_room(self, cache: diskcache.Cache, newest: bytes) -> int:
        """Drop what has expired, and then by the policy one after another, the newest last."""
        cache.expire()
        first = EVICTION_POLICY[cache.eviction_policy]["cull"].format(fields="key")
        evicted = 0
        while cache.volume() > self._limit_bytes:
            keys = [key for (key,) in cache._sql(first, (2,)).fetchall()]
            key = next((key for key in keys if key != newest), newest)
            if type(key) is bytes and cache.delete(key):
                evicted += 1
            else:  # not ours, or another process was faster
                evicted += cache.cull()
        return evicted

    def _on_disk(self, work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """What `work` makes of the cache. Raises TierFault, and DamagedEntry for a value that is not ours."""
        cache = None
        try:
            cache = self._cache()
            return self._run(partial(work, cache, *args, **kwargs))  # type: ignore[no-any-return]
        except frames.DamagedFrame as error:
            self._on_disk(diskcache.Cache.delete, args[0])
            raise DamagedEntry(str(error)) from error
        except _FAULTS as error:
            if _is_broken(error) or (cache is None and self._is_empty()):
                self._begin_anew(cache)
            raise TierFault(str(error) or repr(error)) from error

    def _cache(self) -> diskcache.Cache:
        """The folder's cache, opened on first use, and again when another process has begun it anew."""
        opened, now = self._opened, time.monotonic()
        if opened is not None and now < self._looked_at + _LOOKED_AT_EVERY_S:
            return opened
        with self._lock:
            if self._opened is None or self._inode_now() != self._inode:
                self._opened = self._run(self._open)
                self._inode = self._inode_now()
            self._looked_at = now
            return self._opened

    def _open(self) -> diskcache.Cache:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        with closing(sqlite3.connect(self._database, timeout=_PATIENCE_S, isolation_level=None)) as database:
            for statement in _FIRST:
                database.execute(statement)
        return diskcache.Cache(str(self._folder), timeout=_PATIENCE_S, disk=RawDisk, **self._settings)

    def _is_empty(self) -> bool:
        """Whether the file was emptied under the hands of those who have it open, whose locks remain."""
        with suppress(OSError):
            return os.stat(self._database).st_size == 0
        return False

    def _inode_now(self) -> int | None:
        try:
            return os.stat(self._database).st_ino
        except OSError:
            return None

    def _begin_anew(self, broken: diskcache.Cache | None) -> None:
        """Put the folder away, if nobody has since it was broken: it is but a cache."""
        with self._lock:
            if self._opened is broken and (broken is None or self._inode_now() == self._inode):
                away = self._folder.with_name(f"{self._folder.name}.broken-{secrets.token_hex(4)}")
                with suppress(OSError):  # another process was faster
                    self._folder.rename(away)
                shutil.rmtree(away, ignore_errors=True)
                self._opened = None


def _is_broken(error: Exception) -> bool:
    """Whether the database cannot be read, now or later."""
    if isinstance(error, diskcache.Timeout | OSError):
        return False
    code = getattr(error, "sqlite_errorcode", None)  # of sqlite's own errors; its low byte tells the kind
    return code is None or code & 0xFF not in _PASSING
