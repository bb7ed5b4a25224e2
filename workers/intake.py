"""From a request to a sequence: its tokens, what of them is known already, and what of them is to be kept."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from echo_tasks.errors import RequestRejected
from workers.membranes.prompt import Prompt
from workers.prefixes import Prefixes
from workers.sequence import GenerationRequest, Sampling, Sequence
from workers.tokenizer import Tokenizer
from workers.tuned import Tuned

_SILENT = Sampling(max_tokens=1)


class Intake:
    """Makes sequences for one engine. Threads may share it."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        prefixes: Prefixes | None,
        tuned: Mapping[str, Tuned],
        *,
        max_prompt_tokens: int,
    ) -> None:
        self._tokenizer = tokenizer
        self._prefixes = prefixes
        self._tuned = tuned
        self._max_prompt_tokens = max_prompt_tokens

    def takes(self, prompt: str) -> bool:
        """Whether the prompt is neither empty nor over the limit."""
        return 0 < len(self._tokenizer.encode(prompt)) <= self._max_prompt_tokens

    def asked(self, request: GenerationRequest) -> Sequence:
        """A sequence that answers; at least the last token of its prompt is fed, since no logits are kept.

        Raises RequestRejected.
        """
        return self._sequence(request, [mark for mark in request.marks if mark < len(request.prompt)])

    def read(self, prompt: Prompt, initial: str | None, owner: str | None) -> Sequence:
        """A sequence that goes as far as the last mark and says nothing; no mark is ahead of it where that is known.

        Raises RequestRejected.
        """
        request = GenerationRequest(
            prompt.text[: prompt.marks[-1]],
            _SILENT,
            marks=prompt.marks,
            owner=owner,
            is_template=prompt.is_template,
            initial_state=initial,
        )
        sequence = self._sequence(request, [*prompt.marks])
        sequence.ending = "read"
        return sequence

    def _sequence(self, request: GenerationRequest, ends: list[int]) -> Sequence:
        tokens, marks = self._encoded(request.prompt, ends)
        if not tokens:
            raise RequestRejected("prompt", "no tokens")
        if len(tokens) > self._max_prompt_tokens:
            raise RequestRejected("prompt", f"{len(tokens)} tokens; at most {self._max_prompt_tokens} are taken")
        sequence = Sequence.start(request, tokens)
        tuned = self._initial(request)
        if tuned is not None and request.state is None:
            sequence.state = tuned.state
        if self._prefixes is not None and request.state is None:
            self._resume(sequence, marks, tuned.digest if tuned else b"", self._prefixes)
        return sequence

    def _resume(self, sequence: Sequence, marks: list[int], after: bytes, prefixes: Prefixes) -> None:
        """Have a sequence go on from the longest known of its beginnings, and keep what is worth it of the rest."""
        beginnings = prefixes.beginnings(sequence.known, marks, after)
        marked = marks[-1] if marks else None
        is_read_only = marked == sequence.prompt_tokens
        found = prefixes.find([one for one in beginnings if is_read_only or one.tokens < sequence.prompt_tokens])
        kept = prefixes.worth_keeping(beginnings, found=found.tokens, marked=marked)
        nobodys = marked if sequence.request.is_template else None
        sequence.marks = prefixes.owned(kept, sequence.request.owner, but=nobodys)
        if found.state is not None:
            sequence.resume(*found)

    def _initial(self, request: GenerationRequest) -> Tuned | None:
        if request.initial_state is None:
            return None
        if request.initial_state not in self._tuned:
            names = ", ".join(sorted(self._tuned)) or "none"
            raise RequestRejected("initial_state", f"{request.initial_state!r} is not offered; there are: {names}")
        return self._tuned[request.initial_state]

    def _encoded(self, prompt: str, ends: list[int]) -> tuple[list[int], list[int]]:
        """The prompt's tokens, none of which lies across one of the ends, and where these are among the tokens."""
        tokens: list[int] = []
        marks = []
        for start, end in pairwise([0, *ends, len(prompt)]):
            tokens += self._tokenizer.encode(prompt[start:end])
            marks.append(len(tokens))
        return tokens, marks[:-1]
