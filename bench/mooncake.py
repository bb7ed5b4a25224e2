"""The prompts of a real trace whose beginnings are shared: Mooncake's, whose `hash_ids` name blocks of 512 tokens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TRACE = Path(__file__).resolve().parents[2] / "shared" / "traces" / "arrivals" / "mooncake-synthetic.jsonl"
"""Beside the repository; github.com/kvcache-ai/Mooncake, Apache-2.0."""

BLOCK_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt of a character a token, and how many of its tokens are in blocks that an earlier prompt began with."""

    text: str
    reusable_tokens: int


def prompts(path: Path, factor: int, count: int | None = None) -> list[Prompt]:
    """The first `count` prompts in the order in which they came, each shorter by the factor."""
    block, seen, read = BLOCK_TOKENS // factor, set[int](), []
    with path.open() as lines:
        for _, line in zip(range(count or 1 << 40), lines, strict=False):
            row = json.loads(line)
            ids = row["hash_ids"]
            text = "".join(_block(one, block) for one in ids)[: max(1, round(row["input_length"] / factor))]
            known = next((number for number, one in enumerate(ids) if one not in seen), len(ids))
            read.append(Prompt(text, min(len(text), block * known)))
            seen.update(ids)
    return read


def reusable(of: Sequence[Prompt]) -> int:
    """Tokens that need not be read again where there is room for everything."""
    return sum(prompt.reusable_tokens for prompt in of)


def _block(number: int, tokens: int) -> str:
    """The same text for the same block: its number's digits, the last one first."""
    return f"{number:0{tokens}d}"[::-1]
