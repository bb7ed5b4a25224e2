"""Engines that a benchmark compares, each in a process of its own, since they would share threads and allocators."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Load:
    """What a contender is to run: a checkpoint, its number format, and at most so many rows at a time."""

    checkpoint: Path
    dtype: str
    rows: int


class Contender(Protocol):
    """An engine with a model, ready to run. Both methods give tokens a second."""

    def decode(self, rows: int, tokens: int) -> float:
        """Generate so many tokens in each of several rows at once."""

    def prefill(self, tokens: int) -> float:
        """Read one prompt."""


class Apart:
    """A contender in a process of its own, which is idle between two calls."""

    def __init__(self, make: Callable[[Load], Any], load: Load) -> None:
        """`make` is a class or function of a module, or a partial of one; it is called in the process."""
        spawn = multiprocessing.get_context("spawn")
        self._process = ProcessPoolExecutor(1, mp_context=spawn, initializer=_become, initargs=(make, load))

    def decode(self, rows: int, tokens: int) -> float:
        """As the contender's."""
        return float(self.ask("decode", rows, tokens))

    def prefill(self, tokens: int) -> float:
        """As the contender's."""
        return float(self.ask("prefill", tokens))

    def ask(self, method: str, *arguments: Any) -> Any:
        """What a method of the contender's own gives."""
        return self._process.submit(_ask, method, *arguments).result()

    def close(self) -> None:
        """End the process."""
        self._process.shutdown()


_contender: Any = None


def _become(make: Callable[[Load], Any], load: Load) -> None:
    global _contender
    _contender = make(load)


def _ask(method: str, *arguments: Any) -> Any:
    return getattr(_contender, method)(*arguments)
