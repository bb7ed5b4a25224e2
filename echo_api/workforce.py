"""The live workers, as far as the API must know them to take a job: whose answers they give, and what they offer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from echo_api.problems import RequestProblem
from echo_tasks.messages import WorkerRecord
from echo_tasks.registry import Registry

_GOOD_FOR_S = 2.0


class Workforce:
    """Looked up again every two seconds. Every method raises BrokerUnavailable."""

    def __init__(self, registry: Registry, clock: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._clock = clock
        self._workers: Sequence[WorkerRecord] = ()
        self._looked_at = float("-inf")

    def answers_id(self) -> str | None:
        """What the workers would answer with: model, formats, templates. None without one, or if they differ."""
        served = {worker.answers_id for worker in self._current()}
        return served.pop() if len(served) == 1 else None

    def check_initial_state(self, name: str | None, field: str) -> None:
        """Raises RequestProblem, which names the field, for a state that no worker offers.

        Without a worker nobody can tell, and the job waits for one.
        """
        workers = self._current() if name is not None else ()
        offered = sorted({state for worker in workers for state in worker.initial_states})
        if workers and name not in offered:
            there = ", ".join(offered) or "none"
            raise RequestProblem(422, f"no worker offers {name!r}; offered: {there}", field=field)

    def _current(self) -> Sequence[WorkerRecord]:
        now = self._clock()
        if now - self._looked_at > _GOOD_FOR_S:
            self._workers = self._registry.live()
            self._looked_at = now
        return self._workers
