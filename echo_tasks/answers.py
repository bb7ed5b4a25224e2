"""Answers that the farm has given before: their keys, and how they are kept and found.

A key is a hash of all that decides an answer, and of nothing else.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from pydantic import ValidationError

from echo_tasks import keys, logs
from echo_tasks.messages import JobResult, JobSpec, Stamp

JITTER_RATIO = 0.1
"""The share of its time by which an answer expires early, by chance."""

_DECISIVE = {"input_text", "membranes", "options", "past", "tags"}

log = logs.get(__name__)


class Kept(Protocol):
    """A value that was found: `level` is the tier that had it."""

    @property
    def value(self) -> bytes | None: ...

    @property
    def level(self) -> str: ...


class Cache(Protocol):
    """What answers are kept in (`cache.tiered.TieredCache`). A fault of it is a miss."""

    def look_up(self, key: str) -> Kept | None: ...

    def set(self, key: str, value: bytes, ttl_s: float, *, stamp: Stamp = (), jitter_ratio: float = 0.0) -> None: ...

    def stamp(self, tags: Sequence[str], key: str) -> Stamp | None: ...


class Flight(NamedTuple):
    """An answer that is about to be given: its key, and the versions of its tags, which it is kept with."""

    key: str
    stamp: Stamp

    @property
    def id(self) -> str:
        """What equal jobs have in common. One that was asked for after a tag became void is another."""
        return hashlib.sha256(json.dumps([self.key, self.stamp]).encode()).hexdigest()


class Answers:
    """Finds and keeps answers. `answers_id` names the model and templates that answer now; None: who knows."""

    def __init__(self, cache: Cache, answers_id: Callable[[], str | None], ttl_s: float) -> None:
        self._cache = cache
        self._answers_id = answers_id
        self._ttl_s = ttl_s

    def flight(self, spec: JobSpec) -> Flight | None:
        """The answer that the job is about to have; None where none may be shared or kept. Raises BrokerUnavailable."""
        answers_id = self._answers_id() if spec.cache else None
        if answers_id is None:
            return None
        key = answer_key(spec, answers_id)
        stamp = self._cache.stamp([*spec.tags, *_implied_tags(spec)], key)
        return None if stamp is None else Flight(key, stamp)

    def known(self, spec: JobSpec, key: str) -> JobResult | None:
        """The answer of an equal job, as an answer to this one."""
        started = time.monotonic()
        found = self._cache.look_up(key)
        if found is None or found.value is None:
            return None
        try:
            answer = JobResult.model_validate_json(found.value)
        except ValidationError as error:  # another version's: as good as none
            log.warning("unreadable cached answer", error=str(error))
            return None
        elapsed_ms = 1000 * (time.monotonic() - started)
        return answer.for_another(spec.session_id, tier=found.level, elapsed_ms=elapsed_ms)

    def keep(self, spec: JobSpec, result: JobResult, stamp: Stamp) -> None:
        """Keep a job's answer, with the stamp that it had when it was let go."""
        if answers_id := self._answers_id():
            value = result.model_dump_json().encode()
            key = answer_key(spec, answers_id)
            self._cache.set(key, value, self._ttl_s, stamp=stamp, jitter_ratio=JITTER_RATIO)


def answer_key(spec: JobSpec, answers_id: str) -> str:
    """The key of the job's answer from workers whose model and templates are `answers_id`.

    The session's id and the priority decide nothing; two sessions in which the same was said share the answer to the
    same question. Tags decide when it is void.
    """
    decisive = spec.model_dump(mode="json", include=_DECISIVE) | {"tags": sorted(spec.tags), "answers_id": answers_id}
    canonical = json.dumps(decisive, sort_keys=True, separators=(",", ":"))
    return f"answer:{hashlib.sha256(canonical.encode()).hexdigest()}"


def _implied_tags(spec: JobSpec) -> list[str]:
    """An answer that knows what was said in a session goes with it."""
    return [keys.session_tag(spec.session_id)] if spec.past.turns else []
