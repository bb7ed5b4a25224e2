"""What a worker tells of its pace: means that follow what happens, and forget what was."""

from __future__ import annotations

import pytest

from echo_tasks.messages import StepOutput
from workers.vitals import RATE_S, Pace


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at_s = 0.0

    def __call__(self) -> float:
        return self.at_s


def test_the_rate_of_tokens_follows() -> None:
    """Near the true one after a few time constants, near nothing after as long a silence."""
    clock, tokens = Clock(), 0
    pace = Pace(clock)
    for _ in range(20):
        clock.at_s += RATE_S / 5
        tokens += 100
        pace.look(tokens)
    assert pace.tokens_per_s == pytest.approx(100 / (RATE_S / 5), rel=0.03)
    for _ in range(20):
        clock.at_s += RATE_S / 5
        pace.look(tokens)
    assert pace.tokens_per_s < 2
    pace.look(tokens)  # no time has passed


def test_the_mean_service_time_follows() -> None:
    """The first step's is the mean, later ones move it; failures are answers, too."""
    pace = Pace()
    pace.served(StepOutput(elapsed_ms=2000))
    assert pace.mean_service_s == 2
    for _ in range(50):
        pace.served(StepOutput(elapsed_ms=1000, error="x"))
    assert pace.mean_service_s == pytest.approx(1, abs=0.01)
    assert (pace.answered, pace.failed) == (51, 50)
