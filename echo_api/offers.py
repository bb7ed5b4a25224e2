"""What the live workers offer by name, so that a request for anything else is refused before it is a job."""

from __future__ import annotations

import time
from collections.abc import Callable

from echo_api.problems import RequestProblem
from echo_tasks.registry import Registry

_GOOD_FOR_S = 2.0


class Offers:
    """Knows the initial states of live workers: looked up again every two seconds, for requests that name one."""

    def __init__(self, registry: Registry, clock: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._clock = clock
        self._names: frozenset[str] | None = None
        self._looked_at = float("-inf")

    def check(self, initial_state: str | None, field: str) -> None:
        """Raises RequestProblem, which names the field, for a state that no live worker offers.

        Without a live worker nobody can tell, and the job waits for one. Raises BrokerUnavailable.
        """
        names = self._current() if initial_state is not None else None
        if names is not None and initial_state not in names:
            offered = ", ".join(sorted(names)) or "none"
            raise RequestProblem(422, f"no worker offers {initial_state!r}; offered: {offered}", field=field)

    def _current(self) -> frozenset[str] | None:
        now = self._clock()
        if now - self._looked_at > _GOOD_FOR_S:
            workers = self._registry.live()
            self._names = frozenset(name for one in workers for name in one.initial_states) if workers else None
            self._looked_at = now
        return self._names
