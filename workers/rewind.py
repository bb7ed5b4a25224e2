"""Going back to the state exactly before a stop string, which is known only when all of it has been said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workers.tokenizer import Tokenizer


class Rewind:
    """An answer's tokens, and the state before the first of them that may turn out to be part of a stop string.

    A chosen token is fed in the step after; so the present state is always that before the latest token.
    """

    def __init__(self) -> None:
        self._tokens: list[int] = []
        self._starts: list[int] = []  # where each of them begins, in bytes
        self._bytes = bytearray()
        self._kept: tuple[int, Any] | None = None  # a token's number, and the state before it

    def add(self, token: int, said: bytes) -> None:
        """Take note of a token that was chosen."""
        self._tokens.append(token)
        self._starts.append(len(self._bytes))
        self._bytes += said

    def keep(self, certain_bytes: int, copy: Callable[[], Any]) -> None:
        """Copy the present state when what was said after the first `certain_bytes` begins to look like a stop."""
        if certain_bytes == len(self._bytes):
            self._kept = None
        elif self._kept is None:
            self._kept = len(self._tokens) - 1, copy()

    def to(self, certain_bytes: int, tokenizer: Tokenizer) -> tuple[Any, list[int]]:
        """The state to go back to, None for the present one, and the tokens that lead on to the end of the text."""
        if certain_bytes == len(self._bytes):
            return None, self._tokens[-1:] if self._starts[-1] < certain_bytes else []
        first, state = self._kept or (len(self._tokens) - 1, None)
        cut = max(token for token, start in enumerate(self._starts) if start <= certain_bytes)
        return state, [
            *self._tokens[first:cut],
            *tokenizer.encode_bytes(bytes(self._bytes[self._starts[cut] : certain_bytes])),
        ]
