"""What a forecast is to the controller: a floor, with the figures that it rests on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autoscale.keeping import Bin


@dataclass(frozen=True, slots=True)
class Forecast:
    """Steps that are expected to be wanted `ahead_s` from now, and how the forecast did in its backtest.

    `is_trusted`: it beats the last value by enough to be a floor; otherwise it is only shown.
    """

    demand: float = 0.0
    score: float = 0.0
    is_trusted: bool = False


Forecaster = Callable[[Sequence[Bin], float, float], Forecast]
"""From the bins of the past, the moment, and how far ahead in seconds: the forecast."""


def none(past: Sequence[Bin], at: float, ahead_s: float) -> Forecast:
    """No forecast."""
    return Forecast()
