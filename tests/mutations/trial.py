"""Trying mutations: first each area's tests as they are, then again with each of its lines changed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from mutations.listing import Mutation, is_there
from mutations.tree import Outcome, Tree

LONGEST_S = 900.0
"""Time limit of an area's tests without a mutation."""

LEAST_S = 120.0
"""Time limit of the tests of a mutation, at least: a kernel that was changed is compiled first."""

MARGIN = 4.0
"""The limit, as a multiple of the time that all tests of the area took."""

TRIES = 2
"""Runs of an area's tests without a mutation, until they pass."""

T = TypeVar("T")


class Verdict(StrEnum):
    """What came of a mutation."""

    NOTICED = "noticed"
    SURVIVED = "survived"
    NOT_TRIED = "not tried"
    """Its area is broken, or the checkout has neither the line nor the tests."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A mutation, and what came of it: `by` is the test that noticed, or the reason why it was not tried."""

    mutation: Mutation
    verdict: Verdict
    by: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        told = {
            Verdict.NOTICED: f"noticed by {self.by}",
            Verdict.SURVIVED: "SURVIVED",
            Verdict.NOT_TRIED: f"not tried: {self.by}",
        }[self.verdict]
        return f"{self.mutation.number:3d}  {self.mutation}   {told}"


@dataclass(slots=True)
class Trial:
    """Tries mutations in several copies of a checkout at once; `say` prints a line."""

    trees: Sequence[Tree]
    say: Callable[[str], None]
    _said: threading.Lock = field(default_factory=threading.Lock)
    _unsteady: set[str] = field(default_factory=set)
    """Tests that failed without a mutation, and then passed: what they say of one does not count."""

    def run(self, mutations: Sequence[Mutation]) -> list[Tried]:
        """Try the mutations; the results in their order. Blocks for as long as all the tests take."""
        tests = {mutation.number: self._present(mutation) for mutation in mutations}
        areas = list(dict.fromkeys(mutation.area for mutation in mutations))
        of_area = {
            area: sorted({test for one in mutations if one.area == area for test in tests[one.number]})
            for area in areas
        }
        baselines: dict[str, Outcome] = {}

        def check(tree: Tree, area: str) -> None:
            baselines[area] = self._baseline(tree, area, of_area[area])

        self._share(areas, check)
        found: dict[int, Tried] = {}

        def try_one(tree: Tree, mutation: Mutation) -> None:
            found[mutation.number] = self._tried(tree, mutation, tests[mutation.number], baselines[mutation.area])
            self._print(str(found[mutation.number]))

        self._share(mutations, try_one)
        return [found[mutation.number] for mutation in mutations]

    def _present(self, mutation: Mutation) -> list[str]:
        """Those of a mutation's tests that the checkout has."""
        present = [test for test in mutation.tests if is_there(self.trees[0].root, test)]
        for test in mutation.tests:
            if test not in present:
                self._print(f"{mutation.number:3d}  left out, since this checkout does not have it: {test}")
        return present

    def _share(self, items: Iterable[T], work: Callable[[Tree, T], None]) -> None:
        """Do the work for all items, as many at once as there are trees. Raises the first error of any."""
        free: queue.SimpleQueue[Tree] = queue.SimpleQueue()
        for tree in self.trees:
            free.put(tree)

        def do(item: T) -> None:
            tree = free.get()
            try:
                work(tree, item)
            finally:
                free.put(tree)

        with ThreadPoolExecutor(len(self.trees)) as pool:
            for _ in pool.map(do, items):
                pass

    def _baseline(self, tree: Tree, area: str, tests: Sequence[str]) -> Outcome:
        """The area's tests without a mutation; they are run again if they fail, since some depend on the load."""
        if not tests:
            return Outcome("the checkout has none of its tests", 0.0)
        failed: list[str] = []
        for _ in range(TRIES):
            outcome = tree.run(tests, LONGEST_S)
            if not outcome.failed:
                self._unsteady.update(failed)
                self._print(f"{area}: its tests pass without a mutation, in {outcome.seconds:.0f} s")
                return outcome
            failed.append(outcome.failed)
            self._print(f"{area}: fails without a mutation: {outcome.failed}")
        self._print(f"{area}: BROKEN without a mutation\n{outcome.output}")
        return outcome

    def _tried(self, tree: Tree, mutation: Mutation, tests: Sequence[str], baseline: Outcome) -> Tried:
        if baseline.failed:
            return Tried(mutation, Verdict.NOT_TRIED, "the area is broken")
        if not tests:
            return Tried(mutation, Verdict.NOT_TRIED, "the checkout has none of its tests")
        try:
            with tree.with_mutation(mutation):
                outcome = tree.run(tests, max(LEAST_S, MARGIN * baseline.seconds), self._unsteady)
        except LookupError as error:
            return Tried(mutation, Verdict.NOT_TRIED, str(error))
        verdict = Verdict.NOTICED if outcome.failed else Verdict.SURVIVED
        return Tried(mutation, verdict, outcome.failed, outcome.seconds)

    def _print(self, line: str) -> None:
        with self._said:
            self.say(line)
