"""Memories that tell the same: which of them stay, and which go into those."""

from __future__ import annotations

from collections.abc import Sequence

from echo_tasks.memories import Memories, Memory
from echo_tasks.ranking import stems

_FILLERS = frozenset(stems("a actually again also an and just now oh please really remember so that the too very well"))
"""Words whose presence changes nothing of what is told."""


def consolidate(memories: Memories, session_id: str) -> int:
    """Merge what a session was told twice; returns how many memories are gone. Raises SessionBusy."""
    while True:
        digest = memories.digest(session_id)
        found = merges(memories.of([session_id]))
        if (merged := memories.merge(session_id, digest, found) if found else 0) is not None:
            return merged


def merges(memories: Sequence[Memory]) -> list[tuple[Memory, Memory]]:
    """Pairs of who stays, with the tags of both, and who goes: afterwards no two of a type tell the same.

    The more important one stays, of equally important ones the later. They tell the same when their words do, in the
    same order, but for case, inflection and fillers: any other word can make another fact of a sentence.
    """
    kept: dict[tuple[str, tuple[str, ...]], Memory] = {}
    found = []
    for memory in sorted(memories, key=lambda m: (-m.importance, -m.turn, m.id)):
        told = memory.memory_type, _told(memory.content)
        if told in kept:
            stays = kept[told]
            kept[told] = stays.model_copy(update={"tags": sorted({*stays.tags, *memory.tags})})
            found.append((kept[told], memory))
        else:
            kept[told] = memory
    return found


def _told(content: str) -> tuple[str, ...]:
    found = stems(content)
    return tuple(stem for stem in found if stem not in _FILLERS) or found
