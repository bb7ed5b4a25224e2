"""`python -m bench resume`: how soon a session goes on at a worker that never saw it, beside one that reads it all.

Two engines in processes of their own and a store between them. Each round has a session of its own: one worker reads
its whole past and answers, then the other one answers the same from what it finds in the store. They change places.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch

from bench import site, untrained
from bench.contenders import Apart, Load
from bench.contenders.worker import Answered, Worker
from bench.engine import SHAPES, VOCABULARY
from bench.machine import described
from echo_tasks.messages import Turn
from workers import tokenizer
from workers.membranes.prompt import Prompt, chat
from workers.tokenizer import Tokenizer

_WORDS = (
    "the river runs through a town where old stones keep their secret and every winter people bring bread to "
    "the bridge because someone once said that water listens when nobody speaks of gold or rain"
).split()


@dataclass(frozen=True, slots=True)
class Round:
    """One session: answered by a worker that read all of it, and by one that found its state."""

    cold: Answered
    resumed: Answered

    @property
    def ratio(self) -> float:
        return self.cold.ttft_s / self.resumed.ttft_s

    @property
    def is_same(self) -> bool:
        return self.cold.text == self.resumed.text


def main(arguments: Sequence[str]) -> None:
    """Measure, and print the table."""
    options = _options(arguments)
    layers, width = SHAPES[options.shape]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        path = Path(folder) / f"rwkv7-{options.shape}.pth"
        torch.save(untrained.weights(layers=layers, width=width, vocabulary=VOCABULARY), path)
        store = running.enter_context(site.store(Path(folder)))
        workers = []
        for _ in range(2):
            workers.append(Apart(partial(Worker, store=store), Load(path, options.dtype, 8)))
            running.callback(workers[-1].close)
        sessions = _sessions(options, tokenizer.load(None))
        _round(workers, sessions[0], options.tokens)  # what is compiled at the first time
        rounds = [_round(workers[:: (-1) ** at], one, options.tokens) for at, one in enumerate(sessions[1:])]
    _print(rounds, options)
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in rounds], indent=1))


def _round(workers: Sequence[Apart], prompt: Prompt, tokens: int) -> Round:
    cold, resumed = (worker.ask("answer", prompt, tokens) for worker in workers)
    return Round(cold, resumed)


def session(chance: random.Random, turns: int) -> Prompt:
    """A short text to answer after so many turns of random words."""

    def said(words: int) -> str:
        return " ".join(chance.choices(_WORDS, k=words)).capitalize() + "."

    return chat("Be brief.", said(6), [Turn(user=said(30), assistant=said(30)) for _ in range(turns)])


def _sessions(options: argparse.Namespace, vocabulary: Tokenizer) -> list[Prompt]:
    """One for each round, and one to begin with."""
    chance = random.Random(options.seed)  # noqa: S311 - texts, not secrets
    turn_tokens = len(vocabulary.encode(session(chance, turns=10).text)) / 10
    turns = round(options.history / turn_tokens)
    return [session(chance, turns) for _ in range(options.rounds + 1)]


def _print(rounds: Sequence[Round], options: argparse.Namespace) -> None:
    print(
        f"{options.shape}, {options.dtype}, greedy, {options.rounds} sessions of about {options.history} tokens, each "
        f"read by one worker and continued by another; {described()}"
    )
    print(f"{'to the first token':24} {'ms':>8} {'least':>8} {'most':>8} {'tokens read':>12}")
    for name, answers in (
        ("all of it is read", [one.cold for one in rounds]),
        ("its state is found", [one.resumed for one in rounds]),
    ):
        ms = sorted(1000 * one.ttft_s for one in answers)
        read = statistics.median(one.prompt_tokens - one.cached_tokens for one in answers)
        print(f"{name:24} {statistics.median(ms):8.1f} {ms[0]:8.1f} {ms[-1]:8.1f} {read:12.0f}")
    ratios = sorted(one.ratio for one in rounds)
    print(
        f"{statistics.median(ratios):.1f} times sooner ({ratios[0]:.1f} to {ratios[-1]:.1f}); "
        f"{sum(one.is_same for one in rounds)} of {len(rounds)} answers of {options.tokens} tokens are the same"
    )


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench resume", description=__doc__)
    parser.add_argument("--shape", choices=[*SHAPES], default="0.1B")
    parser.add_argument("--dtype", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--history", type=int, default=2000, help="tokens of a session")
    parser.add_argument("--tokens", type=int, default=32, help="tokens of an answer")
    parser.add_argument("--rounds", type=int, default=7, help="sessions")
    parser.add_argument("--seed", type=int, default=0, help="of the sessions' texts")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args(arguments)
