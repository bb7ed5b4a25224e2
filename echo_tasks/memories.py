"""What sessions remember: facts, skills, events and plans that users told, kept when the turns themselves are gone.

A job's end writes them, in the script that appends its turn; they go with their session.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import redis
from pydantic import Field

from echo_tasks import keys
from echo_tasks.connections import broker_faults
from echo_tasks.errors import SessionBusy
from echo_tasks.messages import MemoryDraft, Stored
from echo_tasks.scripts import script

MEMORIES_KEPT = 128
"""Memories of one session; of more, the least important go first, of equally important ones the oldest."""


class Memory(MemoryDraft):
    """Something that a user said in a session: in which turn, for which job, and how often an answer has used it."""

    id: str
    session_id: str
    turn: int
    job_id: str
    made_at: float
    tags: list[str] = Field(default_factory=list)
    access_count: int = 0
    last_accessed: float | None = None


class MemoryCounts(Stored):
    """What has happened to the memories of this broker, ever."""

    stored: int = 0
    recalled: int = 0
    dropped: int = 0
    consolidated: int = 0
    searches: int = 0


class Memories:
    """The memories on one broker. Every method blocks for one round trip and raises BrokerUnavailable."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client
        self._merge = script(client, "merge")

    def of(self, session_ids: Sequence[str]) -> list[Memory]:
        """The memories of the sessions; each session's in the order in which they were told."""
        with broker_faults(), self._redis.pipeline() as pipe:
            for session_id in session_ids:
                pipe.hvals(keys.memories(session_id))
                pipe.hgetall(keys.accesses(session_id))
            found = iter(pipe.execute())
        return [
            memory
            for session_id, texts, accesses in zip(session_ids, found, found, strict=True)
            for memory in sorted((_memory(session_id, text, accesses) for text in texts), key=_as_told)
        ]

    def digest(self, session_id: str) -> str:
        """The digest of the session's memories; empty when it has none."""
        with broker_faults():
            return str(self._redis.hget(keys.session(session_id), "memories") or "")

    def merge(self, session_id: str, digest: str, merges: Sequence[tuple[Memory, Memory]]) -> int | None:
        """Merge each pair's second memory into its first; None when the memories have changed since `digest`.

        Returns how many are gone. Raises SessionBusy: a job that runs keeps what it knows.
        """
        flat = [part for stays, goes in merges for part in (stays.id, _text(stays), goes.id)]
        with broker_faults():
            reply = self._merge(keys=[*keys.of_session(session_id), keys.MEMORY_COUNTS], args=[digest, *flat])
        if reply == "busy":
            raise SessionBusy(session_id)
        return None if reply == "changed" else int(reply)

    def note_search(self) -> None:
        """Count a search."""
        with broker_faults():
            self._redis.hincrby(keys.MEMORY_COUNTS, "searches", 1)

    def counts(self) -> MemoryCounts:
        """What has happened to memories so far."""
        with broker_faults():
            return MemoryCounts(**{name: int(n) for name, n in self._redis.hgetall(keys.MEMORY_COUNTS).items()})


def written(draft: MemoryDraft, job_id: str, tags: Sequence[str]) -> str:
    """A new memory as the script that ends its job takes it, which adds the id, the turn and the time."""
    members = draft.model_dump() | {"job_id": job_id, "tags": list(tags)}
    return json.dumps(members, ensure_ascii=False, separators=(",", ":"))


def _text(memory: Memory) -> str:
    return memory.model_dump_json(exclude={"session_id", "access_count", "last_accessed"})


def _memory(session_id: str, text: str, accesses: dict[str, str]) -> Memory:
    memory = Memory.model_validate_json(f'{text[:-1]},"session_id":"{session_id}"}}')
    last = accesses.get(f"last:{memory.id}")
    count = int(accesses.get(f"count:{memory.id}", 0))
    return memory.model_copy(update={"access_count": count, "last_accessed": None if last is None else float(last)})


def _as_told(memory: Memory) -> tuple[int, int]:
    turn, _, number = memory.id.partition("-")
    return int(turn), int(number)
