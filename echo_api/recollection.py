"""What the sessions' memories hold, taken together: found by a query, tidied, counted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from echo_api.callers import Caller
from echo_api.farm import Farm
from echo_tasks.consolidation import consolidate
from echo_tasks.errors import SessionBusy
from echo_tasks.memories import Memory
from echo_tasks.messages import MemoryType
from echo_tasks.ranking import Candidate, rank

SESSIONS_AT_ONCE = 50
"""Sessions that a request without a session looks at: those that were active last."""

HALF_LIFE_S = 7 * 24 * 3600
"""A memory that is so much older than another is half as recent."""


@dataclass(frozen=True, slots=True)
class Tidied:
    """How many memories are gone, and how many sessions were left alone since jobs of them were open."""

    consolidated: int
    busy_sessions: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """The session whose memories are wanted, by the farm's name; or those that were active last, if they begin so."""

    session_id: str | None = None
    beginning: str = ""


def search(farm: Farm, wanted: Wanted, query: str, types: Collection[MemoryType]) -> list[tuple[Memory, float]]:
    """The memories that match, with their relevance, most relevant first. Raises SessionNotFound."""
    farm.memories.note_search()
    memories = [memory for memory in farm.memories.of(_sessions(farm, wanted)) if memory.memory_type in types]
    return [(memories[place], relevance) for place, relevance in rank(query, _candidates(memories))]


def tidy(farm: Farm, wanted: Wanted) -> Tidied:
    """Consolidate one session, or those that were active last. Raises SessionNotFound, and SessionBusy of the one."""
    consolidated, busy = 0, 0
    for one in _sessions(farm, wanted):
        try:
            consolidated += consolidate(farm.memories, one)
        except SessionBusy:
            if wanted.session_id is not None:
                raise
            busy += 1
    return Tidied(consolidated, busy)


def statistics(farm: Farm, caller: Caller) -> dict[str, Any]:
    """What has been done with memories, and what there is in the caller's sessions that were active last."""
    sessions = _sessions(farm, Wanted(beginning=caller.beginning))
    memories = farm.memories.of(sessions)
    types = Counter(memory.memory_type for memory in memories)
    return {
        "processing_stats": farm.memories.counts().model_dump() if caller.may("admin") else {},
        "database_stats": {
            "sessions": len(sessions),
            "total_memories": len(memories),
            "total_accesses": sum(memory.access_count for memory in memories),
            "average_importance": _mean([memory.importance for memory in memories]),
        },
        "uptime_seconds": round(time.monotonic() - farm.began, 1),
        "memory_types": {kind: types[kind] for kind in get_args(MemoryType)},
    }


def _sessions(farm: Farm, wanted: Wanted) -> list[str]:
    if wanted.session_id is None:
        found = farm.sessions.live(limit=SESSIONS_AT_ONCE, beginning=wanted.beginning)
        return [session.session_id for session in found]
    return [farm.sessions.read(wanted.session_id).session_id]


def _candidates(memories: Sequence[Memory]) -> list[Candidate]:
    now = time.time()
    ages_s = [max(now - memory.made_at, 0) for memory in memories]
    return [
        Candidate(memory.content, memory.importance, 0.5 ** (age_s / HALF_LIFE_S))
        for memory, age_s in zip(memories, ages_s, strict=True)
    ]


def _mean(numbers: Sequence[float]) -> float | None:
    return round(sum(numbers) / len(numbers), 4) if numbers else None
