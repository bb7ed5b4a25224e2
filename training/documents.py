"""Conversations as documents to learn from: the bare chat, and the prompts that the membranes really send."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
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

_SHARES = {"chat": 22, INTEGRATION: 24, "memory": 8, "reasoning": 6, "grammar": 14}
_SHARE_OF_THE_ONE_WHO_KNOWS = 32
_NOISE = 0.2
"""How often a conversation has answers that are worth nothing, and a membrane that is not concerned a wrong note."""

_SAYS_NOTHING = ("I see.", "Ok.", "I will remember that.", "Hello!", "Thank you.")
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
    if random.random() < 0.5:  # conversations end in questions, but what is told has to be answered as well
        exchanges = exchanges[: random.randint(1, len(exchanges))]
    *told, last = exchanges
    before, taught = _with_noise(told, random)
    shares = _SHARES | {last.known_by: _SHARE_OF_THE_ONE_WHO_KNOWS}
    (step,) = random.choices([*shares], [*shares.values()])
    if step == "chat":
        return _weighed(chat([*before, last]), [*taught, True], tokenizer)
    document = _weighed(prompt_of(step, before, last, _notes(before, last, random)), taught, tokenizer)
    answer = [*tokenizer.encode(f" {output_of(step, last)}"), END_OF_TEXT]
    return Document([*document.tokens, *answer], [*document.weights, *(1.0 for _ in answer)])


def _with_noise(told: Sequence[Exchange], random: Random) -> tuple[list[Exchange], list[bool]]:
    """The exchanges, some of whose answers may be worth nothing, and which of them are worth learning.

    What was told has to be remembered from the user's own words, too.
    """
    share = 0.5 if random.random() < _NOISE else 0.0
    taught = [random.random() >= share for _ in told]
    beside_the_point = [*_SAYS_NOTHING, *(exchange.answer for exchange in told)]
    pairs = zip(told, taught, strict=True)
    return [one if good else replace(one, answer=random.choice(beside_the_point)) for one, good in pairs], taught


def _notes(before: Sequence[Exchange], last: Exchange, random: Random) -> dict[str, str]:
    """What the membranes noted about the last exchange: at times not all of them, or something beside the point."""
    noted = MEMBRANES if random.random() < 0.75 else random.sample(MEMBRANES, random.randint(1, 2))
    notes: dict[str, str] = {name: output_of(name, last) for name in MEMBRANES if name in noted}
    for name in notes:
        if name != last.known_by and random.random() < _NOISE:
            notes[name] = output_of(name, random.choice([*before, *conversation(random)]))
    return notes


def chat(exchanges: Sequence[Exchange]) -> str:
    """The conversation in the chat form of World models."""
    return "".join(f"User: {exchange.user}\n\nAssistant: {exchange.answer}\n\n" for exchange in exchanges)


def prompt_of(step: str, before: Sequence[Exchange], last: Exchange, notes: Mapping[str, str] | None = None) -> str:
    """What the membrane sends for the last exchange, given what came before, and to integration the right notes."""
    spec = JobSpec(job_id="", session_id="s", input_text=last.user)
    history = [Turn(user=exchange.user, assistant=exchange.answer) for exchange in before]
    if notes is None:
        notes = {name: output_of(name, last) for name in MEMBRANES}
    noted = notes if step == INTEGRATION else {}
    outputs = {name: StepOutput(text=note) for name, note in noted.items()}
    return membranes.named(step).prompts(spec, history, outputs)[0].text


def output_of(step: str, exchange: Exchange) -> str:
    """What a membrane should make of an exchange."""
    if step == "grammar":
        return exchange.restatement
    return exchange.answer if step in (INTEGRATION, exchange.known_by) else NOTHING[step]


def _weighed(text: str, taught: Sequence[bool], tokenizer: Tokenizer) -> Document:
    """The text's tokens: those of the answers that are taught, and of the blank line that ends one, count in full."""
    tokens: list[int] = []
    weights: list[float] = []
    for index, part in enumerate(_ANSWER.split(text)):
        ids = tokenizer.encode(part)
        tokens += ids
        weights += [float(taught[index // 2]) if index % 2 else PROMPT_WEIGHT] * len(ids)
    return Document(tokens, weights)
