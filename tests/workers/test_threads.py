"""How many threads a step has: all while the cores are its own, fewer while they are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from workers.threads import RETRY_S, Threads

StepS = Callable[[int, int], float]
"""Seconds of a step, by threads and tokens."""


def alone(threads: int, tokens: int) -> float:
    """On cores of its own: two threads are nearly twice as fast."""
    return tokens * (0.001 if threads > 1 else 0.0018)


def beside(threads: int, tokens: int) -> float:
    """Beside another program: one thread is slower than alone, two wait for each other."""
    return tokens * (0.006 if threads > 1 else 0.0025)


@dataclass
class Engine:
    """Steps, one after the other, by a clock of their own."""

    at: float = 0.0
    most: int = 2
    ran: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.threads = Threads(self.most, lambda: self.at)

    def run(self, seconds: float, step_s: StepS, tokens: int = 8) -> float:
        """Tokens a second, over so many seconds."""
        began, done = self.at, 0
        while self.at < began + seconds:
            took = step_s(self.threads.now, tokens)
            self.ran.append(self.threads.now)
            self.at += took
            done += tokens
            self.threads.note(tokens, took)
        return done / (self.at - began)


def test_on_its_own_cores_it_has_all_threads_always() -> None:
    engine = Engine()
    engine.run(60, alone)
    assert set(engine.ran) == {2}


def test_beside_another_program_it_has_one_and_all_again_afterwards() -> None:
    """It loses little to trials, and none of the speed when the other program has gone."""
    engine = Engine()
    engine.run(10, alone)
    slow = engine.run(60, beside)
    assert slow > 0.9 / 0.0025
    assert engine.threads.now == 1
    engine.run(2 * RETRY_S, alone)
    assert engine.threads.now == 2
    assert engine.run(30, alone) == pytest.approx(1 / 0.001)


def test_one_that_is_slower_for_another_reason_keeps_its_threads() -> None:
    """Memory that others use, say: fewer threads are tried now and then, and are no better."""
    engine = Engine()
    engine.run(10, alone)
    engine.run(60, lambda threads, tokens: 2 * alone(threads, tokens))
    assert engine.threads.now == 2
    assert engine.ran[-2000:].count(1) < 0.1 * len(engine.ran[-2000:])


def test_sizes_are_compared_with_their_like() -> None:
    """A batch that grows, or a prompt, is no strain."""
    engine = Engine()
    for tokens in (1, 8, 64, 300) * 20:
        engine.run(1, alone, tokens)
    assert set(engine.ran) == {2}


def test_one_thread_is_one_thread() -> None:
    engine = Engine(most=1)
    engine.run(5, alone)
    engine.run(5, beside)
    assert set(engine.ran) == {1}
