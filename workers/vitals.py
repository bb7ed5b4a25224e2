"""What a worker tells of itself, as it is at the moment."""

from __future__ import annotations

import math
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil
from celery.worker import state

from echo_tasks import __version__, machine, versions
from echo_tasks.messages import StepOutput, WorkerRecord
from workers.model import Model

RATE_S = 10.0
"""The time constant of the mean rate of tokens."""

LATEST_SHARE = 0.1
"""What the latest step counts for in the mean of their service times."""


class Pace:
    """How the steps of a worker go: how many, how long they take, and how fast tokens come. Threads may share it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._looked_at, self._tokens = clock(), 0
        self.tokens_per_s = 0.0
        self.mean_service_s = 0.0
        self.answered = self.failed = 0

    def served(self, output: StepOutput) -> None:
        """Count a step that was answered, or failed."""
        took_s = output.elapsed_ms / 1000
        with self._lock:
            self.mean_service_s += (LATEST_SHARE if self.answered else 1.0) * (took_s - self.mean_service_s)
            self.answered += 1
            self.failed += output.error is not None

    def look(self, tokens: int) -> None:
        """Take note that so many tokens have been generated so far."""
        now = self._clock()
        since = now - self._looked_at
        if since > 0:
            weight = 1 - math.exp(-since / RATE_S)
            self.tokens_per_s += weight * ((tokens - self._tokens) / since - self.tokens_per_s)
            self._looked_at, self._tokens = now, tokens


class Vitals:
    """Makes the records of one worker."""

    def __init__(
        self,
        worker: Any,
        model: Model,
        pace: Pace,
        tokens: Callable[[], int],
        slots: Callable[[], int],
        refused: Callable[[], int],
        *,
        growth_bytes: int,
        metrics_address: str,
    ) -> None:
        """`tokens` tells how many have been generated so far, `slots` how many steps the worker may have, `refused` how
        many it has left to newer ones. `growth_bytes` it may come to hold beside what it holds now.
        """
        self._worker = worker
        self._pace = pace
        self._tokens = tokens
        self._slots = slots
        self._refused = refused
        self._process = psutil.Process()
        self._process.cpu_percent()  # the first call begins to measure
        self._memory_most = self._process.memory_info().rss + growth_bytes
        self._started_at = time.monotonic()
        self._record = WorkerRecord(
            node=worker.hostname,
            pid=os.getpid(),
            host=socket.gethostname(),
            queues=list(worker.app.amqp.queues.consume_from),
            slots=slots(),
            model_id=model.model_id,
            answers_id=model.answers_id,
            model_name=model.name,
            version=__version__,
            reads=versions.LATEST,
            started_at=0.0,
            initial_states=sorted(model.tuned),
            metrics_address=metrics_address,
            threads=model.rwkv.threads,
            machine=machine.identity(),
            choices=[str(choice) for choice in model.choices],
        )

    @property
    def up_s(self) -> float:
        """Seconds since the worker began."""
        return time.monotonic() - self._started_at

    def record(self, *, draining: bool) -> WorkerRecord:
        """The worker as it is now. Not to be called by several threads at a time."""
        self._pace.look(self._tokens())
        running = len(state.active_requests)
        with self._process.oneshot():
            cpu, memory = round(self._process.cpu_percent() / 100, 3), self._process.memory_info().rss
        self._memory_most = max(self._memory_most, memory)
        told = {
            "slots": self._slots(),
            "tokens": self._tokens(),
            "memory_most_bytes": self._memory_most,
            "busy": running,
            "waiting": max(0, len(state.reserved_requests) - running),
            "tokens_per_s": round(self._pace.tokens_per_s, 2),
            "mean_service_s": round(self._pace.mean_service_s, 4),
            "answered": self._pace.answered,
            "failed": self._pace.failed,
            "cpu": cpu,
            "memory_bytes": memory,
            "draining": draining,
            "refused": self._refused(),
            "stalled_s": self._worker.consumer.watchdog.stalled_s,
        }
        return self._record.model_copy(update=told)
