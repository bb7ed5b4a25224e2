"""A farm without metrics, for `bench versions` to put beside one with them: on PYTHONPATH, Python runs this first.

Every instrument does nothing. What is left is the call itself, which is a tenth of a microsecond.
"""

from __future__ import annotations

from typing import Any

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase


def _nothing(*_: Any, **__: Any) -> None:
    """What an instrument does here."""


def _itself(instrument: Any, *_: Any, **__: Any) -> Any:
    """In place of the child that has certain labels."""
    return instrument


for _kind, _method, _instead in (
    (Counter, "inc", _nothing),
    (Gauge, "set", _nothing),
    (Gauge, "inc", _nothing),
    (Gauge, "dec", _nothing),
    (Histogram, "observe", _nothing),
    (MetricWrapperBase, "labels", _itself),
):
    setattr(_kind, _method, _instead)
