"""Whether growth pays: what the farm has done a second at each of its sizes. Pure, and small enough to be written down.

Work is counted in steps that ended and in tokens that were generated. A size is judged after a whole window in which
nothing started or drained, beside the most that was seen of each smaller size that the demand would have filled. Each
worker more has to bring a share of what one of the smaller farm did, as far as there is work for it; a clear loss is
not waited for. Once a growth did not pay, the farm grows by one at a time, each after a whole window at the one before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from autoscale.observation import Instance, Observation
from autoscale.windows import LEAST_S, Window, Work

SHARE = 0.25
"""Of a worker's work, that each one more has to bring."""

TOLERANCE = 0.05
"""A rate that is lower by less than this is the same."""

CLEAR_LOSS = 0.75
"""A rate below this share of a smaller farm's is not waited for."""

KEPT_S = 600.0
"""A rate that was seen longer ago is of another load."""

HOLDS_S = 3600.0
"""After so long a size that did not pay may be tried again."""

ANOTHER_KIND = 2.0
"""So many times as many tokens a step, or as few, make another kind of load."""


@dataclass(frozen=True, slots=True)
class Gains:
    """What is known of the sizes: `rates` by size; `good` is one that paid, `bad` a larger one that did not.

    There is a ceiling once a growth did not pay: `good`, or one more where that is known well enough to be surpassed
    (`tries`), and always less than `bad`, which is forgotten at `bad_until`. All of it holds for the load of its `kind`
    (tokens a step), for the models and the machines of its time; `good` is 0 while there is no ceiling.
    """

    window: Window = field(default_factory=Window)
    rates: tuple[tuple[int, Work], ...] = ()
    good: int = 0
    bad: int = 0
    bad_until: float = 0.0
    tries: bool = False
    kind: float = 0.0
    models: frozenset[str] = frozenset()
    machines: frozenset[str] = frozenset()

    @property
    def ceiling(self) -> int | None:
        """The largest size that may be; None without a ceiling."""
        if not self.good:
            return None
        next_one = self.good + self.tries
        return min(next_one, self.bad - 1) if self.bad else next_one

    def without_ceiling(self) -> Gains:
        """Any size may be tried; of the past nothing counts."""
        return replace(self, good=0, bad=0, tries=False, rates=())

    def of(self, seen: Observation, window_s: float, scale_up: float) -> Gains:
        """With what is seen next, and with what that says of the size."""
        if not seen.serving:
            return replace(self, window=Window())
        known = self._still_true(seen)._with(seen, window_s)
        window = known.window
        if not window.is_settled or window.span_s < LEAST_S:
            return known
        if window.span_s < window_s * (1 - TOLERANCE):
            return known._judged(seen.serving, scale_up, is_whole=False)
        if known._is_another_load():
            return known.without_ceiling()
        if known.bad and seen.at >= known.bad_until:
            known = replace(known, bad=0)
        return known._judged(seen.serving, scale_up, is_whole=True)

    def _still_true(self, seen: Observation) -> Gains:
        """What still holds: another model makes all void, one more machine the ceiling."""
        models = frozenset(one.model for one in seen.serving)
        machines = frozenset(one.machine for one in seen.serving)
        if models != self.models:
            return Gains(models=models, machines=machines)
        if machines <= self.machines:
            return self
        return replace(self.without_ceiling(), machines=self.machines | machines, rates=self.rates)

    def _is_another_load(self) -> bool:
        kind = self.window.kind
        return bool(self.good and kind and self.kind) and not 1 / ANOTHER_KIND < kind / self.kind < ANOTHER_KIND

    def _with(self, seen: Observation, window_s: float) -> Gains:
        """With what this size does: the most that was seen, which is what it can do at least."""
        window = self.window.moved(seen, window_s)
        known = replace(self, window=window)
        if window.span_s < LEAST_S:
            return known
        rates = {size: work for size, work in self.rates if seen.at - work.at < KEPT_S}
        size, work = len(window.crew), window.work
        if size not in rates or work.sure > rates[size].sure:
            rates[size] = work
        return replace(known, rates=tuple(sorted(rates.items())))

    def _judged(self, serving: Sequence[Instance], scale_up: float, *, is_whole: bool) -> Gains:
        """What the window says of the size, beside all smaller ones that its demand would have filled.

        Before it is whole nothing but a clear loss counts.
        """
        size, demand, work = len(serving), self.window.demand, self.window.work
        slots = sum(one.slots for one in serving) / size
        smaller = {base: rate for base, rate in self.rates if base < size and demand >= scale_up * slots * base}

        def fails(base: int, rate: Work) -> bool:
            if not is_whole:
                return work.beside(rate) < CLEAR_LOSS and work.beside(rate) * rate.rows / work.rows < CLEAR_LOSS
            if demand < scale_up * slots * size:  # the demand is all that there is to do: is it done as fast?
                return work.beside(rate) * rate.rows / work.rows < 1 - TOLERANCE
            more = min(size, demand / slots) - base
            return work.beside(rate) < (1 + SHARE * max(0.0, more) / base) * (1 - TOLERANCE)

        if failed := [base for base, rate in smaller.items() if fails(base, rate)]:
            best = max(failed, key=lambda base: (*smaller[base].sure, -base))
            kind = self.window.kind
            return replace(self, good=best, bad=size, bad_until=work.at + HOLDS_S, tries=False, kind=kind)
        if not is_whole or not self.good or size < self.good:
            return self
        return replace(self, good=size if smaller else self.good, tries=size == self.good)
