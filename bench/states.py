"""`python -m bench states`: what keeping WKV states as fp16 costs, in logits, tokens, bytes and milliseconds.

The state after a session's past goes through bytes, as fp32 and as fp16; both go on with the rest of the prompt and
the answer that the first one gives, side by side. Compared are the logits after every one of these tokens.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count, islice
from pathlib import Path
from typing import TypeVar, get_args

import lz4.frame
import torch
from torch import Tensor

from bench import untrained
from bench.engine import SHAPES, VOCABULARY
from bench.machine import described
from bench.resume import session
from echo_tasks import settings
from training.documents import prompt_of
from training.evaluation import TASKS, cases
from workers import model
from workers.batch import Batch, Segment
from workers.model import Model
from workers.slots import State
from workers.states import StateFormat, WkvFormat

_STEPS = ("memory", "reasoning", "grammar", "integration")
_UNDECODABLE = -torch.inf

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How far the logits from an fp16 state are from those of fp32, over all tokens of all prompts."""

    model: str
    prompts: int
    tokens: int
    worst_error_ratio: float
    mean_error_ratio: float
    mean_kl: float
    agreeing_ratio: float
    same_answers: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What one state takes in one format: bytes, the same through lz4, and medians of milliseconds."""

    model: str
    wkv: str
    bytes: int
    lz4_bytes: int
    pack_ms: float
    unpack_ms: float
    lz4_ms: float


class Pair:
    """A model that goes on from two states side by side."""

    def __init__(self, name: str, loaded: Model) -> None:
        self.name = name
        self._rwkv, self._tokenizer = loaded.rwkv, loaded.tokenizer
        self._formats: dict[WkvFormat, StateFormat] = {
            wkv: StateFormat(loaded.model_id, loaded.rwkv.shape, loaded.rwkv.dtype, wkv) for wkv in get_args(WkvFormat)
        }
        self._banned = loaded.tokenizer.undecodable(loaded.rwkv.shape.vocabulary)

    def compared(self, prompts: Sequence[tuple[str, str]], length: int) -> Accuracy:
        """Over prompts, each a past and the rest, and answers of so many tokens."""
        errors, divergences, agreeing, same = list[float](), list[float](), list[bool](), 0
        for past, rest in prompts:
            agreed = []
            for whole, half in self._logits(past, rest, length):
                errors.append(float((half - whole).abs().max() / whole.abs().max()))
                divergences.append(_kl(whole, half))
                agreed.append(bool(whole.argmax() == half.argmax()))
            agreeing += agreed
            same += all(agreed)
        return Accuracy(
            model=self.name,
            prompts=len(prompts),
            tokens=length,
            worst_error_ratio=max(errors),
            mean_error_ratio=statistics.mean(errors),
            mean_kl=statistics.mean(divergences),
            agreeing_ratio=statistics.mean(agreeing),
            same_answers=same,
        )

    def costs(self, past: str, repeats: int) -> list[Cost]:
        """Of the state after a text, in every format."""
        state, found = self._state(past), []
        for wkv, states in self._formats.items():
            packed, pack_ms = _timed(lambda states=states: states.pack(state, 1), repeats)  # type: ignore[misc]
            _, unpack_ms = _timed(lambda states=states, packed=packed: states.unpack(packed, 1), repeats)  # type: ignore[misc]
            squeezed, lz4_ms = _timed(lambda packed=packed: lz4.frame.compress(packed), repeats)  # type: ignore[misc]
            found.append(Cost(self.name, wkv, len(packed), len(squeezed), pack_ms, unpack_ms, lz4_ms))
        return found

    def _state(self, text: str) -> State:
        slots = self._rwkv.slots
        slot = slots.take()
        tokens = self._tokenizer.encode(text)
        for start in range(0, len(tokens), self._rwkv.max_tokens):
            chunk = tuple(tokens[start : start + self._rwkv.max_tokens])
            self._rwkv.forward(Batch((Segment(slot, chunk, wanted=False),)))
        state = slots.copy(slot)
        slots.give_back(slot)
        return state

    def _logits(self, past: str, rest: str, length: int) -> Iterator[tuple[Tensor, Tensor]]:
        """From the fp32 state and from the fp16 one, after the rest of the prompt and each token of the answer."""
        state, slots = self._state(past), self._rwkv.slots
        both = [slots.take(states.unpack(states.pack(state, 1), 1)) for states in self._formats.values()]
        tokens = tuple(self._tokenizer.encode(rest))
        for _ in range(length):
            logits = self._rwkv.forward(Batch(tuple(Segment(slot, tokens) for slot in both))).float().clone()
            logits[:, self._banned] = _UNDECODABLE
            whole, half = logits[:, logits[0].isfinite()]
            yield whole, half
            tokens = (int(logits[0].argmax()),)
        for slot in both:
            slots.give_back(slot)


def main(arguments: Sequence[str]) -> None:
    """Measure, and print the tables."""
    options = _options(arguments)
    print(f"fp32 weights, greedy answers of {options.tokens} tokens; {described()}")
    accuracies, costs = list[Accuracy](), list[Cost]()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"rwkv7-{options.shape}.pth"
        layers, width = SHAPES[options.shape]
        torch.save(untrained.weights(layers=layers, width=width, vocabulary=VOCABULARY), path)
        for name, checkpoint, prompts in (
            ("echo-mini", None, _conversations(options)),
            (f"{options.shape}, random", path, _sessions(options)),
        ):
            chosen = {"echo_model": checkpoint, "echo_dtype": "fp32", "echo_slots": 2}
            pair = Pair(name, model.load(settings.current().model_copy(update=chosen)))
            accuracies.append(pair.compared(prompts, options.tokens))
            costs += pair.costs(prompts[0][0], options.repeats)
    _print(accuracies, costs)
    if options.json:
        tables = {"accuracy": [asdict(one) for one in accuracies], "cost": [asdict(one) for one in costs]}
        options.json.write_text(json.dumps(tables, indent=1))


def _conversations(options: argparse.Namespace) -> list[tuple[str, str]]:
    """Prompts of the bundled model's own domain that have a past, on words that it has never seen."""

    def all_of_them() -> Iterator[tuple[str, str]]:
        for number in count():
            (case,) = cases([*TASKS][number % len(TASKS)], 1, seed=number)
            *before, last = case.exchanges
            text = prompt_of(_STEPS[number % len(_STEPS)], before, last)
            if cut := text.rindex("System: "):
                yield text[:cut], text[cut:]

    return list(islice(all_of_them(), options.prompts))


def _sessions(options: argparse.Namespace) -> list[tuple[str, str]]:
    chance = random.Random(0)  # noqa: S311 - texts, not secrets
    prompts = [session(chance, turns=5 + number % 20) for number in range(options.prompts)]
    return [(prompt.text[: prompt.marks[-1]], prompt.text[prompt.marks[-1] :]) for prompt in prompts]


def _kl(whole: Tensor, half: Tensor) -> float:
    """Of the second distribution from the first, in nats; in fp64, for it is small."""
    first, second = (logits.double().log_softmax(-1) for logits in (whole, half))
    return float((first.exp() * (first - second)).sum())


def _timed(call: Callable[[], T], repeats: int) -> tuple[T, float]:
    """What it gives, and the median of its milliseconds."""
    took = []
    for _ in range(repeats):
        started = time.perf_counter()
        given = call()
        took.append(1000 * (time.perf_counter() - started))
    return given, statistics.median(took)


def _print(accuracies: Sequence[Accuracy], costs: Sequence[Cost]) -> None:
    print(f"{'fp16 beside fp32':18} {'prompts':>8} {'worst':>9} {'mean':>9} {'KL, nats':>9} {'top-1':>8} {'same':>8}")
    for one in accuracies:
        print(
            f"{one.model:18} {one.prompts:8} {one.worst_error_ratio:9.1e} {one.mean_error_ratio:9.1e} "
            f"{one.mean_kl:9.1e} {one.agreeing_ratio:8.2%} {one.same_answers:4} of {one.prompts}"
        )
    print(f"{'a state':18} {'format':>8} {'bytes':>9} {'with lz4':>9} {'pack, ms':>9} {'unpack':>8} {'lz4':>8}")
    for cost in costs:
        print(
            f"{cost.model:18} {cost.wkv:>8} {cost.bytes:9} {cost.lz4_bytes / cost.bytes:9.1%} "
            f"{cost.pack_ms:9.2f} {cost.unpack_ms:8.2f} {cost.lz4_ms:8.2f}"
        )


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench states", description=__doc__)
    parser.add_argument("--shape", choices=[*SHAPES], default="0.1B", help="of the model with random weights")
    parser.add_argument("--prompts", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=48, help="tokens of an answer")
    parser.add_argument("--repeats", type=int, default=20, help="of what is timed")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args(arguments)
