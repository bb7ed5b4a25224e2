"""Acting: from a decision to the actuator, again and again until the observation shows what was wanted."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from autoscale.actuators import Actuator
from autoscale.decision import Decision, Reason
from autoscale.observation import Instance, Observation, Room
from echo_tasks import logs
from echo_tasks.backoff import delay_s
from echo_tasks.errors import ActuatorError

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0

log = logs.get(__name__)


class Acting:
    """One actuator, and what has come of what it was told. Nothing that it says counts: only what is seen does.

    `fault` is what it failed with the last time that it was needed; empty when it did not.
    """

    def __init__(self, actuator: Actuator, clock: Callable[[], float] = time.monotonic) -> None:
        self._actuator = actuator
        self._clock = clock
        self._tries = 0
        self._again_at = float("-inf")
        self._had = (0, 0)
        self._aim: Decision | None = None
        self.fault = ""

    def starting(self, live: Sequence[Instance]) -> int | None:
        """Instances that were asked for and have not said a word; None where nobody can tell."""
        try:
            return self._actuator.starting(live)
        except ActuatorError as error:
            self._fail(error)
            return None

    def room(self, live: Sequence[Instance], starting: int) -> Room | None:
        """How many instances the machines carry; None where nobody can tell."""
        try:
            return self._actuator.room(live, starting)
        except ActuatorError as error:
            self._fail(error)
            return None

    def aim(self, decision: Decision) -> Decision:
        """The decision, or the one before that has not been met, where this one only waits for the next interval."""
        if decision.reason is not Reason.BETWEEN:
            self._aim = decision if decision.desired != decision.current else None
        elif self._aim is not None:
            kept = self._aim
            return replace(decision, desired=kept.desired, reason=kept.reason, victims=kept.victims)
        return decision

    def pursue(self, decision: Decision, seen: Observation, may_act: Callable[[], bool]) -> int:
        """Bring the farm nearer to the decision if it is time; how many instances were asked for without a fault.

        After a try that shows no effect, whatever the actuator said of it, the next one waits twice as long. Whoever
        the decision counts in is not missing, seen or not. Only those that serve can be drained, and never more than
        there are too many.
        """
        missing = decision.desired - max(decision.current, len(seen.serving) + (seen.starting or 0))
        victims = _surplus(decision, seen)
        if missing <= 0 and not victims:
            self._tries, self._again_at, self.fault, self._aim = 0, float("-inf"), "", None
            return 0
        self._note_progress(seen)
        if self._clock() < self._again_at or not may_act():
            return 0
        self._again_at = self._clock() + delay_s(
            self._tries,
            random.random(),  # noqa: S311 - no secret
            first_s=FIRST_PAUSE_S,
            longest_s=LONGEST_PAUSE_S,
        )
        self._tries += 1
        try:
            if missing > 0:
                self._actuator.start(missing)
            else:
                self._actuator.drain(victims)
            self.fault = ""
        except ActuatorError as error:
            self._fail(error)
            return 0
        return max(0, missing)

    def _note_progress(self, seen: Observation) -> None:
        """A farm that moves is no reason to wait, even if it is not where it is to be."""
        has = (len(seen.serving), seen.starting or 0)
        if has != self._had:
            self._tries, self._again_at = 0, float("-inf")
        self._had = has

    def _fail(self, error: ActuatorError) -> None:
        if str(error) != self.fault:  # once a fault
            log.error("actuator failed", error=str(error))
        self.fault = str(error)


def _surplus(decision: Decision, seen: Observation) -> list[Instance]:
    """Who is to be drained: of the decision's victims those that serve, as many as there are too many."""
    too_many = len(seen.serving) - decision.desired
    by_node = {instance.node: instance for instance in seen.serving}
    return [by_node[node] for node in decision.victims if node in by_node][: max(0, too_many)]
