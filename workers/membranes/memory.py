"""The memory membrane: answer from what has been said, and from what is remembered of turns that are gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from echo_tasks.memories import Memory as Remembered
from echo_tasks.messages import JobSpec, StepOutput, Turn
from echo_tasks.ranking import Candidate, rank
from workers.membranes.prompt import Prompt, chat, recent
from workers.sequence import Generation

RECALLED = 5
"""Memories in a prompt, at most."""

RECALLED_CHARACTERS = 600
"""Their length together, at most."""

HALF_LIFE_TURNS = 64
"""A memory that is so many turns older than another is half as recent."""

_SYSTEM = "Recall what the user has told you, and what you know. If you have not been told, say so."


class Memory:
    """Asks the model what it remembers: of the conversation first, then of the world.

    Memories of the turns that stand in the prompt anyway are left out, so that a session whose whole history fits is
    asked without any.
    """

    name = "memory"

    def prompts(
        self,
        spec: JobSpec,
        history: Sequence[Turn],
        outputs: Mapping[str, StepOutput],
        memories: Sequence[Remembered] = (),
    ) -> Sequence[Prompt]:
        return [_prompt(spec, turns, memories) for turns in recent(history)]

    def fields(self, spec: JobSpec, generation: Generation) -> dict[str, Any]:
        return {}


def recall(spec: JobSpec, memories: Sequence[Remembered]) -> list[Remembered]:
    """Those that matter most to the text, within the bounds, in the order in which they were told."""
    candidates = [
        Candidate(memory.content, memory.importance, 0.5 ** ((spec.past.turns - memory.turn) / HALF_LIFE_TURNS))
        for memory in memories
    ]
    chosen, room = [], RECALLED_CHARACTERS
    for place, _ in rank(spec.input_text, candidates)[:RECALLED]:
        room -= len(memories[place].content)
        if room < 0:
            break
        chosen.append(place)
    return [memories[place] for place in sorted(chosen)]


def _prompt(spec: JobSpec, turns: Sequence[Turn], memories: Sequence[Remembered]) -> Prompt:
    first_known = spec.past.turns - len(turns) + 1
    recalled = recall(spec, [memory for memory in memories if memory.turn < first_known])
    system = "\n".join([_SYSTEM, *(f"Earlier: {memory.content}" for memory in recalled)])
    used = [memory.model_dump(include={"id", "content", "memory_type"}) for memory in recalled]
    return replace(chat(system, spec.input_text, turns, is_template=not recalled), fields={"memories_used": used})
