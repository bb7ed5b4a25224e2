"""The known scalers, each by its published law and defaults, as far as they apply to a worker with slots.

All see what our own decision sees, as often, and are asked to keep within the same bounds. A worker that is told to go
takes nothing more, as a Celery worker on SIGTERM; what it has not finished when its platform's grace ends is killed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from autoscale.observation import Observation


class _Means:
    """The latest readings, and their mean."""

    def __init__(self, span_s: float) -> None:
        self._span_s = span_s
        self._readings: deque[tuple[float, float]] = deque()

    def add(self, at: float, value: float) -> float:
        self._readings.append((at, value))
        while self._readings[0][0] <= at - self._span_s:
            self._readings.popleft()
        return sum(value for _, value in self._readings) / len(self._readings)


def _newest(seen: Observation, count: int) -> Sequence[str]:
    """As a ReplicaSet ranks pods: those that have been ready for the shortest time go first."""
    order = sorted(seen.serving, key=lambda one: -one.started_at)
    return [one.node for one in order[:count]]


class Hpa:
    """Kubernetes' HorizontalPodAutoscaler on the busy share of slots, target 80 %: `ceil(ready * share / target)`.

    Tolerance 10 %, each 15 s; up by at most four pods or 100 % in 15 s, down to the highest recommendation of 300 s;
    pods that are not ready count as idle on the way up. A pod has 30 s to end (terminationGracePeriodSeconds).
    Source: pkg/controller/podautoscaler/{replica_calculator,horizontal}.go; the metric is the mean of its 15 s.
    """

    name = "HPA"
    grace_s = 30.0
    period_s, tolerance, window_s = 15.0, 0.1, 300.0

    def __init__(self, least: int, most: int, target: float = 0.8) -> None:
        self._least, self._most, self._target = least, most, target
        self._means = _Means(self.period_s)
        self._next = 0.0
        self._recommended: deque[tuple[float, int]] = deque()

    def change(self, seen: Observation) -> int | Sequence[str]:
        mean = self._means.add(seen.at, self._metric(seen))
        if seen.at < self._next:
            return 0
        self._next = seen.at + self.period_s
        current = len(seen.serving) + (seen.starting or 0)
        desired = self._limited(current, self._stabilised(seen.at, self._wanted(mean, seen, current)))
        return desired - current if desired >= current else _newest(seen, current - desired)

    def _metric(self, seen: Observation) -> float:
        slots = sum(one.slots for one in seen.serving)
        return sum(one.busy for one in seen.serving) / slots if slots else 0.0

    def _wanted(self, mean: float, seen: Observation, current: int) -> int:
        ready = len(seen.serving)
        ratio = mean / self._target
        if abs(ratio - 1) <= self.tolerance:
            return current
        if ratio > 1 and seen.starting:
            ratio = ratio * ready / current  # what is not ready yet counts as idle
            if ratio <= 1 + self.tolerance:
                return current
            return math.ceil(ratio * current)
        return math.ceil(ratio * ready)

    def _stabilised(self, at: float, wanted: int) -> int:
        self._recommended.append((at, wanted))
        while self._recommended[0][0] < at - self.window_s:
            self._recommended.popleft()
        return max(wanted for _, wanted in self._recommended)

    def _limited(self, current: int, wanted: int) -> int:
        return max(self._least, min(self._most, wanted, current + max(4, current)))


class Keda(Hpa):
    """KEDA's scaler of a Redis list, listLength 5: it hands `ceil(LLEN / 5)` to the HPA, whose windows and limits hold.

    The length is that of what waits: what workers have taken is not in the list.
    Source: pkg/scalers/redis_scaler.go; an external metric of AverageValue, replica_calculator.go
    GetExternalPerPodMetricReplicas.
    """

    name = "KEDA list"

    def __init__(self, least: int, most: int, list_length: float = 5.0) -> None:
        super().__init__(least, most)
        self._list_length = list_length

    def _wanted(self, mean: float, seen: Observation, current: int) -> int:
        usage = seen.ready / (self._list_length * current) if current else math.inf
        return current if abs(usage - 1) <= self.tolerance else math.ceil(seen.ready / self._list_length)


class RayServe:
    """Ray Serve's policy: ongoing and queued requests over target_ongoing_requests, in the mean of 30 s.

    `desired = ceil(current + factor * (total / target - current))`, both factors 1; it has to be so for 30 s before
    there are more and for 600 s before there are fewer. target_ongoing_requests is 2 of max_ongoing_requests 5 by
    default, that is 40 % of a worker's slots. A replica has 20 s to end (graceful_shutdown_timeout_s).
    Source: python/ray/serve/autoscaling_policy.py, config.py; counters kept in seconds (as since #62331).
    """

    name = "Ray Serve"
    grace_s = 20.0
    look_back_s, up_s, down_s = 30.0, 30.0, 600.0

    def __init__(self, least: int, most: int, slots: int) -> None:
        self._least, self._most, self._target = least, most, 2 / 5 * slots
        self._means = _Means(self.look_back_s)
        self._up_since = self._down_since = math.inf

    def change(self, seen: Observation) -> int | Sequence[str]:
        total = self._means.add(seen.at, seen.demand)
        current = len(seen.serving) + (seen.starting or 0)
        desired = max(self._least, min(self._most, math.ceil(total / self._target)))
        self._up_since = min(self._up_since, seen.at) if desired > current else math.inf
        self._down_since = min(self._down_since, seen.at) if desired < current else math.inf
        if seen.at - self._up_since >= self.up_s:
            self._up_since = math.inf
            return desired - current
        if seen.at - self._down_since >= self.down_s:
            self._down_since = math.inf
            return _newest(seen, current - desired)
        return 0


class CeleryAutoscaler:
    """Celery's own: as many processes as reserved requests, at once; fewer only when nothing came for 30 s.

    A slot is a process here: capacity is ordered in whole workers. Reserved are at most `most` times the slots times
    worker_prefetch_multiplier (4). Idle processes go, and none that works.
    Source: celery/worker/autoscale.py 5.7: `maybe_scale` at each message, AUTOSCALE_KEEPALIVE 30 s since the last
    growth and since the last task was received.
    """

    name = "Celery"
    grace_s = math.inf
    keepalive_s = 30.0

    def __init__(self, least: int, most: int, slots: int) -> None:
        self._least, self._most, self._slots = least, most, slots
        self._arrived, self._received_at, self._grown_at = 0, 0.0, 0.0

    def change(self, seen: Observation) -> int | Sequence[str]:
        if seen.arrived > self._arrived:
            self._arrived, self._received_at = seen.arrived, seen.at
        current = len(seen.serving) + (seen.starting or 0)
        wanted = max(self._least, min(self._most, math.ceil(seen.demand / self._slots)))
        if wanted > current:
            self._grown_at = seen.at
            return wanted - current
        if min(seen.at - self._grown_at, seen.at - self._received_at) <= self.keepalive_s:
            return 0
        idle = [one.node for one in seen.serving if not one.busy]
        return idle[: current - wanted]


class PlusMinusOne:
    """The original document's: each 30 s one more above 80 % of average utilisation, one fewer below 30 %.

    Whom it ends is not said; Compose ends the latest, which has 10 s. Utilisation is the mean of the interval, busy
    slots. Source: the document, "Auto-Scaling Configuration"; its load balancer's check_auto_scaling, without a
    cooldown.
    """

    name = "plus-or-minus-one"
    grace_s = 10.0
    period_s = 30.0

    def __init__(self, least: int, most: int) -> None:
        self._least, self._most = least, most
        self._means = _Means(self.period_s)
        self._next = 0.0

    def change(self, seen: Observation) -> int | Sequence[str]:
        slots = sum(one.slots for one in seen.serving)
        mean = self._means.add(seen.at, sum(one.busy for one in seen.serving) / slots if slots else 0.0)
        if seen.at < self._next:
            return 0
        self._next = seen.at + self.period_s
        current = len(seen.serving) + (seen.starting or 0)
        if mean > 0.8 and current < self._most:
            return 1
        return _newest(seen, 1) if mean < 0.3 and current > self._least else 0
