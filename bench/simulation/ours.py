"""This project's own decision as a scaler of the simulation."""

from __future__ import annotations

import math
from collections.abc import Sequence

from autoscale.decision import Memory, Policy, decide
from autoscale.observation import Observation


class Echo:
    """`autoscale.decision.decide`, called as the controller calls it; who is let go drains, however long that takes."""

    grace_s = math.inf

    def __init__(self, policy: Policy, name: str = "ours") -> None:
        self.name = name
        self._policy, self._memory = policy, Memory()

    def change(self, seen: Observation) -> int | Sequence[str]:
        decision, self._memory = decide(self._policy, self._memory, seen)
        grown = decision.desired - decision.current
        return grown if grown > 0 else decision.victims
