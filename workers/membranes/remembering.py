"""What of a user's words is worth remembering: rules that need no model, and give the same for the same text.

Every sentence is looked at by itself. Questions and errands for the assistant tell nothing. What is left is taken by
the first kind whose words it holds, and is forgotten when there is none.
"""

from __future__ import annotations

import re

from echo_tasks.messages import MemoryDraft, MemoryType
from workers.membranes.prompt import shortened

MOST_OF_A_TURN = 8
"""Memories of one text; of more, the most important ones."""

LONGEST = 300
"""Characters of a memory; what is longer is cut."""

_I = r"\bi(?:['’](?:ve|d|m))?\b"

_ERRAND = re.compile(
    r"^(?:(?:please|now|then|ok(?:ay)?|so|hey|well)[\s,]+)*(?:correct|fix|translate|write|tell|give|explain|list|show|say|"
    r"spell|count|compare|summari[sz]e|define|describe|rewrite|repeat|answer|calculate|add|find|name|let['’]s|"
    r"(?:can|could|would|will|do|does|did|is|are|was|were|am) (?:i|you|he|she|it|we|they|the|an?|my|this|that|there)|"
    r"(?:what|who|whom|whose|which|when|where|why|how)(?! (?:to|i|we|he|she|they|my|our)\b))\b",
    re.IGNORECASE,
)
"""How errands begin, and questions without a mark; but `how to …` and `when I …` tell something."""

_TOLD_BY: tuple[tuple[MemoryType, str], ...] = (
    (
        "intentional",
        r"\b(?:i will|i['’]ll|i shall|i(?: am|['’]m) going to|i plan to|i want to|i(?: would|['’]d) like to|"
        r"i intend to|i need to|i have to|i must|my (?:goal|plan|aim) is|remind me|"
        r"don['’]t (?:let me )?forget|remember to)\b",
    ),
    (
        "procedural",
        r"\bhow to\b|\b(?:the|a|one|best) way to\b|\bin order to\b|\bstep (?:\d+|one|two)\b|\bsteps (?:are|to)\b|"
        r"\bfirst\b.*\bthen\b|^to \w+[^,]*, |\b(?:recipe|procedure|method) (?:is|for|to)\b",
    ),
    (
        "episodic",
        rf"{_I}(?: \w+)? (?:was|were|went|did|had|saw|met|felt|got|came|left|lost|found|bought|made|took|broke|began|"
        r"[a-z]{2,}ed)\b|\b(?:happened|yesterday|last (?:night|week|month|year|summer|winter)|(?:days?|weeks?|months?|"
        r"years?) ago|this morning)\b",
    ),
    (
        "declarative",
        rf"{_I} (?!think|guess|see|mean|hope|agree|understand)\w+|\b(?:my|our)\b|"
        r"\b(?:is|are|was|were|means?|has|have|lives?|works?|likes?|loves?|hates?|owns?|called|because)\b|['’]s\b",
    ),
)

_KINDS = tuple((kind, re.compile(words, re.IGNORECASE)) for kind, words in _TOLD_BY)
_IMPORTANCE: dict[MemoryType, float] = {"intentional": 0.6, "procedural": 0.6, "episodic": 0.5, "declarative": 0.5}
_OF_THE_USER = re.compile(rf"{_I}|\b(?:my|me|mine|our|we)\b", re.IGNORECASE)
_STRESSED = re.compile(r"\b(?:remember|remind|important|never forget|always)\b", re.IGNORECASE)


def memories_of(text: str) -> list[MemoryDraft]:
    """What of the text is to be remembered, in its order."""
    drafts = [draft for sentence in _sentences(text) if (draft := _draft(sentence))]
    most = sorted(range(len(drafts)), key=lambda place: (-drafts[place].importance, place))[:MOST_OF_A_TURN]
    return [drafts[place] for place in sorted(most)]


def importance_of(sentence: str, kind: MemoryType) -> float:
    """0.6 for plans and skills, 0.5 for facts and events; 0.2 more where the user is told of, 0.2 more where they say
    that it matters, 0.1 less for fewer than four words; at most 1.
    """
    importance = _IMPORTANCE[kind]
    importance += 0.2 * bool(_OF_THE_USER.search(sentence))
    importance += 0.2 * bool(_STRESSED.search(sentence))
    importance -= 0.1 * (len(sentence.split()) < 4)
    return round(min(importance, 1.0), 2)


def _sentences(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"(?<=[.!?。！？])\s+|\n+", text) if part.strip()]


def _draft(sentence: str) -> MemoryDraft | None:
    if re.search(r"[?？][!?！？\"')”’]*$", sentence):
        return None
    content = shortened(sentence, LONGEST)
    if _ERRAND.match(content) or len(content.split()) < 2:
        return None
    kind = next((kind for kind, told_by in _KINDS if told_by.search(content)), None)
    if kind is None:
        return None
    return MemoryDraft(content=content, memory_type=kind, importance=importance_of(content, kind))
