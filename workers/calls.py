"""What a task's thread is told about the call that it runs: that it is to end, or until when it may run."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from celery import current_task


@dataclass(slots=True)
class Call:
    """One call. `deadline` is a moment of `time.monotonic`; both bounds are kept by whoever does the call's work."""

    cancelled: threading.Event = field(default_factory=threading.Event)
    deadline: float = math.inf


_local = threading.local()


def enter(call: Call) -> None:
    """Make a call the current one of this thread."""
    _local.call = call


def headers() -> Mapping[str, Any]:
    """What the message of the task that this thread runs carries beside what is Celery's."""
    return (current_task.request.headers or {}) if current_task else {}


def current() -> Call:
    """The call that this thread runs; one without bounds outside of a pool."""
    return getattr(_local, "call", None) or Call()
