"""Metrics that are read when they are asked for, as Prometheus's library takes them."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

Declared = tuple[str, str]
"""A metric's name and what it is."""

Values = Mapping[str, float]
"""By the value of one label."""


def gauge(declared: Declared, value: float) -> GaugeMetricFamily:
    """A gauge without labels."""
    return GaugeMetricFamily(*declared, value=value)


def counter(declared: Declared, value: float) -> CounterMetricFamily:
    """A counter without labels."""
    return CounterMetricFamily(*declared, value=value)


def gauges(declared: Declared, label: str, values: Values) -> GaugeMetricFamily:
    """Gauges by one label."""
    family = GaugeMetricFamily(*declared, labels=[label])
    for name, value in values.items():
        family.add_metric([name], value)
    return family


def counters(declared: Declared, label: str, values: Values) -> CounterMetricFamily:
    """Counters by one label."""
    family = CounterMetricFamily(*declared, labels=[label])
    for name, value in values.items():
        family.add_metric([name], value)
    return family
