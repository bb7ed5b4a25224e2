"""Conversations as documents to learn from: the bare chat, and the prompts that the membranes really send."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from random import Random

from echo_tasks.keys import INTEGRATION, MEMBRANES, STEPS
from echo_tasks.messages import JobSpec, StepOutput, Turn
from training.domain.conversations import conversation
from training.domain.exchange import Exchange
from training.rows import Document
from workers import membranes
from workers.tokenizer import END_OF_TEXT, Tokenizer

PROMPT_WEIGHT = 0.05
"""What it counts to foresee what a person writes, where an answer counts 1."""

NOTHING = {"memory": "Nothing to recall.", "reasoning": "Nothing to work out."}
"""What a membrane answers to a text that is another's concern."""

_SHARES = {"chat": 28, INTEGRATION: 20, "memory": 6, "reasoning": 6, "grammar": 6}
_SHARE_OF_THE_ONE_WHO_KNOWS = 34
_ANSWER = re.compile(r"(?<=\n\nAssistant:)( .*?\n\n)", re.DOTALL)


def documents(random: Random, tokenizer: Tokenizer, *, practice: bool = False) -> Iterator[Document]:
    """Documents without end."""
    while True:
        yield document(conversation(random, practice=practice), random, tokenizer)


def samples(random: Random, count: int) -> Iterator[str]:
    """Texts that hold whatever may be in a document, for a vocabulary to be made of."""
    for _ in range(count):
        *before, last = conversation(random)
        yield "".join([chat(before), *(f"{prompt_of(step, [], last)} {output_of(step, last)}\n" for step in STEPS)])


def document(exchanges: Sequence[Exchange], random: Random, tokenizer: Tokenizer) -> Document:
    """A conversation whose last answer is given by one of the membranes, or plainly."""
    *before, last = exchanges
    shares = _SHARES | {last.known_by: _SHARE_OF_THE_ONE_WHO_KNOWS}
    (step,) = random.choices([*shares], [*shares.values()])
    if step == "chat":
        return _weighed(chat(exchanges), tokenizer)
    noted = MEMBRANES if random.random() < 0.75 else random.sample(MEMBRANES, random.randint(1, 2))
    prompt = prompt_of(step, before, last, noted)
    document = _weighed(prompt, tokenizer)
    answer = [*tokenizer.encode(f" {output_of(step, last)}"), END_OF_TEXT]
    return Document([*document.tokens, *answer], [*document.weights, *(1.0 for _ in answer)])


def chat(exchanges: Sequence[Exchange]) -> str:
    """The conversation in the chat form of World models."""
    return "".join(f"User: {exchange.user}\n\nAssistant: {exchange.answer}\n\n" for exchange in exchanges)


def prompt_of(step: str, before: Sequence[Exchange], last: Exchange, noted: Sequence[str] = MEMBRANES) -> str:
    """What the membrane sends for the last exchange, given what came before; `noted` are those that left notes."""
    spec = JobSpec(job_id="", session_id="s", input_text=last.user)
    history = [Turn(user=exchange.user, assistant=exchange.answer) for exchange in before]
    notes = noted if step == INTEGRATION else ()
    outputs: dict[str, StepOutput] = {
        name: StepOutput(text=output_of(name, last)) for name in MEMBRANES if name in notes
    }
    return membranes.named(step).prompts(spec, history, outputs)[0]


def output_of(step: str, exchange: Exchange) -> str:
    """What a membrane should make of an exchange."""
    if step == "grammar":
        return exchange.restatement
    return exchange.answer if step in (INTEGRATION, exchange.known_by) else NOTHING[step]


def _weighed(text: str, tokenizer: Tokenizer) -> Document:
    """The text's tokens: those of answers, and of the blank line that ends one, count in full."""
    tokens: list[int] = []
    weights: list[float] = []
    for index, part in enumerate(_ANSWER.split(text)):
        ids = tokenizer.encode(part)
        tokens += ids
        weights += [1.0 if index % 2 else PROMPT_WEIGHT] * len(ids)
    return Document(tokens, weights)
